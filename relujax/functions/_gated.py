"""Gated units: one array decides how much of another passes. Each keeps both for the backward pass."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ._checks import above, axis_length
from ._dtypes import as_jax_nn
from ._piecewise_linear import relu
from ._rules import Wide, keep_input, one_unless_nan, whole, widened
from ._self_gated import _swish_slope, gelu, silu, swish

__all__ = ["bilinear", "clamped_swiglu", "drelu", "geglu", "glu", "reglu", "swiglu"]


@widened
def _gated_by_sigmoid(x: Wide, gate: Wide) -> jax.Array:
    return x * jax.lax.logistic(gate)


keep_input(_gated_by_sigmoid)


@functools.partial(whole, static=("axis",), dtypes=as_jax_nn)
def glu(x: ArrayLike, axis: int = -1) -> jax.Array:
    r"""Gated linear unit: one half of the input times the sigmoid of the other.

    .. math:: f(a, b) = a \, \sigma(b), \qquad x = [a, b]

    Args:
        x: array whose axis ``axis`` has an even length; integers become floats.
        axis: the axis that is halved.

    Returns:
        Array with half as many elements along ``axis``; half precision is computed in float32 and rounded once.

    Raises:
        ValueError: for an odd length, and for an axis that is not there.

    Cost: keeps its input.

    Reference: Dauphin et al., `2017 <https://arxiv.org/abs/1612.08083>`_; :func:`jax.nn.glu`.

    >>> glu(jnp.array([1.0, 2.0, 0.0, 0.0])).tolist()
    [0.5, 1.0]
    """
    if axis_length("glu", x, axis) % 2:
        raise ValueError(f"glu got an input of shape {jnp.shape(x)} and axis {axis}: expected an axis of even length")
    return _gated_by_sigmoid(*jnp.split(jnp.asarray(x), 2, axis=axis))


@widened
def bilinear(gate: Wide, up: Wide) -> jax.Array:
    r"""Bilinear gate: the product of two linear maps, and no other nonlinearity.

    .. math:: f(a, b) = a \, b

    Args:
        gate: array of any shape; integers become floats.
        up: array of the same shape, or one that broadcasts against its trailing axes.

    Returns:
        Array of the shape and dtype of ``gate``; half precision is computed in float32 and rounded once.

    Cost: keeps both arguments.

    Reference: Shazeer, `2020 <https://arxiv.org/abs/2002.05202>`_, after Mnih and Hinton, 2007.

    >>> bilinear(jnp.array([-1.0, 2.0]), jnp.array([3.0, 4.0])).tolist()
    [-3.0, 8.0]
    """
    return gate * up


@widened
def reglu(gate: Wide, up: Wide) -> jax.Array:
    r"""Gated linear unit with a rectified gate.

    .. math:: f(a, b) = \max(0, a) \, b

    Args:
        gate: array of any shape; integers become floats.
        up: array of the same shape, or one that broadcasts against its trailing axes.

    Returns:
        Array of the shape and dtype of ``gate``; half precision is computed in float32 and rounded once. At 0 the gate
        has the slope of :func:`relu`.

    Cost: keeps both arguments.

    Reference: Shazeer, `2020 <https://arxiv.org/abs/2002.05202>`_.

    >>> reglu(jnp.array([-1.0, 2.0]), jnp.array([3.0, 4.0])).tolist()
    [0.0, 8.0]
    """
    return relu(gate) * up


@widened
def geglu(gate: Wide, up: Wide, approximate: bool = True) -> jax.Array:
    r"""Gated linear unit with a :func:`gelu` for a gate.

    .. math:: f(a, b) = a \Phi(a) \, b

    Args:
        gate: array of any shape; integers become floats.
        up: array of the same shape, or one that broadcasts against its trailing axes.
        approximate: as for :func:`gelu`.

    Returns:
        Array of the shape and dtype of ``gate``; half precision is computed in float32 and rounded once.

    Cost: keeps both arguments.

    Reference: Shazeer, `2020 <https://arxiv.org/abs/2002.05202>`_.

    >>> geglu(jnp.array([-1.0, 2.0]), jnp.array([3.0, 4.0])).tolist()
    [-0.4764, 7.8184]
    """
    return gelu(gate, approximate=approximate) * up


@widened
def swiglu(gate: Wide, up: Wide) -> jax.Array:
    r"""Gated linear unit with a :func:`silu` for a gate.

    .. math:: f(a, b) = a \sigma(a) \, b

    Args:
        gate: array of any shape; integers become floats.
        up: array of the same shape, or one that broadcasts against its trailing axes.

    Returns:
        Array of the shape and dtype of ``gate``; half precision is computed in float32 and rounded once.

    Cost: keeps both arguments.

    Reference: Shazeer, `2020 <https://arxiv.org/abs/2002.05202>`_.

    >>> swiglu(jnp.array([-1.0, 2.0]), jnp.array([3.0, 4.0])).tolist()
    [-0.8068, 7.0464]
    """
    return silu(gate) * up


@functools.partial(widened, check=above(0, "limit"))
def clamped_swiglu(gate: Wide, up: Wide, limit: Wide = 7.0, beta: Wide = 1.702) -> jax.Array:
    r"""A :func:`swiglu` whose arguments cannot run away, as in gpt-oss.

    .. math:: f(a, b) = a' \sigma(\beta a') \, (b' + 1), \qquad a' = \min(a, c), \quad b' = \min(\max(b, -c), c)

    Args:
        gate: array of any shape; integers become floats.
        up: array of the same shape, or one that broadcasts against its trailing axes.
        limit: :math:`c`, positive: a scalar or an array that broadcasts against the trailing axes.
        beta: :math:`\beta`, how sharp the gate is, likewise.

    Returns:
        Array of the shape and dtype of ``gate``; half precision is computed in float32 and rounded once. Where an
        argument is clamped its slope is 0, at the limit itself it is not clamped yet.

    Raises:
        ValueError: for a number ``limit`` that is not positive.

    Cost: keeps both arguments.

    Reference: OpenAI, `gpt-oss-120b and gpt-oss-20b model card <https://arxiv.org/abs/2508.10925>`_, 2025.

    >>> clamped_swiglu(jnp.array([-1.0, 9.0]), jnp.array([3.0, -9.0])).tolist()
    [-0.6168, -41.9997]
    """
    return swish(jnp.minimum(gate, limit), beta) * (_clamped(up, limit) + 1)


def _clamped(up, limit):
    return jnp.where(up > limit, limit, jnp.where(up < -limit, -limit, up))


@widened
def drelu(gate: Wide, up: Wide) -> jax.Array:
    r"""Gated linear unit with both sides rectified, for nine zeros in ten.

    .. math:: f(a, b) = \max(0, a) \max(0, b)

    Args:
        gate: array of any shape; integers become floats.
        up: array of the same shape, or one that broadcasts against its trailing axes.

    Returns:
        Array of the shape and dtype of ``gate``; half precision is computed in float32 and rounded once. At 0 each side
        has the slope of :func:`relu`.

    Cost: keeps both arguments.

    Reference: Song et al., `2024 <https://arxiv.org/abs/2406.05955>`_.

    >>> drelu(jnp.array([-1.0, 2.0]), jnp.array([3.0, 4.0])).tolist()
    [0.0, 8.0]
    """
    return relu(gate) * relu(up)


for _member in (bilinear, geglu, swiglu):
    keep_input(_member)


def _one_above_zero(x):
    """The slope of a rectifier, through which NaN passes."""
    return jnp.where(x <= 0, 0, one_unless_nan(x))


keep_input(
    clamped_swiglu,
    slope=lambda gate, up, limit, beta: (
        jnp.where(gate > limit, 0, _swish_slope(gate, beta)) * (_clamped(up, limit) + 1)
    ),
)
keep_input(reglu, slope=lambda gate, up: _one_above_zero(gate) * up)
keep_input(drelu, slope=lambda gate, up: _one_above_zero(gate) * relu(up))
