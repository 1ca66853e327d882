"""Rectifiers whose negative side is an exponential."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._precision import align, is_half, narrow, widen
from ..gradients import Rectifier, rectifier
from ._rules import output_rule

# The pair that makes mean 0 and variance 1 the fixed point of a wide layer (Klambauer et al. 2017).
_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_LIMIT = _SELU_SCALE * _SELU_ALPHA  # minus the value at minus infinity


def _fwd_with_alpha(fun: Rectifier, tells: Callable[[float], bool]) -> Callable:
    """Keeps the output where it tells the slope, which takes an ``alpha`` that is known to be right for that."""

    def fwd(x, alpha):
        y = fun(x.value, alpha.value)
        scale = align(alpha.value, widen(x.value))
        known = isinstance(alpha.value, (int, float)) and tells(alpha.value)
        return y, (y, None, scale) if known and not is_half(x.value) else (None, x.value, scale)

    return fwd


@rectifier
def elu(x: ArrayLike, alpha: ArrayLike = 1.0) -> jax.Array:
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
    wide = widen(x)
    negative = jnp.minimum(wide, 0)  # expm1 must not overflow on the side that is not taken
    return narrow(jnp.where(wide > 0, wide, align(alpha, wide) * jnp.expm1(negative)), like=x)


def _elu_bwd(residual, g):
    y, x, alpha = residual
    if x is None:
        return jnp.where(y > 0, g, (y + alpha) * g), None
    x = widen(x)
    negative = jnp.minimum(x, 0)
    slope = jnp.where(x > 0, 1, alpha * jnp.exp(negative))
    return slope * g, jnp.where(x > 0, 0, jnp.expm1(negative)) * g


elu.defvjp(_fwd_with_alpha(elu, tells=lambda alpha: alpha >= 0), _elu_bwd, symbolic_zeros=True)


@rectifier
def celu(x: ArrayLike, alpha: ArrayLike = 1.0) -> jax.Array:
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
    wide = widen(x)
    alpha = align(alpha, wide)
    return narrow(jnp.where(wide > 0, wide, alpha * jnp.expm1(jnp.minimum(wide, 0) / alpha)), like=x)


def _celu_bwd(residual, g):
    y, x, alpha = residual
    if x is None:
        return jnp.where(y > 0, g, (y / alpha + 1) * g), None
    x = widen(x)
    ratio = jnp.minimum(x, 0) / alpha
    # At -inf the second term of the gradient of alpha has the limit 0, which inf * 0 has not.
    falling = jnp.where(jnp.isneginf(ratio), 0, ratio * jnp.exp(ratio))
    return jnp.where(x > 0, 1, jnp.exp(ratio)) * g, jnp.where(x > 0, 0, jnp.expm1(ratio) - falling) * g


celu.defvjp(_fwd_with_alpha(celu, tells=lambda alpha: alpha > 0), _celu_bwd, symbolic_zeros=True)


@rectifier
def selu(x: ArrayLike, /) -> jax.Array:
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
    wide = widen(x)
    below = _SELU_LIMIT * jnp.expm1(jnp.minimum(wide, 0))
    return narrow(jnp.where(wide > 0, _SELU_SCALE * wide, below), like=x)


selu.defvjp(
    *output_rule(
        selu,
        of_output=lambda y: jnp.where(y > 0, _SELU_SCALE, y + _SELU_LIMIT),
        # As one exponential: the product reaches further down than exp alone.
        of_input=lambda x: jnp.where(x > 0, _SELU_SCALE, jnp.exp(jnp.minimum(x, 0) + math.log(_SELU_LIMIT))),
    )
)
