"""Unseen models: recurrences and attention of all sorts, and agents."""

import functools

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from zoo.entry import expect, f32, i32, key, of_equinox, of_haiku, of_linen, of_nnx, of_plain
from zoo.layers import linear, linear_init, mlp


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
        log_a = -8.0 * gate_a * jax.nn.softplus(self.a.value)
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


# Gemma 2 in bfloat16 with parameters in float32, scanned and rematerialised over 3 layers: attention's logits are capped
# by a tanh, the gate is a GELU; the logits at the end are capped once
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
        up = jnp.einsum("td,edf->etf", x, self.up.value)
        gate = jax.nn.relu(jnp.einsum("td,edf->etf", x, self.gates.value))
        return jnp.einsum("te,etf,efd->td", combine, gate * up, self.down.value), balance


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


class Policy(nn.Module):
    @nn.compact
    def __call__(self, x):
        dense = lambda n, scale: nn.Dense(n, kernel_init=nn.initializers.orthogonal(scale))  # noqa: E731
        a = nn.tanh(dense(8, 2**0.5)(nn.tanh(dense(8, 2**0.5)(x))))
        c = nn.tanh(dense(8, 2**0.5)(nn.tanh(dense(8, 2**0.5)(x))))
        return dense(2, 0.01)(a), jnp.squeeze(dense(1, 1.0)(c), -1)


# all of PPO, as it is compiled: 4 tanh in each of 5 steps of the rollout, 4 on the last state, 4 in the loss in each
# of 2 minibatches of each of 3 epochs; the backward pass and the optimiser are none
@expect(tanh=12, executions=4 * 5 + 4 + 4 * 6)
def linen_ppo_whole_update():
    model, optimiser = Policy(), optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3))

    def environment(state, action):
        position, velocity = jnp.split(state, 2, axis=-1)
        velocity = jnp.clip(velocity + 0.1 * (2.0 * action[:, None] - 1), -1, 1)
        state = jnp.concatenate([position + velocity, velocity], axis=-1)
        return state, -jnp.abs(position[:, 0]), jnp.abs(position[:, 0]) > 2

    def loss(params, batch):
        state, action, old_log_prob, old_value, advantage, target = batch
        logits, value = model.apply(params, state)
        log_probs = jax.nn.log_softmax(logits)
        log_prob = jnp.take_along_axis(log_probs, action[:, None], -1)[:, 0]
        clipped = old_value + jnp.clip(value - old_value, -0.2, 0.2)
        value_loss = 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
        ratio = jnp.exp(log_prob - old_log_prob)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        actor = -jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage).mean()
        entropy = -jnp.sum(jnp.exp(log_probs) * log_probs, -1).mean()
        return actor + 0.5 * value_loss - 0.01 * entropy

    def update(params, moments, state, rng):
        def act(carry, rng):
            state = carry
            logits, value = model.apply(params, state)
            action = jax.random.categorical(rng, logits)
            log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[:, None], -1)[:, 0]
            after, reward, done = environment(state, action)
            return after, (state, action, log_prob, value, reward, done)

        rollout, shuffle = jax.random.split(rng)
        state, (states, actions, log_probs, values, rewards, dones) = jax.lax.scan(
            act, state, jax.random.split(rollout, 5)
        )
        _, last = model.apply(params, state)

        def advantage(carry, step):
            total, after = carry
            reward, value, done = step
            total = reward + 0.99 * after * (1 - done) - value + 0.95 * 0.99 * (1 - done) * total
            return (total, value), total

        _, advantages = jax.lax.scan(advantage, (jnp.zeros_like(last), last), (rewards, values, dones), reverse=True)
        data = (states, actions, log_probs, values, advantages, advantages + values)
        data = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), data)

        def epoch(carry, rng):
            order = jax.random.permutation(rng, 20)
            batches = jax.tree.map(lambda a: a[order].reshape(2, 10, *a.shape[1:]), data)

            def minibatch(carry, batch):
                params, moments = carry
                value, grads = jax.value_and_grad(loss)(params, batch)
                updates, moments = optimiser.update(grads, moments, params)
                return (optax.apply_updates(params, updates), moments), value

            return jax.lax.scan(minibatch, carry, batches)

        (params, moments), losses = jax.lax.scan(epoch, (params, moments), jax.random.split(shuffle, 3))
        return params, moments, state, losses.mean()

    state = f32(4, 2)
    params = jax.eval_shape(model.init, key(), state)
    return update, (params, jax.eval_shape(optimiser.init, params), state, key())


