"""Images and ranks with the losses of recognition."""

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx

from .entry import expect, f32, i32, key, of_haiku, of_linen, of_nnx, of_plain
from .layers import linear_init, mlp


# capsules: a ReLU convolution, 2 hidden layers and the sigmoid of the reconstruction; squashing, routing and the
# margins of the loss are none
@expect(relu=3, sigmoid=1)
def haiku_capsules_margin_loss():
    def squash(s, axis=-1):
        square = jnp.sum(s**2, axis=axis, keepdims=True)
        return square / (1 + square) * s / jnp.sqrt(square + 1e-8)

    def loss(images, labels):
        h = jax.nn.relu(hk.Conv2D(4, 3, padding="VALID")(images))
        u = squash(hk.Conv2D(8, 3, stride=2, padding="VALID")(h).reshape(len(images), -1, 4))
        w = hk.get_parameter("w", (u.shape[1], 3, 4, 5), init=hk.initializers.RandomNormal())
        votes = jnp.einsum("bid,ijde->bije", u, w)
        logits = jnp.zeros(votes.shape[:-1])
        for i in range(3):
            v = squash(jnp.einsum("bij,bije->bje", jax.nn.softmax(logits, axis=2), votes))
            if i < 2:
                logits = logits + jnp.einsum("bije,bje->bij", votes, jax.lax.stop_gradient(v))
        length = jnp.sqrt(jnp.sum(v**2, -1) + 1e-8)
        is_there = jax.nn.one_hot(labels, 3)
        margin = is_there * jnp.maximum(0.0, 0.9 - length) ** 2
        margin += 0.5 * (1 - is_there) * jnp.maximum(0.0, length - 0.1) ** 2
        masked = (v * is_there[..., None]).reshape(len(images), -1)
        out = hk.nets.MLP([8, 8, images[0].size])(masked)
        image = jax.nn.sigmoid(out).reshape(images.shape)
        return margin.sum(-1).mean() + 0.0005 * jnp.sum((image - images) ** 2)

    return of_haiku(loss, f32(2, 8, 8, 1), i32(2))


class AttentionGateUNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        act = lambda h: jnp.where(h >= 0, h, h * 0.2)  # noqa: E731
        h1 = act(nn.GroupNorm(2)(nn.Conv(4, (3, 3))(x)))
        h2 = act(nn.GroupNorm(2)(nn.Conv(8, (3, 3))(nn.max_pool(h1, (2, 2), strides=(2, 2)))))
        up = jax.image.resize(h2, (*h1.shape[:-1], 8), "bilinear")
        gate = nn.relu(nn.Conv(4, (1, 1))(up) + nn.Conv(4, (1, 1))(h1))
        h1 = h1 * nn.sigmoid(nn.Conv(1, (1, 1))(gate))
        return nn.Conv(3, (1, 1))(act(nn.Conv(4, (3, 3))(jnp.concatenate([h1, up], axis=-1))))


# 3 leaky layers, 1 gate with its hidden layer; focal and Dice losses share the sigmoid of the probabilities; smoothing,
# powers and clips are none
@expect(leaky_relu=3, relu=1, sigmoid=2)
def linen_attention_unet_focal_dice():
    model = AttentionGateUNet()

    def loss(variables, x, masks):
        logits = model.apply(variables, x)
        p = jnp.clip(nn.sigmoid(logits), 1e-6, 1 - 1e-6)
        smooth = masks * 0.9 + 0.05
        entropy = -(smooth * jnp.log(p) + (1 - smooth) * jnp.log(1 - p))
        p_true = masks * p + (1 - masks) * (1 - p)
        focal = jnp.mean(jnp.where(masks > 0.5, 0.25, 0.75) * (1 - p_true) ** 2 * entropy)
        shared = jnp.sum(p * masks, axis=(1, 2))
        dice = (2 * shared + 1) / (jnp.sum(p, axis=(1, 2)) + jnp.sum(masks, axis=(1, 2)) + 1)
        return focal + 1 - jnp.mean(dice)

    x = f32(2, 8, 8, 1)
    return loss, (jax.eval_shape(model.init, key(), x), x, f32(2, 8, 8, 3))


# RetinaNet's focal loss from logits, as in Detectron: the sigmoid of the probability; the cross-entropy is a softplus
# whose exponential is the probability again. 2 hidden layers of either head; boxes by a smooth L1
@expect(relu=4, sigmoid=1)
def plain_retina_focal():
    def loss(p, features, labels, boxes):
        logits = mlp(p["classes"], features, jax.nn.relu)
        prob = jax.nn.sigmoid(logits)
        entropy = jax.nn.softplus(jnp.where(labels > 0, -logits, logits))
        p_true = prob * labels + (1 - prob) * (1 - labels)
        focal = (0.25 * labels + 0.75 * (1 - labels)) * (1 - p_true) ** 2.0 * entropy
        hard = (1 - jnp.exp(-entropy)) ** 0.5 * entropy
        error = jnp.abs(mlp(p["boxes"], features, jax.nn.relu) - boxes)
        smooth = jnp.where(error < 0.1, 0.5 * error**2 / 0.1, error - 0.05)
        count = jnp.maximum(labels.max(-1).sum(), 1.0)
        return (focal.sum() + hard.sum() + smooth.sum()) / count

    def init(k):
        return {"classes": linear_init(k, 6, 8, 8, 3), "boxes": linear_init(k, 6, 8, 8, 4)}

    return of_plain(loss, init, f32(2, 5, 6), f32(2, 5, 3), f32(2, 5, 4))


