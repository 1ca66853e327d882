"""Flax NNX: networks of sequences."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from .entry import expect, i32, of_nnx


class CausalBlock(nnx.Module):
    def __init__(self, dim, *, rngs):
        self.norm1 = nnx.LayerNorm(dim, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, dim, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(dim, rngs=rngs)
        self.up = nnx.Linear(dim, 4 * dim, rngs=rngs)
        self.down = nnx.Linear(4 * dim, dim, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.norm1(x), mask=nnx.make_causal_mask(x[..., 0]))
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


class ScannedGPT(nnx.Module):
    def __init__(self, depth, dim=32, vocab=64, *, rngs):
        self.tokens = nnx.Embed(vocab, dim, rngs=rngs)
        self.positions = nnx.Embed(16, dim, rngs=rngs)

        @nnx.split_rngs(splits=depth)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def stack(rngs):
            return CausalBlock(dim, rngs=rngs)

        self.blocks = stack(rngs)
        self.norm = nnx.LayerNorm(dim, rngs=rngs)

    def __call__(self, tokens):
        x = self.tokens(tokens) + self.positions(jnp.arange(tokens.shape[1]))

        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        @nnx.remat
        def layers(block, x):
            return block(x)

        return self.tokens.attend(self.norm(layers(self.blocks, x)))


# the body of the scan, which runs 6 times
@expect(gelu=1, executions=6)
def nnx_gpt_scan_remat():
    return of_nnx(lambda: ScannedGPT(6, rngs=nnx.Rngs(0)), i32(2, 16))


def rotary(x, base=10_000.0):
    half = x.shape[-1] // 2
    angles = jnp.arange(x.shape[1])[:, None] * base ** (-jnp.arange(half) / half)
    sin, cos = jnp.sin(angles)[None, :, None], jnp.cos(angles)[None, :, None]
    x1, x2 = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], axis=-1)


class LlamaBlock(nnx.Module):
    def __init__(self, dim, heads, *, rngs):
        linear = functools.partial(nnx.Linear, use_bias=False, rngs=rngs)
        self.norm1, self.norm2 = nnx.RMSNorm(dim, rngs=rngs), nnx.RMSNorm(dim, rngs=rngs)
        self.qkv, self.out = linear(dim, 3 * dim), linear(dim, dim)
        self.gate, self.up, self.down = linear(dim, 2 * dim), linear(dim, 2 * dim), linear(2 * dim, dim)
        self.heads = heads

    def attend(self, x):
        q, k, v = (a.reshape(*x.shape[:2], self.heads, -1) for a in jnp.split(self.qkv(x), 3, axis=-1))
        return self.out(jax.nn.dot_product_attention(rotary(q), rotary(k), v, is_causal=True).reshape(x.shape))

    def __call__(self, x):
        x = x + self.attend(self.norm1(x))
        h = self.norm2(x)
        return x + self.down(nnx.silu(self.gate(h)) * self.up(h))


class Llama(nnx.Module):
    def __init__(self, depth, dim=32, vocab=64, *, rngs):
        self.embed = nnx.Embed(vocab, dim, rngs=rngs)
        self.blocks = nnx.List([LlamaBlock(dim, 4, rngs=rngs) for _ in range(depth)])
        self.norm = nnx.RMSNorm(dim, rngs=rngs)
        self.head = nnx.Linear(dim, vocab, use_bias=False, rngs=rngs)

    def __call__(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


# 1 gate in each of 3 blocks
@expect(silu=3)
def nnx_llama():
    return of_nnx(lambda: Llama(3, rngs=nnx.Rngs(0)), i32(2, 16))


class SwitchLayer(nnx.Module):
    """Top-2 routing with a capacity, as in GShard."""

    def __init__(self, dim, experts, *, rngs):
        init = nnx.initializers.lecun_normal()
        self.router = nnx.Linear(dim, experts, rngs=rngs)
        self.w1 = nnx.Param(init(rngs.params(), (experts, dim, 2 * dim)))
        self.w2 = nnx.Param(init(rngs.params(), (experts, 2 * dim, dim)))
        self.experts = experts

    def __call__(self, x):
        tokens = x.reshape(-1, x.shape[-1])
        capacity = max(1, 2 * tokens.shape[0] // self.experts)
        gates = jax.nn.softmax(self.router(tokens))
        weights, chosen = jax.lax.top_k(gates, 2)
        weights = weights / jnp.sum(weights, axis=-1, keepdims=True)
        mask = jax.nn.one_hot(chosen.T.reshape(-1), self.experts)
        position = jnp.cumsum(mask, axis=0) * mask - 1
        mask = jnp.where(position < capacity, mask, 0)
        slots = mask[..., None] * jax.nn.one_hot(position.astype(jnp.int32), capacity)
        twice = jnp.concatenate([tokens, tokens])
        inputs = jnp.einsum("tec,td->ecd", slots, twice)
        outputs = jax.vmap(lambda w1, w2, h: jax.nn.relu(h @ w1) @ w2)(self.w1[...], self.w2[...], inputs)
        combined = jnp.einsum("tec,ecd->td", slots * weights.T.reshape(-1)[:, None, None], outputs)
        return sum(jnp.split(combined, 2)).reshape(x.shape)


class MoETransformer(nnx.Module):
    def __init__(self, depth, dim=16, *, rngs):
        self.embed = nnx.Embed(64, dim, rngs=rngs)
        self.attentions = nnx.List([nnx.MultiHeadAttention(2, dim, decode=False, rngs=rngs) for _ in range(depth)])
        self.norms = nnx.List([nnx.LayerNorm(dim, rngs=rngs) for _ in range(2 * depth)])
        self.experts = nnx.List([SwitchLayer(dim, 4, rngs=rngs) for _ in range(depth)])

    def __call__(self, tokens):
        x = self.embed(tokens)
        for i, (attention, experts) in enumerate(zip(self.attentions, self.experts, strict=True)):
            x = x + attention(self.norms[2 * i](x))
            x = x + experts(self.norms[2 * i + 1](x))
        return self.embed.attend(x)


# 1 for all experts of each of 2 layers; the routing has softmax, top-k and masks only
@expect(relu=2)
def nnx_moe_top2():
    return of_nnx(lambda: MoETransformer(2, rngs=nnx.Rngs(0)), i32(2, 8))


class SentimentLSTM(nnx.Module):
    def __init__(self, *, rngs):
        self.embed = nnx.Embed(64, 16, rngs=rngs)
        self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(16, 32, rngs=rngs))
        self.head = nnx.Linear(32, 1, rngs=rngs)

    def __call__(self, tokens):
        return nnx.sigmoid(self.head(self.rnn(self.embed(tokens))[:, -1]))


# the cell: sigmoid of i, f, o and tanh of g and c, 12 times; a sigmoid at the end
@expect(sigmoid=4, tanh=2, executions=5 * 12 + 1)
def nnx_lstm():
    return of_nnx(lambda: SentimentLSTM(rngs=nnx.Rngs(0)), i32(3, 12))