def squashed_policy(params, observations, rng):
    mean, log_std = jnp.split(mlp(params, observations, jax.nn.relu), 2, axis=-1)
    log_std = -5.0 + 0.5 * (2.0 + 5.0) * (jnp.tanh(log_std) + 1)
    raw = mean + jnp.exp(log_std) * jax.random.normal(rng, mean.shape)
    log_prob = jax.scipy.stats.norm.logpdf(raw, mean, jnp.exp(log_std))
    log_prob -= 2.0 * (jnp.log(2.0) - raw - jax.nn.softplus(-2.0 * raw))
    return jnp.tanh(raw), log_prob.sum(-1)


# a policy that is asked for an action and its log-probability: 2 hidden layers, the bound of the log-deviation, the
# action; the softplus of the change of variables is a part of a likelihood
@expect(relu=2, tanh=2)
def plain_squashed_policy_sample():
    return of_plain(squashed_policy, lambda k: linear_init(k, 6, 8, 8, 4), f32(5, 6), key())


# Rainbow: a hidden layer and one in either stream (noise is drawn as sign and root), by the online network on both
# states and by the target network; distributions are projected by clips
@expect(relu=9)
def plain_rainbow_loss():
    support = jnp.linspace(-10.0, 10.0, 11)

    def noisy(p, x, rng):
        squash = lambda e: jnp.sign(e) * jnp.sqrt(jnp.abs(e))  # noqa: E731
        a, b = jax.random.split(rng)
        into, out = squash(jax.random.normal(a, p["w"].shape[:1])), squash(jax.random.normal(b, p["w"].shape[1:]))
        return x @ (p["w"] + p["sw"] * jnp.outer(into, out)) + p["b"] + p["sb"] * out

    def logits(p, x, rng):
        keys = jax.random.split(rng, 4)
        h = jax.nn.relu(linear(p["torso"], x))
        value = noisy(p["v2"], jax.nn.relu(noisy(p["v1"], h, keys[0])), keys[1])[:, None]
        advantage = noisy(p["a2"], jax.nn.relu(noisy(p["a1"], h, keys[2])), keys[3]).reshape(-1, 3, 11)
        return value + advantage - advantage.mean(axis=1, keepdims=True)

    def loss(online, target, state, action, reward, done, after, weights, rng):
        keys = jax.random.split(rng, 3)
        q = (jax.nn.softmax(logits(online, after, keys[0])) * support).sum(-1)
        p = jax.nn.softmax(logits(target, after, keys[1]))[jnp.arange(len(q)), q.argmax(-1)]
        z = jnp.clip(reward[:, None] + 0.99 * (1 - done[:, None]) * support, -10, 10)
        share = jnp.clip(1 - jnp.abs(z[:, None] - support[:, None]) / 2.0, 0, 1)
        projected = jax.lax.stop_gradient((share * p[:, None]).sum(-1))
        log_p = jax.nn.log_softmax(logits(online, state, keys[2]))[jnp.arange(len(q)), action]
        return jnp.mean(weights * -jnp.sum(projected * log_p, axis=-1))

    def init(k):
        def one(a, b):
            return {"w": jnp.ones((a, b)), "sw": jnp.ones((a, b)), "b": jnp.zeros(b), "sb": jnp.zeros(b)}

        return {
            "torso": linear_init(k, 4, 8)[0],
            **{"v1": one(8, 6), "v2": one(6, 11), "a1": one(8, 6), "a2": one(6, 33)},
        }

    params = jax.eval_shape(init, key())
    return loss, (params, params, f32(5, 4), i32(5), f32(5), f32(5), f32(5, 4), f32(5), key())


