"""Networks for functions, molecules and tables."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx

from .entry import expect, f32, i32, of_equinox, of_haiku, of_linen, of_nnx, of_plain
from .layers import linear, linear_init, mlp


class DeepONet(nn.Module):
    width: int = 16

    @nn.compact
    def __call__(self, sensors, points):
        branch = sensors
        for _ in range(2):
            branch = nn.relu(nn.Dense(self.width)(branch))
        branch = nn.Dense(self.width)(branch)
        trunk = points
        for _ in range(3):
            trunk = nn.tanh(nn.Dense(self.width)(trunk))
        bias = self.param("bias", nn.initializers.zeros, ())
        return jnp.einsum("bi,pi->bp", branch, trunk) + bias


# 2 hidden layers of the branch; the trunk ends in an activation too
@expect(relu=2, tanh=3)
def linen_deeponet():
    return of_linen(DeepONet(), f32(4, 10), f32(7, 2))


# Fourier neural operator: between 4 spectral layers, and in the projection
@expect(gelu=4)
def plain_fourier_neural_operator():
    def spectral(p, x):
        modes = p["re"].shape[0]
        spectrum = jnp.fft.rfft(x, axis=1)[:, :modes]
        mixed = jnp.einsum("bmi,mio->bmo", spectrum, jax.lax.complex(p["re"], p["im"]))
        padded = jnp.zeros((x.shape[0], x.shape[1] // 2 + 1, x.shape[2]), mixed.dtype).at[:, :modes].set(mixed)
        return jnp.fft.irfft(padded, n=x.shape[1], axis=1)

    def forward(params, x):
        grid = jnp.broadcast_to(jnp.linspace(0, 1, x.shape[1])[None, :, None], x.shape)
        h = linear(params["lift"], jnp.concatenate([x, grid], axis=-1))
        for i, p in enumerate(params["blocks"]):
            h = spectral(p, h) + linear(p["skip"], h)
            if i < len(params["blocks"]) - 1:
                h = jax.nn.gelu(h)
        return mlp(params["project"], h, jax.nn.gelu)

    def init(key, width=8, modes=4):
        blocks = [
            {
                "re": jnp.ones((modes, width, width)),
                "im": jnp.ones((modes, width, width)),
                "skip": linear_init(k, width, width)[0],
            }
            for k in jax.random.split(key, 4)
        ]
        return {"lift": linear_init(key, 2, width)[0], "blocks": blocks, "project": linear_init(key, width, 16, 1)}

    return of_plain(forward, init, f32(3, 16, 1))


def shifted_softplus(x):
    return jax.nn.softplus(x) - jnp.log(2.0)


# SchNet: 2 in the filters and 1 on the atoms of each of 2 interactions, 1 in the readout; the cutoff is none
@expect(softplus=7)
def haiku_schnet():
    def forward(numbers, positions, senders, receivers):
        x = hk.Embed(10, 16)(numbers)
        distance = jnp.linalg.norm(positions[senders] - positions[receivers] + 1e-9, axis=-1)
        basis = jnp.exp(-10.0 * (distance[:, None] - jnp.linspace(0, 5, 8)) ** 2)
        cutoff = jnp.where(distance < 5.0, 0.5 * (jnp.cos(jnp.pi * distance / 5.0) + 1.0), 0.0)
        for _ in range(2):
            filters = shifted_softplus(hk.Linear(16)(basis))
            filters = shifted_softplus(hk.Linear(16)(filters)) * cutoff[:, None]
            h = hk.Linear(16, with_bias=False)(x)
            h = jax.ops.segment_sum(h[senders] * filters, receivers, x.shape[0])
            x = x + hk.Linear(16)(shifted_softplus(hk.Linear(16)(h)))
        return jnp.sum(hk.Linear(1)(shifted_softplus(hk.Linear(8)(x))))

    return of_haiku(forward, i32(5), f32(5, 3), i32(12), i32(12))


# 4 in each of 2 layers: 2 of messages, 1 of positions, 1 of nodes
@expect(silu=8)
def plain_equivariant_graph():
    def layer(p, h, x, senders, receivers):
        offset = x[senders] - x[receivers]
        squared = jnp.sum(offset**2, axis=-1, keepdims=True)
        m = jnp.concatenate([h[senders], h[receivers], squared], axis=-1)
        for w in p["message"]:
            m = jax.nn.swish(linear(w, m))
        x = x + jax.ops.segment_sum(offset * mlp(p["position"], m, jax.nn.swish), receivers, x.shape[0])
        received = jax.ops.segment_sum(m, receivers, h.shape[0])
        return h + mlp(p["node"], jnp.concatenate([h, received], axis=-1), jax.nn.swish), x

    def forward(params, h, x, senders, receivers):
        for p in params:
            h, x = layer(p, h, x, senders, receivers)
        return h, x

    def init(key):
        one = {
            "message": linear_init(key, 17, 8, 8),
            "position": linear_init(key, 8, 8, 1),
            "node": linear_init(key, 16, 8, 8),
        }
        return [one, one]

    return of_plain(forward, init, f32(5, 8), f32(5, 3), i32(12), i32(12))


# Kolmogorov-Arnold: the base of either layer; the splines are bumps, squashed inputs are tanh
@expect(silu=2, tanh=2)
def plain_kolmogorov_arnold():
    def layer(p, x):
        base = (x / (1 + jnp.exp(-x))) @ p["base"]
        bumps = jnp.exp(-(((jnp.tanh(x)[..., None] - jnp.linspace(-1, 1, 5)) / 0.5) ** 2))
        return base + jnp.einsum("big,igo->bo", bumps, p["spline"])

    def forward(params, x):
        for p in params:
            x = layer(p, x)
        return x

    def init(key):
        return [{"base": jnp.ones((a, b)), "spline": jnp.ones((a, 5, b))} for a, b in ((3, 8), (8, 2))]

    return of_plain(forward, init, f32(6, 3))


def sparsemax(z):
    ordered = jnp.sort(z, axis=-1)[..., ::-1]
    count = jnp.arange(1, z.shape[-1] + 1)
    total = jnp.cumsum(ordered, axis=-1)
    size = jnp.sum(1 + count * ordered > total, axis=-1, keepdims=True)
    tau = (jnp.take_along_axis(total, size - 1, axis=-1) - 1) / size
    return jnp.maximum(z - tau, 0)


class FeatureTransformer(nnx.Module):
    def __init__(self, din, dim, rngs):
        self.first = nnx.Linear(din, 2 * dim, rngs=rngs)
        self.second = nnx.Linear(dim, 2 * dim, rngs=rngs)
        self.norms = nnx.List([nnx.BatchNorm(2 * dim, rngs=rngs) for _ in range(2)])

    def __call__(self, x):
        h = nnx.glu(self.norms[0](self.first(x)))
        return (h + nnx.glu(self.norms[1](self.second(h)))) * jnp.sqrt(0.5)


class TabNet(nnx.Module):
    def __init__(self, features, dim, steps, rngs):
        self.transformers = nnx.List([FeatureTransformer(features, 2 * dim, rngs) for _ in range(steps + 1)])
        self.attention = nnx.List([nnx.Linear(dim, features, rngs=rngs) for _ in range(steps)])
        self.out = nnx.Linear(dim, 3, rngs=rngs)

    def __call__(self, x):
        prior, total = jnp.ones_like(x), 0.0
        _, a = jnp.split(self.transformers[0](x), 2, axis=-1)
        for attention, transformer in zip(self.attention, self.transformers[1:], strict=True):
            mask = sparsemax(attention(a) * prior)
            prior = prior * (1.3 - mask)
            d, a = jnp.split(transformer(mask * x), 2, axis=-1)
            total = total + nnx.relu(d)
        return self.out(total)


# 2 gates in each of 3 transformers, the decision of each of 2 steps; sparsemax ends in a relu
@expect(sigmoid=6, relu=4)
def nnx_tabnet():
    return of_nnx(lambda: TabNet(6, 4, 2, nnx.Rngs(0)), f32(5, 6))


# 2 hidden layers of encoder and decoder; the deviation, although it goes into the likelihood only
@expect(relu=4, softplus=1)
def equinox_neural_process():
    class NeuralProcess(eqx.Module):
        encoder: eqx.nn.MLP
        decoder: eqx.nn.MLP

        def __init__(self, key):
            self.encoder = eqx.nn.MLP(2, 8, 8, 2, key=key)
            self.decoder = eqx.nn.MLP(9, 2, 8, 2, key=key)

        def __call__(self, context, targets):
            r = jnp.mean(jax.vmap(self.encoder)(context), axis=0)
            out = jax.vmap(lambda x: self.decoder(jnp.append(r, x)))(targets)
            mean, raw = out[:, 0], out[:, 1]
            return mean, 0.1 + 0.9 * jax.nn.softplus(raw)

    def loss(model, context, x, y):
        mean, deviation = jax.vmap(model)(context, x)
        return -jnp.mean(jax.scipy.stats.norm.logpdf(y, mean, deviation))

    return of_equinox(NeuralProcess, f32(3, 5, 2), f32(3, 7), f32(3, 7), call=loss)


# 2 hidden layers; widths of the mixture are elu + 1
@expect(tanh=2, elu=1)
def plain_mixture_density():
    def loss(params, x, y):
        out = mlp(params, x, jnp.tanh)
        logits, mean, raw = jnp.split(out, 3, axis=-1)
        width = jax.nn.elu(raw) + 1 + 1e-6
        log_prob = -0.5 * ((y - mean) / width) ** 2 - jnp.log(width) - 0.5 * jnp.log(2 * jnp.pi)
        return -jnp.mean(jax.nn.logsumexp(jax.nn.log_softmax(logits) + log_prob, axis=-1))

    return of_plain(loss, lambda key: linear_init(key, 2, 16, 16, 12), f32(6, 2), f32(6, 1))


# 2 layers of the bottom, 2 of the top, the probability of a click
@expect(relu=4, sigmoid=1)
def plain_recommender():
    def loss(params, dense, categories, clicks):
        bottom = jax.nn.relu(linear(params["bottom"][1], jax.nn.relu(linear(params["bottom"][0], dense))))
        embedded = jnp.stack([t[c] for t, c in zip(params["tables"], categories.T, strict=True)], axis=1)
        vectors = jnp.concatenate([bottom[:, None], embedded], axis=1)
        products = jnp.einsum("bid,bjd->bij", vectors, vectors)[:, *jnp.tril_indices(4, -1)]
        logits = mlp(params["top"], jnp.concatenate([bottom, products], axis=-1), jax.nn.relu)[:, 0]
        p = jnp.clip(jax.nn.sigmoid(logits), 1e-7, 1 - 1e-7)
        return -jnp.mean(clicks * jnp.log(p) + (1 - clicks) * jnp.log(1 - p))

    def init(key):
        tables = [jax.random.normal(key, (10, 8))] * 3
        return {"bottom": linear_init(key, 5, 8, 8), "tables": tables, "top": linear_init(key, 14, 8, 8, 1)}

    return of_plain(loss, init, f32(6, 5), i32(6, 3), f32(6))
