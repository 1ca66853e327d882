"""Equinox: modules of one example, under vmap."""

import equinox as eqx
import jax
import jax.numpy as jnp

from .entry import expect, f32, i32, of_equinox


# depth 3: 3 hidden layers; the last has a tanh
@expect(relu=3, tanh=1)
def equinox_mlp():
    return of_equinox(lambda key: eqx.nn.MLP(4, 2, 16, 3, final_activation=jnp.tanh, key=key), f32(5, 4))


class TransformerLayer(eqx.Module):
    attention: eqx.nn.MultiheadAttention
    norm1: eqx.nn.LayerNorm
    norm2: eqx.nn.LayerNorm
    up: eqx.nn.Linear
    down: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, dim, key):
        keys = jax.random.split(key, 3)
        self.attention = eqx.nn.MultiheadAttention(4, dim, key=keys[0])
        self.norm1, self.norm2 = eqx.nn.LayerNorm(dim), eqx.nn.LayerNorm(dim)
        self.up, self.down = eqx.nn.Linear(dim, 2 * dim, key=keys[1]), eqx.nn.Linear(2 * dim, dim, key=keys[2])
        self.dropout = eqx.nn.Dropout(0.1)

    def __call__(self, x, key):
        mask = jnp.tril(jnp.ones((x.shape[0], x.shape[0]), bool))
        h = jax.vmap(self.norm1)(x)
        x = x + self.attention(h, h, h, mask=mask)
        h = jax.nn.gelu(jax.vmap(self.up)(jax.vmap(self.norm2)(x)), approximate=False)
        return x + self.dropout(jax.vmap(self.down)(h), key=key)


class Transformer(eqx.Module):
    embed: eqx.nn.Embedding
    layers: list[TransformerLayer]
    head: eqx.nn.Linear

    def __init__(self, depth, dim, key):
        keys = jax.random.split(key, depth + 2)
        self.embed = eqx.nn.Embedding(64, dim, key=keys[0])
        self.head = eqx.nn.Linear(dim, 64, key=keys[1])
        self.layers = [TransformerLayer(dim, k) for k in keys[2:]]

    def __call__(self, tokens, key):
        x = jax.vmap(self.embed)(tokens)
        for layer, k in zip(self.layers, jax.random.split(key, len(self.layers)), strict=True):
            x = layer(x, k)
        return jax.vmap(self.head)(x)


# 1 in each of 3 layers
@expect(gelu=3)
def equinox_transformer_dropout():
    def call(model, tokens):
        return jax.vmap(model)(tokens, jax.random.split(jax.random.key(0), tokens.shape[0]))

    return of_equinox(lambda key: Transformer(3, 16, key), i32(2, 8), call=call)


class GRUClassifier(eqx.Module):
    cell: eqx.nn.GRUCell
    head: eqx.nn.Linear

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.cell, self.head = eqx.nn.GRUCell(3, 16, key=first), eqx.nn.Linear(16, 1, key=second)

    def __call__(self, xs):
        hidden, _ = jax.lax.scan(lambda h, x: (self.cell(x, h), None), jnp.zeros(16), xs)
        return jax.nn.sigmoid(self.head(hidden))


# the cell: 2 sigmoid and 1 tanh, 11 times; a sigmoid at the end
@expect(sigmoid=3, tanh=1, executions=3 * 11 + 1)
def equinox_gru_scan():
    return of_equinox(GRUClassifier, f32(2, 11, 3))


class NeuralODE(eqx.Module):
    field: eqx.nn.MLP

    def __init__(self, key):
        self.field = eqx.nn.MLP(2, 2, 16, 2, activation=jax.nn.softplus, key=key)

    def __call__(self, y, steps=10, dt=0.1):
        def rk4(y, _):
            k1 = self.field(y)
            k2 = self.field(y + dt / 2 * k1)
            k3 = self.field(y + dt / 2 * k2)
            k4 = self.field(y + dt * k3)
            return y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4), y

        return jax.lax.scan(rk4, y, length=steps)


# 2 hidden layers, evaluated 4 times in each of 10 steps
@expect(softplus=8, executions=80)
def equinox_neural_ode():
    return of_equinox(NeuralODE, f32(3, 2))


