"""Rectifiers that see the channel, beside the number: their output depends on where it stands."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._precision import narrow, widen
from ..gradients import pack_bits, unpack_bits
from ._checks import axis_length
from ._piecewise_linear import relu
from ._rules import member, whole

__all__ = ["apl", "bipolar_relu", "crelu"]


@functools.partial(whole, static=("axis",))
def crelu(x: ArrayLike, axis: int = -1) -> jax.Array:
    r"""Concatenated rectified linear unit: both signs, side by side, so that nothing is lost.

    .. math:: f(x) = [\max(0, x), \max(0, -x)]

    Args:
        x: array with an axis ``axis``; integers stay integers.
        axis: the axis that becomes twice as long.

    Returns:
        Array with twice as many elements along ``axis``. The slopes at 0 and NaN are those of :func:`relu`.

    Raises:
        ValueError: for an axis that is not there.

    Cost: keeps 1 bit per element of the output.

    Reference: Shang et al., `2016 <https://arxiv.org/abs/1603.05201>`_.

    >>> crelu(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0, 1.0, 0.0]
    """
    axis_length("crelu", x, axis)
    x = jnp.asarray(x)
    negative = jnp.zeros_like(x) if jnp.issubdtype(x.dtype, jnp.unsignedinteger) else -x
    return relu(jnp.concatenate([x, negative], axis=axis))


def _even(x: ArrayLike, axis: int) -> jax.Array:
    length = axis_length("bipolar_relu", x, axis)
    even = jnp.arange(length, dtype=jnp.int32) % 2 == 0
    along = jnp.expand_dims(even, [i for i in range(jnp.ndim(x)) if i != axis % jnp.ndim(x)])
    return along & jnp.ones_like(x, bool)  # a mesh divides it as it does x


@member
def bipolar_relu(x: ArrayLike, axis: int = -1) -> jax.Array:
    r"""Bipolar rectified linear unit: every second channel is rectified from above, which halves the mean shift.

    .. math:: f(x)_i = \max(0, x_i) \text{ for even } i, \quad \min(0, x_i) \text{ for odd } i

    Args:
        x: array with an axis ``axis``; integers stay integers.
        axis: the axis of the channels.

    Returns:
        Array of the same shape and dtype. The slope at 0 is 0, at NaN 1.

    Raises:
        ValueError: for an axis that is not there.

    Cost: keeps 1 bit per element for the backward pass.

    Reference: Eidnes and Nøkland, `2018 <https://arxiv.org/abs/1709.04054>`_.

    >>> bipolar_relu(jnp.array([-1.0, -1.0, 2.0, 2.0])).tolist()
    [0.0, -1.0, 2.0, 0.0]
    """
    return jnp.where(_even(x, axis), jnp.maximum(x, 0), jnp.minimum(x, 0))


def _bipolar_fwd(x, axis):
    even = _even(x, axis)
    return bipolar_relu(x, axis), pack_bits(jnp.where(even, ~jnp.less_equal(x, 0), ~jnp.greater_equal(x, 0)))


bipolar_relu.defvjp(_bipolar_fwd, lambda active, g: (jnp.where(unpack_bits(active, g.shape), g, 0), None))


@whole
def apl(x: ArrayLike, slopes: ArrayLike, hinges: ArrayLike) -> jax.Array:
    r"""Adaptive piecewise linear unit: a rectifier and some hinges that are learnt, for each channel its own.

    .. math:: f(x) = \max(0, x) + \sum_{s} a_s \max(0, b_s - x)

    Args:
        x: array of shape ``(..., channels)``; integers become floats.
        slopes: :math:`a`, of shape ``(hinges,)`` or ``(hinges, channels)``.
        hinges: :math:`b`, of the same shape.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The slope of each part at
        its kink is 0.

    Raises:
        ValueError: for slopes and hinges whose shapes differ, or have another number of channels than ``x``.

    Cost: keeps its input.

    Reference: Agostinelli et al., `2015 <https://arxiv.org/abs/1412.6830>`_.

    >>> apl(jnp.array([-1.0, 2.0]), jnp.array([0.5, -0.25]), jnp.array([0.0, 3.0])).tolist()
    [-0.5, 1.75]
    """
    if not 1 <= jnp.ndim(slopes) <= 2 or jnp.shape(slopes) != jnp.shape(hinges):
        raise ValueError(
            f"apl got slopes of shape {jnp.shape(slopes)} and hinges of shape {jnp.shape(hinges)}: expected the same "
            "shape, (hinges,) or (hinges, channels)"
        )
    channels = jnp.shape(x)[-1:]
    if jnp.shape(slopes)[1:] not in ((), channels, (1,) * len(channels)):
        raise ValueError(
            f"apl got slopes and hinges of shape {jnp.shape(slopes)} for x of shape {jnp.shape(x)}: expected one per "
            "hinge, (hinges,), or for each channel of the last axis its own, (hinges, channels)"
        )

    @jax.checkpoint
    def lines(x, slopes, hinges):
        wide = widen(x)
        y = relu(wide)
        for slope, hinge in zip(jnp.asarray(slopes), jnp.asarray(hinges), strict=True):
            # Aligned by hand: strict promotion of ranks and dtypes forbids the rest.
            a, b = (jnp.broadcast_to(p.astype(wide.dtype), wide.shape) for p in (slope, hinge))
            y += a * relu(b - wide)
        return narrow(y, like=x)

    return lines(x, slopes, hinges)
