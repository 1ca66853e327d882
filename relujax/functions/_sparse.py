"""Rectifiers that count: the largest entries pass, however large they are."""

import functools
import math
import statistics

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._precision import narrow, widen
from ..gradients import pack_bits, unpack_bits
from ._checks import axis_length
from ._rules import member, whole

__all__ = ["batch_top_k", "gaussian_top_k", "maxout", "top_k"]


def _largest(x: jax.Array, k: int) -> jax.Array:
    """Which entries of the last axis are among the ``k`` largest; of equal ones the first."""
    if jnp.issubdtype(x.dtype, jnp.inexact):  # sorted by sign first: some NaN would be the least, and -0 below 0
        x = jnp.where(jnp.isnan(x), jnp.nan, jnp.where(x == 0, 0, x))
    _, places = jax.lax.top_k(x, k)
    return _marked(jnp.zeros_like(x, bool), places)


@functools.partial(jnp.vectorize, signature="(n),(k)->(n)")  # by vmap: what a mesh divides stays where it is
def _marked(marks: jax.Array, places: jax.Array) -> jax.Array:
    return marks.at[places].set(True, unique_indices=True)


def _mask(x: jax.Array, k: int, axis: int) -> jax.Array:
    return jnp.moveaxis(_largest(jnp.moveaxis(x, axis, -1), k), -1, axis)


def _checked(name: str, k: int, most: int, what: str) -> None:
    if not isinstance(k, (int, np.integer)):
        raise TypeError(f"{name} got k={k!r}: expected an integer")
    if not 1 <= k <= most:
        raise ValueError(f"{name} got k={k}: expected 1 to {most}, {what}")


@member
def top_k(x: ArrayLike, k: int, axis: int = -1) -> jax.Array:
    r"""The ``k`` largest entries along an axis pass, the others become 0.

    .. math:: f(x)_i = x_i \text{ if } x_i \text{ is among the } k \text{ largest of } x \text{ else } 0

    Args:
        x: array with an axis of at least ``k`` entries; integers stay integers.
        k: how many pass. Of equal ones the first do.
        axis: along which to count.

    Returns:
        Array of the same shape and dtype. Negative entries pass too where they are among the largest; for none,
        apply :func:`relujax.relu` first. NaN counts as the largest.

    Raises:
        ValueError: for ``k`` below 1 or above the length of the axis.

    Cost: keeps 1 bit per element for the backward pass; one partial sort.

    Reference: Makhzani and Frey, `2014 <https://arxiv.org/abs/1312.5663>`_; Gao et al.,
    `2024 <https://arxiv.org/abs/2406.04093>`_.

    >>> x = jnp.array([3.0, -1.0, 2.0, 0.5])
    >>> top_k(x, 2).tolist(), jax.grad(lambda x: top_k(x, 2).sum())(x).tolist()
    ([3.0, 0.0, 2.0, 0.0], [1.0, 0.0, 1.0, 0.0])
    """
    _checked("top_k", k, axis_length("top_k", x, axis), f"the length of axis {axis}")
    return jnp.where(_mask(jnp.asarray(x), k, axis), x, 0)


def _selected(bits, g, *_):
    return jnp.where(unpack_bits(bits, g.shape), g, 0), None, None


def _top_k_fwd(x, k, axis):
    return top_k(x, k, axis), pack_bits(_mask(jnp.asarray(x), k, axis))


top_k.defvjp(_top_k_fwd, _selected)


@member
def batch_top_k(x: ArrayLike, k: int) -> jax.Array:
    r"""The ``k`` largest entries per example pass on average: ``k`` times the batch over the whole batch.

    .. math:: f(x)_{ni} = x_{ni} \text{ if } x_{ni} \text{ is among the } kN \text{ largest of all else } 0

    Args:
        x: array of shape ``(..., units)``, :math:`N` examples of them; integers stay integers.
        k: how many pass per example on average, so that one example may have more and another fewer. Of equal ones the
            first do.

    Returns:
        Array of the same shape and dtype. An example's output depends on the rest of its batch; for inference see
        :class:`relujax.nnx.BatchTopK`, which learns a threshold in its place.

    Raises:
        ValueError: for ``k`` below 1 or above the number of units.

    Cost: keeps 1 bit per element for the backward pass; one partial sort of the whole batch, which is gathered where a
    mesh divides it. On explicit axes gather it before: ``jax.sharding.reshard(x, jax.sharding.PartitionSpec())``.

    Reference: Bussmann et al., `2024 <https://arxiv.org/abs/2412.06410>`_.

    >>> batch_top_k(jnp.array([[3.0, 2.0, 1.0], [0.5, 0.25, 0.0]]), 1).tolist()
    [[3.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    """
    _checked("batch_top_k", k, axis_length("batch_top_k", x, -1), "the number of units")
    return jnp.where(_batch_mask(x, k), x, 0)


