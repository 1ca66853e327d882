"""What is measured of one execution of a site, on the device: plain sums and counts, forward and backward."""

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._precision import widen
from ..functions import ACTIVATIONS
from ._jaxpr import explicit_axes
from ._sites import Site
from ._statistics import ACTIVE_BINS, Network, Signal, SiteStats

#: A unit passes a gradient on an example where its slope is at least this share of the steepest slope.
SLOPE_FLOOR = 1e-3
#: Up to here a float32 counts one by one.
_COUNTED_BY_FLOATS = 2**24
#: From here on sums of float32 squares are the squares of norms.
_SQUARES_FROM = 1e-30
#: Into parts of this size a count of 31 bits is split.
_PART = 2**16
#: In so many parts, or fewer, a signal is measured that needs care.
_SIGNAL_PARTS = 64


def measure(
    site: Site, y: jax.Array, slope: Callable[[], jax.Array] | None, edges: Any = None, mask: Any = None
) -> tuple[SiteStats, jax.Array]:
    """Forward statistics of one execution of a site, and the active elements of each example.

    Args:
        site: which site.
        y: its output.
        slope: gives its derivative there, of the shape of ``y``; None where ``y`` is never negative, and a gradient
            passes where it is positive.
        edges: edges of the histogram of outputs, ascending; None for no such histogram.
        mask: positions ``(examples, ...)`` to leave out where it is False.
    """
    if slope is None or not explicit_axes(jax.typeof(y).sharding.mesh):
        return _on_any_mesh(lambda y, mask: _measure(site, y, slope, edges, mask), y, mask)
    return _on_any_mesh(lambda y, mask, slope: _measure(site, y, lambda: slope, edges, mask), y, mask, slope())


def _measure(
    site: Site, y: jax.Array, slope: Callable[[], jax.Array] | None, edges: Any, mask: Any
) -> tuple[SiteStats, jax.Array]:
    y = widen(site.in_rows(jax.lax.optimization_barrier(y)))
    row = ACTIVATIONS[site.kind]
    saturates = row.active == "unsaturated"

    def passing() -> jax.Array | None:
        """Where a gradient passes; None where the output is positive."""
        return None if slope is None else jnp.abs(widen(site.in_rows(slope()))) >= SLOPE_FLOOR * row.steepest

    if mask is None and _floats_count(y.shape[:-1]) and _floats_count(y.shape[1:]):
        sums = jax.lax.platform_dependent(
            y,
            cpu=lambda y: _quick_or_careful_sums(y, passing, saturates),
            default=lambda y: _careful_sums(y, passing(), saturates),
        )
    else:
        sums = _careful_sums(y, passing(), saturates, None if mask is None else mask[..., None])
    by_example = _over(site, ("positions", "units"), sums.pop("by_example"))
    size: Any = np.full(1, site.size, np.int32)
    examples = jnp.asarray(y.shape[0], jnp.int32)
    if mask is not None:  # of each example what is let through, and only the examples of which something is
        positions = jnp.sum(mask, axis=tuple(range(1, mask.ndim)), dtype=jnp.int32)
        size = _over(site, ("positions",), positions) * site.units
        examples = jnp.sum(size > 0, dtype=jnp.int32)
    stats = SiteStats(
        **sums,
        examples=examples,
        count=jnp.asarray(math.prod(y.shape[:-1]), jnp.int32) if mask is None else jnp.sum(mask, dtype=jnp.int32),
        histogram=_histogram(by_example, size),
        outputs=None if edges is None else _binned(y, edges, mask),
        signal=None,
        site=site,
        edges=edges,
    )
    return stats, by_example


def measure_network(sites: Sequence[Site], active: Sequence[jax.Array]) -> Network | None:
    """What sites that see the same examples have in common.

    Args:
        sites: the sites.
        active: per site the active elements of each example, with the lengths of the scans around it before.

    Those sites are left out whose number of examples is not that of most, or which run an unknown number of times. None
    where no site is left, or an example has more elements than 31 bits count.
    """
    known = [(site, of) for site, of in zip(sites, active, strict=True) if site.executions is not None and site.size]
    if not known:
        return None
    examples, _ = Counter(of.shape[-1] for _, of in known).most_common(1)[0]
    together = [(site, of) for site, of in known if of.shape[-1] == examples]
    elements = sum(site.size * math.prod(site.steps) for site, _ in together)
    if elements >= 2**31:
        return None
    apart = [of.reshape(math.prod(of.shape[:-1]), examples) for _, of in together]
    counted = functools.reduce(jnp.add, [jnp.sum(of, axis=0, dtype=jnp.int32) for of in apart])
    share = counted.astype(jnp.float32) / elements
    total = jnp.sum(share)
    return Network(
        elements=elements,
        examples=jnp.asarray(examples, jnp.int32),
        histogram=_histogram(counted, np.full(1, elements, np.int32)),
        total=total,
        spread=jnp.sum((share - total / max(examples, 1)) ** 2),
        most=jnp.max(counted, initial=0).astype(jnp.float32),
        fewest=jnp.min(counted, initial=elements if examples else 0).astype(jnp.float32),
    )


