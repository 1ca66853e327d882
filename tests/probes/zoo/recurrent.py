"""Recurrence by hand: cells, parallel scans, world models, agents, automata."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx

from .entry import expect, f32, i32, key, of_equinox, of_nnx, of_plain
from .layers import linear, linear_init, mlp


# 2 gates and a candidate, in each of 5 steps
@expect(sigmoid=2, tanh=1, executions=15)
def plain_gru_by_hand():
    def step(p, h, x):
        z = 1 / (1 + jnp.exp(-(x @ p["wz"] + h @ p["uz"] + p["bz"])))
        r = jax.nn.sigmoid(x @ p["wr"] + h @ p["ur"] + p["br"])
        candidate = jnp.tanh(x @ p["wh"] + (r * h) @ p["uh"] + p["bh"])
        return (1 - z) * h + z * candidate

    def forward(params, xs):
        def body(h, x):
            h = step(params, h, x)
            return h, h @ params["out"]

        _, ys = jax.lax.scan(body, jnp.zeros((xs.shape[0], 8)), jnp.swapaxes(xs, 0, 1))
        return jnp.swapaxes(ys, 0, 1)

    def init(key):
        weights = {f"{k}{g}": jnp.ones((3 if k == "w" else 8, 8)) for k in "wu" for g in "zrh"}
        return weights | {f"b{g}": jnp.zeros(8) for g in "zrh"} | {"out": jnp.ones((8, 2))}

    return of_plain(forward, init, f32(4, 5, 3))


class MinGRU(nnx.Module):
    """In logarithms, by a parallel scan."""

    def __init__(self, dim, rngs):
        self.gate, self.hidden = nnx.Linear(dim, dim, rngs=rngs), nnx.Linear(dim, dim, rngs=rngs)

    def __call__(self, x):
        k, h = self.gate(x), self.hidden(x)
        log_keep, log_z = -nnx.softplus(k), -nnx.softplus(-k)
        log_h = jnp.where(h >= 0, jnp.log(nnx.relu(h) + 0.5), -nnx.softplus(-h))

        def combine(left, right):
            (a, b), (c, d) = left, right
            return a + c, jnp.logaddexp(b + c, d)

        _, log_out = jax.lax.associative_scan(combine, (log_keep, log_z + log_h), axis=1)
        return jnp.exp(log_out)


# in logarithms the gate and its complement are a softplus, up to the sign; a softplus and a relu in what is taken in
@expect(softplus=3, relu=1)
def nnx_min_gru():
    return of_nnx(lambda: MinGRU(8, nnx.Rngs(0)), f32(2, 6, 8))


class LinearRecurrence(eqx.Module):
    nu: jax.Array
    theta: jax.Array
    into: jax.Array
    out: jax.Array
    gate: eqx.nn.Linear

    def __init__(self, dim, key):
        self.nu, self.theta = jnp.zeros(dim), jnp.ones(dim)
        self.into, self.out = jnp.ones((2, dim, dim)), jnp.ones((2, dim, dim))
        self.gate = eqx.nn.Linear(dim, dim, key=key)

    def __call__(self, xs):
        decay = jnp.exp(jax.lax.complex(-jnp.exp(self.nu), self.theta))
        inputs = xs @ jax.lax.complex(self.into[0], self.into[1]).T * jnp.sqrt(1 - jnp.abs(decay) ** 2)
        decays = jnp.broadcast_to(decay, inputs.shape)

        def combine(left, right):
            return left[0] * right[0], right[0] * left[1] + right[1]

        _, states = jax.lax.associative_scan(combine, (decays, inputs))
        h = jax.nn.gelu((states @ jax.lax.complex(self.out[0], self.out[1]).T).real, approximate=False)
        return xs + h * jax.nn.sigmoid(jax.vmap(self.gate)(h))


# GELU and a gate in each of 2 layers
@expect(gelu=2, sigmoid=2)
def equinox_linear_recurrence():
    make = lambda key: [LinearRecurrence(8, k) for k in jax.random.split(key, 2)]  # noqa: E731

    def call(layers, xs):
        for layer in layers:
            xs = jax.vmap(layer)(xs)
        return xs

    return of_equinox(make, f32(3, 6, 8), call=call)


# PlaNet: 3 hidden layers, 2 gates and a candidate, 2 deviations, in each of 4 steps
@expect(elu=3, sigmoid=2, tanh=1, softplus=2, executions=32)
def plain_world_model():
    def deviation(x):
        mean, raw = jnp.split(x, 2, axis=-1)
        return mean, jax.nn.softplus(raw) + 0.1

    def step(params, state, inputs):
        h, z = state
        action, embedded, noise = inputs
        x = jax.nn.elu(linear(params["into"], jnp.concatenate([z, action], axis=-1)))
        reset, candidate, update = jnp.split(linear(params["gru"], jnp.concatenate([x, h], axis=-1)), 3, axis=-1)
        candidate = jnp.tanh(jax.nn.sigmoid(reset) * candidate)
        update = jax.nn.sigmoid(update - 1)
        h = update * candidate + (1 - update) * h
        prior = deviation(mlp(params["prior"], h, jax.nn.elu))
        mean, std = deviation(mlp(params["posterior"], jnp.concatenate([h, embedded], axis=-1), jax.nn.elu))
        z = mean + std * noise
        kl = jnp.log(prior[1] / std) + (std**2 + (mean - prior[0]) ** 2) / (2 * prior[1] ** 2) - 0.5
        return (h, z), (jnp.sum(kl, axis=-1), jnp.concatenate([h, z], axis=-1) @ params["decode"])

    def loss(params, actions, embedded, noise):
        state = jnp.zeros((actions.shape[1], 8)), jnp.zeros((actions.shape[1], 4))
        _, (kl, decoded) = jax.lax.scan(lambda s, i: step(params, s, i), state, (actions, embedded, noise))
        return jnp.mean((decoded - embedded) ** 2) + jnp.mean(jnp.maximum(kl, 1.0))

    def init(key):
        return {
            "into": linear_init(key, 6, 8)[0],
            "gru": linear_init(key, 16, 24)[0],
            "prior": linear_init(key, 8, 8, 8),
            "posterior": linear_init(key, 13, 8, 8),
            "decode": jnp.ones((12, 5)),
        }

    return of_plain(loss, init, f32(4, 3, 2), f32(4, 3, 5), f32(4, 3, 4))


class ActorCritic(nn.Module):
    @nn.compact
    def __call__(self, x):
        a = nn.tanh(nn.Dense(16, kernel_init=nn.initializers.orthogonal())(x))
        a = nn.tanh(nn.Dense(16)(a))
        c = nn.tanh(nn.Dense(16)(x))
        c = nn.tanh(nn.Dense(16)(c))
        log_std = self.param("log_std", nn.initializers.zeros, (2,))
        return nn.Dense(2)(a), jnp.clip(log_std, -20, 2), nn.Dense(1)(c)[..., 0]


# PPO: 2 layers of actor and critic; ratios and values are clipped, advantages scanned
@expect(tanh=4)
def linen_ppo_loss():
    model = ActorCritic()

    def loss(params, state, action, old_log_prob, old_value, reward):
        mean, log_std, value = model.apply(params, state)
        _, advantage = jax.lax.scan(lambda g, d: (d + 0.95 * g,) * 2, 0.0, reward - old_value, reverse=True)
        target = advantage + old_value
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        log_prob = jax.scipy.stats.norm.logpdf(action, mean, jnp.exp(log_std)).sum(-1)
        ratio = jnp.exp(log_prob - old_log_prob)
        actor = -jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage).mean()
        clipped = old_value + jnp.clip(value - old_value, -0.2, 0.2)
        critic = 0.5 * jnp.maximum((value - target) ** 2, (clipped - target) ** 2).mean()
        return actor + 0.5 * critic - 0.01 * jnp.sum(log_std)

    state = f32(6, 4)
    params = jax.eval_shape(model.init, key(), state)
    return loss, (params, state, f32(6, 2), f32(6), f32(6), f32(6))


# SAC: 2 layers, the deviation and the action of the actor, 2 layers in each of 2 critics, online and target
@expect(relu=10, softplus=1, tanh=1)
def plain_sac_critic_loss():
    def loss(critics, targets, actor, state, action, reward, next_state, key):
        mean, raw = jnp.split(mlp(actor, next_state, jax.nn.relu), 2, axis=-1)
        std = jnp.clip(jax.nn.softplus(raw), 1e-3, 10.0)
        sample = mean + std * jax.random.normal(key, mean.shape)
        next_action = jnp.tanh(sample)
        log_prob = jax.scipy.stats.norm.logpdf(sample, mean, std) - jnp.log(jnp.maximum(1 - next_action**2, 1e-6))
        inputs = jnp.concatenate([next_state, next_action], axis=-1)
        next_q = jnp.minimum(*(mlp(c, inputs, jax.nn.relu)[:, 0] for c in targets))
        target = jax.lax.stop_gradient(reward + 0.99 * (next_q - 0.2 * log_prob.sum(-1)))
        inputs = jnp.concatenate([state, action], axis=-1)
        return sum(jnp.mean((mlp(c, inputs, jax.nn.relu)[:, 0] - target) ** 2) for c in critics)

    critics = jax.eval_shape(lambda k: [linear_init(k, 6, 8, 8, 1)] * 2, key())
    actor = jax.eval_shape(lambda k: linear_init(k, 4, 8, 8, 4), key())
    return loss, (critics, critics, actor, f32(7, 4), f32(7, 2), f32(7), f32(7, 4), key())


# the feature maps of queries and keys, and the feed-forward, in each of 3 scanned layers
@expect(elu=2, gelu=1, executions=9)
def plain_linear_attention_scan():
    def head(q, k, v):
        q, k = jax.nn.elu(q) + 1, jax.nn.elu(k) + 1
        sums, memory = jnp.cumsum(k, axis=0), jnp.cumsum(k[:, :, None] * v[:, None], axis=0)
        return jnp.einsum("td,tde->te", q, memory) / (jnp.sum(q * sums, axis=-1, keepdims=True) + 1e-6)

    @jax.checkpoint
    def layer(x, p):
        q, k, v = jnp.split((x @ p["qkv"]).reshape(*x.shape[:2], 2, 12), 3, axis=-1)
        mixed = jax.vmap(jax.vmap(head, in_axes=1, out_axes=1))(q, k, v)
        x = x + mixed.reshape(x.shape) @ p["out"]
        return x + jax.nn.gelu(x @ p["up"]) @ p["down"], None

    def forward(params, x):
        return jax.lax.scan(layer, x, params)[0]

    def init(key):
        shapes = {"qkv": (8, 24), "out": (8, 8), "up": (8, 16), "down": (16, 8)}
        return {name: jnp.ones((3, *shape)) for name, shape in shapes.items()}

    return of_plain(forward, init, f32(2, 5, 8))


@jax.custom_vjp
def thrifty_swish(x):
    return x * jax.lax.logistic(x)


def _swish_back(x, g):
    s = jax.lax.logistic(x)
    return (g * s * (1 + x * (1 - s)),)


thrifty_swish.defvjp(lambda x: (thrifty_swish(x), x), _swish_back)


@jax.custom_jvp
def square_plus(x):
    return 0.5 * (x + jnp.sqrt(x**2 + 4))


square_plus.defjvps(lambda t, y, x: t * 0.5 * (1 + x / jnp.sqrt(x**2 + 4)))


# 3 of their own with a gradient by hand
@expect(silu=2, squareplus=1)
def plain_custom_gradients():
    def forward(params, x):
        h = thrifty_swish(linear(params[0], x))
        h = square_plus(linear(params[1], h))
        h = thrifty_swish(linear(params[2], h))
        return linear(params[3], h)

    return of_plain(forward, lambda key: linear_init(key, 3, 8, 8, 8, 2), f32(5, 3))


class Automaton(nnx.Module):
    def __init__(self, channels, hidden, rngs):
        self.perceive = nnx.Conv(channels, 3 * channels, (3, 3), feature_group_count=channels, rngs=rngs)
        self.hidden = nnx.Conv(3 * channels, hidden, (1, 1), rngs=rngs)
        self.update = nnx.Conv(hidden, channels, (1, 1), rngs=rngs)

    def __call__(self, x, steps, key):
        def alive(x):
            return nnx.max_pool(x[..., 3:4], (3, 3), strides=(1, 1), padding="SAME") > 0.1

        def step(i, x):
            before = alive(x)
            change = self.update(nnx.relu(self.hidden(self.perceive(x))))
            fires = jax.random.uniform(jax.random.fold_in(key, i), x[..., :1].shape) <= 0.5
            x = x + change * fires
            return x * (before & alive(x))

        return jax.lax.fori_loop(0, steps, step, x)


# 1 in the body of a loop of unknown length; masks are none
@expect(relu=1)
def nnx_cellular_automaton():
    return of_nnx(lambda: Automaton(4, 16, nnx.Rngs(0)), f32(2, 6, 6, 4), i32(), key())
