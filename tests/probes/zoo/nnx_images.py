"""Flax NNX: networks of images."""

import functools
import itertools

import jax
import jax.numpy as jnp
from flax import nnx

from .entry import expect, f32, of_nnx


class BasicBlock(nnx.Module):
    def __init__(self, features_in, features, stride, *, norm, rngs):
        conv = functools.partial(nnx.Conv, use_bias=False, rngs=rngs)
        self.conv1 = conv(features_in, features, (3, 3), strides=stride)
        self.norm1 = norm(features, rngs=rngs)
        self.conv2 = conv(features, features, (3, 3))
        self.norm2 = norm(features, rngs=rngs)
        if stride == 1 and features_in == features:
            self.shortcut = None
        else:
            shortcut = conv(features_in, features, (1, 1), strides=stride)
            self.shortcut = nnx.Sequential(shortcut, norm(features, rngs=rngs))

    def __call__(self, x):
        out = nnx.relu(self.norm1(self.conv1(x)))
        out = self.norm2(self.conv2(out))
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return nnx.relu(out + shortcut)


class ResNet(nnx.Module):
    def __init__(self, stages, norm, *, rngs):
        self.stem = nnx.Conv(3, 8, (3, 3), use_bias=False, rngs=rngs)
        self.norm = norm(8, rngs=rngs)
        self.blocks = nnx.List()
        width = 8
        for stage, depth in enumerate(stages):
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                self.blocks.append(BasicBlock(width, 8 * 2**stage, stride, norm=norm, rngs=rngs))
                width = 8 * 2**stage
        self.head = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.head(jnp.mean(x, axis=(1, 2)))


# 1 in the stem, 2 in each of 2 + 2 blocks
@expect(relu=9)
def nnx_resnet_basic_batchnorm_train():
    return of_nnx(lambda: ResNet([2, 2], nnx.BatchNorm, rngs=nnx.Rngs(0)), f32(2, 16, 16, 3))


@expect(relu=9)
def nnx_resnet_basic_batchnorm_eval():
    return of_nnx(lambda: ResNet([2, 2], nnx.BatchNorm, rngs=nnx.Rngs(0)), f32(2, 16, 16, 3), train=False)


# 1 in the stem, 2 in each of 1 + 2 blocks
@expect(relu=7)
def nnx_resnet_basic_groupnorm():
    norm = functools.partial(nnx.GroupNorm, num_groups=4)
    return of_nnx(lambda: ResNet([1, 2], norm, rngs=nnx.Rngs(0)), f32(2, 16, 16, 3))


class VGG(nnx.Module):
    def __init__(self, plan, *, rngs):
        layers, width = [], 3
        for item in plan:
            if item == "M":
                layers.append(lambda x: nnx.max_pool(x, (2, 2), strides=(2, 2)))
            else:
                layers += [nnx.Conv(width, item, (3, 3), rngs=rngs), nnx.relu]
                width = item
        self.features = nnx.Sequential(*layers)
        self.classifier = nnx.Sequential(
            nnx.Linear(4 * 4 * width, 32, rngs=rngs),
            nnx.relu,
            nnx.Dropout(0.5, rngs=rngs),
            nnx.Linear(32, 32, rngs=rngs),
            nnx.relu,
            nnx.Dropout(0.5, rngs=rngs),
            nnx.Linear(32, 10, rngs=rngs),
        )

    def __call__(self, x):
        x = self.features(x)
        return self.classifier(x.reshape(x.shape[0], -1))


# 4 convolutions, 2 hidden fully connected layers; pooling and dropout are none
@expect(relu=6)
def nnx_vgg_dropout():
    return of_nnx(lambda: VGG([8, 8, "M", 16, 16, "M"], rngs=nnx.Rngs(0)), f32(2, 16, 16, 3))


class ConvNeXtBlock(nnx.Module):
    def __init__(self, dim, *, rngs):
        self.depthwise = nnx.Conv(dim, dim, (7, 7), feature_group_count=dim, rngs=rngs)
        self.norm = nnx.LayerNorm(dim, rngs=rngs)
        self.up = nnx.Linear(dim, 4 * dim, rngs=rngs)
        self.down = nnx.Linear(4 * dim, dim, rngs=rngs)
        self.scale = nnx.Param(1e-6 * jnp.ones(dim))

    def __call__(self, x):
        out = self.norm(self.depthwise(x))
        out = self.down(nnx.gelu(self.up(out), approximate=False))
        return x + self.scale * out