def _on_any_mesh(fun: Callable, *arrays: Any) -> Any:
    """``fun`` of arrays whose types may say how a mesh divides them: what it gives is whole on every device.

    Sums, slices and conditionals of such types would each have to be told how their results are divided; here the
    compiler sees to that, as it does on a mesh of automatic axes.
    """
    for array in jax.tree.leaves(arrays):
        mesh = jax.typeof(array).sharding.mesh
        if explicit := explicit_axes(mesh):
            whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
            return jax.sharding.auto_axes(fun, axes=explicit, out_sharding=whole)(*arrays)
    return fun(*arrays)


def _floats_count(shape: tuple[Any, ...]) -> bool:
    """Whether a float32 counts so many one by one; of a length that is not known it is not said."""
    number = math.prod(shape)
    return isinstance(number, int) and number < _COUNTED_BY_FLOATS


def _all(conditions: jax.Array) -> jax.Array:
    """``jnp.all``, by the smallest of some floats: XLA for CPU reduces these in one go, and booleans in two steps."""
    return jnp.min(conditions.astype(jnp.float32), initial=1) > 0


def _over(site: Site, roles: tuple[str, ...], value: jax.Array) -> jax.Array:
    """In ``shard_map``, the sum over the devices between which the site is divided in one of these roles."""
    names = tuple(name for (name, _, _), role in zip(site.shards, site.roles, strict=True) if role in roles)
    return jax.lax.psum(value, names) if names else value


def _careful_sums(y: jax.Array, passing: Any, saturates: bool, within: Any = None) -> dict[str, jax.Array]:
    """What is counted and summed per unit, and the active elements of each example."""
    axes = tuple(range(y.ndim - 1))
    finite = jnp.isfinite(y)
    nonfinite = ~finite if within is None else ~finite & within
    finite = finite if within is None else finite & within
    y = jnp.where(finite, y, 0)
    positive = y > 0
    passing = positive if passing is None else passing
    passing = passing if within is None else passing & within
    active = passing if saturates else positive

    def count(which: jax.Array, axes: tuple[int, ...] = axes) -> jax.Array:
        return jnp.sum(which, axis=axes, dtype=jnp.int32)

    return {
        "active": count(active),
        "passing": count(passing),
        "total": jnp.sum(y, axis=axes),
        "square": jnp.sum(y * y, axis=axes),
        "largest": jnp.max(jnp.abs(y), axis=axes, initial=0),
        "nonfinite": count(nonfinite),
        "by_example": count(active, tuple(range(1, y.ndim))),
    }


def _quick_or_careful_sums(
    y: jax.Array, passing: Callable[[], jax.Array | None], saturates: bool
) -> dict[str, jax.Array]:
    """The same for XLA on CPUs, which reads an array once for each of these sums; on GPUs a condition costs more.

    Where a gradient passes is asked for again where it is needed again, so that it need not be kept until then.
    """
    sums = _quick_sums(y, passing(), saturates)
    return jax.lax.cond(
        _all(jnp.isfinite(sums["square"])),
        lambda: sums,
        lambda: _careful_sums_by_example(y, passing(), saturates),
    )


def _careful_sums_by_example(y: jax.Array, passing: jax.Array | None, saturates: bool) -> dict[str, jax.Array]:
    """The same, one example after the other: little memory, for the rare batch with a number that is not finite."""

    def add(sums: dict, example: tuple) -> tuple[dict, jax.Array]:
        y, passing = jax.tree.map(lambda part: part[None], example)
        one = _careful_sums(y, passing, saturates)
        [by_example] = one.pop("by_example")
        return {k: jnp.maximum(v, one[k]) if k == "largest" else v + one[k] for k, v in sums.items()}, by_example

    nothing = {k: jnp.where(False, v, jnp.zeros_like(v)) for k, v in _careful_sums(y[:1], None, False).items()}
    del nothing["by_example"]
    sums, by_example = jax.lax.scan(add, nothing, (y, passing))
    return sums | {"by_example": by_example}


