"""Recurrences and attention of all sorts, whatever the library."""

import functools

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from .entry import expect, f32, i32, key, of_haiku, of_linen, of_nnx, of_plain
from .layers import linear, linear_init


# xLSTM: a matrix memory with exponential gates, in 6 steps: log-sigmoid of the forget gate, sigmoid of the output gate;
# the stabiliser and the normaliser are maxima of two arrays; the feed-forward is a swish
@expect(log_sigmoid=1, sigmoid=1, silu=1, executions=13)
def plain_xlstm_matrix_memory():
    def cell(p, state, x):
        memory, normaliser, m = state
        q, k, v = jnp.split(linear(p["qkv"], x), 3)
        f = jax.nn.log_sigmoid(linear(p["forget"], x))
        i = linear(p["input"], x)
        new = jnp.maximum(f + m, i)
        i, f = jnp.exp(i - new), jnp.exp(f + m - new)
        memory = f[:, None] * memory + i[:, None] * v[:, None] * k[None]
        normaliser = f * normaliser + i * k
        h = memory @ q / jnp.maximum(jnp.abs(normaliser @ q), 1.0)
        return (memory, normaliser, new), jax.nn.sigmoid(linear(p["out"], x)) * h

    def forward(p, xs):
        def one(xs):
            start = (jnp.zeros((8, 8)), jnp.zeros(8), jnp.zeros(8))
            return jax.lax.scan(functools.partial(cell, p), start, xs)[1]

        h = xs + jax.vmap(one)(xs)
        return h + linear(p["down"], jax.nn.silu(linear(p["up"], h)))

    def init(k):
        shapes = {"qkv": (8, 24), "forget": (8, 8), "input": (8, 8), "out": (8, 8)}
        return {n: linear_init(k, *s)[0] for n, s in (shapes | {"up": (8, 16), "down": (16, 8)}).items()}

    return of_plain(forward, init, f32(3, 6, 8))


@jax.custom_vjp
def bounded_sqrt(x):
    return jnp.sqrt(x)


bounded_sqrt.defvjp(lambda x: (jnp.sqrt(x), x), lambda x, g: (g / jnp.sqrt(jnp.maximum(4 * x, 1e-6)),))


class RecurrentBlock(nnx.Module):
    """Griffin's: a gated linear recurrence, by an associative scan, and a gated feed-forward."""

    def __init__(self, dim, rngs):
        make = lambda a, b: nnx.Linear(a, b, rngs=rngs)  # noqa: E731
        self.y, self.x, self.out = make(dim, dim), make(dim, dim), make(dim, dim)
        self.conv = nnx.Conv(dim, dim, (4,), padding="CAUSAL", feature_group_count=dim, rngs=rngs)
        self.input_gate, self.a_gate = make(dim, dim), make(dim, dim)
        self.a = nnx.Param(rngs.uniform((dim,)))
        self.up, self.gate, self.down = make(dim, 3 * dim), make(dim, 3 * dim), make(3 * dim, dim)
        self.norm1, self.norm2 = nnx.RMSNorm(dim, rngs=rngs), nnx.RMSNorm(dim, rngs=rngs)

    def __call__(self, x):
        h = self.norm1(x)
        y, h = nnx.gelu(self.y(h)), self.conv(self.x(h))
        gate_x, gate_a = jax.nn.sigmoid(self.input_gate(h)), jax.nn.sigmoid(self.a_gate(h))
        log_a = -8.0 * gate_a * jax.nn.softplus(self.a[...])
        a, square = jnp.exp(log_a), jnp.exp(2 * log_a)
        h = h * gate_x * bounded_sqrt(1 - square)
        combine = lambda l, r: (l[0] * r[0], r[0] * l[1] + r[1])  # noqa: E731, E741
        _, h = jax.lax.associative_scan(combine, (a, h), axis=1)
        x = x + self.out(h * y)
        h = self.norm2(x)
        return x + self.down(nnx.gelu(self.gate(h)) * self.up(h))


# each of 2 blocks: GELU beside the recurrence and on the gate of the feed-forward, 2 sigmoids; the decay is a parameter
@expect(gelu=4, sigmoid=4)
def nnx_griffin():
    return of_nnx(lambda: nnx.Sequential(*[RecurrentBlock(8, nnx.Rngs(i)) for i in range(2)]), f32(2, 5, 8))


