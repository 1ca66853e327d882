"""What is counted and summed at a site: plain sums, so that the statistics of batches add."""

import math
from collections.abc import Iterator, Mapping
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
#: Kinds outside the registry that are active where they have not saturated.
_SATURATING = ("hard_sigmoid", "hard_tanh", "log_sigmoid", "soft_sign", "sparse_sigmoid")
#: A unit passes a gradient on an example where its slope is at least this share of the steepest slope.
SLOPE_FLOOR = 1e-3


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Signal:
    """The backpropagated signal at a site: the gradient ``g`` of the loss with respect to its output.

    Attributes:
        norm: per unit, the L2 norm of ``g`` over everything seen. Norms merge by ``hypot``, and do not underflow where
            squares would: a signal of 1e-25 has no float32 square.
        zeros: per unit, how many entries of ``g`` are exactly 0.
    """

    norm: Any
    zeros: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SiteStats:
    """Sums and counts of one site.

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


def measure(site: Site, y: jax.Array, slope: jax.Array) -> SiteStats:
    """Forward statistics of one execution of a site.

    Args:
        site: which site.
        y: its output.
        slope: its derivative there, of the shape of ``y``.
    """
    y, slope = y.reshape(site.rows), slope.reshape(site.rows)
    row = ACTIVATIONS.get(site.kind)
    wide = widen(y)
    finite = jnp.isfinite(wide)
    wide = jnp.where(finite, wide, 0)
    passing = jnp.abs(slope) >= SLOPE_FLOOR * (row.steepest if row else 1.0)
    saturating = row.active == "unsaturated" if row else site.kind in _SATURATING
    active = passing if saturating else wide > 0
    units, within = tuple(range(y.ndim - 1)), tuple(range(1, y.ndim))
    return SiteStats(
        examples=jnp.int32(y.shape[0]),
        count=jnp.int32(math.prod(y.shape[:-1])),
        active=jnp.sum(active, axis=units, dtype=jnp.int32),
        passing=jnp.sum(passing, axis=units, dtype=jnp.int32),
        total=jnp.sum(wide, axis=units),
        square=jnp.sum(wide * wide, axis=units),
        largest=jnp.max(jnp.abs(wide), axis=units),
        nonfinite=jnp.sum(~finite, axis=units, dtype=jnp.int32),
        histogram=_histogram(jnp.sum(active, axis=within, dtype=jnp.int32), site.size),
        signal=None,
        site=site,
    )


def _histogram(active: jax.Array, size: int) -> jax.Array:
    """Examples by share of active elements; the last bin includes the share 1."""
    # Bin edges in whole numbers of elements: no share near an edge is rounded into the wrong bin.
    edges = np.array([math.ceil(i * size / ACTIVE_BINS) for i in range(1, ACTIVE_BINS)], np.int32)
    bins = jnp.searchsorted(edges, active, side="right")
    return jnp.zeros(ACTIVE_BINS, jnp.int32).at[bins].add(1)


def measure_signal(g: jax.Array) -> Signal:
    """Norm and *non-zero* counts of a cotangent ``(examples, ..., units)`` per unit, in float32.

    Counted the other way round from :class:`Signal`: where the loss does not depend on a site nothing is ever
    measured, JAX fills in zeros, and no entry of the gradient was non-zero.
    """
    axes = tuple(range(g.ndim - 1))
    return Signal(norm=stable_norm(widen(g), axes), zeros=jnp.sum(g != 0, axis=axes, dtype=jnp.float32))


def empty_signal(site: Site) -> Signal:
    """The token that :func:`measure_signal` fills."""
    zeros = jnp.zeros(site.units, widen(jnp.zeros((), site.dtype)).dtype)
    return Signal(norm=zeros, zeros=jnp.zeros(site.units, jnp.float32))


def with_signal(stats: SiteStats, measured: Signal) -> SiteStats:
    """Forward statistics with the backward ones that :func:`measure_signal` made."""
    zeros = stats.count - measured.zeros.astype(jnp.int32)
    return replace(stats, signal=Signal(norm=measured.norm, zeros=zeros))


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
    merged = {
        f.name: (np.maximum if f.name == "largest" else np.add)(*(to_host(getattr(s, f.name)) for s in (a, b)))
        for f in fields(SiteStats)
        if f.name not in ("signal", "site")
    }
    if a.signal is None or b.signal is None:
        return SiteStats(**merged, signal=None, site=a.site)
    signal = Signal(
        norm=np.hypot(to_host(a.signal.norm), to_host(b.signal.norm)),
        zeros=np.add(to_host(a.signal.zeros), to_host(b.signal.zeros)),
    )
    return SiteStats(**merged, signal=signal, site=a.site)


def to_host(value: Any) -> np.ndarray:
    """A NumPy array in 64 bits."""
    array = np.asarray(value)
    return array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else np.float64)