class ConvNeXt(nnx.Module):
    def __init__(self, depths, dims, *, rngs):
        self.stem = nnx.Conv(3, dims[0], (4, 4), strides=4, rngs=rngs)
        self.norm = nnx.LayerNorm(dims[0], rngs=rngs)
        self.stages = nnx.List(
            [nnx.List([ConvNeXtBlock(d, rngs=rngs) for _ in range(n)]) for n, d in zip(depths, dims, strict=True)]
        )
        pairs = list(itertools.pairwise(dims))
        self.norms = nnx.List([nnx.LayerNorm(a, rngs=rngs) for a, _ in pairs])
        self.downs = nnx.List([nnx.Conv(a, b, (2, 2), strides=2, rngs=rngs) for a, b in pairs])
        self.head = nnx.Linear(dims[-1], 10, rngs=rngs)

    def __call__(self, x):
        x = self.norm(self.stem(x))
        for i, stage in enumerate(self.stages):
            if i > 0:
                x = self.downs[i - 1](self.norms[i - 1](x))
            for block in stage:
                x = block(x)
        return self.head(jnp.mean(x, axis=(1, 2)))


# 1 in each of 1 + 2 + 1 blocks
@expect(gelu=4)
def nnx_convnext():
    return of_nnx(lambda: ConvNeXt([1, 2, 1], [8, 16, 32], rngs=nnx.Rngs(0)), f32(2, 32, 32, 3))