# Gemma 2 in bfloat16 with parameters in float32, scanned and rematerialised over 3 layers: the logits of attention are
# capped by a tanh, the gate is a GELU; the logits at the end are capped once
@expect(gelu=1, tanh=2, executions=7)
def plain_gemma2_bfloat16_scan():
    def cap(x, most):
        return jnp.tanh(x / most) * most

    def norm(scale, x):
        x32 = x.astype(jnp.float32)
        x32 = x32 * jax.lax.rsqrt(jnp.mean(x32**2, axis=-1, keepdims=True) + 1e-6)
        return (x32 * (1 + scale)).astype(x.dtype)

    @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable)
    def layer(x, p):
        p = jax.tree.map(lambda a: a.astype(jnp.bfloat16), p)
        q, k, v = jnp.einsum("btd,kdnh->kbtnh", norm(p["n1"], x), p["qkv"])
        logits = cap(jnp.einsum("btnh,bsnh->bnts", q * 2**-1, k), 50.0)
        mask = jnp.tril(jnp.ones(logits.shape[-2:], bool))
        logits = jnp.where(mask, logits, -2.3819763e38).astype(jnp.float32)
        weights = jax.nn.softmax(logits, axis=-1).astype(x.dtype)
        x = x + jnp.einsum("bnts,bsnh,nhd->btd", weights, v, p["o"])
        gate, up = jnp.einsum("btd,kdf->kbtf", norm(p["n2"], x), p["up"])
        return x + (jax.nn.gelu(gate) * up) @ p["down"], None

    def loss(params, tokens):
        x = params["embed"].astype(jnp.bfloat16)[tokens[:, :-1]] * 2**1.5
        x, _ = jax.lax.scan(layer, x, params["layers"])
        logits = cap((norm(params["norm"], x) @ params["embed"].T.astype(x.dtype)).astype(jnp.float32), 30.0)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
        return jnp.mean(losses) + 1e-4 * jnp.mean(jax.nn.logsumexp(logits, axis=-1) ** 2)

    def init(k):
        shapes = {"n1": (8,), "qkv": (3, 8, 2, 4), "o": (2, 4, 8), "n2": (8,), "up": (2, 8, 16), "down": (16, 8)}
        layers = {n: 0.3 * jax.random.normal(k, (3, *s)) for n, s in shapes.items()}
        return {"embed": jax.random.normal(k, (11, 8)), "layers": layers, "norm": jnp.zeros(8)}

    return of_plain(loss, init, i32(2, 6))


# Performer and cosFormer: the feature maps of queries and keys, and a feed-forward of squared relu, in each of 2 layers
@expect(relu=6)
def plain_performer_primer():
    def features(x, projection):
        return jnp.maximum(x @ projection / jnp.sqrt(projection.shape[1]), 0.0) + 1e-3

    def layer(p, x):
        q, k, v = jnp.split(linear(p["qkv"], x), 3, axis=-1)
        q, k = features(q, p["projection"]), features(k, p["projection"])
        kv = jnp.einsum("btm,btd->bmd", k, v)
        z = jnp.einsum("btm,bm->bt", q, k.sum(axis=1))
        x = x + linear(p["out"], jnp.einsum("btm,bmd->btd", q, kv) / z[..., None])
        return x + linear(p["down"], jnp.square(jax.nn.relu(linear(p["up"], x))))

    def forward(params, x):
        for p in params:
            x = layer(p, x)
        return x

    def init(k):
        shapes = {"qkv": (8, 24), "out": (8, 8), "up": (8, 16), "down": (16, 8)}
        one = {n: linear_init(k, *s)[0] for n, s in shapes.items()} | {"projection": jax.random.normal(k, (8, 12))}
        return [one, one]

    return of_plain(forward, init, f32(2, 5, 8))


class NoisyMoE(nnx.Module):
    """Shazeer's gates: noise of a learnt deviation, and a load that is a probability."""

    def __init__(self, dim, experts, rngs):
        self.gate = nnx.Linear(dim, experts, use_bias=False, rngs=rngs)
        self.noise = nnx.Linear(dim, experts, use_bias=False, rngs=rngs)
        self.up = nnx.Param(rngs.normal((experts, dim, 2 * dim)) * 0.3)
        self.gates = nnx.Param(rngs.normal((experts, dim, 2 * dim)) * 0.3)
        self.down = nnx.Param(rngs.normal((experts, 2 * dim, dim)) * 0.3)

    def __call__(self, x, rng):
        clean, std = self.gate(x), nnx.softplus(self.noise(x)) + 1e-2
        logits = clean + std * jax.random.normal(rng, std.shape)
        top, index = jax.lax.top_k(logits, 3)
        weights = nnx.softmax(top[:, :2])
        combine = jnp.zeros_like(logits).at[jnp.arange(len(x))[:, None], index[:, :2]].set(weights)
        is_in = logits > top[:, 2:3]
        threshold = jnp.where(is_in, top[:, 2:3], top[:, 1:2])
        load = jax.scipy.stats.norm.cdf((clean - threshold) / std).sum(0)
        importance = combine.sum(0)
        balance = sum(v.var() / (v.mean() ** 2 + 1e-10) for v in (load, importance))
        up = jnp.einsum("td,edf->etf", x, self.up[...])
        gate = jax.nn.relu(jnp.einsum("td,edf->etf", x, self.gates[...]))
        return jnp.einsum("te,etf,efd->td", combine, gate * up, self.down[...]), balance


