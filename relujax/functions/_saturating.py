"""The classics that saturate on both sides: their slope follows from their output, and dies in their tails."""

import jax
import jax.numpy as jnp

from ._rules import Wide, keep_output, widened

__all__ = ["sigmoid", "soft_sign", "tanh"]


@widened
def sigmoid(x: Wide) -> jax.Array:
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
    return jax.lax.logistic(x)


@widened
def tanh(x: Wide) -> jax.Array:
    r"""Hyperbolic tangent.

    .. math:: f(x) = \frac{e^x - e^{-x}}{e^x + e^{-x}}, \qquad f'(x) = 1 - f(x)^2 \le 1

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``, in [-1, 1]; half precision is computed in float32 and rounded once.

    Cost: keeps its output, which the next layer keeps anyway; in half precision its input. XLA's float32 tanh is off by
    up to 4.3 units in the last place near x = 5 and -5, and so is the slope, in units of the last place of 1.

    Reference: LeCun et al., `1998 <https://doi.org/10.1007/3-540-49430-8_2>`_.

    >>> tanh(0.5).item(), jax.grad(tanh)(0.5).item()
    (0.4621, 0.7864)
    """
    return jnp.tanh(x)


def _sigmoid_slope(x: jax.Array) -> jax.Array:
    """Without the cancellation of f(1 - f), which has no digits left in the right tail."""
    tail = jnp.exp(-jnp.abs(x))
    return tail / (1 + tail) ** 2


def _tanh_slope(x: jax.Array) -> jax.Array:
    """The square of sech, so that its tail reaches as far down as the dtype does."""
    tail = jnp.exp(-jnp.abs(x))
    return (2 * tail / (1 + tail * tail)) ** 2


keep_output(sigmoid, of_output=lambda y: y * (1 - y), of_input=_sigmoid_slope)
keep_output(tanh, of_output=lambda y: (1 - y) * (1 + y), of_input=_tanh_slope)


@widened
def soft_sign(x: Wide) -> jax.Array:
    r"""Soft sign, which approaches its limits as slowly as 1/x.

    .. math:: f(x) = \frac{x}{1 + |x|}, \qquad f'(x) = \frac{1}{(1 + |x|)^2} = (1 - |f(x)|)^2

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``, in [-1, 1]; half precision is computed in float32 and rounded once. The limits -1
        and 1 at the infinities, where :func:`jax.nn.soft_sign` gives NaN.

    Cost: keeps its output, which the next layer keeps anyway; in half precision its input.

    Reference: Turian et al., `2009 <https://aclanthology.org/N09-2062>`_.

    >>> soft_sign(jnp.array([-1.0, 0.0, 3.0])).tolist(), jax.grad(soft_sign)(1.0).item()
    ([-0.5, 0.0, 0.75], 0.25)
    """
    size = jnp.abs(x)
    return jnp.where(size > 1e30, jnp.sign(x), x / (1 + size))


keep_output(
    soft_sign,
    of_output=lambda y: (1 - jnp.abs(y)) ** 2,
    of_input=lambda x: (1 / (1 + jnp.abs(x))) ** 2,
)
