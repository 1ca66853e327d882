"""Rectifiers whose negative side is an exponential."""

import functools
import math

import jax
import jax.numpy as jnp

from ._checks import above
from ._rules import Wide, keep_input, keep_output, widened

__all__ = ["celu", "elu", "pelu", "selu", "xielu"]

# The pair that makes mean 0 and variance 1 the fixed point of a wide layer (Klambauer et al. 2017).
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_LIMIT = _SELU_SCALE * _SELU_ALPHA  # minus the value at minus infinity


@widened
def elu(x: Wide, alpha: Wide = 1.0) -> jax.Array:
    r"""Exponential linear unit.

    .. math:: f(x) = x \text{ if } x > 0 \text{ else } \alpha (e^x - 1), \qquad
        f'(x) = 1 \text{ if } x > 0 \text{ else } \alpha e^x = f(x) + \alpha

    Args:
        x: array of any shape; integers become floats.
        alpha: :math:`\alpha`, a scalar or an array that broadcasts against the trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Cost: keeps its output, which the next layer keeps anyway. Where that output cannot tell the slope it keeps
    ``x``: in half precision (a slope taken from a rounded output is wrong in the tail), and where ``alpha`` is passed
    (it could be negative, or be differentiated itself).

    Reference: Clevert et al., `2016 <https://arxiv.org/abs/1511.07289>`_.

    >>> elu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(elu)(-1.0).item()
    ([-0.6321, 0.0, 2.0], 0.3679)
    """
    # expm1 must not overflow on the side that is not taken.
    return jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0)))


keep_output(
    elu,
    of_output=lambda y, alpha: jnp.where(y > 0, 1, y + alpha),
    of_input=lambda x, alpha: jnp.where(x > 0, 1, alpha * jnp.exp(jnp.where(x > 0, 0, x))),
    tells=lambda alpha: alpha >= 0,
)


@widened
def celu(x: Wide, alpha: Wide = 1.0) -> jax.Array:
    r"""Continuously differentiable exponential linear unit.

    .. math:: f(x) = x \text{ if } x > 0 \text{ else } \alpha (e^{x/\alpha} - 1), \qquad
        f'(x) = 1 \text{ if } x > 0 \text{ else } e^{x/\alpha} = f(x)/\alpha + 1

    Args:
        x: array of any shape; integers become floats.
        alpha: :math:`\alpha`, positive: a scalar or an array that broadcasts against the trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Cost: as :func:`elu`: keeps its output; its input in half precision, and where ``alpha`` is passed.

    Reference: Barron, `2017 <https://arxiv.org/abs/1704.07483>`_.

    >>> celu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(celu)(-1.0, 2.0).item()
    ([-0.6321, 0.0, 2.0], 0.6065)
    """
    return jnp.where(x > 0, x, alpha * jnp.expm1(_below(x, alpha)))


def _below(x, alpha):
    """The exponent, bounded: at minus infinity the gradient of ``alpha`` has a limit, which inf * 0 has not."""
    alpha = jnp.where(alpha == 0, 1e-35, alpha)  # 0 is a limit, too; a choice by x would cost a scan a buffer
    return jnp.maximum(jnp.minimum(x, 0), -1500 * jnp.abs(alpha)) / alpha


keep_output(
    celu,
    of_output=lambda y, alpha: jnp.where(y > 0, 1, y / alpha + 1),
    of_input=lambda x, alpha: jnp.where(x > 0, 1, jnp.exp(_below(x, alpha))),
    tells=lambda alpha: alpha > 0,
)


@widened
def selu(x: Wide) -> jax.Array:
    r"""Scaled exponential linear unit, whose layers hold mean 0 and variance 1 by themselves.

    .. math:: f(x) = \lambda x \text{ if } x > 0 \text{ else } \lambda\alpha (e^x - 1), \qquad
        \lambda \approx 1.0507, \quad \alpha \approx 1.6733

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The slope at 0 is
        :math:`\lambda\alpha`, as in :func:`jax.nn.selu`.

    Cost: keeps its output, which the next layer keeps anyway; in half precision its input.

    Reference: Klambauer et al., `2017 <https://arxiv.org/abs/1706.02515>`_.

    >>> selu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(selu)(1.0).item()
    ([-1.1113, 0.0, 2.1014], 1.0507)
    """
    return jnp.where(x > 0, _SELU_SCALE * x, _SELU_LIMIT * jnp.expm1(jnp.minimum(x, 0)))