# each of 2 layers: the deviation of the noise, and one gate for all experts
@expect(softplus=2, relu=2)
def nnx_noisy_topk_reglu_moe():
    def call(model, x, rng):
        balance = 0.0
        for layer in model:
            y, more = layer(x, rng)
            x, balance = x + y, balance + more
        return x, balance

    return of_nnx(lambda: nnx.List([NoisyMoE(8, 4, nnx.Rngs(i)) for i in range(2)]), f32(6, 8), key(), method=call)


# GRU both ways by the library: 2 sigmoid and 1 tanh either way, 5 times; the lengths mask; the head has a GELU
@expect(sigmoid=4, tanh=2, gelu=1, executions=31)
def nnx_bidirectional_rnn():
    class Tagger(nnx.Module):
        def __init__(self, rngs):
            make = lambda: nnx.RNN(nnx.GRUCell(4, 6, rngs=rngs))  # noqa: E731
            self.rnn = nnx.Bidirectional(make(), make())
            self.hidden, self.out = nnx.Linear(12, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x, lengths):
            return self.out(nnx.gelu(self.hidden(self.rnn(x, seq_lengths=lengths))))

    return of_nnx(lambda: Tagger(nnx.Rngs(0)), f32(2, 5, 4), i32(2))


class ConvLSTM(nn.Module):
    @nn.compact
    def __call__(self, video):
        h = nn.RNN(nn.ConvLSTMCell(4, (3, 3)))(video)
        h = nn.RNN(nn.SimpleCell(6), time_major=False)(h.mean(axis=(2, 3)))
        return nn.Conv(1, (1,))(nn.leaky_relu(h))


# the convolutional LSTM: 3 sigmoid and 2 tanh, 5 times; the simple cell: 1 tanh, 5 times; 1 in the head
@expect(sigmoid=3, tanh=3, leaky_relu=1, executions=31)
def linen_conv_lstm():
    return of_linen(ConvLSTM(), f32(2, 5, 4, 4, 1))


# speech: convolutions with a relu clipped at 20, a GRU of the library over 7 steps, CTC
@expect(relu=2, sigmoid=1, tanh=1, executions=2 + 2 * 7)
def haiku_deep_speech_ctc():
    def forward(x, paddings, labels, label_paddings):
        h = x[..., None]
        for channels in (3, 4):
            h = hk.Conv2D(channels, 3, stride=(1, 2))(h)
            h = jnp.minimum(jax.nn.relu(h), 20.0)
        h = h.reshape(*h.shape[:2], -1)
        core = hk.GRU(6)
        h, _ = hk.dynamic_unroll(core, h, core.initial_state(h.shape[0]), time_major=False)
        return jnp.mean(optax.ctc_loss(hk.Linear(5)(h), paddings, labels, label_paddings))

    return of_haiku(forward, f32(2, 7, 8), f32(2, 7), i32(2, 3), f32(2, 3))


# translation, greedy: the encoder's tanh 5 times; in a loop of unknown length the additive attention has a tanh, the
# cell 1 sigmoid of both gates and 1 tanh
@expect(tanh=3, sigmoid=1)
def plain_greedy_decoder():
    def gru(p, h, x):
        z, r = jnp.split(jax.nn.sigmoid(linear(p["zr"], jnp.concatenate([x, h], -1))), 2, axis=-1)
        return (1 - z) * h + z * jnp.tanh(linear(p["new"], jnp.concatenate([x, r * h], -1)))

    def translate(p, tokens):
        x = p["source"][tokens]
        rnn = lambda h, x: (jnp.tanh(linear(p["encoder"], jnp.concatenate([x, h], -1))),) * 2  # noqa: E731
        h, memory = jax.lax.scan(rnn, jnp.zeros((len(tokens), 6)), x.swapaxes(0, 1))

        def step(state):
            i, h, token, done, out = state
            scores = jnp.tanh(linear(p["keys"], memory) + linear(p["query"], h)[None]) @ p["v"]
            context = jnp.einsum("tb,tbd->bd", jax.nn.softmax(scores, axis=0), memory)
            h = gru(p, h, jnp.concatenate([p["target"][token], context], -1))
            token = jnp.where(done, 0, jnp.argmax(linear(p["out"], h), axis=-1))
            return i + 1, h, token, done | (token == 1), out.at[:, i].set(token)

        keep = lambda state: (state[0] < 9) & ~jnp.all(state[3])  # noqa: E731
        n = len(tokens)
        start = 0, h, jnp.full(n, 2), jnp.zeros(n, bool), jnp.zeros((n, 9), tokens.dtype)
        return jax.lax.while_loop(keep, step, start)[-1]

    def init(k):
        shapes = {"encoder": (10, 6), "keys": (6, 5), "query": (6, 5), "zr": (16, 12), "new": (16, 6), "out": (6, 7)}
        tables = {"source": jnp.ones((7, 4)), "target": jnp.ones((7, 4)), "v": jnp.ones(5)}
        return {n: linear_init(k, *s)[0] for n, s in shapes.items()} | tables

    return of_plain(translate, init, i32(3, 5))
