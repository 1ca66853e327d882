"""What is counted and summed at a site: plain sums, so that the statistics of batches add."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._precision import widen
from ..functions import ACTIVATIONS
from ._sites import Opaque, Site

#: Bins of the histogram of the share of active elements per example, equal parts of [0, 1].
ACTIVE_BINS = 20
#: A unit passes a gradient on an example where its slope is at least this share of the steepest slope.
SLOPE_FLOOR = 1e-3
#: Up to here a float32 counts one by one.
_COUNTED_BY_FLOATS = 2**24
#: From here on sums of float32 squares are the squares of norms.
_SQUARES_FROM = 1e-30
#: Into parts of this size a count of 31 bits is split.
_PART = 2**16
#: Statistics that are plain sums over the elements of a unit.
_PER_UNIT = ("active", "passing", "total", "square", "nonfinite")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Signal:
    """The backpropagated signal at a site: the gradient ``g`` of the loss with respect to its output.

    Attributes:
        norm: per unit, the L2 norm of ``g`` over everything seen. Norms merge by ``hypot``, and do not underflow where
            squares would: a signal of 1e-25 has no float32 square.
        zeros: per unit, how many entries of ``g`` are exactly 0.
        behind: L2 norm of what the activation makes of ``g``, the gradient with respect to the site's input, over all
            units; None where it was not asked for, or the unit is a product of a gate and something else.
    """

    norm: Any
    zeros: Any
    behind: Any = None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SiteStats:
    """Sums and counts of one site; the lengths of the scans around it, ``site.steps``, are leading axes of them all.

    Attributes:
        examples: examples seen.
        count: elements seen per unit.
        active: per unit, elements that were active (positive; for sigmoid and tanh, not saturated).
        passing: per unit, elements whose slope was at least :data:`SLOPE_FLOOR` of the steepest.
        total: per unit, sum of the outputs.
        square: per unit, sum of their squares.
        largest: per unit, the largest absolute output.
        nonfinite: per unit, how many outputs were NaN or infinite; they are left out of the sums.
        histogram: examples by share of active elements, :data:`ACTIVE_BINS` bins.
        outputs: outputs by value, where edges were given: below the first, between each two, from the last one up.
        signal: the backpropagated signal, or None where no loss was differentiated.
        site: which site it is.
    """

    examples: Any
    count: Any
    active: Any
    passing: Any
    total: Any
    square: Any
    largest: Any
    nonfinite: Any
    histogram: Any
    outputs: Any
    signal: Signal | None
    site: Site = field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Stats(Mapping[str, SiteStats]):
    """Statistics of every site of a function by name, in execution order; a pytree.

    Attributes:
        by_site: the statistics.
        opaque: parts of the function that the probe could not enter.
    """

    by_site: dict[str, SiteStats]
    opaque: tuple[Opaque, ...] = field(default=(), metadata={"static": True})

    def __getitem__(self, name: str) -> SiteStats:
        return self.by_site[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.in_order())

    def __len__(self) -> int:
        return len(self.by_site)

    def in_order(self) -> list[str]:
        """Site names in execution order (a jitted dict comes back sorted by key)."""
        return sorted(self.by_site, key=lambda name: self.by_site[name].site.path)


def measure(site: Site, y: jax.Array, slope: jax.Array | None, edges: Any = None, mask: Any = None) -> SiteStats:
    """Forward statistics of one execution of a site.

    Args:
        site: which site.
        y: its output.
        slope: its derivative there, of the shape of ``y``; None where ``y`` is never negative, and a gradient passes
            where it is positive.
        edges: edges of the histogram of outputs, ascending; None for no such histogram.
        mask: positions ``(examples, ...)`` to leave out where it is False.
    """
    y = widen(site.in_rows(y))
    slope = None if slope is None else widen(site.in_rows(slope))
    row = ACTIVATIONS[site.kind]
    floor, saturates = SLOPE_FLOOR * row.steepest, row.active == "unsaturated"
    if mask is None and math.prod(y.shape[:-1]) < _COUNTED_BY_FLOATS:
        sums = _quick_sums(y, slope, floor, saturates)
        checked = jnp.isfinite(sums["square"]) & (sums["passing"] >= 0)
        sums = jax.lax.cond(
            jnp.all(checked), lambda: sums, lambda: _careful_sums_by_example(y, slope, floor, saturates)
        )
    else:
        within = None if mask is None else mask[..., None]
        sums = _careful_sums(y, slope, floor, saturates, within)
    by_example = sums.pop("by_example")
    if others := site.over("positions", "units"):
        by_example = jax.lax.psum(by_example, others)
    return SiteStats(
        **sums,
        examples=jnp.int32(y.shape[0]),
        count=jnp.int32(math.prod(y.shape[:-1])) if mask is None else jnp.sum(mask, dtype=jnp.int32),
        histogram=_histogram(by_example, site.size),
        outputs=None if edges is None else _binned(y, edges, mask),
        signal=None,
        site=site,
    )


def _careful_sums(y: Any, slope: Any, floor: float, saturates: bool, within: Any = None) -> dict[str, jax.Array]:
    """What is counted and summed per unit, and the active elements of each example."""
    axes = tuple(range(y.ndim - 1))
    finite = jnp.isfinite(y)
    nonfinite = ~finite if within is None else ~finite & within
    finite = finite if within is None else finite & within
    y = jnp.where(finite, y, 0)
    positive = y > 0
    passing = positive if slope is None else jnp.abs(slope) >= floor
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


def _careful_sums_by_example(y: jax.Array, slope: Any, floor: float, saturates: bool) -> dict[str, jax.Array]:
    """The same, one example after the other: little memory, for the rare batch with a number that is not finite."""

    def add(sums: dict, example: tuple) -> tuple[dict, jax.Array]:
        y, slope = (None if part is None else part[None] for part in example)
        one = _careful_sums(y, slope, floor, saturates)
        [by_example] = one.pop("by_example")
        return {k: jnp.maximum(v, one[k]) if k == "largest" else v + one[k] for k, v in sums.items()}, by_example

    nothing = {k: jnp.where(False, v, jnp.zeros_like(v)) for k, v in _careful_sums(y[:1], None, floor, False).items()}
    del nothing["by_example"]
    sums, by_example = jax.lax.scan(add, nothing, (y, slope))
    return sums | {"by_example": by_example}


def _quick_sums(y: jax.Array, slope: Any, floor: float, saturates: bool) -> dict[str, jax.Array]:
    """The same where all is finite, else NaN somewhere; signs are summed in the place of comparisons.

    XLA for CPU sums ``sign(y)`` as it reads ``y``, where it would write down all that ``y > 0`` says before it counts.
    """
    axes, of_example = tuple(range(y.ndim - 1)), tuple(range(1, y.ndim))

    def positive(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
        signs = jnp.sign(x)
        total = jnp.sum(signs, axis=axes)
        return total if x is not y or slope is None else (total + jnp.sum(jnp.abs(signs), axis=axes)) / 2

    largest = jnp.max(jnp.abs(y), axis=axes, initial=0)
    sums = {"total": jnp.sum(y, axis=axes), "square": jnp.sum(y * y, axis=axes), "largest": largest}
    passing = y
    if slope is not None:
        below = np.nextafter(slope.dtype.type(floor), slope.dtype.type(0))
        passing = jnp.maximum(jnp.abs(slope) - below, 0)
    active = passing if saturates else y
    counts = {"active": positive(active, axes), "by_example": positive(active, of_example)}
    counts["passing"] = counts["active"] if passing is active else positive(passing, axes)
    # A NaN is counted as below nothing, and told by that.
    counts = {k: jnp.where(v >= 0, v, -1).astype(jnp.int32) for k, v in counts.items()}
    return sums | counts | {"nonfinite": jnp.zeros_like(counts["active"])}


def _binned(y: jax.Array, edges: Any, mask: Any) -> jax.Array:
    """How many finite outputs lie below the first edge, between each two, and from the last one up."""
    finite = jnp.isfinite(y)
    counted = finite if mask is None else finite & mask[..., None]
    bins = jnp.searchsorted(jnp.asarray(edges, y.dtype), jnp.where(finite, y, 0).reshape(-1), side="right")
    return jnp.zeros(len(edges) + 1, jnp.int32).at[bins].add(counted.reshape(-1).astype(jnp.int32))


def _histogram(active: jax.Array, size: int) -> jax.Array:
    """Examples by share of active elements; the last bin includes the share 1."""
    # Bin edges in whole numbers of elements: no share near an edge is rounded into the wrong bin.
    edges = np.array([math.ceil(i * size / ACTIVE_BINS) for i in range(1, ACTIVE_BINS)], np.int32)
    # How many reach each edge, and the differences: comparisons, where a search and a scatter would be loops.
    reach = jnp.sum(active[:, None] >= edges[None], axis=0, dtype=jnp.int32)
    everything = jnp.full(1, active.shape[0], jnp.int32)
    return jnp.concatenate([everything, reach]) - jnp.concatenate([reach, jnp.zeros(1, jnp.int32)])


def measure_signal(g: jax.Array) -> Signal:
    """Norm and *non-zero* counts of a cotangent ``(examples, ..., units)`` per unit, in float32.

    Counted the other way round from :class:`Signal`: where the loss does not depend on a site nothing is ever
    measured, JAX fills in zeros, and no entry of the gradient was non-zero.
    """
    g = widen(g)
    axes = tuple(range(g.ndim - 1))

    def carefully() -> tuple[jax.Array, jax.Array]:
        return stable_norm(g, axes), jnp.sum(g != 0, axis=axes, dtype=jnp.int32)

    if math.prod(g.shape[:-1]) < _COUNTED_BY_FLOATS:
        signs, square = jnp.sum(jnp.abs(jnp.sign(g)), axis=axes), jnp.sum(g * g, axis=axes)
        # Squares of small numbers underflow, those of large ones overflow, and a NaN is not counted.
        plain = (signs == 0) | ((square > _SQUARES_FROM) & (square < jnp.inf))
        counted = jnp.where(signs >= 0, signs, 0).astype(jnp.int32)
        norm, nonzero = jax.lax.cond(jnp.all(plain), lambda: (jnp.sqrt(square), counted), carefully)
    else:
        norm, nonzero = carefully()
    # Gradients are floats, and a float32 counts to 2**24: two parts, each exact.
    parts = ((nonzero // _PART).astype(jnp.float32), (nonzero % _PART).astype(jnp.float32))
    return Signal(norm=norm, zeros=parts)


def empty_signal(site: Site, behind: bool) -> Signal:
    """The token that :func:`measure_signal` fills, with axes for the shards and the scans around the site."""
    shards = (math.prod(size for _, size, _ in site.shards),) if site.shards else ()
    apart = math.prod(size for _, size, role in site.shards if role == "units")
    shape = (*shards, *site.steps, site.units // apart)
    wide = widen(jnp.zeros((), site.dtype)).dtype
    return Signal(
        norm=jnp.zeros(shape, wide),
        zeros=(jnp.zeros(shape, jnp.float32),) * 2,
        behind=jnp.zeros(shape[:-1], wide) if behind else None,
    )


def with_signal(stats: SiteStats, measured: Signal) -> SiteStats:
    """Forward statistics with the backward ones that :func:`measure_signal` made."""
    high, low = (part.astype(jnp.int32) for part in measured.zeros)
    zeros = stats.count[..., None] - (high * _PART + low)
    return replace(stats, signal=replace(measured, zeros=zeros))


def repeat(first: SiteStats, second: SiteStats) -> SiteStats:
    """Two executions of a site on the same examples."""
    return _combined(first, second, jnp.maximum, jnp.add, examples=jnp.maximum)


def join(site: Site, stacked: Any) -> Any:
    """The statistics, or the signal, of the shards of ``shard_map``, which come stacked along a leading axis."""
    sizes = tuple(size for _, size, _ in site.shards)
    roles = tuple(role for _, _, role in site.shards)
    if not sizes:
        return jax.tree.map(lambda value: value[0], stacked)
    apart = tuple(i for i, role in enumerate(roles) if role == "units")
    together = tuple(i for i, role in enumerate(roles) if role not in ("units", "copies"))
    copies = tuple(i for i, role in enumerate(roles) if role == "copies")
    of_examples = tuple(i for i, role in enumerate(roles) if role == "examples")

    def by_unit(value: jax.Array, reduce: Callable, of_copies: Callable = jnp.max) -> jax.Array:
        """Reduce over what shares the units, and line up what divides them."""
        value = value.reshape(*sizes, *value.shape[1:])
        value = jnp.expand_dims(of_copies(value, copies), copies)
        value = jnp.expand_dims(reduce(value, together), together)
        value = value.squeeze(tuple(i for i in range(len(sizes)) if i not in apart))
        value = jnp.moveaxis(value, tuple(range(len(apart))), tuple(range(-1 - len(apart), -1)))
        return value.reshape(*value.shape[: value.ndim - 1 - len(apart)], -1)

    def once(value: jax.Array, over: tuple[int, ...]) -> jax.Array:
        """Sum over some mesh axes; over the others it is the same."""
        value = value.reshape(*sizes, *value.shape[1:])
        return jnp.sum(value, axis=over, keepdims=True)[(0,) * len(sizes)]

    if isinstance(stacked, Signal):
        # Without types that vary, JAX gives each copy of a value an equal share of its gradient.
        behind = stacked.behind
        if behind is not None:
            behind = jnp.sum(behind.reshape(*sizes, *behind.shape[1:]), axis=copies, keepdims=True)
            behind = stable_norm(behind, tuple(range(len(sizes))))
        return Signal(
            norm=by_unit(stacked.norm, stable_norm, jnp.sum),
            zeros=tuple(by_unit(z, jnp.sum) for z in stacked.zeros),
            behind=behind,
        )
    joined = {name: by_unit(getattr(stacked, name), jnp.sum) for name in _PER_UNIT}
    outputs = None if stacked.outputs is None else once(stacked.outputs, together + apart)
    return replace(
        stacked,
        **joined,
        largest=by_unit(stacked.largest, jnp.max),
        count=once(stacked.count, together),
        examples=once(stacked.examples, of_examples),
        histogram=once(stacked.histogram, of_examples),
        outputs=outputs,
    )


def stable_norm(x: jax.Array, axes: tuple[int, ...] | None = None) -> jax.Array:
    """The L2 norm, scaled by the largest entry so that no square overflows or underflows.

    >>> stable_norm(jnp.array([3e-30, 4e-30])).item() / 1e-30
    5.0
    """
    largest = jnp.max(jnp.abs(x), axis=axes, keepdims=True, initial=0)
    scale = jnp.where(largest > 0, largest, 1)
    norm = jnp.sqrt(jnp.sum((x / scale) ** 2, axis=axes, keepdims=True)) * scale
    return jnp.squeeze(norm, axis=tuple(range(x.ndim)) if axes is None else axes)


def merge(a: Stats, b: Stats) -> Stats:
    """Add the statistics of two batches, devices or runs of the same function.

    Runs on the host in 64 bits, whatever the precision of JAX: counts are exact up to 9e18.

    Args:
        a: statistics of :func:`relujax.probe` or :func:`relujax.probe_grad`, or merged ones.
        b: others, of the same sites.

    Returns:
        Their sum, as NumPy arrays.

    Raises:
        ValueError: when the two are not of the same sites, or only one has backward statistics.

    >>> import relujax as rx
    >>> _, stats = rx.probe(rx.relu)(jnp.array([[-1.0, 2.0]]))
    >>> merge(stats, stats)["relu"].active.tolist()
    [0, 2]
    """
    if a.in_order() != b.in_order():
        odd = sorted(set(a) ^ set(b)) or a.in_order()
        raise ValueError(
            f"cannot merge statistics of different functions: got {len(a)} and {len(b)} sites that differ in "
            f"{', '.join(odd[:3])}; expected the same sites in both"
        )
    return Stats({name: _merge_site(a[name], b[name]) for name in a}, a.opaque)


def _merge_site(a: SiteStats, b: SiteStats) -> SiteStats:
    if a.site.units != b.site.units or a.site.kind != b.site.kind:
        raise ValueError(
            f"cannot merge statistics of {a.site.name}: got {a.site.units} units of {a.site.kind} and {b.site.units} "
            f"of {b.site.kind}; expected the same function in both"
        )
    if (a.signal is None) != (b.signal is None):
        raise ValueError(
            f"cannot merge statistics of {a.site.name}: got a backward signal in one and none in the other; "
            "expected both from probe, or both from probe_grad"
        )
    return _combined(a, b, np.maximum, np.add, examples=np.add, of=to_host)


def _combined(
    a: SiteStats, b: SiteStats, largest: Callable, add: Callable, examples: Callable, of: Callable = lambda value: value
) -> SiteStats:
    special = {"largest": largest, "examples": examples}
    merged = {
        f.name: special.get(f.name, add)(of(getattr(a, f.name)), of(getattr(b, f.name)))
        for f in fields(SiteStats)
        if f.name not in ("signal", "site", "outputs")
    }
    outputs = None if a.outputs is None or b.outputs is None else add(of(a.outputs), of(b.outputs))
    signal = None
    if a.signal is not None and b.signal is not None:
        behind = None
        if a.signal.behind is not None and b.signal.behind is not None:
            behind = np.hypot(of(a.signal.behind), of(b.signal.behind))
        signal = Signal(
            norm=np.hypot(of(a.signal.norm), of(b.signal.norm)),
            zeros=add(of(a.signal.zeros), of(b.signal.zeros)),
            behind=behind,
        )
    return SiteStats(**merged, outputs=outputs, signal=signal, site=a.site)


def to_host(value: Any) -> np.ndarray:
    """A NumPy array in 64 bits."""
    array = np.asarray(value)
    return array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else np.float64)
