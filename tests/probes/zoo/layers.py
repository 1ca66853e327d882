"""The layers of plain JAX: dictionaries of arrays."""

import jax
import jax.numpy as jnp


def linear_init(key, *widths):
    keys = jax.random.split(key, len(widths) - 1)
    pairs = zip(keys, widths[:-1], widths[1:], strict=True)
    return [{"w": jax.random.normal(k, (a, b)) * jnp.sqrt(2 / a), "b": jnp.zeros(b)} for k, a, b in pairs]


def linear(layer, x):
    return x @ layer["w"] + layer["b"]


def mlp(layers, x, act):
    for layer in layers[:-1]:
        x = act(linear(layer, x))
    return linear(layers[-1], x)
