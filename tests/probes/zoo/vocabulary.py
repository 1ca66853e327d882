"""Activations in the words of people who have not read jax.nn, one layer each."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from .entry import expect, f32, of_linen, of_nnx, of_plain
from .layers import linear, linear_init


def chain(*acts):
    """A network that has these, one behind each layer but the last."""

    def forward(params, x):
        for layer, act in zip(params, acts, strict=False):
            x = act(linear(layer, x))
        return linear(params[-1], x)

    return of_plain(forward, lambda k: linear_init(k, 4, *[8] * len(acts), 2), f32(3, 4))


@expect(relu=10)
def plain_relu_vocabulary():
    return chain(
        lambda x: jax.lax.max(x, jnp.zeros_like(x)),
        lambda x: jax.lax.select(x > 0, x, jnp.zeros(x.shape)),
        lambda x: x * jnp.heaviside(x, 0.0),
        lambda x: jnp.fmax(x, 0.0),
        lambda x: jnp.piecewise(x, [x < 0, x >= 0], [lambda v: jnp.zeros_like(v), lambda v: v]),
        lambda x: jnp.select([x > 0], [x], 0.0),
        lambda x: -jnp.minimum(-x, 0),
        lambda x: x - jnp.minimum(x, 0),
        lambda x: (jnp.sign(x) + 1) / 2 * x,
        lambda x: jnp.where(x > 0, 1, 0) * x,
    )


@expect(leaky_relu=7)
def plain_leaky_vocabulary():
    return chain(
        lambda x: jnp.piecewise(x, [x < 0], [lambda v: 0.1 * v, lambda v: v]),
        lambda x: jnp.select([x >= 0, x < 0], [x, 0.2 * x]),
        lambda x: jax.nn.relu(x) - 0.1 * jax.nn.relu(-x),
        lambda x: jnp.maximum(x, 0) + 0.01 * jnp.minimum(x, 0),
        lambda x: 0.6 * x + 0.4 * jnp.abs(x),
        lambda x: jax.lax.cond(True, lambda v: jnp.where(v < 0, 0.3 * v, v), lambda v: v, x),
        lambda x: x * jnp.where(x < 0, 0.2, 1.0),
    )


@expect(elu=3, selu=1, softplus=2, sigmoid=2, tanh=2, silu=1, swish=1, soft_sign=1)
def plain_smooth_vocabulary():
    return chain(
        lambda x: jnp.maximum(x, 0) + jnp.minimum(jnp.expm1(x), 0),
        lambda x: jax.nn.relu(x) + jnp.minimum(0.0, 0.5 * (jnp.exp(x) - 1)),
        lambda x: jnp.where(x > 0, x, 1.0 * (jnp.exp(jnp.where(x > 0, 0.0, x)) - 1)),
        lambda x: 1.0507 * jnp.where(x > 0, x, 1.67326 * (jnp.exp(x) - 1)),
        lambda x: jnp.log(1 + jnp.exp(x)),
        lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
        lambda x: 0.5 * (1 + jnp.tanh(x / 2)),
        lambda x: jax.scipy.special.expit(x),
        lambda x: (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x)),
        lambda x: 2 / (1 + jnp.exp(-2 * x)) - 1,
        lambda x: x * 0.5 * (1 + jnp.tanh(0.5 * x)),
        lambda x: x * jax.nn.sigmoid(1.5 * x),
        lambda x: x / (jnp.abs(x) + 1.0),
    )


@expect(hard_sigmoid=2, hard_silu=2, relu6=3)
def plain_hard_vocabulary():
    return chain(
        lambda x: jnp.clip(x / 6 + 0.5, 0, 1),
        lambda x: jnp.maximum(0, jnp.minimum(1, (x + 3) / 6)),
        lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
        lambda x: x * jnp.clip(x * 0.16666667 + 0.5, 0.0, 1.0),
        lambda x: jnp.clip(x, 0, 6),
        lambda x: jnp.minimum(6.0, jnp.maximum(0.0, x)),
        lambda x: jnp.where(x < 0, 0.0, jnp.where(x > 6, 6.0, x)),
    )


# on a part of the channels, on both signs, on pairs: 1 of half the channels, 1 written into a slice, 2 of both signs, 1
# of both signs at once; a maximum of two halves is none; one under a mask
@expect(relu=6)
def plain_relu_in_parts():
    def forward(params, x):
        h = linear(params[0], x)
        a, b = jnp.split(h, 2, axis=-1)
        h = linear(params[1], jnp.concatenate([jax.nn.relu(a), b], axis=-1))
        h = linear(params[2], h.at[:, :3].set(jnp.maximum(h[:, :3], 0)))
        h = linear(params[3], jnp.concatenate([jax.nn.relu(h), jax.nn.relu(-h)], axis=-1))
        h = linear(params[4], jnp.maximum(jnp.concatenate([h, -h], axis=-1), 0))
        h = linear(params[5], jnp.maximum(h[:, ::2], h[:, 1::2]))
        keep = jnp.arange(8) % 2 == 0
        return linear(params[6], jnp.where(keep, jnp.maximum(h, 0), h))

    def init(k):
        sizes = ((4, 8), (8, 8), (8, 8), (16, 8), (16, 8), (4, 8), (8, 2))
        return [linear_init(k, *s)[0] for s in sizes]

    return of_plain(forward, init, f32(3, 4))


# Keras' PReLU, the thesis' PReLU, and one slope for each channel of an image
@expect(prelu=3)
def linen_prelu_by_hand():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            slope = lambda i, *shape: self.param(f"slope{i}", nn.initializers.constant(0.25), shape)  # noqa: E731
            h = nn.Conv(4, (3, 3))(x)
            h = nn.relu(h) - slope(0, 4) * nn.relu(-h)
            h = nn.Conv(4, (3, 3))(h)
            h = jnp.maximum(0, h) + slope(1, 4) * (h - jnp.abs(h)) * 0.5
            h = nn.Dense(8)(h.mean((1, 2)))
            return nn.Dense(2)(jnp.where(h > 0, h, h * jnp.clip(slope(2, 1), 0, 1)))

    return of_linen(Net(), f32(2, 6, 6, 1))


# trained to be quantised: relu6 in each of 2 layers, then rounded to 16 levels, with a straight-through gradient; the
# weights go through a tanh, which is a function of parameters; scales are learnt by clipping
@expect(relu6=2)
def nnx_dorefa_quantised():
    def through(x, y):
        return x + jax.lax.stop_gradient(y - x)

    class Quantised(nnx.Module):
        def __init__(self, din, dout, rngs):
            self.w = nnx.Param(rngs.normal((din, dout)))
            self.b = nnx.Param(jnp.zeros(dout))

        def __call__(self, x):
            w = jnp.tanh(self.w[...])
            w = w / (2 * jnp.max(jnp.abs(w))) + 0.5
            w = 2 * through(w, jnp.round(w * 15) / 15) - 1
            return x @ w + self.b[...]

    def quantise(x):
        scale = jnp.maximum(jnp.max(jnp.abs(x), axis=0, keepdims=True), 1e-5) / 15
        return through(x, jnp.clip(jnp.round(x / scale), 0, 15) * scale)

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([Quantised(a, b, rngs) for a, b in ((4, 8), (8, 8), (8, 2))])

        def __call__(self, x):
            x = quantise(nnx.relu6(self.layers[0](x)))
            x = quantise(jnp.clip(self.layers[1](x), 0.0, 6.0))
            return self.layers[2](x)

    return of_nnx(lambda: Net(nnx.Rngs(0)), f32(3, 4))


# LISTA: soft thresholding with learnt thresholds, unrolled 3 times
@expect(soft_shrink=3)
def plain_lista():
    def forward(p, y):
        b = y @ p["e"]
        z = jnp.zeros_like(b)
        for i in range(3):
            u = b + z @ p["s"]
            z = jnp.sign(u) * jnp.maximum(jnp.abs(u) - p["theta"][i], 0)
        return z @ p["d"]

    def init(k):
        return {"e": jnp.ones((4, 8)), "s": jnp.ones((8, 8)), "theta": jnp.ones((3, 8)), "d": jnp.ones((8, 4))}

    return of_plain(forward, init, f32(3, 4))