class NFBlock(nnx.Module):
    """Normaliser-free: scaled activations, standardised weights, squeeze and excitation, stochastic depth."""

    def __init__(self, dim, beta, alpha, rngs):
        self.w1 = nnx.Param(rngs.normal((3, 3, dim, dim)))
        self.w2 = nnx.Param(rngs.normal((3, 3, dim, dim)))
        self.squeeze, self.excite = nnx.Linear(dim, dim // 2, rngs=rngs), nnx.Linear(dim // 2, dim, rngs=rngs)
        self.skip_gain = nnx.Param(jnp.zeros(()))
        self.beta, self.alpha = beta, alpha

    def conv(self, w, x):
        mean, var = w.mean((0, 1, 2)), w.var((0, 1, 2))
        fan_in = w[..., 0].size
        scale = jax.lax.rsqrt(jnp.maximum(var * fan_in, 1e-4))
        w = (w - mean) * scale
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def __call__(self, x, rng):
        gelu = lambda h: jax.nn.gelu(h) * 1.7015043497085571  # noqa: E731
        h = gelu(x) * self.beta
        h = self.conv(self.w2[...], gelu(self.conv(self.w1[...], h)))
        se = nnx.sigmoid(self.excite(nnx.relu(self.squeeze(h.mean((1, 2))))))
        h = 2 * se[:, None, None] * h
        keep = jnp.floor(0.9 + jax.random.uniform(rng, (len(x), 1, 1, 1)))
        return x + self.alpha * self.skip_gain[...] * h * keep / 0.9


# each of 2 blocks: 2 scaled GELU, the hidden ReLU and the sigmoid of the squeeze
@expect(gelu=4, relu=2, sigmoid=2)
def nnx_normaliser_free():
    def call(blocks, x, rng):
        for block, k in zip(blocks, jax.random.split(rng, 2), strict=True):
            x = block(x, k)
        return x

    make = lambda: nnx.List([NFBlock(4, b, 0.2, nnx.Rngs(0)) for b in (1.0, 0.9)])  # noqa: E731
    return of_nnx(make, f32(2, 6, 6, 4), key(), method=call)


# ordinal regression: a hidden layer; classes are differences of sigmoids of ordered cuts, which is how a likelihood is
# written, and the steps between cuts are a softplus of parameters
@expect(relu=1)
def plain_ordinal_regression():
    def loss(p, x, y):
        score = mlp(p["net"], x, jax.nn.relu)
        cuts = p["first"] + jnp.cumsum(jax.nn.softplus(p["steps"]))
        ends = jnp.concatenate([jnp.array([-1e9]), cuts, jnp.array([1e9])])
        prob = jax.nn.sigmoid(ends[1:][y] - score[:, 0]) - jax.nn.sigmoid(ends[:-1][y] - score[:, 0])
        return -jnp.mean(jnp.log(jnp.clip(prob, 1e-9)))

    init = lambda k: {"net": linear_init(k, 4, 8, 1), "first": jnp.zeros(1), "steps": jnp.ones(3)}  # noqa: E731
    return of_plain(loss, init, f32(6, 4), i32(6))


# an inverted bottleneck that is squeezed and excited, with the paper's relu6(x + 3) / 6: 2 hard swish, a ReLU, a gate
@expect(hard_silu=2, relu=1, hard_sigmoid=1)
def linen_inverted_bottleneck():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            h_sigmoid = lambda x: nn.relu6(x + 3.0) / 6.0  # noqa: E731
            h_swish = lambda x: x * h_sigmoid(x)  # noqa: E731
            h = h_swish(nn.BatchNorm(use_running_average=False)(nn.Conv(8, (1, 1))(x)))
            h = h_swish(nn.BatchNorm(use_running_average=False)(nn.Conv(8, (3, 3), feature_group_count=8)(h)))
            s = nn.Dense(8)(nn.relu(nn.Dense(2)(h.mean((1, 2)))))
            return x + nn.Conv(4, (1, 1))(h * h_sigmoid(s)[:, None, None])

    return of_linen(Block(), f32(2, 6, 6, 4))


# Lovász' hinges, sorted; 2 leaky layers, whose weights are normalised by a power iteration
@expect(leaky_relu=2)
def nnx_lovasz_spectral_norm():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in ((4, 8), (8, 8), (8, 1))])
            self.u = nnx.BatchStat(jnp.ones(8))

        def __call__(self, x):
            for layer in self.layers[:-1]:
                w, u = layer.kernel[...], self.u[...]
                v = w @ u
                v = v / jnp.maximum(jnp.linalg.norm(v), 1e-12)
                sigma = jax.lax.stop_gradient(v) @ w @ u
                x = jax.nn.leaky_relu(x @ (w / sigma) + layer.bias[...], 0.1)
            return self.layers[-1](x)[..., 0]

        def loss(self, x, y):
            logits = self(x)
            signs = 2.0 * y - 1.0
            errors = 1.0 - logits * signs
            order = jnp.argsort(-errors, axis=-1)
            errors, truth = jnp.take_along_axis(errors, order, -1), jnp.take_along_axis(y, order, -1)
            total = truth.sum(-1, keepdims=True)
            jaccard = 1 - (total - jnp.cumsum(truth, -1)) / (total + jnp.cumsum(1 - truth, -1))
            gradient = jnp.concatenate([jaccard[:, :1], jnp.diff(jaccard, axis=-1)], -1)
            return jnp.mean(jnp.sum(jax.nn.relu(errors) * jax.lax.stop_gradient(gradient), -1))

    return of_nnx(lambda: Net(nnx.Rngs(0)), f32(2, 6, 4), f32(2, 6), method=lambda m, x, y: m.loss(x, y))
