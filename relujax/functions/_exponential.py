"""Rectifiers whose negative side is an exponential."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._precision import align, is_half, narrow, widen
from ..gradients import rectifier


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


def _elu_fwd(x, alpha):
    y = elu(x.value, alpha.value)
    scale = align(alpha.value, widen(x.value))
    known = isinstance(alpha.value, (int, float)) and alpha.value >= 0
    return y, (y, None, scale) if known and not is_half(x.value) else (None, x.value, scale)


def _elu_bwd(residual, g):
    y, x, alpha = residual
    if x is None:
        return jnp.where(y > 0, g, (y + alpha) * g), None
    x = widen(x)
    negative = jnp.minimum(x, 0)
    slope = jnp.where(x > 0, 1, alpha * jnp.exp(negative))
    return slope * g, jnp.where(x > 0, 0, jnp.expm1(negative)) * g


elu.defvjp(_elu_fwd, _elu_bwd, symbolic_zeros=True)
