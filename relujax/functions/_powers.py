"""Powers of the rectified input."""

import functools

import jax
import jax.numpy as jnp

from ._checks import above
from ._rules import Wide, keep_input, keep_output, widened

__all__ = ["relu_power", "relu_squared", "star_relu"]


@widened
def relu_squared(x: Wide) -> jax.Array:
    r"""Squared rectified linear unit.

    .. math:: f(x) = \max(0, x)^2, \qquad f'(x) = 2 \max(0, x) = 2 \sqrt{f(x)}

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Cost: keeps its output, which the next layer keeps anyway; in half precision its input. Where that output overflows
    so does the slope, and where it underflows the slope is 0: in float32 beyond 1e19 and below 1e-19.

    Reference: So et al., `2021 <https://arxiv.org/abs/2109.08668>`_.

    >>> relu_squared(jnp.array([-1.0, 0.5, 3.0])).tolist(), jax.grad(relu_squared)(3.0).item()
    ([0.0, 0.25, 9.0], 6.0)
    """
    return jnp.maximum(x, 0) * jnp.maximum(x, -1)  # XLA makes a square over again instead of keeping it


def _twice_the_root(y):
    # The root of 0 has no slope, but the second derivative there is 0.
    positive = y > 0
    return jnp.where(positive, 2 * jnp.sqrt(jnp.where(positive, y, 1)), 0 * y)


keep_output(relu_squared, of_output=_twice_the_root, of_input=lambda x: jnp.where(x <= 0, 0, 2 * x))


@functools.partial(widened, check=above(0, "power"))
def relu_power(x: Wide, power: Wide) -> jax.Array:
    r"""Power of the rectified linear unit.

    .. math:: f(x) = \max(0, x)^p, \qquad f'(x) = p \max(0, x)^{p-1}

    Args:
        x: array of any shape; integers become floats.
        power: :math:`p`, above 0 (a slope at 0 exists above 1): a scalar or an array that broadcasts against the
            trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Raises:
        ValueError: for a number ``power`` that is not positive.

    Cost: keeps its input.

    Reference: Li et al., `2020 <https://arxiv.org/abs/1903.05858>`_.

    >>> relu_power(jnp.array([-1.0, 0.5, 2.0]), 3.0).tolist(), jax.grad(relu_power)(2.0, 3.0).item()
    ([0.0, 0.125, 8.0], 12.0)
    """
    return jnp.power(jnp.maximum(x, 0), power)


def _relu_power_slope(x, power):
    root = jnp.power(jnp.where(x <= 0, 1, x), (power - 1) / 2)  # its square may underflow where the slope does not
    return jnp.where(x <= 0, 0, power * root * root)


keep_input(relu_power, slope=_relu_power_slope)


@widened
def star_relu(x: Wide, scale: Wide = 0.8944, bias: Wide = -0.4472) -> jax.Array:
    r"""Squared rectified linear unit with a scale and a shift, which hold mean 0 and variance 1.

    .. math:: f(x) = s \max(0, x)^2 + b, \qquad f'(x) = 2 s \max(0, x)

    Args:
        x: array of any shape; integers become floats.
        scale: :math:`s`, a scalar or an array that broadcasts against the trailing axes of ``x``.
        bias: :math:`b`, likewise.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Cost: keeps its input.

    Reference: Yu et al., `2022 <https://arxiv.org/abs/2210.13452>`_.

    >>> star_relu(jnp.array([-1.0, 1.0, 2.0])).tolist(), jax.grad(star_relu)(1.0).item()
    ([-0.4472, 0.4472, 3.1304], 1.7888)
    """
    rectified = jnp.maximum(x, 0)
    return scale * rectified * rectified + bias  # in this order it overflows no earlier than the result


keep_input(star_relu, slope=lambda x, scale, bias: 2 * scale * jnp.maximum(x, 0))