keep_output(
    selu,
    of_output=lambda y: jnp.where(y > 0, _SELU_SCALE, y + _SELU_LIMIT),
    # As one exponential: the product reaches further down than exp alone.
    of_input=lambda x: jnp.where(x > 0, _SELU_SCALE, jnp.exp(jnp.where(x > 0, 0, x) + math.log(_SELU_LIMIT))),
)


@functools.partial(widened, check=above(0, "alpha", "beta"))
def pelu(x: Wide, alpha: Wide, beta: Wide) -> jax.Array:
    r"""Parametric exponential linear unit: an :func:`elu` whose height and width are learnt.

    .. math:: f(x) = \frac{\alpha}{\beta} x \text{ if } x \ge 0 \text{ else } \alpha (e^{x/\beta} - 1), \qquad
        f'(x) = \frac{\alpha}{\beta} \text{ or } \frac{\alpha}{\beta} e^{x/\beta}

    Args:
        x: array of any shape; integers become floats.
        alpha: :math:`\alpha`, positive: a scalar or an array that broadcasts against the trailing axes of ``x``.
        beta: :math:`\beta`, likewise.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Raises:
        ValueError: for numbers that are not positive.

    Cost: keeps its input.

    Reference: Trottier et al., `2017 <https://arxiv.org/abs/1605.09332>`_.

    >>> pelu(jnp.array([-1.0, 2.0]), 1.0, 0.5).tolist(), jax.grad(pelu)(-1.0, 1.0, 0.5).item()
    ([-0.8647, 4.0], 0.2707)
    """
    return jnp.where(x >= 0, alpha / beta * jnp.maximum(x, 0), alpha * jnp.expm1(_below(x, beta)))


keep_input(pelu, slope=lambda x, alpha, beta: alpha / beta * jnp.where(x >= 0, 1, jnp.exp(_below(x, beta))))


@widened
def xielu(x: Wide, alpha_p: Wide = 0.8, alpha_n: Wide = 0.8, beta: Wide = 0.5) -> jax.Array:
    r"""Expanded integral of the exponential linear unit: its slope is linear above 0 and an ELU below.

    .. math:: f(x) = \alpha_p x^2 + \beta x \text{ if } x > 0 \text{ else } \alpha_n (e^x - 1 - x) + \beta x, \qquad
        f'(x) = 2 \alpha_p x + \beta \text{ or } \alpha_n (e^x - 1) + \beta

    Args:
        x: array of any shape; integers become floats.
        alpha_p: :math:`\alpha_p`, the curvature above 0; like every further argument a scalar or an array that
            broadcasts against the trailing axes of ``x``.
        alpha_n: :math:`\alpha_n`, the curvature below.
        beta: :math:`\beta`, the slope at 0.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The formula as the paper
        prints it; its code clamps the exponent at -1e-6, which makes a step of that height at 0.

    Cost: keeps its input.

    Reference: Huang and Schlag, `2024 <https://arxiv.org/abs/2411.13010>`_.

    >>> xielu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(xielu)(1.0).item()
    ([-0.2057, 0.0, 4.2], 2.1)
    """
    below = jnp.minimum(x, 0)
    # Two ways to add the three terms: the first does not underflow early, the second cancels less.
    near = alpha_n * (jnp.expm1(below) - below) + beta * below
    far = alpha_n * jnp.expm1(below) + (beta - alpha_n) * below
    return jnp.where(x > 0, (alpha_p * x + beta) * x, jnp.where(x > -0.5, near, far))


keep_input(
    xielu,
    slope=lambda x, alpha_p, alpha_n, beta: jnp.where(
        x > 0, 2 * alpha_p * x + beta, alpha_n * jnp.expm1(jnp.minimum(x, 0)) + beta
    ),
)
