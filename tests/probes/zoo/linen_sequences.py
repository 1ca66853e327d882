"""Flax Linen: networks of sequences."""

from collections.abc import Sequence
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from .entry import expect, f32, i32, of_linen


class GPTBlock(nn.Module):
    heads: int

    @nn.compact
    def __call__(self, x, deterministic):
        dim = x.shape[-1]
        h = nn.LayerNorm()(x)
        mask = nn.make_causal_mask(x[..., 0])
        h = nn.MultiHeadDotProductAttention(self.heads, dropout_rate=0.1)(h, mask=mask, deterministic=deterministic)
        x = x + h
        h = nn.gelu(nn.Dense(4 * dim)(nn.LayerNorm()(x)))
        x = x + nn.Dropout(0.1)(nn.Dense(dim)(h), deterministic=deterministic)
        return x, None


class GPT(nn.Module):
    depth: int

    @nn.compact
    def __call__(self, tokens, deterministic=False):
        embed = nn.Embed(64, 32)
        x = embed(tokens) + self.param("positions", nn.initializers.normal(0.02), (tokens.shape[1], 32))
        blocks = nn.scan(
            nn.remat(GPTBlock, prevent_cse=False, static_argnums=(2,)),
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,
            length=self.depth,
        )
        x, _ = blocks(4)(x, deterministic)
        return embed.attend(nn.LayerNorm()(x))


# the body of the scan, which runs 5 times
@expect(gelu=1, executions=5)
def linen_gpt_scan_remat_dropout():
    return of_linen(GPT(5), i32(2, 16))


class FeedForward(nn.Module):
    hidden: int

    @nn.compact
    def __call__(self, x, train):
        h = nn.relu(nn.Dense(self.hidden)(x))
        h = nn.Dropout(0.1, deterministic=not train)(h)
        return nn.Dense(x.shape[-1])(h)


class EncoderDecoder(nn.Module):
    """Post-norm, as in the paper of 2017."""

    depth: int
    dim: int = 32

    @nn.compact
    def __call__(self, source, target, train=True):
        attention = partial(nn.MultiHeadDotProductAttention, 4, dropout_rate=0.1, deterministic=not train)
        embed = nn.Embed(64, self.dim)
        angles = jnp.arange(64)[:, None] / 10_000 ** (jnp.arange(0, self.dim, 2) / self.dim)
        positions = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)

        padding = nn.make_attention_mask(source > 0, source > 0)
        x = embed(source) * jnp.sqrt(self.dim) + positions[: source.shape[1]]
        for _ in range(self.depth):
            x = nn.LayerNorm()(x + attention()(x, mask=padding))
            x = nn.LayerNorm()(x + FeedForward(64)(x, train))
        memory = x * (source > 0)[..., None]

        shifted = jnp.pad(target[:, :-1], ((0, 0), (1, 0)))
        causal = nn.combine_masks(nn.make_causal_mask(target), nn.make_attention_mask(target > 0, target > 0))
        across = nn.make_attention_mask(target > 0, source > 0)
        y = embed(shifted) * jnp.sqrt(self.dim) + positions[: target.shape[1]]
        for _ in range(self.depth):
            y = nn.LayerNorm()(y + attention()(y, mask=causal))
            y = nn.LayerNorm()(y + attention()(y, memory, mask=across))
            y = nn.LayerNorm()(y + FeedForward(64)(y, train))
        return embed.attend(y)


# 2 in the encoder and 2 in the decoder; the padding mask times the memory is none
@expect(relu=4)
def linen_encoder_decoder():
    return of_linen(EncoderDecoder(2), i32(2, 12), i32(2, 10))


