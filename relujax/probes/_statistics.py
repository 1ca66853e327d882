"""The records of what is counted and summed at a site."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

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


def to_host(value: Any) -> np.ndarray:
    """A NumPy array in 64 bits.

    >>> to_host(jax.numpy.zeros(2, "int8")).dtype.name
    'int64'
    """
    array = np.asarray(value)
    return array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else np.float64)
