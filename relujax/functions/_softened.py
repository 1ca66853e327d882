"""Rectifiers with a rounded corner."""

import functools

import jax
import jax.numpy as jnp

from ._checks import above
from ._elementary import exp_gap, log1p_exp
from ._rules import Wide, finite, keep_input, keep_output, one_unless_nan, widened

__all__ = ["hard_mish", "hard_silu", "hard_swish", "log_sigmoid", "softplus", "sparse_plus", "squareplus"]


@functools.partial(widened, check=above(0, "beta"))
def softplus(x: Wide, beta: Wide = 1.0) -> jax.Array:
    r"""Softplus, the integral of the sigmoid.

    .. math:: f(x) = \frac{1}{\beta} \log(1 + e^{\beta x}), \qquad
        f'(x) = \sigma(\beta x) = 1 - e^{-\beta f(x)}

    Args:
        x: array of any shape; integers become floats.
        beta: :math:`\beta`, positive, how sharp the corner is: a scalar or an array that broadcasts against the
            trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Raises:
        ValueError: for a number ``beta`` that is not positive.

    Cost: keeps its output, which the next layer keeps anyway; its input in half precision, and where ``beta`` is
    passed.

    Reference: Dugas et al., `2001 <https://papers.nips.cc/paper/1920>`_.

    >>> softplus(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(softplus)(0.0).item()
    ([0.3133, 0.6931, 2.1269], 0.5)
    """
    return jnp.maximum(x, 0) + log1p_exp(-jnp.abs(beta * finite(x))) / beta


keep_output(
    softplus,
    of_output=lambda y, beta: exp_gap(beta * y),
    of_input=lambda x, beta: jax.lax.logistic(beta * x),
    tells=lambda beta: beta > 0,
)


@widened
def log_sigmoid(x: Wide) -> jax.Array:
    r"""Logarithm of the sigmoid.

    .. math:: f(x) = \log \sigma(x) = -\log(1 + e^{-x}), \qquad f'(x) = \sigma(-x) = 1 - e^{f(x)}

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``, at most 0; half precision is computed in float32 and rounded once.

    Cost: keeps its output, which the next layer keeps anyway; in half precision its input.

    Reference: :func:`jax.nn.log_sigmoid`.

    >>> log_sigmoid(jnp.array([-2.0, 0.0, 1.0])).tolist(), jax.grad(log_sigmoid)(0.0).item()
    ([-2.1269, -0.6931, -0.3133], 0.5)
    """
    return jnp.minimum(x, 0) - log1p_exp(-jnp.abs(x))


keep_output(log_sigmoid, of_output=lambda y: exp_gap(-y), of_input=lambda x: jax.lax.logistic(-x))


@widened
def squareplus(x: Wide, b: Wide = 4.0) -> jax.Array:
    r"""Squareplus: a hyperbola, and no exponential.

    .. math:: f(x) = \frac{x + \sqrt{x^2 + b}}{2}, \qquad f'(x) = \frac{f(x)}{\sqrt{x^2 + b}}

    Args:
        x: array of any shape; integers become floats.
        b: how round the corner is, positive: a scalar or an array that broadcasts against the trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The left tail does not
        cancel, as :func:`jax.nn.squareplus`'s does.

    Cost: keeps its input.

    Reference: Barron, `2021 <https://arxiv.org/abs/2112.11687>`_.

    >>> squareplus(jnp.array([-1.5, 0.0, 1.5])).tolist(), jax.grad(squareplus)(0.0).item()
    ([0.5, 1.0, 2.0], 0.5)
    """
    # The distance to max(0, x), which does not cancel; scaled, so that no square overflows.
    scale = jnp.clip(jnp.abs(x), 1, 1e38)
    root = scale * jnp.sqrt((x / scale) ** 2 + b / scale / scale)
    return jnp.maximum(x, 0) + b / 4 / (root / 2 + jnp.abs(x) / 2)


def _squareplus_slope(x, b):
    x = jnp.clip(x, -1e19, 1e19)  # further out the slope is 0 or 1 to the last place
    root = jnp.sqrt(x * x + b)
    return jnp.where(x < 0, b / 2 / (root + jnp.abs(x)) / root, (1 + x / root) / 2)


keep_input(squareplus, slope=_squareplus_slope)


@widened
def sparse_plus(x: Wide) -> jax.Array:
    r"""Sparseplus: a rectifier whose corner is a parabola, exactly 0 below -1.

    .. math:: f(x) = 0 \text{ if } x \le -1, \quad \tfrac14 (x + 1)^2 \text{ if } -1 < x < 1, \quad x \text{ else},
        \qquad f'(x) = \tfrac12 \min(\max(x + 1, 0), 2)

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Cost: keeps its input.

    Reference: Martins and Astudillo, `2016 <https://arxiv.org/abs/1602.02068>`_; :func:`jax.nn.sparse_plus`.

    >>> sparse_plus(jnp.array([-2.0, 0.0, 3.0])).tolist(), jax.grad(sparse_plus)(0.0).item()
    ([0.0, 0.25, 3.0], 0.5)
    """
    return jnp.maximum((jnp.clip(x, -1, 1) + 1) ** 2 / 4, x)  # the parabola touches x at 1


keep_input(sparse_plus, slope=lambda x: jnp.clip(x + 1, 0, 2) / 2)


@widened
def hard_silu(x: Wide) -> jax.Array:
    r"""Sigmoid linear unit with a gate made of three straight lines, also known as hard swish.

    .. math:: f(x) = \tfrac16 x \min(\max(x + 3, 0), 6), \qquad f'(x) = \tfrac16 (2x + 3) \text{ if } -3 < x < 3

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The slopes at -3 and 3 are
        0 and 1, as in :func:`jax.nn.hard_silu`; the limit 0 at minus infinity, where that gives NaN.

    Cost: keeps its input: the function is not monotone, so its output does not tell the slope.

    Reference: Howard et al., `2019 <https://arxiv.org/abs/1905.02244>`_.

    >>> hard_silu(jnp.array([-4.0, 1.5, 4.0])).tolist(), jax.grad(hard_silu)(0.0).item()
    ([0.0, 1.125, 4.0], 0.5)
    """
    return jnp.maximum(x, -3) * ((jnp.clip(x, -3, 3) + 3) / 6)


def _hard_silu_slope(x):
    return jnp.where(x <= -3, 0, jnp.where(x < 3, (2 * x + 3) / 6, one_unless_nan(x)))


keep_input(hard_silu, slope=_hard_silu_slope)

#: The name that ``jax.nn`` has for it too.
hard_swish = hard_silu


@widened
def hard_mish(x: Wide) -> jax.Array:
    r"""Mish with a gate made of three straight lines.

    .. math:: f(x) = \tfrac12 x \min(\max(x + 2, 0), 2), \qquad f'(x) = x + 1 \text{ if } -2 < x < 0

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The slope at -2 is 0.

    Cost: keeps its input: the function is not monotone, so its output does not tell the slope.

    Reference: Wightman, `2020 <https://github.com/huggingface/pytorch-image-models>`_, after Misra, 2020.

    >>> hard_mish(jnp.array([-3.0, -1.0, 2.0])).tolist(), jax.grad(hard_mish)(-0.5).item()
    ([0.0, -0.5, 2.0], 0.5)
    """
    return jnp.maximum(x, -2) * ((jnp.clip(x, -2, 0) + 2) / 2)


keep_input(hard_mish, slope=lambda x: jnp.where(x <= -2, 0, jnp.where(x < 0, x + 1, one_unless_nan(x))))
