"""Rectifiers that multiply their input by a gate of it: smooth, not monotone, and in need of their input."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._precision import narrow, widen
from ..gradients import rectifier

# Below this exp(x) is taken in two halves: the whole of it underflows before its product with x does.
_TAIL = -18.0


@rectifier
def silu(x: ArrayLike, /) -> jax.Array:
    r"""Sigmoid linear unit, also known as swish.

    .. math:: f(x) = x \sigma(x), \qquad f'(x) = \sigma(x) \left(1 + x \sigma(-x)\right)

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The limit 0 at minus
        infinity, where :func:`jax.nn.silu` gives NaN.

    Cost: keeps its input: the function is not monotone, so its output does not tell the slope.

    Reference: Elfwing et al., `2018 <https://arxiv.org/abs/1702.03118>`_.

    >>> silu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(silu)(0.0).item()
    ([-0.2689, 0.0, 1.7616], 0.5)
    """
    wide = widen(x)
    low, half, rest = _lower_tail(wide)
    return narrow(jnp.where(wide < _TAIL, low * half * half * rest, wide * jax.lax.logistic(wide)), like=x)


def _lower_tail(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A finite ``x`` of the tail, the root of exp(x), and the sigmoid of -x."""
    low = jnp.clip(x, -1500, _TAIL)  # exp of half of it is 0 in float64 too
    half = jnp.exp(low / 2)
    return low, half, 1 / (1 + half * half)


def _silu_bwd(x, g):
    x = widen(x)
    low, half, rest = _lower_tail(x)
    near = jnp.clip(x, _TAIL, 1500)
    gate = jax.lax.logistic(near)
    slope = jnp.where(x < _TAIL, half * (1 + low * rest) * half * rest, gate + near * gate * jax.lax.logistic(-near))
    return (slope * g,)


silu.defvjp(lambda x: (silu(x), x), _silu_bwd)