class ConvNet(eqx.Module):
    layers: list

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.layers = [
            eqx.nn.Conv2d(1, 4, 3, key=keys[0]),
            eqx.nn.PReLU(0.25),
            eqx.nn.MaxPool2d(2, 2),
            eqx.nn.Conv2d(4, 8, 3, key=keys[1]),
            eqx.nn.GroupNorm(4, 8),
            eqx.nn.Lambda(jax.nn.elu),
            eqx.nn.AdaptiveAvgPool2d(2),
            jnp.ravel,
            eqx.nn.Linear(32, 16, key=keys[2]),
            eqx.nn.Lambda(lambda x: jnp.maximum(0.0, x)),
            eqx.nn.Linear(16, 10, key=keys[3]),
            jax.nn.log_softmax,
        ]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


# as listed
@expect(prelu=1, elu=1, relu=1)
def equinox_convnet():
    return of_equinox(ConvNet, f32(2, 1, 16, 16))


class BatchNormBlock(eqx.Module):
    conv: eqx.nn.Conv1d
    norm: eqx.nn.BatchNorm
    head: eqx.nn.Linear

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.conv = eqx.nn.Conv1d(2, 4, 3, padding="SAME", key=first)
        self.norm = eqx.nn.BatchNorm(4, axis_name="batch", mode="batch")
        self.head = eqx.nn.Linear(4, 3, key=second)

    def __call__(self, x, state):
        h, state = self.norm(self.conv(x), state)
        return self.head(jax.nn.relu6(h).mean(axis=-1)), state


# 1; the variance of the norm is none
@expect(relu6=1)
def equinox_batchnorm():
    def call(model_and_state, x):
        model, state = model_and_state
        return jax.vmap(model, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(x, state)

    return of_equinox(lambda key: eqx.nn.make_with_state(BatchNormBlock)(key), f32(4, 2, 8), call=call)


class MambaLayer(eqx.Module):
    """A selective state space, scanned."""

    inner: eqx.nn.Linear
    conv: eqx.nn.Conv1d
    parameters: eqx.nn.Linear
    steps: eqx.nn.Linear
    log_decay: jax.Array
    skip: jax.Array
    out: eqx.nn.Linear
    norm: eqx.nn.RMSNorm

    def __init__(self, dim, states, key):
        keys = jax.random.split(key, 5)
        self.inner = eqx.nn.Linear(dim, 4 * dim, use_bias=False, key=keys[0])
        self.conv = eqx.nn.Conv1d(2 * dim, 2 * dim, 4, padding=[(3, 0)], groups=2 * dim, key=keys[1])
        self.parameters = eqx.nn.Linear(2 * dim, 2 + 2 * states, use_bias=False, key=keys[2])
        self.steps = eqx.nn.Linear(2, 2 * dim, key=keys[3])
        self.log_decay = jnp.log(jnp.broadcast_to(jnp.arange(1.0, states + 1), (2 * dim, states)))
        self.skip = jnp.ones(2 * dim)
        self.out = eqx.nn.Linear(2 * dim, dim, use_bias=False, key=keys[4])
        self.norm = eqx.nn.RMSNorm(dim)

    def __call__(self, x, *, key=None):
        h, gate = jnp.split(jax.vmap(self.inner)(jax.vmap(self.norm)(x)), 2, axis=-1)
        h = jax.nn.silu(self.conv(h.T).T)
        rank, b, c = jnp.split(jax.vmap(self.parameters)(h), [2, 2 + self.log_decay.shape[1]], axis=-1)
        delta = jax.nn.softplus(jax.vmap(self.steps)(rank))

        def step(state, inputs):
            h, delta, b, c = inputs
            decay = jnp.exp(-jnp.exp(self.log_decay) * delta[:, None])
            state = decay * state + (delta * h)[:, None] * b
            return state, state @ c

        _, y = jax.lax.scan(step, jnp.zeros_like(self.log_decay), (h, delta, b, c))
        return x + jax.vmap(self.out)((y + self.skip * h) * jax.nn.silu(gate))


# each of 2 layers: silu behind the convolution and on the gate, softplus on the step size; none within the scan
@expect(silu=4, softplus=2)
def equinox_mamba():
    def make(key):
        first, second = jax.random.split(key)
        return eqx.nn.Sequential([MambaLayer(8, 4, first), MambaLayer(8, 4, second)])

    return of_equinox(make, f32(2, 10, 8))
