"""The classics that saturate on both sides: their slope follows from their output, and dies in their tails."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._precision import narrow, widen
from ..gradients import rectifier
from ._rules import output_rule


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

    Cost: keeps its output, which the next layer keeps anyway; in half precision its input. XLA's float32 tanh is off by
    up to 4.3 units in the last place near |x| = 5, and so is the slope, in units of the last place of 1.

    Reference: LeCun et al., `1998 <https://doi.org/10.1007/3-540-49430-8_2>`_.

    >>> tanh(0.5).item(), jax.grad(tanh)(0.5).item()
    (0.4621, 0.7864)
    """
    return narrow(jnp.tanh(widen(x)), like=x)


def _sigmoid_slope(x: jax.Array) -> jax.Array:
    """Without the cancellation of f(1 - f), which has no digits left in the right tail."""
    tail = jnp.exp(-jnp.abs(x))
    return tail / (1 + tail) ** 2


def _tanh_slope(x: jax.Array) -> jax.Array:
    """The square of sech, so that its tail reaches as far down as the dtype does."""
    tail = jnp.exp(-jnp.abs(x))
    return (2 * tail / (1 + tail * tail)) ** 2


sigmoid.defvjp(*output_rule(sigmoid, of_output=lambda y: y * (1 - y), of_input=_sigmoid_slope))
tanh.defvjp(*output_rule(tanh, of_output=lambda y: (1 - y) * (1 + y), of_input=_tanh_slope))
