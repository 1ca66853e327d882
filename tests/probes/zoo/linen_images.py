"""Flax Linen: networks of images, rays and points."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from .entry import expect, f32, of_linen


class BottleneckBlock(nn.Module):
    filters: int
    norm: Any
    act: Callable
    strides: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x):
        conv = partial(nn.Conv, use_bias=False)
        y = self.act(self.norm()(conv(self.filters, (1, 1))(x)))
        y = self.act(self.norm()(conv(self.filters, (3, 3), self.strides)(y)))
        y = self.norm(scale_init=nn.initializers.zeros_init())(conv(4 * self.filters, (1, 1))(y))
        if x.shape != y.shape:
            x = self.norm(name="norm_proj")(conv(4 * self.filters, (1, 1), self.strides, name="conv_proj")(x))
        return self.act(x + y)


class ResNet(nn.Module):
    stage_sizes: Sequence[int]
    norm: Any = None
    act: Callable = nn.relu
    filters: int = 4

    @nn.compact
    def __call__(self, x, train=True):
        norm = self.norm or partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = nn.Conv(self.filters, (7, 7), (2, 2), use_bias=False)(x)
        x = self.act(norm(name="bn_init")(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        for i, size in enumerate(self.stage_sizes):
            for j in range(size):
                strides = (2, 2) if i > 0 and j == 0 else (1, 1)
                x = BottleneckBlock(self.filters * 2**i, norm, self.act, strides)(x)
        x = jnp.mean(x, axis=(1, 2))
        return nn.Dense(10)(x)


# 1 in the stem, 3 in each of 2 + 1 blocks
@expect(relu=10)
def linen_resnet_bottleneck_batchnorm_train():
    return of_linen(ResNet([2, 1]), f32(2, 32, 32, 3), train=True)


@expect(relu=10)
def linen_resnet_bottleneck_batchnorm_eval():
    return of_linen(ResNet([2, 1]), f32(2, 32, 32, 3), train=False)


# 1 in the stem, 3 in each of 1 + 2 blocks
@expect(relu=10)
def linen_resnet_bottleneck_groupnorm_maximum():
    model = ResNet([1, 2], norm=partial(nn.GroupNorm, num_groups=4), act=lambda x: jnp.maximum(x, 0))
    return of_linen(model, f32(2, 32, 32, 3))


# the same depth, with the slope of an author who likes jnp.where
@expect(leaky_relu=10)
def linen_resnet_bottleneck_where_leaky():
    return of_linen(ResNet([1, 2], act=lambda x: jnp.where(x > 0, x, 0.01 * x)), f32(2, 32, 32, 3))


class DenseNet(nn.Module):
    depths: Sequence[int]
    growth: int = 4

    @nn.compact
    def __call__(self, x, train=True):
        norm = partial(nn.BatchNorm, use_running_average=not train)
        x = nn.Conv(2 * self.growth, (3, 3), use_bias=False)(x)
        for stage, depth in enumerate(self.depths):
            for _ in range(depth):
                y = nn.Conv(4 * self.growth, (1, 1), use_bias=False)(nn.relu(norm()(x)))
                y = nn.Conv(self.growth, (3, 3), use_bias=False)(nn.relu(norm()(y)))
                y = nn.Dropout(0.2, deterministic=not train)(y)
                x = jnp.concatenate([x, y], axis=-1)
            if stage + 1 < len(self.depths):
                x = nn.Conv(x.shape[-1] // 2, (1, 1), use_bias=False)(nn.relu(norm()(x)))
                x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        x = nn.relu(norm()(x))
        return nn.Dense(10)(x.mean(axis=(1, 2)))


# 2 in each of 2 + 2 + 1 layers, 2 transitions, 1 at the end
@expect(relu=13)
def linen_densenet():
    return of_linen(DenseNet([2, 2, 1]), f32(2, 16, 16, 3))


class DoubleConv(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x, train):
        for _ in range(2):
            x = nn.Conv(self.features, (3, 3))(x)
            x = nn.BatchNorm(use_running_average=not train)(x)
            x = jnp.where(x > 0, x, 0)
        return x


class UNet(nn.Module):
    @nn.compact
    def __call__(self, x, train=True):
        skips = []
        for features in (4, 8):
            x = DoubleConv(features)(x, train)
            skips.append(x)
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = DoubleConv(16)(x, train)
        for features in (8, 4):
            x = nn.ConvTranspose(features, (2, 2), strides=(2, 2))(x)
            x = DoubleConv(features)(jnp.concatenate([skips.pop(), x], axis=-1), train)
        return nn.sigmoid(nn.Conv(1, (1, 1))(x))


# 5 double convolutions; the mask is a sigmoid
@expect(relu=10, sigmoid=1)
def linen_unet():
    return of_linen(UNet(), f32(2, 16, 16, 3))


class MixerBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        def mlp(y, hidden):
            return nn.Dense(y.shape[-1])(nn.gelu(nn.Dense(hidden)(y)))

        y = jnp.swapaxes(nn.LayerNorm()(x), 1, 2)
        x = x + jnp.swapaxes(mlp(y, 16), 1, 2)
        return x + mlp(nn.LayerNorm()(x), 64)


class MlpMixer(nn.Module):
    depth: int

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(32, (4, 4), strides=(4, 4))(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        for _ in range(self.depth):
            x = MixerBlock()(x)
        return nn.Dense(10)(nn.LayerNorm()(x).mean(axis=1))


# tokens and channels, 4 blocks
@expect(gelu=8)
def linen_mlp_mixer():
    return of_linen(MlpMixer(4), f32(2, 16, 16, 3))


class InvertedResidual(nn.Module):
    expansion: int
    features: int
    excite: bool
    act: Callable
    strides: int = 1

    @nn.compact
    def __call__(self, x, train):
        norm = partial(nn.BatchNorm, use_running_average=not train)
        y = self.act(norm()(nn.Conv(self.expansion, (1, 1), use_bias=False)(x)))
        y = nn.Conv(self.expansion, (5, 5), self.strides, feature_group_count=self.expansion, use_bias=False)(y)
        y = self.act(norm()(y))
        if self.excite:
            gate = jnp.mean(y, axis=(1, 2), keepdims=True)
            gate = nn.relu(nn.Conv(self.expansion // 4, (1, 1))(gate))
            y = y * nn.hard_sigmoid(nn.Conv(self.expansion, (1, 1))(gate))
        y = norm()(nn.Conv(self.features, (1, 1), use_bias=False)(y))
        return x + y if x.shape == y.shape else y


class MobileNetV3(nn.Module):
    @nn.compact
    def __call__(self, x, train=True):
        norm = partial(nn.BatchNorm, use_running_average=not train)
        x = nn.hard_swish(norm()(nn.Conv(8, (3, 3), 2, use_bias=False)(x)))
        x = InvertedResidual(16, 8, excite=True, act=nn.relu, strides=2)(x, train)
        x = InvertedResidual(24, 8, excite=False, act=nn.relu)(x, train)
        x = InvertedResidual(24, 12, excite=True, act=nn.hard_swish, strides=2)(x, train)
        x = InvertedResidual(36, 12, excite=True, act=nn.hard_swish)(x, train)
        x = nn.hard_swish(norm()(nn.Conv(48, (1, 1), use_bias=False)(x)))
        x = nn.hard_swish(nn.Dense(64)(x.mean(axis=(1, 2))))
        x = nn.Dropout(0.2, deterministic=not train)(x)
        return nn.Dense(10)(x)


# relu: 2 in each of 2 blocks, and 3 squeezes; hard_swish: 3 outside of the blocks, 2 in each of 2; 3 gates
@expect(relu=7, hard_silu=7, hard_sigmoid=3)
def linen_mobilenet_v3():
    return of_linen(MobileNetV3(), f32(2, 32, 32, 3))


def positional_encoding(x, degrees):
    scaled = (x[..., None, :] * 2.0 ** jnp.arange(degrees)[:, None]).reshape(*x.shape[:-1], -1)
    return jnp.concatenate([x, jnp.sin(scaled), jnp.cos(scaled)], axis=-1)


class NeRF(nn.Module):
    """The network and the volume rendering along a ray."""

    width: int = 16

    @nn.compact
    def __call__(self, origins, directions, depths):
        points = origins[:, None] + directions[:, None] * depths[..., None]
        inputs = positional_encoding(points, 6)
        x = inputs
        for i in range(8):
            x = nn.relu(nn.Dense(self.width)(x))
            if i == 4:
                x = jnp.concatenate([x, inputs], axis=-1)
        raw_density = nn.Dense(1)(x)[..., 0]
        views = directions / jnp.maximum(jnp.linalg.norm(directions, axis=-1, keepdims=True), 1e-8)
        views = jnp.broadcast_to(positional_encoding(views, 4)[:, None], (*x.shape[:2], 27))
        x = nn.relu(nn.Dense(self.width // 2)(jnp.concatenate([nn.Dense(self.width)(x), views], axis=-1)))
        colour = nn.sigmoid(nn.Dense(3)(x))

        density = nn.relu(raw_density)
        steps = jnp.concatenate([depths[:, 1:] - depths[:, :-1], jnp.full_like(depths[:, :1], 1e10)], axis=-1)
        alpha = 1 - jnp.exp(-density * steps)
        light = jnp.cumprod(1 - alpha + 1e-10, axis=-1)
        weights = alpha * jnp.concatenate([jnp.ones_like(light[:, :1]), light[:, :-1]], axis=-1)
        depth = jnp.sum(weights * depths, axis=-1)
        disparity = 1 / jnp.maximum(1e-10, depth / jnp.sum(weights, axis=-1))
        return jnp.sum(weights[..., None] * colour, axis=1), disparity


# 8 layers, 1 behind the view, 1 on the density; the colour is a sigmoid
@expect(relu=10, sigmoid=1)
def linen_nerf():
    return of_linen(NeRF(), f32(4, 3), f32(4, 3), f32(4, 8))


class PointNet(nn.Module):
    """With the transform of the input."""

    @nn.compact
    def __call__(self, x, train=True):
        def layers(h, widths):
            for width in widths:
                h = nn.BatchNorm(use_running_average=not train)(nn.Dense(width)(h))
                h = nn.relu(h)
            return h

        h = layers(x, (8, 16, 32)).max(axis=1)
        transform = nn.Dense(9, kernel_init=nn.initializers.zeros)(layers(h, (16, 8)))
        x = x @ (transform.reshape(-1, 3, 3) + jnp.eye(3))
        h = jnp.max(layers(layers(x, (8, 8)), (8, 16, 32)), axis=1)
        h = layers(h, (16,))
        h = nn.Dropout(0.3, deterministic=not train)(h)
        return nn.Dense(10)(layers(h, (8,)))


# transform 3 + 2, points 2 + 3, head 1 + 1
@expect(relu=12)
def linen_pointnet():
    return of_linen(PointNet(), f32(2, 20, 3))


class PReLUNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        for features in (8, 16):
            x = nn.PReLU()(nn.Conv(features, (3, 3), 2)(x))
        x = nn.PReLU(negative_slope_init=0.25)(nn.Dense(32)(x.reshape(x.shape[0], -1)))
        return nn.softmax(nn.Dense(10)(x))


# 2 convolutions, 1 dense; softmax is none
@expect(prelu=3)
def linen_prelu():
    return of_linen(PReLUNet(), f32(2, 8, 8, 1))


class StyleMapping(nn.Module):
    """The mapping network of StyleGAN, and one modulated layer of its synthesis."""

    @nn.compact
    def __call__(self, z, x):
        z = z * jax.lax.rsqrt(jnp.mean(jnp.square(z), axis=-1, keepdims=True) + 1e-8)
        for _ in range(4):
            z = nn.Dense(16)(z)
            z = jnp.maximum(z, 0.2 * z) * jnp.sqrt(2.0)
        style = nn.Dense(x.shape[-1], bias_init=nn.initializers.ones)(z)
        kernel = self.param("kernel", nn.initializers.normal(), (3, 3, x.shape[-1], 8))
        kernel = kernel * style[:, None, None, :, None]
        kernel = kernel * jax.lax.rsqrt(jnp.sum(kernel**2, axis=(1, 2, 3), keepdims=True) + 1e-8)
        conv = partial(jax.lax.conv, window_strides=(1, 1), padding="SAME")
        x = jax.vmap(lambda x, k: conv(x.transpose(2, 0, 1)[None], k.transpose(3, 2, 0, 1))[0])(x, kernel)
        return nn.leaky_relu(x, 0.2) * jnp.sqrt(2.0)


# 4 of the mapping, written as a maximum; 1 of the synthesis
@expect(leaky_relu=5)
def linen_stylegan():
    return of_linen(StyleMapping(), f32(2, 16), f32(2, 8, 8, 4))