def _quick_sums(y: jax.Array, passing: jax.Array | None, saturates: bool) -> dict[str, jax.Array]:
    """The same where all is finite; else the squares are not.

    XLA for CPU sums ``sign(y)`` as it reads ``y``, where it would write down all that ``y > 0`` says before it counts.
    """
    axes, of_example = tuple(range(y.ndim - 1)), tuple(range(1, y.ndim))
    sums = {
        "total": jnp.sum(y, axis=axes),
        "square": jnp.sum(y * y, axis=axes),
        "largest": jnp.max(y if passing is None else jnp.abs(y), axis=axes, initial=0),
    }
    if passing is None:
        # Signs that two sums share are written down by XLA for CPU; behind a barrier it does not know that they are
        # equal.
        of_units, of_examples = jnp.sign(y), jnp.sign(jax.lax.optimization_barrier(y))
    else:
        of_units = of_examples = (passing if saturates else y > 0).astype(jnp.float32)
    counts = {"active": jnp.sum(of_units, axis=axes), "by_example": jnp.sum(of_examples, axis=of_example)}
    if passing is None or saturates:
        counts["passing"] = counts["active"]
    else:
        counts["passing"] = jnp.sum(passing.astype(jnp.float32), axis=axes)
    # No NaN is made a whole number.
    counts = {k: jnp.where(v >= 0, v, 0).astype(jnp.int32) for k, v in counts.items()}
    return sums | counts | {"nonfinite": jnp.zeros_like(counts["active"])}


def _binned(y: jax.Array, edges: Any, mask: Any) -> jax.Array:
    """How many finite outputs lie below the first edge, between each two, and from the last one up."""
    finite = jnp.isfinite(y)
    counted = finite if mask is None else finite & mask[..., None]
    values = jnp.where(finite, y, 0).reshape(-1)
    reached = [(values >= jnp.asarray(edge, y.dtype)).astype(jnp.int32) for edge in edges]
    bins = functools.reduce(jnp.add, reached)
    return jnp.zeros(len(edges) + 1, jnp.int32).at[bins].add(counted.reshape(-1).astype(jnp.int32))


def _histogram(active: jax.Array, size: Any) -> jax.Array:
    """Examples by share of active elements; the last bin includes the share 1. An example of no elements is in none.

    ``size``: elements of each example, one per example or one for all.
    """
    # Bin edges in whole numbers of elements: no share near an edge is rounded into the wrong bin.
    whole, rest, i = size // ACTIVE_BINS, size % ACTIVE_BINS, np.arange(1, ACTIVE_BINS, dtype=np.int32)[:, None]
    edges = whole[None] * i + (rest[None] * i + ACTIVE_BINS - 1) // ACTIVE_BINS
    # How many reach each edge, and the differences: comparisons, where a search and a scatter would be loops.
    counted = jnp.broadcast_to(size[None] > 0, (1, active.shape[0]))
    # XLA for CPU sums floats in one go, and integers in several steps.
    dtype = jnp.float32 if _floats_count(active.shape) else jnp.int32
    reach = jnp.sum((active[None] >= edges) & counted, axis=1, dtype=dtype).astype(jnp.int32)
    everything = jnp.sum(counted, axis=1, dtype=jnp.int32)
    return jnp.concatenate([everything, reach]) - jnp.concatenate([reach, jnp.zeros(1, jnp.int32)])