# an ensemble of dynamics models: 2 swish layers under a vmap; log-variances are bounded by softplus from both sides
@expect(silu=2, softplus=2)
def equinox_ensemble_dynamics_loss():
    class Dynamics(eqx.Module):
        layers: list
        most: jax.Array
        least: jax.Array

        def __init__(self, k):
            ks = jax.random.split(k, 3)
            self.layers = [eqx.nn.Linear(*s, key=j) for s, j in zip(((5, 8), (8, 8), (8, 8)), ks, strict=True)]
            self.most, self.least = jnp.full(4, 0.5), jnp.full(4, -10.0)

        def __call__(self, x):
            for layer in self.layers[:-1]:
                x = jax.nn.swish(layer(x))
            mean, log_var = jnp.split(self.layers[-1](x), 2)
            log_var = self.most - jax.nn.softplus(self.most - log_var)
            return mean, self.least + jax.nn.softplus(log_var - self.least)

    def loss(models, x, y):
        @functools.partial(eqx.filter_vmap, in_axes=(eqx.if_array(0), 0, 0))
        def one(model, x, y):
            mean, log_var = jax.vmap(model)(x)
            return jnp.mean((mean - y) ** 2 * jnp.exp(-log_var) + log_var)

        return one(models, x, y).sum() + 0.01 * (models.most.sum() - models.least.sum())

    make = lambda k: eqx.filter_vmap(Dynamics)(jax.random.split(k, 3))  # noqa: E731
    return of_equinox(make, f32(3, 6, 5), f32(3, 6, 4), call=loss)


# Dreamer's loss: SiLU behind norms in encoder, prior and decoder; the GRU's reset, candidate and update (shifted by 1),
# in each of 4 steps; symlog, unimix and free bits are none
@expect(silu=3, sigmoid=2, tanh=1, executions=4 * 5 + 1)
def plain_dreamer_loss():
    def symlog(x):
        return jnp.sign(x) * jnp.log1p(jnp.abs(x))

    def norm(x):
        return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-3)

    def unimix(logits):
        p = 0.99 * jax.nn.softmax(logits.reshape(-1, 2, 4)) + 0.01 / 4
        return jnp.log(p)

    def divergence(p, q):
        return jnp.sum(jnp.exp(p) * (p - q), axis=(-2, -1))

    def loss(p, images, actions, rng):
        def step(state, inputs):
            h, z = state
            image, action, rng = inputs
            x = norm(linear(p["gru"], jnp.concatenate([h, z, action], -1)))
            reset, candidate, update = jnp.split(x, 3, axis=-1)
            candidate = jnp.tanh(jax.nn.sigmoid(reset) * candidate)
            update = jax.nn.sigmoid(update - 1)
            h = update * candidate + (1 - update) * h
            prior = unimix(linear(p["prior2"], jax.nn.silu(norm(linear(p["prior1"], h)))))
            embed = jax.nn.silu(norm(linear(p["encoder"], symlog(image))))
            posterior = unimix(linear(p["posterior"], jnp.concatenate([h, embed], -1)))
            sample = jax.nn.one_hot(jax.random.categorical(rng, posterior), 4)
            probs = jnp.exp(posterior)
            z = (jax.lax.stop_gradient(sample - probs) + probs).reshape(-1, 8)
            stop = jax.lax.stop_gradient
            dynamics = jnp.maximum(divergence(stop(posterior), prior), 1.0)
            representation = jnp.maximum(divergence(posterior, stop(prior)), 1.0)
            return (h, z), (h, z, 0.5 * dynamics + 0.1 * representation)

        n = images.shape[1]
        start = jnp.zeros((n, 6)), jnp.zeros((n, 8))
        _, (h, z, kl) = jax.lax.scan(step, start, (images, actions, jax.random.split(rng, 4)))
        features = jnp.concatenate([h, z], -1)
        out = linear(p["decoder2"], jax.nn.silu(norm(linear(p["decoder1"], features))))
        return jnp.mean((out - symlog(images)) ** 2) + kl.mean()

    def init(k):
        shapes = {"gru": (16, 18), "prior1": (6, 8), "prior2": (8, 8), "encoder": (5, 8), "posterior": (14, 8)}
        return {n: linear_init(k, *s)[0] for n, s in (shapes | {"decoder1": (14, 8), "decoder2": (8, 5)}).items()}

    return of_plain(loss, init, f32(4, 3, 5), f32(4, 3, 2), key())
