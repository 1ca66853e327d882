"""One row per site and layer: shares, means and norms from the sums and counts."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import numpy as np

from ..functions import ACTIVATIONS
from ..probes import Opaque, Signal, SiteStats, Stats, in_order, layer_suffix, to_host
from ._dormant import dormant_units
from ._network_summary import NetworkSummary, network_summary
from ._site_summary import SiteSummary

#: A unit is silent where its largest absolute output stays below this (TheDeepChecker).
SILENT_OUTPUT = 1e-5
#: A unit is saturated where fewer than this share of its elements are not (SageMaker Debugger's threshold_inactivity).
SATURATED_ACTIVITY = 0.01
_NAME_WIDTH = 40


@dataclass(frozen=True)
class Summary(Sequence[SiteSummary]):
    """Rows of all sites in execution order; prints as a table.

    Attributes:
        rows: one per site, and per layer of a scan over layers.
        opaque: parts of the function that were not entered, and sites that did not run: of a branch that was not taken.
        network: all sites together, per example; None where :func:`relujax.probe` was not asked for it.
    """

    rows: tuple[SiteSummary, ...]
    opaque: tuple[Opaque, ...] = ()
    network: NetworkSummary | None = None

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[SiteSummary]:
        return iter(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        return {
            "sites": [asdict(row) for row in self.rows],
            "opaque": [asdict(part) for part in self.opaque],
            "network": None if self.network is None else asdict(self.network),
        }

    def scalars(self) -> dict[str, float]:
        """Flat names and numbers for a logger: ``{"hidden/relu/active_fraction": 0.5, ...}``.

        Counts of units are shares of the layer here. What was not measured is left out.
        """
        return {
            f"{row.name}/{name}": float(value)
            for row in self.rows
            for name, value in row.measured().items()
            if value is not None
        }

    def __str__(self) -> str:
        names = [_shortened(row.name) for row in self.rows]
        width = max(map(len, ("site", *names)))
        spectra = any(row.rank is not None for row in self.rows)
        numbers = ("mean", "signal", "weights", "sigma max", *(("rank", "eff. rank", "cond") if spectra else ()))
        lines = [f"{'site':<{width}} {'active':>7} {'dead':>9} {' '.join(f'{c:>9}' for c in numbers)}  source"]
        for name, row in zip(names, self.rows, strict=True):
            values = [row.mean, row.signal_norm, row.weight_gradient_norm, row.largest_singular_value]
            values += [row.rank, row.effective_rank, row.condition_number] if spectra else []
            cells = [_number(value) for value in values]
            share, dead = f"{row.active_fraction:.1%}", f"{row.dead}/{row.units}"
            source = os.path.basename(row.source) if row.source else "-"
            lines.append(f"{name:<{width}} {share:>7} {dead:>9} {' '.join(f'{c:>9}' for c in cells)}  {source}")
        if self.network is not None:
            lines.append(str(self.network))
        if self.opaque:
            lines.append(f"parts that were not measured, and are not in this table: {len(self.opaque)}; see .opaque")
        return "\n".join(lines)


def _shortened(name: str) -> str:
    """A long path from its end: what tells layers apart comes last."""
    return name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def saturates(kind: str) -> bool:
    """Whether an activation counts as active where it has not saturated: sigmoid, tanh and the like.

    >>> saturates("tanh"), saturates("relu")
    (True, False)
    """
    return kind in ACTIVATIONS and ACTIVATIONS[kind].active == "unsaturated"


def summarize(stats: Stats) -> Summary:
    """Turn sums and counts into one row per site, in execution order.

    A site in a :func:`jax.lax.scan` over the layers of a stack has a row per layer, ``name[0]``, ``name[1]``, ...; in a
    scan over time its steps are added.

    Args:
        stats: what :func:`relujax.probe`, :func:`relujax.probe_grad` or :func:`relujax.merge` returned.

    Returns:
        A :class:`Summary`; columns that need a loss are None where there was none. The signal of a batch is scaled as
        that of a loss *summed* over examples; for a mean over ``n`` examples multiply it by ``n``.

    Raises:
        ValueError: for the statistics of several calls that were not merged.
        TypeError: for what are no statistics.

    >>> import jax.numpy as jnp, relujax as rx
    >>> _, stats = rx.probe(rx.relu)(jnp.array([[-1.0, 2.0], [-3.0, -4.0]]))
    >>> [row] = summarize(stats)
    >>> row.active_fraction, row.dead
    (0.25, 1)
    """
    if not isinstance(stats, Stats):
        raise TypeError(
            f"got a {type(stats).__name__}: expected the statistics alone, the second thing that a probed function "
            "returns"
        )
    if stats.calls:
        raise ValueError(
            f"got statistics of several calls, with axes {stats.calls} before the last one: expected those of one, "
            "such as jax.tree.map(lambda value: value[0], stats), or several merged"
        )
    found = [stats[name] for name in stats]
    row_of = {(of.site.name, step): row for of in found for step, row in _rows(of)}
    placed = [row_of[site.name, step] for site, step, _ in in_order(of.site for of in found)]
    rows = [row for row in placed if row.examples and row.units]
    empty = tuple(
        Opaque(row.kind, (row.kind,), f"{row.name} {'has no units' if row.examples else 'did not run'}", row.source)
        for row in placed
        if not (row.examples and row.units)
    )
    return Summary(tuple(_with_weight_gains(rows)), (*stats.opaque, *empty), network_summary(stats))


def _with_weight_gains(rows: list[SiteSummary]) -> Iterator[SiteSummary]:
    """From each layer back to the one before it; those that no gradient can reach are passed over."""
    before = None
    for row in rows:
        if before and before.signal_norm and row.reached and row.signal_norm and row.activation_gain:
            row = replace(row, weight_gain=before.signal_norm / (row.signal_norm * row.activation_gain))
        if row.reached:
            before = row
        yield row


def _rows(stats: SiteStats) -> Iterator[tuple[tuple[int, ...], SiteSummary]]:
    """Time steps added, and what remains taken apart by layer."""
    site = stats.site
    time = tuple(axis for axis, is_layer in enumerate(site.layers) if not is_layer)
    lengths = tuple(site.steps[axis] for axis in site.layer_axes)

    def total(value: Any) -> np.ndarray:
        return to_host(value).sum(axis=time)

    signal = stats.signal
    folded = replace(
        jax.tree.map(total, replace(stats, signal=None)),
        # An example that is seen at every step is one example.
        examples=to_host(stats.examples).max(axis=time, initial=0),
        largest=to_host(stats.largest).max(axis=time, initial=0),
        signal=None
        if signal is None
        else replace(signal.with_norms(lambda n: np.sqrt(total(to_host(n) ** 2))), zeros=total(signal.zeros)),
    )
    for step in site.layer_steps:
        yield step, _row(jax.tree.map(lambda value, step=step: value[step], folded), step, lengths)


def _row(stats: SiteStats, step: tuple[int, ...], steps: tuple[int, ...]) -> SiteSummary:
    """The row of statistics without axes of steps, in 64 bits on the host."""
    count, examples, site, signal = int(stats.count), int(stats.examples), stats.site, stats.signal
    elements = max(count * site.units, 1)
    nonfinite = int(stats.nonfinite.sum())
    finite = max(count * site.units - nonfinite, 1)
    mean, second = float(stats.total.sum() / finite), float(stats.square.sum() / finite)
    active, saturating = float(stats.active.sum() / elements), saturates(site.kind)
    return SiteSummary(
        name=site.name + layer_suffix(step),
        kind=site.kind,
        source=site.source,
        shape=site.batch_shape,
        dtype=site.dtype,
        units=site.units,
        executions=site.executions,
        examples=examples,
        active_fraction=active,
        dead=int((stats.passing == 0).sum()),
        dead_bound=min(1.0, 3 / max(examples, 1)),
        mean=mean,
        std=float(np.sqrt(max(second - mean**2, 0.0))) if np.isfinite(second) else second,
        largest=float(stats.largest.max(initial=0)),
        nonfinite=nonfinite,
        active_histogram=tuple(int(n) for n in stats.histogram),
        signal_norm=None if signal is None else float(np.linalg.norm(signal.norm) / np.sqrt(max(examples, 1))),
        signal_zero_fraction=None if signal is None else float(signal.zeros.sum() / elements),
        dormant=int(dormant_units(stats).sum()),
        silent=int(((stats.largest < SILENT_OUTPUT) & (stats.nonfinite < count)).sum()),
        saturated_fraction=1 - active if saturating else None,
        saturated=int((stats.active < SATURATED_ACTIVITY * count).sum()) if saturating else None,
        weights=site.weights,
        output_histogram=None if stats.outputs is None else tuple(int(n) for n in stats.outputs),
        output_edges=stats.edges,
        activation_gain=_activation_gain(signal),
        step=step,
        steps=steps,
        reached=site.reached,
    )


def _activation_gain(signal: Signal | None) -> float | None:
    if signal is None or signal.behind is None:
        return None
    before = float(np.linalg.norm(signal.norm))
    return float(signal.behind) / before if before else None
