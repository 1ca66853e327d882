"""The classics that saturate on both sides: their slope follows from their output, and dies in their tails."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..gradients import Rectifier, rectifier
from ._precision import is_half, narrow, widen


@rectifier
def sigmoid(x: ArrayLike, /) -> jax.Array:
    r"""Logistic sigmoid.

    .. math:: f(x) = \frac{1}{1 + e^{-x}}, \qquad f'(x) = f(x) (1 - f(x)) \le \tfrac14

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``, in (0, 1); half precision is computed in float32 and rounded once.

    Cost: keeps its output, which the next layer keeps anyway; in half precision its input.

    Reference: Rumelhart et al., `1986 <https://doi.org/10.1038/323533a0>`_.

    >>> sigmoid(0.0).item(), jax.grad(sigmoid)(0.0).item()
    (0.5, 0.25)
    """
    return narrow(jax.lax.logistic(widen(x)), like=x)


@rectifier
def tanh(x: ArrayLike, /) -> jax.Array:
    r"""Hyperbolic tangent.

    .. math:: f(x) = \frac{e^x - e^{-x}}{e^x + e^{-x}}, \qquad f'(x) = 1 - f(x)^2 \le 1

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``, in [-1, 1]; half precision is computed in float32 and rounded once.

    Cost: keeps its output, which the next layer keeps anyway; in half precision its input.

    Reference: LeCun et al., `1998 <https://doi.org/10.1007/3-540-49430-8_2>`_.

    >>> tanh(0.5).item(), jax.grad(tanh)(0.5).item()
    (0.4621, 0.7864)
    """
    return narrow(jnp.tanh(widen(x)), like=x)


def _sigmoid_slope(y: jax.Array) -> jax.Array:
    return y * (1 - y)


def _tanh_slope(y: jax.Array) -> jax.Array:
    return (1 - y) * (1 + y)


def _output_rule(fun: Rectifier, slope):
    """The rule of a function whose slope follows from its output, where that output is not rounded too coarsely."""

    def fwd(x):
        y = fun(x)
        return y, (None, x) if is_half(x) else (y, None)

    def bwd(residual, g):
        y, x = residual
        if y is None:
            y = fun(widen(x))
        return (narrow(slope(y) * widen(g), like=g),)

    return fwd, bwd


sigmoid.defvjp(*_output_rule(sigmoid, _sigmoid_slope))
tanh.defvjp(*_output_rule(tanh, _tanh_slope))