def _batch_mask(x, k):
    shape = jnp.shape(x)
    flat = jnp.reshape(x, (-1,))
    return _largest(flat, k * math.prod(shape[:-1])).reshape(shape)


batch_top_k.defvjp(
    lambda x, k: (batch_top_k(x, k), pack_bits(_batch_mask(x, k))),
    lambda bits, g: _selected(bits, g)[:2],
)


@functools.partial(whole, static=("k", "axis"))
def gaussian_top_k(x: ArrayLike, k: int, axis: int = -1) -> jax.Array:
    r"""About ``k`` entries pass, less a threshold: where a Gaussian with their mean and spread has its ``k`` largest.

    .. math:: f(x) = \max(0, x - \theta), \qquad \theta = \mu + s \, \Phi^{-1}\!\left(1 - \tfrac{k}{d}\right)

    Args:
        x: array with an axis of :math:`d > k` entries; integers become floats.
        k: how many pass, nearly so where the entries are near to normal.
        axis: along which mean :math:`\mu` and standard deviation :math:`s` (of the population) are taken.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The gradient flows through
        mean and standard deviation too.

    Raises:
        ValueError: for ``k`` below 1 or not below the length of the axis.

    Cost: keeps its input; no sort, two sums along the axis.

    Reference: You et al., `Spark Transformer <https://arxiv.org/abs/2506.06644>`_, 2025.

    >>> gaussian_top_k(jnp.array([3.0, -1.0, 2.0, 0.0]), 1).tolist()
    [0.9335, 0.0, 0.0, 0.0]
    """
    length = axis_length("gaussian_top_k", x, axis)
    _checked("gaussian_top_k", k, length - 1, f"below the length of axis {axis}")
    quantile = statistics.NormalDist().inv_cdf(1 - k / length)

    @jax.checkpoint
    def above_threshold(x: ArrayLike) -> jax.Array:
        wide = widen(x)
        centred = wide - wide.mean(axis, keepdims=True)
        # In units of the largest, so that no square overflows or is lost.
        unit = jax.lax.stop_gradient(jnp.abs(centred).max(axis, keepdims=True))
        centred /= jnp.where(unit > 0, unit, 1)
        variance = (centred * centred).mean(axis, keepdims=True)
        some = variance > 0  # a root has no slope at 0
        deviation = jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1)), 0)
        return narrow(jnp.maximum(centred - quantile * deviation, 0) * unit, like=x)

    return above_threshold(x)


@functools.partial(whole, static=("pieces", "axis"))
def maxout(x: ArrayLike, pieces: int = 2, axis: int = -1) -> jax.Array:
    r"""The largest of each group of neighbours: a rectifier whose shape the layer before it learns.

    .. math:: f(x)_i = \max_{0 \le j < p} x_{p i + j}

    Args:
        x: array whose axis ``axis`` has a length that ``pieces`` divides; integers stay integers.
        pieces: :math:`p`, the size of a group.
        axis: the axis that is grouped.

    Returns:
        Array with ``1 / pieces`` as many elements along ``axis``. Of equal entries the first has the gradient.

    Raises:
        ValueError: for a length that ``pieces`` does not divide.

    Cost: keeps 1 bit per element of ``x``.

    Reference: Goodfellow et al., `2013 <https://arxiv.org/abs/1302.4389>`_.

    >>> maxout(jnp.array([1.0, 3.0, -2.0, -1.0])).tolist()
    [3.0, -1.0]
    """
    length = axis_length("maxout", x, axis)
    if not isinstance(pieces, (int, np.integer)) or pieces < 1 or length % pieces:
        raise ValueError(f"maxout got pieces={pieces} for an axis of length {length}: expected a divisor of it")
    last = jnp.moveaxis(jnp.asarray(x), axis, -1)
    groups = _winners(last, pieces).reshape(*last.shape[:-1], length // pieces, pieces)
    return jnp.moveaxis(groups.sum(-1, dtype=groups.dtype), -1, axis)


@member
def _winners(x: ArrayLike, pieces: int) -> jax.Array:
    """The largest of each group of neighbours along the last axis passes, the others become 0."""
    return jnp.where(_won(x, pieces), x, 0)


def _won(x, pieces):
    shape = jnp.shape(x)
    groups = jnp.reshape(x, (*shape[:-1], shape[-1] // pieces, pieces))
    winners = jnp.argmax(groups, axis=-1)  # of equal ones the first, and NaN before any number
    return jax.nn.one_hot(winners, pieces, dtype=bool).reshape(shape)


_winners.defvjp(
    lambda x, pieces: (_winners(x, pieces), pack_bits(_won(x, pieces))),
    lambda bits, g: _selected(bits, g)[:2],
)