class EncoderBlock(nnx.Module):
    def __init__(self, dim, *, approximate, rngs):
        self.norm1 = nnx.LayerNorm(dim, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, dim, dropout_rate=0.1, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(dim, rngs=rngs)
        self.up = nnx.Linear(dim, 4 * dim, rngs=rngs)
        self.down = nnx.Linear(4 * dim, dim, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.approximate = approximate

    def __call__(self, x):
        x = x + self.dropout(self.attention(self.norm1(x)))
        h = nnx.gelu(self.up(self.norm2(x)), approximate=self.approximate)
        return x + self.dropout(self.down(self.dropout(h)))


class ViT(nnx.Module):
    def __init__(self, depth, dim=32, *, approximate, rngs):
        self.patches = nnx.Conv(3, dim, (4, 4), strides=(4, 4), rngs=rngs)
        self.cls = nnx.Param(jnp.zeros((1, 1, dim)))
        self.positions = nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, 17, dim)))
        self.blocks = nnx.List([EncoderBlock(dim, approximate=approximate, rngs=rngs) for _ in range(depth)])
        self.norm = nnx.LayerNorm(dim, rngs=rngs)
        self.representation = nnx.Linear(dim, dim, rngs=rngs)
        self.head = nnx.Linear(dim, 10, rngs=rngs)

    def __call__(self, x):
        x = self.patches(x)
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        x = jnp.concatenate([jnp.tile(self.cls[...], (x.shape[0], 1, 1)), x], axis=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(jnp.tanh(self.representation(self.norm(x)[:, 0])))


# 1 in each of 3 blocks; the pre-logits layer of the paper has a tanh
@expect(gelu=3, tanh=1)
def nnx_vit_gelu_tanh_train():
    return of_nnx(lambda: ViT(3, approximate=True, rngs=nnx.Rngs(0)), f32(2, 16, 16, 3))


@expect(gelu=3, tanh=1)
def nnx_vit_gelu_exact_eval():
    return of_nnx(lambda: ViT(3, approximate=False, rngs=nnx.Rngs(0)), f32(2, 16, 16, 3), train=False)


class SqueezeExcite(nnx.Module):
    def __init__(self, features, reduced, *, rngs):
        self.reduce = nnx.Conv(features, reduced, (1, 1), rngs=rngs)
        self.expand = nnx.Conv(reduced, features, (1, 1), rngs=rngs)

    def __call__(self, x):
        pooled = jnp.mean(x, axis=(1, 2), keepdims=True)
        return x * nnx.sigmoid(self.expand(nnx.silu(self.reduce(pooled))))


class MBConv(nnx.Module):
    def __init__(self, features_in, features, expansion, stride, *, rngs):
        hidden = features_in * expansion
        conv = functools.partial(nnx.Conv, use_bias=False, rngs=rngs)
        if expansion == 1:
            self.expand = None
        else:
            self.expand = nnx.Sequential(conv(features_in, hidden, (1, 1)), nnx.BatchNorm(hidden, rngs=rngs), nnx.silu)
        self.depthwise = nnx.Sequential(
            conv(hidden, hidden, (3, 3), strides=stride, feature_group_count=hidden),
            nnx.BatchNorm(hidden, rngs=rngs),
            nnx.silu,
        )
        self.excite = SqueezeExcite(hidden, max(1, features_in // 4), rngs=rngs)
        self.project = nnx.Sequential(conv(hidden, features, (1, 1)), nnx.BatchNorm(features, rngs=rngs))
        self.skip = stride == 1 and features_in == features
        self.depth_drop = nnx.Dropout(0.2, broadcast_dims=(1, 2, 3), rngs=rngs)

    def __call__(self, x):
        out = x if self.expand is None else self.expand(x)
        out = self.project(self.excite(self.depthwise(out)))
        return x + self.depth_drop(out) if self.skip else out


class EfficientNet(nnx.Module):
    def __init__(self, *, rngs):
        self.stem = nnx.Conv(3, 8, (3, 3), strides=2, use_bias=False, rngs=rngs)
        self.stem_norm = nnx.BatchNorm(8, rngs=rngs)
        self.blocks = nnx.Sequential(
            MBConv(8, 8, 1, 1, rngs=rngs), MBConv(8, 12, 6, 2, rngs=rngs), MBConv(12, 12, 6, 1, rngs=rngs)
        )
        self.top = nnx.Conv(12, 48, (1, 1), use_bias=False, rngs=rngs)
        self.top_norm = nnx.BatchNorm(48, rngs=rngs)
        self.head = nnx.Linear(48, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.silu(self.stem_norm(self.stem(x)))
        x = self.blocks(x)
        x = nnx.silu(self.top_norm(self.top(x)))
        return self.head(jnp.mean(x, axis=(1, 2)))


# silu: stem 1, top 1, blocks 2 + 3 + 3 (the first does not expand; each has one in its squeeze); sigmoid: 3 gates
@expect(silu=10, sigmoid=3)
def nnx_efficientnet():
    return of_nnx(lambda: EfficientNet(rngs=nnx.Rngs(0)), f32(2, 16, 16, 3))


class SRResNet(nnx.Module):
    """The generator of SRGAN."""

    def __init__(self, depth, width=8, *, rngs):
        self.stem = nnx.Conv(3, width, (9, 9), rngs=rngs)
        self.stem_act = nnx.PReLU()
        self.convs = nnx.List([nnx.Conv(width, width, (3, 3), rngs=rngs) for _ in range(2 * depth)])
        self.norms = nnx.List([nnx.BatchNorm(width, rngs=rngs) for _ in range(2 * depth)])
        self.acts = nnx.List([nnx.PReLU() for _ in range(depth)])
        self.up = nnx.Conv(width, 4 * width, (3, 3), rngs=rngs)
        self.up_act = nnx.PReLU()
        self.last = nnx.Conv(width, 3, (9, 9), rngs=rngs)

    def __call__(self, x):
        x = self.stem_act(self.stem(x))
        for i, act in enumerate(self.acts):
            h = act(self.norms[2 * i](self.convs[2 * i](x)))
            x = x + self.norms[2 * i + 1](self.convs[2 * i + 1](h))
        n, h, w, c = (x := self.up(x)).shape
        x = x.reshape(n, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * h, 2 * w, c // 4)
        return jnp.tanh(self.last(self.up_act(x)))


# stem 1, blocks 3, upsampling 1; tanh for the image
@expect(prelu=5, tanh=1)
def nnx_srgan_generator():
    return of_nnx(lambda: SRResNet(3, rngs=nnx.Rngs(0)), f32(2, 8, 8, 3))


def timestep_embedding(t, dim):
    frequencies = jnp.exp(-jnp.log(10_000.0) * jnp.arange(dim // 2) / (dim // 2))
    angles = t[:, None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class DiffusionBlock(nnx.Module):
    def __init__(self, features_in, features, time_dim, *, rngs):
        self.norm1 = nnx.GroupNorm(features_in, num_groups=4, rngs=rngs)
        self.conv1 = nnx.Conv(features_in, features, (3, 3), rngs=rngs)
        self.time = nnx.Linear(time_dim, features, rngs=rngs)
        self.norm2 = nnx.GroupNorm(features, num_groups=4, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.conv2 = nnx.Conv(features, features, (3, 3), rngs=rngs)
        self.skip = nnx.Conv(features_in, features, (1, 1), rngs=rngs)

    def __call__(self, x, time):
        h = self.conv1(nnx.silu(self.norm1(x)))
        h = h + self.time(nnx.silu(time))[:, None, None, :]
        h = self.conv2(self.dropout(nnx.silu(self.norm2(h))))
        return self.skip(x) + h


class DiffusionUNet(nnx.Module):
    def __init__(self, width=8, *, rngs):
        block = functools.partial(DiffusionBlock, time_dim=4 * width, rngs=rngs)
        self.width = width
        self.time1 = nnx.Linear(width, 4 * width, rngs=rngs)
        self.time2 = nnx.Linear(4 * width, 4 * width, rngs=rngs)
        self.stem = nnx.Conv(3, width, (3, 3), rngs=rngs)
        self.down1, self.down2 = block(width, width), block(width, 2 * width)
        self.middle1, self.middle2 = block(2 * width, 2 * width), block(2 * width, 2 * width)
        self.norm = nnx.GroupNorm(2 * width, num_groups=4, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 2 * width, decode=False, rngs=rngs)
        self.up2, self.up1 = block(4 * width, width), block(2 * width, width)
        self.last_norm = nnx.GroupNorm(width, num_groups=4, rngs=rngs)
        self.last = nnx.Conv(width, 3, (3, 3), rngs=rngs)

    def __call__(self, x, t):
        time = self.time2(nnx.silu(self.time1(timestep_embedding(t, self.width))))
        h1 = self.down1(self.stem(x), time)
        h2 = self.down2(nnx.avg_pool(h1, (2, 2), strides=(2, 2)), time)
        h = self.middle1(h2, time)
        flat = self.norm(h).reshape(h.shape[0], -1, h.shape[-1])
        h = self.middle2(h + self.attention(flat).reshape(h.shape), time)
        h = self.up2(jnp.concatenate([h, h2], axis=-1), time)
        h = jax.image.resize(h, h1.shape, "nearest")
        h = self.up1(jnp.concatenate([h, h1], axis=-1), time)
        return self.last(nnx.silu(self.last_norm(h)))


# time 1, 3 in each of 6 blocks, 1 at the end
@expect(silu=20)
def nnx_ddpm_unet():
    return of_nnx(lambda: DiffusionUNet(rngs=nnx.Rngs(0)), f32(2, 8, 8, 3), f32(2))


def ddpm_step(model, x, t, alpha, alpha_bar, noise):
    epsilon = model(x, t)
    clean = (x - jnp.sqrt(1 - alpha_bar) * epsilon) / jnp.sqrt(alpha_bar)
    clean = jnp.clip(clean, -1.0, 1.0)
    alpha_bar_before = alpha_bar / alpha
    mean = jnp.sqrt(alpha_bar_before) * (1 - alpha) * clean + jnp.sqrt(alpha) * (1 - alpha_bar_before) * x
    mean = mean / (1 - alpha_bar)
    variance = (1 - alpha) * (1 - alpha_bar_before) / (1 - alpha_bar)
    return mean + jnp.exp(0.5 * jnp.log(jnp.maximum(variance, 1e-20))) * noise


# as above; the clip of the image to its range is no activation
@expect(silu=20)
def nnx_ddpm_sampling_step():
    one, image = f32(2, 1, 1, 1), f32(2, 8, 8, 3)
    make = lambda: DiffusionUNet(rngs=nnx.Rngs(0))  # noqa: E731
    return of_nnx(make, image, f32(2), one, one, image, method=ddpm_step, train=False)
