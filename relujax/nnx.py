"""Flax NNX modules of the family; importing this needs the ``flax`` extra."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx import initializers

from . import functions


class ReLU(nnx.Module):
    """:func:`relujax.relu` as a module.

    >>> ReLU()(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it elementwise."""
        return functions.relu(x)


class ReLU6(nnx.Module):
    """:func:`relujax.relu6` as a module.

    >>> ReLU6()(jnp.array([-1.0, 7.0])).tolist()
    [0.0, 6.0]
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it elementwise."""
        return functions.relu6(x)


class LeakyReLU(nnx.Module):
    """:func:`relujax.leaky_relu` as a module.

    Args:
        negative_slope: slope where the input is negative.

    >>> LeakyReLU(0.5)(jnp.array([-1.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it elementwise."""
        return functions.leaky_relu(x, self.negative_slope)


class PReLU(nnx.Module):
    """:func:`relujax.prelu` with its slope as a parameter.

    Args:
        channels: how many slopes: 1 shares one over all channels, else the length of the last axis.
        init: initial slope (0.25 in He et al. 2015).
        param_dtype: dtype of the slope.

    >>> PReLU(channels=2)(jnp.array([[-1.0, 2.0]])).tolist()
    [[-0.25, 2.0]]
    """

    def __init__(self, channels: int = 1, init: float = 0.25, param_dtype: Any = jnp.float32):
        if channels < 1:
            raise ValueError(f"got channels={channels}: expected 1 (shared) or the length of the last axis")
        self.slope = nnx.Param(initializers.constant(init)(jax.random.key(0), (channels,), param_dtype))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it elementwise."""
        return functions.prelu(x, self.slope[...])


class ELU(nnx.Module):
    """:func:`relujax.elu` as a module.

    Args:
        alpha: minus the limit at minus infinity.

    >>> ELU()(jnp.array([-1.0, 2.0])).tolist()
    [-0.6321, 2.0]
    """

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it elementwise."""
        # The default stays unpassed: then the rule knows it, and keeps the output instead of the input; CELU's too.
        return functions.elu(x) if self.alpha == 1.0 else functions.elu(x, self.alpha)


class CELU(nnx.Module):
    """:func:`relujax.celu` as a module.

    Args:
        alpha: minus the limit at minus infinity.

    >>> CELU()(jnp.array([-1.0, 2.0])).tolist()
    [-0.6321, 2.0]
    """

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it elementwise."""
        return functions.celu(x) if self.alpha == 1.0 else functions.celu(x, self.alpha)


class SELU(nnx.Module):
    """:func:`relujax.selu` as a module.

    >>> SELU()(jnp.array([-1.0, 2.0])).tolist()
    [-1.1113, 2.1014]
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it elementwise."""
        return functions.selu(x)


class SiLU(nnx.Module):
    """:func:`relujax.silu` as a module.

    >>> SiLU()(jnp.array([-1.0, 2.0])).tolist()
    [-0.2689, 1.7616]
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it elementwise."""
        return functions.silu(x)


class Sigmoid(nnx.Module):
    """:func:`relujax.sigmoid` as a module.

    >>> Sigmoid()(jnp.array([0.0])).tolist()
    [0.5]
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it elementwise."""
        return functions.sigmoid(x)


class Tanh(nnx.Module):
    """:func:`relujax.tanh` as a module.

    >>> Tanh()(jnp.array([0.5])).tolist()
    [0.4621]
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it elementwise."""
        return functions.tanh(x)


#: The module of each activation of the registry.
MODULES: Mapping[str, Callable[..., nnx.Module]] = MappingProxyType(
    {
        "relu": ReLU,
        "relu6": ReLU6,
        "leaky_relu": LeakyReLU,
        "prelu": PReLU,
        "elu": ELU,
        "celu": CELU,
        "selu": SELU,
        "silu": SiLU,
        "sigmoid": Sigmoid,
        "tanh": Tanh,
    }
)