class T5Layer(nn.Module):
    """Relative position buckets and a gated GELU, as in T5 1.1."""

    heads: int = 4

    def bias(self, length, buckets=8, max_distance=32):
        relative = jnp.arange(length)[None, :] - jnp.arange(length)[:, None]
        distance = -jnp.minimum(relative, 0)
        exact = buckets // 2
        log = jnp.log(jnp.maximum(distance, 1) / exact) / jnp.log(max_distance / exact)
        far = jnp.minimum(exact + (log * (buckets - exact)).astype(jnp.int32), buckets - 1)
        bucket = jnp.where(distance < exact, jnp.maximum(distance, 0), far)
        table = self.param("bias", nn.initializers.normal(1.0), (buckets, self.heads))
        return jnp.transpose(table[bucket], (2, 0, 1))[None]

    @nn.compact
    def __call__(self, x):
        dense = partial(nn.Dense, use_bias=False)
        h = nn.RMSNorm()(x)
        q, k, v = (dense(x.shape[-1])(h).reshape(*x.shape[:2], self.heads, -1) for _ in range(3))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) + self.bias(x.shape[1])
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), v).reshape(x.shape)
        x = x + dense(x.shape[-1])(mixed)
        h = nn.RMSNorm()(x)
        return x + dense(x.shape[-1])(nn.gelu(dense(64)(h), approximate=True) * dense(64)(h))


# the gate of each of 3 layers; maxima of integers are none
@expect(gelu=3)
def linen_t5_geglu():
    return of_linen(nn.Sequential([T5Layer() for _ in range(3)]), f32(2, 12, 32))


class ConformerBlock(nn.Module):
    @nn.compact
    def __call__(self, x, train=True):
        dim = x.shape[-1]

        def feed_forward(h):
            h = nn.swish(nn.Dense(4 * dim)(nn.LayerNorm()(h)))
            return nn.Dropout(0.1, deterministic=not train)(nn.Dense(dim)(h))

        x = x + 0.5 * feed_forward(x)
        x = x + nn.MultiHeadDotProductAttention(4, deterministic=not train)(nn.LayerNorm()(x))
        h = nn.glu(nn.Dense(2 * dim)(nn.LayerNorm()(x)))
        h = nn.Conv(dim, (15,), feature_group_count=dim)(h)
        h = nn.swish(nn.BatchNorm(use_running_average=not train)(h))
        x = x + nn.Dense(dim)(h)
        return nn.LayerNorm()(x + 0.5 * feed_forward(x))


# each of 2 blocks: 2 feed-forwards and the convolution have a swish, the gate of glu is a sigmoid
@expect(silu=6, sigmoid=2)
def linen_conformer():
    return of_linen(nn.Sequential([ConformerBlock(), ConformerBlock()]), f32(2, 20, 16))


class Tagger(nn.Module):
    """A bidirectional LSTM."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(64, 8)(tokens)
        forward, backward = nn.RNN(nn.OptimizedLSTMCell(16)), nn.RNN(nn.OptimizedLSTMCell(16))
        return nn.Dense(5)(nn.Bidirectional(forward, backward)(x))


# two cells of 3 sigmoid and 2 tanh, each 9 times
@expect(sigmoid=6, tanh=4, executions=10 * 9)
def linen_bidirectional_lstm():
    return of_linen(Tagger(), i32(2, 9))


class CharacterGRU(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(32, 8)(tokens)
        for _ in range(2):
            cell = nn.scan(
                nn.GRUCell, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1
            )(features=16)
            _, x = cell(cell.initialize_carry(jax.random.key(0), x[:, 0].shape), x)
        return nn.Dense(32)(x)


# two cells of 2 sigmoid (r, z) and 1 tanh, each 7 times
@expect(sigmoid=4, tanh=2, executions=6 * 7)
def linen_gru():
    return of_linen(CharacterGRU(), i32(2, 7))


class WaveNet(nn.Module):
    dilations: Sequence[int] = (1, 2, 4)

    @nn.compact
    def __call__(self, x):
        causal = partial(nn.Conv, kernel_size=(2,), padding="CAUSAL")
        x = causal(16)(x)
        skips = 0
        for dilation in self.dilations:
            signal = causal(16, kernel_dilation=dilation)(x)
            gate = causal(16, kernel_dilation=dilation)(x)
            h = jnp.tanh(signal) * jax.nn.sigmoid(gate)
            skips = skips + nn.Conv(24, (1,))(h)
            x = x + nn.Conv(16, (1,))(h)
        h = nn.Conv(24, (1,))(nn.relu(skips))
        return nn.Conv(256, (1,))(nn.relu(h))


# tanh times sigmoid in each of 3 layers, 2 relu in the head
@expect(tanh=3, sigmoid=3, relu=2)
def linen_wavenet():
    return of_linen(WaveNet(), f32(2, 32, 1))
