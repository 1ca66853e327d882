"""The records of what is counted and summed at a site."""

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ._sites import Opaque, Site

#: Bins of the histogram of the share of active elements per example, equal parts of [0, 1].
ACTIVE_BINS = 20


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

    def with_norms(self, change: Callable[[Any], Any]) -> "Signal":
        """The same with both norms changed."""
        return replace(self, norm=change(self.norm), behind=None if self.behind is None else change(self.behind))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SiteStats:
    """Sums and counts of one site; the lengths of the scans around it, ``site.steps``, are leading axes of them all.

    Attributes:
        examples: examples seen.
        count: elements seen per unit.
        active: per unit, elements that were active (positive; for sigmoid and tanh, not saturated).
        passing: per unit, elements whose slope was at least :data:`~relujax.probes.SLOPE_FLOOR` of the steepest.
        total: per unit, sum of the outputs.
        square: per unit, sum of their squares.
        largest: per unit, the largest absolute output.
        nonfinite: per unit, how many outputs were NaN or infinite; they are left out of the sums.
        histogram: examples by share of active elements, :data:`~relujax.probes.ACTIVE_BINS` bins.
        outputs: outputs by value, where edges were given: below the first, between each two, from the last one up.
        signal: the backpropagated signal, or None where no loss was differentiated.
        site: which site it is.
        edges: those that were given, or None.
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
    edges: tuple[float, ...] | None = field(default=None, metadata={"static": True})


#: The arrays of :class:`Stats`, and the statistics in them: of all sites those first that add up in one way.
_HELD = {
    "counts": {
        "counts": (
            *("examples", "count", "active", "passing", "nonfinite", "histogram", "outputs", "signal.zeros"),
            *("network.examples", "network.histogram"),
        )
    },
    "measures": {
        "sums": ("total", "square", "network.total", "network.spread"),
        "largest": ("largest", "network.most", "network.fewest"),  # but for the last one
        "norms": ("signal.norm", "signal.behind"),
    },
}


@dataclass(frozen=True)
class Network:
    """How much of a whole network was active for one example, over the examples seen.

    Attributes:
        elements: outputs of one example at all sites together, in all their executions. A share below is one of these.
            Those of a branch that was not taken are among them, and not active.
        examples: examples seen.
        histogram: examples by share of active elements, :data:`~relujax.probes.ACTIVE_BINS` bins.
        total: sum of the examples' shares.
        spread: sum of the squares of their differences from the mean share.
        most: the largest number of active elements.
        fewest: the smallest.
    """

    elements: int
    examples: Any
    histogram: Any
    total: Any
    spread: Any
    most: Any
    fewest: Any


_NETWORK = {f.name: (ACTIVE_BINS,) if f.name == "histogram" else () for f in fields(Network) if f.name != "elements"}


@dataclass(frozen=True)
class Held:
    """What :class:`~relujax.Stats` hold of one site.

    Attributes:
        site: the site.
        edges: of the histogram of its outputs, or None.
        shapes: name and shape of each statistic that there is; those of the signal begin with ``signal.``.
    """

    site: Site
    edges: tuple[float, ...] | None
    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, stats: SiteStats) -> "Held":
        """What there is of one site."""
        return cls(stats.site, stats.edges, tuple((name, np.shape(value)) for name, value in _named(stats).items()))

    @property
    def names(self) -> frozenset[str]:
        """Names of the statistics."""
        return frozenset(name for name, _ in self.shapes)


def _named(stats: SiteStats) -> dict[str, Any]:
    """The statistics that there are, by name."""
    found = {f.name: getattr(stats, f.name) for f in fields(SiteStats) if f.name not in ("signal", "site", "edges")}
    if stats.signal is not None:
        found |= {f"signal.{f.name}": getattr(stats.signal, f.name) for f in fields(Signal)}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Layout:
    """Where each statistic stands in the arrays of :class:`~relujax.Stats`.

    Attributes:
        sites: what there is of each site, in execution order.
        network: ``elements`` of what there is of them together, or 0.
    """

    sites: tuple[Held, ...]
    network: int = 0

    @functools.cached_property
    def by_name(self) -> dict[str, Held]:
        """The sites by name."""
        return {held.site.name: held for held in self.sites}

    @functools.cached_property
    def places(self) -> dict[tuple[str, str], tuple[str, slice, tuple[int, ...]]]:
        """Array, part of it and shape, by site ("" for all) and statistic, in the order of the arrays."""
        places = {}
        for array, kinds in _HELD.items():
            start = 0
            for site, name, shape in itertools.chain(*map(self._holding, kinds.values())):
                stop = start + math.prod(shape)
                places[site, name] = array, slice(start, stop), shape
                start = stop
        return places

    @functools.cached_property
    def lengths(self) -> dict[str, int]:
        """Of the arrays."""
        return dict.fromkeys(_HELD, 0) | {array: part.stop for array, part, _ in self.places.values()}

    @functools.cached_property
    def parts(self) -> dict[str, slice]:
        """Where the sums, the largest outputs and the norms of all sites stand among the measures."""
        found, start = {}, 0
        for kind, names in _HELD["measures"].items():
            stop = start + sum(math.prod(shape) for _, _, shape in self._holding(names))
            found[kind], start = slice(start, stop), stop
        return found

    def _holding(self, names: tuple[str, ...]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Site, statistic and shape, of all sites, of those statistics that have these names."""
        for held in self.sites:
            for name, shape in held.shapes:
                if name in names:
                    yield held.site.name, name, shape
        for name, shape in _NETWORK.items():
            if self.network and f"network.{name}" in names:
                yield "", f"network.{name}", shape


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Stats(Mapping[str, SiteStats]):
    """Statistics of every site of a function by name, in execution order; a pytree of two arrays.

    However many sites there are, a program returns two arrays and a host fetches two. Axes before the last one are
    those that ``vmap``, or a scan over calls of the probed function, has added. Outside of ``jit`` what is read from
    them is on the host: parts of NumPy arrays that cannot be written to.

    Attributes:
        counts: what is counted at all sites, one after the other.
        measures: of all sites the sums, then the largest absolute outputs, then the norms of signals.
        layout: which part is of which site.
        opaque: parts of the function that are not measured.
    """

    counts: Any
    measures: Any
    layout: Layout = field(metadata={"static": True})
    opaque: tuple[Opaque, ...] = field(default=(), metadata={"static": True})

    @classmethod
    def of(cls, sites: Iterable[SiteStats], opaque: tuple[Opaque, ...] = (), network: Network | None = None) -> "Stats":
        """Those of some sites together.

        Raises:
            ValueError: for two sites of one name.
        """
        ordered = sorted(sites, key=lambda stats: stats.site.path)
        [(name, times), *_] = Counter(stats.site.name for stats in ordered).most_common(1) or [("", 1)]
        if times > 1:
            raise ValueError(f"got {times} sites of the name {name!r}: expected names that differ")
        layout = Layout(tuple(map(Held.of, ordered)), network.elements if network else 0)
        by_site = {stats.site.name: _named(stats) for stats in ordered}
        by_site[""] = {f"network.{name}": getattr(network, name) for name in _NETWORK} if network else {}
        parts: dict[str, list] = {array: [] for array in _HELD}
        for (site, name), (array, _, _) in layout.places.items():
            parts[array].append(by_site[site][name])
        return cls(**{array: _joined(array, values) for array, values in parts.items()}, layout=layout, opaque=opaque)

    def with_norms(self, change: Callable[[Any], Any]) -> "Stats":
        """The same with the norms of all signals changed."""
        norms = self.layout.parts["norms"]
        rest, changed = self.measures[..., : norms.start], change(self.measures[..., norms])
        on = np if isinstance(self.measures, np.ndarray) else jnp
        return replace(self, measures=on.concatenate([rest, changed], axis=-1))

    @property
    def calls(self) -> tuple[int, ...]:
        """The axes that ``vmap``, or a scan over calls, has added; ``()`` for the statistics of one call."""
        return self._array("counts").shape[:-1]

    def _array(self, name: str) -> Any:
        """One of the two, if it has the length that the layout says."""
        found, length = getattr(self, name), self.layout.lengths[name]
        if isinstance(found, jax.Array) and not isinstance(found, Tracer):
            found = np.asarray(found)  # or each part of it would be a program of its own
        shape = getattr(found, "shape", None)
        if not shape or shape[-1] != length:
            got = repr(found) if shape is None else f"of shape {shape}"
            raise ValueError(
                f"got statistics whose {name} are {got}: expected {length} numbers along the last axis, and before it "
                "the axes that vmap, with out_axes=0, or a scan adds"
            )
        return found

    def __getitem__(self, name: str) -> SiteStats:
        held = self.layout.by_name[name]
        values: dict[str, Any] = {"outputs": None}
        values |= {statistic: self._part(name, statistic) for statistic, _ in held.shapes}
        signal = {f.name: values.pop(f"signal.{f.name}", None) for f in fields(Signal)}
        return SiteStats(
            **values, signal=None if signal["norm"] is None else Signal(**signal), site=held.site, edges=held.edges
        )

    def _part(self, name: str, statistic: str) -> Any:
        array, part, shape = self.layout.places[name, statistic]
        of_all = self._array(array)
        shape = (*of_all.shape[:-1], *shape)
        if isinstance(of_all, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(shape, of_all.dtype)
        value = of_all[..., part].reshape(shape)
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
        return value

    @property
    def network(self) -> Network | None:
        """Active elements of all sites together, per example.

        Of the sites that see the same examples: as many as most of them do. None where it was not asked for.
        """
        if not self.layout.network:
            return None
        return Network(self.layout.network, **{name: self._part("", f"network.{name}") for name in _NETWORK})

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.by_name)

    def __len__(self) -> int:
        return len(self.layout.sites)


def _joined(array: str, values: list) -> Any:
    """Arrays behind each other, of one dtype: on the device, or in 64 bits on the host where one of them is there."""
    traced = any(isinstance(value, Tracer) for value in values)
    if not traced and not (values and all(isinstance(value, jax.Array) for value in values)):
        dtype = np.int64 if array == "counts" else np.float64
        return np.concatenate([np.zeros(0, dtype), *(to_host(value).ravel().astype(dtype) for value in values)])
    dtype = jnp.int32 if array == "counts" else max((value.dtype for value in values), key=lambda d: d.itemsize)
    return jnp.concatenate([jnp.asarray(value, dtype).reshape(-1) for value in values])


def to_host(value: Any) -> np.ndarray:
    """A NumPy array in 64 bits.

    Raises:
        TypeError: for the shape and dtype of an array.

    >>> to_host(jax.numpy.zeros(2, "int8")).dtype.name
    'int64'
    """
    if isinstance(value, jax.ShapeDtypeStruct):
        raise TypeError(f"got {value}, as jax.eval_shape gives it: expected an array, from a call of the function")
    array = np.asarray(value)
    return array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else np.float64)
