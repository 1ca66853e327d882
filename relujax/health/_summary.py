"""One row per site: shares, means and norms from the sums and counts."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..probes import Opaque, SiteStats, Stats, to_host


@dataclass(frozen=True)
class SiteSummary:
    """What was seen at one site.

    Attributes:
        name: the site's name.
        kind: its activation.
        source: ``file:line`` of the call, or None.
        shape: shape of its output in the batch that was traced.
        dtype: dtype of its output.
        units: length of its last axis.
        executions: how often it runs per call of the function.
        examples: examples seen.
        active_fraction: share of active elements (positive; for sigmoid and tanh, not saturated).
        dead: units whose slope stayed below 1/1000 of the steepest on every element seen.
        dead_bound: with 95 % confidence, a dead unit fires on at most this share of examples (3/n).
        mean: mean output: the shift of an activation that is not zero-centred.
        std: standard deviation of the output.
        largest: the largest absolute output.
        nonfinite: how many outputs were NaN or infinite.
        active_histogram: examples by share of active elements, equal bins of [0, 1].
        signal_norm: root mean square over examples of the L2 norm of the gradient of one example's loss with respect
            to this site's output; None without a loss.
        signal_zero_fraction: share of entries of that gradient that are exactly 0.
        weight_gradient_norm: L2 norm of the mean loss's gradient with respect to the weights before this site.
        singular_values: of the Jacobian from input to this site, descending, each the median over examples; those
            lost in rounding are left out.
        rank: median over examples of how many singular values stand above rounding.
    """

    name: str
    kind: str
    source: str | None
    shape: tuple[int, ...]
    dtype: str
    units: int
    executions: int
    examples: int
    active_fraction: float
    dead: int
    dead_bound: float
    mean: float
    std: float
    largest: float
    nonfinite: int
    active_histogram: tuple[int, ...]
    signal_norm: float | None = None
    signal_zero_fraction: float | None = None
    weight_gradient_norm: float | None = None
    singular_values: tuple[float, ...] | None = None
    rank: float | None = None


@dataclass(frozen=True)
class Summary(Sequence[SiteSummary]):
    """Rows of all sites in execution order; prints as a table.

    Attributes:
        rows: one per site.
        opaque: parts of the function that were not entered.
    """

    rows: tuple[SiteSummary, ...]
    opaque: tuple[Opaque, ...] = ()

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[SiteSummary]:
        return iter(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        return {"sites": [asdict(row) for row in self.rows], "opaque": [asdict(part) for part in self.opaque]}

    def __str__(self) -> str:
        lines = [f"{'site':<28} {'active':>7} {'dead':>9} {'mean':>8} {'signal':>9} {'weights':>9} {'sigma max':>9}"]
        for row in self.rows:
            largest = row.singular_values[0] if row.singular_values else None
            cells = [_number(v) for v in (row.mean, row.signal_norm, row.weight_gradient_norm, largest)]
            share = f"{row.active_fraction:.1%}"
            lines.append(
                f"{row.name:<28} {share:>7} {f'{row.dead}/{row.units}':>9} {cells[0]:>8} {cells[1]:>9} {cells[2]:>9} "
                f"{cells[3]:>9}"
            )
        return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def summarize(stats: Stats) -> Summary:
    """Turn sums and counts into one row per site.

    Args:
        stats: what :func:`relujax.probe`, :func:`relujax.probe_grad` or :func:`relujax.merge` returned.

    Returns:
        A :class:`Summary`; columns that need a loss are None where there was none. The signal of a batch is scaled as
        that of a loss *summed* over examples; for a mean over ``n`` examples multiply it by ``n``.

    >>> import jax.numpy as jnp, relujax as rx
    >>> _, stats = rx.probe(rx.relu)(jnp.array([[-1.0, 2.0], [-3.0, -4.0]]))
    >>> [row] = summarize(stats)
    >>> row.active_fraction, row.dead
    (0.25, 1)
    """
    return Summary(tuple(_row(stats[name]) for name in stats), stats.opaque)


def _row(stats: SiteStats) -> SiteSummary:
    count, examples, site = int(stats.count), int(stats.examples), stats.site
    nonfinite = int(to_host(stats.nonfinite).sum())
    finite = max(count * site.units - nonfinite, 1)
    mean = float(to_host(stats.total).sum() / finite)
    second = float(to_host(stats.square).sum() / finite)
    signal = stats.signal
    return SiteSummary(
        name=site.name,
        kind=site.kind,
        source=site.source,
        shape=site.shape,
        dtype=site.dtype,
        units=site.units,
        executions=site.executions,
        examples=examples,
        active_fraction=float(to_host(stats.active).sum() / max(count * site.units, 1)),
        dead=int((to_host(stats.passing) == 0).sum()),
        dead_bound=min(1.0, 3 / max(examples, 1)),
        mean=mean,
        std=float(np.sqrt(max(second - mean**2, 0.0))),
        largest=float(to_host(stats.largest).max()),
        nonfinite=nonfinite,
        active_histogram=tuple(int(n) for n in to_host(stats.histogram)),
        signal_norm=None if signal is None else float(np.linalg.norm(to_host(signal.norm)) / np.sqrt(max(examples, 1))),
        signal_zero_fraction=None
        if signal is None
        else float(to_host(signal.zeros).sum() / max(count * site.units, 1)),
    )