def measure_signal(site: Site, g: jax.Array, mask: jax.Array | None = None, behind: jax.Array | None = None) -> Signal:
    """Norm and *non-zero* counts of a cotangent per unit, in float32.

    Counted the other way round from :class:`Signal`: where the loss does not depend on a site nothing is ever
    measured, JAX fills in zeros, and no entry of the gradient was non-zero. Counted, but not left out of the norm, is
    only what a mask lets through.

    Args:
        site: which site.
        g: the gradient with respect to its output, of the shape of that.
        mask: positions ``(examples, ...)``, or None for all.
        behind: the gradient with respect to its input, or None.
    """

    def both(g: jax.Array, mask: jax.Array | None, behind: jax.Array | None) -> Signal:
        norm, nonzero = _norm_and_nonzero(site, g, mask)
        # Gradients are floats, and a float32 counts to 2**24: two parts, each exact.
        parts = ((nonzero // _PART).astype(jnp.float32), (nonzero % _PART).astype(jnp.float32))
        behind = None if behind is None else stable_norm(_norm_and_nonzero(site, behind)[0])
        return Signal(norm=norm, zeros=parts, behind=behind)

    return _on_any_mesh(both, g, mask, behind)


def _norm_and_nonzero(site: Site, g: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Per unit."""
    g = widen(site.in_rows(g))
    if mask is not None or not _floats_count(g.shape[:-1]):
        return _careful_signal(g, mask)
    return jax.lax.platform_dependent(g, cpu=_quick_or_careful_signal, default=_careful_signal)


def _quick_or_careful_signal(g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same for XLA on CPUs."""
    axes = tuple(range(g.ndim - 1))
    signs, square = jnp.sum(jnp.abs(jnp.sign(g)), axis=axes), jnp.sum(g * g, axis=axes)
    # Squares of small numbers underflow, those of large ones overflow, and a NaN is not counted.
    plain = (signs == 0) | ((square > _SQUARES_FROM) & (square < jnp.inf))
    counted = jnp.where(signs >= 0, signs, 0).astype(jnp.int32)
    return jax.lax.cond(_all(plain), lambda: (jnp.sqrt(square), counted), lambda: _careful_signal_by_part(g))


def _careful_signal(g: jax.Array, mask: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """Norm and non-zero entries per unit."""
    axes = tuple(range(g.ndim - 1))
    counted = g != 0 if mask is None else (g != 0) & mask[..., None]
    return stable_norm(g, axes), jnp.sum(counted, axis=axes, dtype=jnp.int32)


def _careful_signal_by_part(g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same, one part of the rows after the other: little memory, for squares that underflow and for NaN."""
    rows, units = math.prod(g.shape[:-1]), g.shape[-1]
    parts = math.gcd(rows, _SIGNAL_PARTS)

    def add(sums: tuple, part: jax.Array) -> tuple[tuple, None]:
        norm, nonzero = _careful_signal(part)
        return (jnp.hypot(sums[0], norm), sums[1] + nonzero), None

    g = g.reshape(parts, rows // parts, units)
    nothing = jax.tree.map(lambda v: jnp.where(False, v, jnp.zeros_like(v)), _careful_signal(g[0]))
    return jax.lax.scan(add, nothing, g)[0]


def empty_signal(site: Site, behind: bool) -> Signal:
    """The token that :func:`measure_signal` fills, with axes for the shards and the scans around the site."""
    shards = (math.prod(size for _, size, _ in site.shards),) if site.shards else ()
    apart = math.prod(size for _, size, axis in site.shards if site.role(axis) == "units")
    shape = (*shards, *site.steps, site.units // apart)
    wide = widen(jnp.zeros((), site.dtype)).dtype
    return Signal(
        norm=jnp.zeros(shape, wide),
        zeros=(jnp.zeros(shape, jnp.float32),) * 2,
        behind=jnp.zeros(shape[:-1], wide) if behind else None,
    )


def with_signal(stats: SiteStats, measured: Signal, reached: bool) -> SiteStats:
    """Forward statistics with the backward ones that :func:`measure_signal` made, and whether one can come."""
    high, low = (part.astype(jnp.int32) for part in measured.zeros)
    zeros = stats.count[..., None] - (high * _PART + low)
    return replace(stats, signal=replace(measured, zeros=zeros), site=replace(stats.site, reached=reached))


def stable_norm(x: jax.Array, axes: tuple[int, ...] | None = None) -> jax.Array:
    """The L2 norm, scaled by the largest entry so that no square overflows or underflows.

    >>> stable_norm(jnp.array([3e-30, 4e-30])).item() / 1e-30
    5.0
    """
    largest = jnp.max(jnp.abs(x), axis=axes, keepdims=True, initial=0)
    scale = jnp.where(largest > 0, largest, 1)
    norm = jnp.sqrt(jnp.sum((x / scale) ** 2, axis=axes, keepdims=True)) * scale
    return jnp.squeeze(norm, axis=tuple(range(x.ndim)) if axes is None else axes)
