"""Attention and experts, routed, gated and in half precision."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from .entry import expect, f32, i32, key, of_linen, of_plain
from .layers import linear, linear_init, mlp


class Swin(nn.Module):
    """Windows, a bias of positions by a small network of coordinates, cosine attention."""

    dim: int = 8

    @nn.compact
    def __call__(self, x):
        b, n, _ = x.shape
        qkv = nn.Dense(3 * self.dim)(x).reshape(b, n, 3, 2, -1)
        q, k, v = jnp.moveaxis(qkv, 2, 0)
        q = q / jnp.maximum(jnp.linalg.norm(q, axis=-1, keepdims=True), 1e-6)
        k = k / jnp.maximum(jnp.linalg.norm(k, axis=-1, keepdims=True), 1e-6)
        scale = jnp.exp(jnp.minimum(self.param("scale", nn.initializers.ones, (2, 1, 1)), jnp.log(100.0)))
        logits = jnp.einsum("bqhd,bkhd->bhqk", q, k) * scale
        table = jnp.linspace(-1, 1, 2 * n - 1)[:, None]
        table = jnp.sign(table) * jnp.log2(1 + jnp.abs(table) * 8) / 3
        bias = nn.Dense(2, use_bias=False)(nn.relu(nn.Dense(16)(table)))
        index = jnp.arange(n)[:, None] - jnp.arange(n)[None] + n - 1
        logits = logits + 16 * nn.sigmoid(bias[index]).transpose(2, 0, 1)
        x = x + nn.LayerNorm()(
            nn.Dense(self.dim)(jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(logits), v).reshape(b, n, -1))
        )
        return x + nn.LayerNorm()(nn.Dense(self.dim)(nn.gelu(nn.Dense(4 * self.dim)(x), approximate=False)))


# 2 blocks of a GELU each; the network of the bias is a function of the parameters alone and is listed
@expect(gelu=2)
def linen_swin_v2():
    return of_linen(nn.Sequential([Swin(), Swin()]), f32(2, 4, 8))


# Switch routing by a scan over 2 layers, with dispatch and capacity: ReLU of all experts; jitter, losses and ranks none
@expect(relu=1, executions=2)
def plain_switch_capacity_scan():
    def layer(x, p):
        probs = jax.nn.softmax(x @ p["router"])
        expert = jnp.argmax(probs, -1)
        hot = jax.nn.one_hot(expert, 3)
        rank = jnp.cumsum(hot, axis=0) * hot
        kept = hot * (rank <= 4)
        place = jax.nn.one_hot((jnp.maximum(rank - 1, 0)).sum(-1).astype(jnp.int32), 4)
        dispatch = kept[:, :, None] * place[:, None, :]
        inputs = jnp.einsum("td,tec->ecd", x, dispatch)
        h = jnp.einsum("ecd,edf->ecf", inputs, p["up"])
        out = jnp.einsum("ecf,efd->ecd", jax.nn.relu(h), p["down"])
        gate = jnp.max(probs * hot, axis=-1)
        y = jnp.einsum("tec,ecd->td", dispatch, out) * gate[:, None]
        balance = 3 * jnp.sum(hot.mean(0) * probs.mean(0))
        z = jnp.mean(jax.nn.logsumexp(x @ p["router"], -1) ** 2)
        return x + y, (balance, z)

    def forward(params, x):
        x, (balance, z) = jax.lax.scan(layer, x, params)
        return x, balance.sum() + 1e-3 * z.sum()

    init = lambda k: {"router": jnp.ones((2, 4, 3)), "up": jnp.ones((2, 3, 4, 8)), "down": jnp.ones((2, 3, 8, 4))}  # noqa: E731
    return of_plain(forward, init, f32(7, 4))


# gated Transformer-XL: the gates are those of a GRU, 2 sigmoid, one of them shifted by 2, and a tanh, behind the
# attention and behind the feed-forward; a ReLU behind the former and in the latter
@expect(sigmoid=4, tanh=2, relu=2)
def plain_gtrxl_block():
    def gate(p, x, y):
        r = jax.nn.sigmoid(y @ p["wr"] + x @ p["ur"])
        z = jax.nn.sigmoid(y @ p["wz"] + x @ p["uz"] - 2.0)
        h = jnp.tanh(y @ p["wg"] + (r * x) @ p["ug"])
        return (1 - z) * x + z * h

    def norm(x):
        return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)

    @jax.checkpoint
    def block(p, x):
        q, k, v = jnp.split(norm(x) @ p["qkv"], 3, axis=-1)
        logits = jnp.einsum("btd,bsd->bts", q, k) + jnp.where(jnp.tril(jnp.ones((5, 5))) > 0, 0.0, -jnp.inf)
        x = gate(p["g1"], x, jax.nn.relu(jnp.einsum("bts,bsd->btd", jax.nn.softmax(logits), v)))
        return gate(p["g2"], x, jnp.where((h := norm(x) @ p["up"]) > 0, h, 0) @ p["down"])

    def init(k):
        one = {n: jnp.eye(6) for n in ("wr", "ur", "wz", "uz", "wg", "ug")}
        return {"qkv": jnp.ones((6, 18)), "g1": one, "g2": one, "up": jnp.ones((6, 12)), "down": jnp.ones((12, 6))}

    return of_plain(block, init, f32(2, 5, 6))


# Gumbel-softmax with a straight-through choice, an annealed temperature, and a sparse autoencoder with a jump at a
# threshold and an L1 of the codes: relu and sigmoid of the encoder, relu of the codes, whose threshold is a parameter
@expect(relu=2, sigmoid=1)
def plain_sparse_codes_gumbel():
    def loss(p, x, rng, step):
        h = jax.nn.relu(linear(p["enc"], x))
        gumbel = -jnp.log(-jnp.log(jax.random.uniform(rng, (len(x), 4), minval=1e-6, maxval=1.0)))
        temperature = jnp.maximum(0.5, jnp.exp(-1e-3 * step))
        soft = jax.nn.softmax((linear(p["choose"], h) + gumbel) / temperature)
        hard = jax.nn.one_hot(jnp.argmax(soft, -1), 4)
        choice = hard + soft - jax.lax.stop_gradient(soft)
        gate = jax.nn.sigmoid(linear(p["gate"], h))
        codes = jax.nn.relu((h * gate) @ p["up"] - p["threshold"])
        out = jnp.einsum("be,bf,efd->bd", choice, codes, p["dec"])
        return jnp.mean((out - x) ** 2) + 1e-3 * jnp.mean(jnp.sum(jnp.abs(codes), -1))

    def init(k):
        return {
            "enc": linear_init(k, 4, 8)[0],
            "choose": linear_init(k, 8, 4)[0],
            "gate": linear_init(k, 8, 8)[0],
            "up": jnp.ones((8, 12)),
            "threshold": jnp.ones(12),
            "dec": jnp.ones((4, 12, 4)),
        }

    return of_plain(loss, init, f32(5, 4), key(), i32())


# the whole step of a classifier with mixed precision and loss scaling: gelu in 2 layers in float16, label smoothing,
# top-1; the backward pass, the finite check and the scale's update are none
@expect(gelu=2)
def plain_float16_step_with_loss_scale():
    def step(params, scale, x, labels):
        def loss(params):
            half = jax.tree.map(lambda a: a.astype(jnp.float16), params)
            logits = mlp(half, x.astype(jnp.float16), functools.partial(jax.nn.gelu, approximate=False)).astype(
                jnp.float32
            )
            targets = optax.smooth_labels(jax.nn.one_hot(labels, 3), 0.1)
            value = optax.softmax_cross_entropy(logits, targets).mean()
            return value * scale, (value, jnp.mean(jnp.argmax(logits, -1) == labels))

        grads, aux = jax.grad(loss, has_aux=True)(params)
        grads = jax.tree.map(lambda g: g / scale, grads)
        finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(grads)]))
        new = jax.tree.map(lambda p, g: jnp.where(finite, p - 0.1 * g, p), params, grads)
        return new, jnp.where(finite, jnp.minimum(scale * 2, 2.0**15), jnp.maximum(scale / 2, 1.0)), aux

    return of_plain(step, lambda k: linear_init(k, 4, 8, 8, 3), f32(), f32(6, 4), i32(6))


# RetNet: a gate by swish behind a group norm, decay in log space, GELU; 2 layers scanned over stacked parameters
@expect(silu=1, gelu=1, executions=4)
def plain_retention_scan():
    def layer(x, p):
        q, k, v, g = jnp.split(x @ p["qkvg"], 4, axis=-1)
        n = jnp.arange(x.shape[1])
        gap = (n[:, None] - n[None]).astype(x.dtype)
        decay = jnp.where(gap >= 0, 0.9 ** jnp.maximum(gap, 0), 0.0)
        score = jnp.einsum("btd,bsd->bts", q, k) * decay
        score = score / jnp.maximum(jnp.abs(score.sum(-1, keepdims=True)), 1.0)
        y = jnp.einsum("bts,bsd->btd", score, v).reshape(*x.shape[:2], 2, 4)
        y = (y - y.mean(-1, keepdims=True)) / jnp.sqrt(y.var(-1, keepdims=True) + 1e-5)
        x = x + (jax.nn.swish(g) * y.reshape(x.shape)) @ p["out"]
        return x + jax.nn.gelu(x @ p["up"]) @ p["down"], None

    shapes = {"qkvg": (8, 32), "out": (8, 8), "up": (8, 16), "down": (16, 8)}
    init = lambda k: {n: jnp.ones((2, *s)) for n, s in shapes.items()}  # noqa: E731
    return of_plain(lambda p, x: jax.lax.scan(layer, x, p)[0], init, f32(2, 5, 8))
