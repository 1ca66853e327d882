"""One row per site and layer: shares, means and norms from the sums and counts."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..functions import ACTIVATIONS
from ..probes import Opaque, Signal, SiteStats, Stats, to_host

#: A unit is dormant where its mean absolute output is at most this share of its layer's mean: ReDo's tau.
DORMANT_SHARE = 0.025
#: A unit is silent where its largest absolute output stays below this (TheDeepChecker).
SILENT_OUTPUT = 1e-5
#: A unit is saturated where fewer than this share of its elements are not (SageMaker Debugger's threshold_inactivity).
SATURATED_ACTIVITY = 0.01
#: Kinds whose output is never negative, whatever their hyperparameters: the mean output is the mean absolute output.
NONNEGATIVE = frozenset(
    (
        *("relu", "relu6", "relu_n", "crelu", "drelu", "relu_squared", "relu_power", "noisy_relu", "jump_relu"),
        *("gaussian_top_k", "guided_relu", "leaky_backward_relu", "sugar", "straight_through"),
        *("sigmoid", "hard_sigmoid", "sparse_sigmoid", "softplus", "squareplus", "sparse_plus"),
    )
)

_NAME_WIDTH = 40


@dataclass(frozen=True)
class SiteSummary:
    """What was seen at one site; at one of its layers, where it stands in a scan over the layers of a stack.

    Attributes:
        name: the site's name; followed by ``[i]``, or ``[i,j]``, for layer ``i`` of a scan over layers.
        kind: its activation.
        source: ``file:line`` of the call, or None.
        shape: shape of its output in the batch that was traced, the examples first.
        dtype: dtype of its output.
        units: length of its last axis.
        executions: how often it runs per call of the function; None where that depends on the data.
        examples: examples seen. One that was seen at every time step of a scan is one example.
        active_fraction: share of active elements (positive; for sigmoid and tanh, not saturated).
        dead: units whose slope stayed below 1/1000 of the steepest on every element seen.
        dead_bound: with 95 % confidence, a dead unit fires on at most this share of examples (3/n).
        mean: mean output: the shift of an activation that is not zero-centred.
        std: standard deviation of the output; infinite where the squares overflowed.
        largest: the largest absolute output.
        nonfinite: how many outputs were NaN or infinite.
        active_histogram: examples by share of active elements, equal bins of [0, 1]; over a scan in time, examples
            and steps.
        signal_norm: root mean square over examples of the L2 norm of the gradient of one example's loss with respect
            to this site's output; None without a loss.
        signal_zero_fraction: share of entries of that gradient that are exactly 0.
        weight_gradient_norm: L2 norm of the mean loss's gradient with respect to the weights before this site.
        weight_gradient_mean: mean absolute entry of that gradient.
        singular_values: of the Jacobian from input to this site, descending, each the median over examples; those
            lost in rounding are left out.
        rank: median over examples of how many singular values stand above rounding.
        effective_rank: of the same Jacobians, by :func:`relujax.spectra.effective_rank`, median over examples.
        stable_rank: likewise, by :func:`relujax.spectra.stable_rank`.
        condition_number: the largest singular value over the smallest that stands above rounding, median over the
            examples that have one; None where none has.
        log_volume: sum of the logarithms of those above rounding, in nats, likewise: what becomes of the volume in the
            directions that are not lost.
        dormant: units whose mean absolute output is at most :data:`~relujax.health.DORMANT_SHARE` of the mean over the
            layer's units (ReDo, arXiv 2302.12902). For kinds that can be negative the root mean square takes the place
            of the mean absolute output, which the sums do not hold. Dead ReLUs are among them.
        silent: units whose largest absolute output stayed below :data:`~relujax.health.SILENT_OUTPUT`: the absolute
            counterpart. Stricter than TheDeepChecker, which asks it of the 95th percentile: what is silent here is so
            there.
        saturated_fraction: share of elements whose slope is below 1/1000 of the steepest, for kinds that saturate
            (sigmoid, tanh and the like); None for the others.
        saturated: units of which more than 99 % of the elements are saturated; None for kinds that do not saturate.
        weights: paths of the parameters before this site.
        output_histogram: outputs by value, where the probe was given edges: below the first, between each two, from the
            last one up; else None.
        output_edges: those edges, or None.
        activation_gain: factor by which this activation's slopes change the norm of the gradient that comes back
            through it; None unless :func:`relujax.probe_grad` was asked for ``gains``, and for gated units.
        weight_gain: factor by which all that lies between the site before and this one (weights, norms, sums of
            branches) changes it further; None for the first site. The product of both is the ratio of the two sites'
            ``signal_norm``, so that their logarithms divide the change of the log gradient norm between the two.
        step: for a layer of a scan over layers, which one it is, outermost scan first; else ``()``.
        steps: how many layers those scans have.
    """

    name: str
    kind: str
    source: str | None
    shape: tuple[int, ...]
    dtype: str
    units: int
    executions: int | None
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
    weight_gradient_mean: float | None = None
    singular_values: tuple[float, ...] | None = None
    rank: float | None = None
    effective_rank: float | None = None
    stable_rank: float | None = None
    condition_number: float | None = None
    log_volume: float | None = None
    dormant: int = 0
    silent: int = 0
    saturated_fraction: float | None = None
    saturated: int | None = None
    weights: tuple[str, ...] = ()
    output_histogram: tuple[int, ...] | None = None
    output_edges: tuple[float, ...] | None = None
    activation_gain: float | None = None
    weight_gain: float | None = None
    step: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()

    def measured(self) -> dict[str, float | None]:
        """What one watches over training, one number each; None where it was not measured."""
        shares = {f"{name}_fraction": getattr(self, name) / self.units for name in ("dead", "dormant", "silent")}
        numbers = ("mean", "std", "largest", "nonfinite", "signal_norm", "signal_zero_fraction", "activation_gain")
        rest = (*numbers, "weight_gain", "weight_gradient_norm", "saturated_fraction")
        return {"active_fraction": self.active_fraction, **shares, **{name: getattr(self, name) for name in rest}}

    @property
    def site(self) -> str:
        """The name of its site in the statistics."""
        return self.name.removesuffix(layer_suffix(self.step))

    @property
    def dead_fraction(self) -> float:
        """Share of dead units."""
        return self.dead / self.units

    @property
    def largest_singular_value(self) -> float | None:
        """The first of ``singular_values``; None where none was measured."""
        return self.singular_values[0] if self.singular_values else None

    @property
    def root_mean_square(self) -> float:
        """The size of the signal going forward, the outputs' mean and spread together."""
        return math.hypot(self.mean, self.std)

    def weights_in(self, leaves: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays of its ``weights`` by path; of weights that are stacked by layer, this layer's.

        Args:
            leaves: arrays by path, as :func:`relujax.probes.parameter_names` names them.
        """
        found = {}
        for name in self.weights:
            if name in leaves:
                stacked = self.step and np.shape(leaves[name])[: len(self.steps)] == self.steps
                found[name + layer_suffix(self.step) if stacked else name] = (
                    leaves[name][self.step] if stacked else leaves[name]
                )
        return found


@dataclass(frozen=True)
class NetworkSummary:
    """The dynamic size of a network: how much of all of it is active for one example, over the examples seen.

    Attributes:
        elements: outputs of one example at all sites together, in all their executions; the shares are of these. Those
            of a branch that was not taken are among them, and not active.
        examples: examples seen.
        active_fraction: mean share of active elements.
        std: standard deviation of the examples' shares.
        fewest: the smallest share.
        most: the largest.
        histogram: examples by share, equal bins of [0, 1].
    """

    elements: int
    examples: int
    active_fraction: float
    std: float
    fewest: float
    most: float
    histogram: tuple[int, ...]

    def __str__(self) -> str:
        mean, std, fewest, most = (
            share * self.elements for share in (self.active_fraction, self.std, self.fewest, self.most)
        )
        return (
            f"of the {self.elements:,} outputs at all sites {mean:,.1f} are active for one example "
            f"({self.active_fraction:.1%}), give or take {std:,.1f}; "
            f"{fewest:,.0f} to {most:,.0f} over {self.examples:,}"
        )


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


def layer_suffix(step: tuple[int, ...]) -> str:
    """What follows a site's name for one of its layers.

    >>> layer_suffix((3, 0)), layer_suffix(())
    ('[3,0]', '')
    """
    return f"[{','.join(map(str, step))}]" if step else ""


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

    >>> import jax.numpy as jnp, relujax as rx
    >>> _, stats = rx.probe(rx.relu)(jnp.array([[-1.0, 2.0], [-3.0, -4.0]]))
    >>> [row] = summarize(stats)
    >>> row.active_fraction, row.dead
    (0.25, 1)
    """
    if stats.calls:
        raise ValueError(
            f"got statistics of several calls, with axes {stats.calls} before the last one: expected those of one, "
            "such as jax.tree.map(lambda value: value[0], stats), or several merged"
        )
    placed = [(_order(stats[name].site, step), row) for name in stats for step, row in _rows(stats[name])]
    in_order = [row for _, row in sorted(placed, key=lambda item: item[0])]
    rows = [row for row in in_order if row.examples and row.units]
    empty = tuple(
        Opaque(row.kind, (row.kind,), f"{row.name} {'has no units' if row.examples else 'did not run'}", row.source)
        for row in in_order
        if not (row.examples and row.units)
    )
    together = (*rows[:1], *map(_with_weight_gain, rows, rows[1:]))
    return Summary(together, (*stats.opaque, *empty), _network(stats))


def _network(stats: Stats) -> NetworkSummary | None:
    found = stats.network
    if found is None or not int(found.examples):
        return None
    examples = int(found.examples)
    return NetworkSummary(
        elements=found.elements,
        examples=examples,
        active_fraction=float(found.total) / examples,
        std=float(np.sqrt(found.spread / examples)),
        fewest=float(found.fewest) / found.elements,
        most=float(found.most) / found.elements,
        histogram=tuple(int(n) for n in found.histogram),
    )


def _with_weight_gain(before: SiteSummary, row: SiteSummary) -> SiteSummary:
    if not before.signal_norm or not row.signal_norm or not row.activation_gain:
        return row
    return replace(row, weight_gain=before.signal_norm / (row.signal_norm * row.activation_gain))


def _order(site: Any, step: tuple[int, ...]) -> tuple[int, ...]:
    """When a layer of a site runs: its path, with the layer's number behind that of its scan's equation.

    Two sites in one scan take turns.
    """
    key, start = (), 0
    layers = [depth for depth, is_layer in zip(site.scans, site.layers, strict=True) if is_layer]
    for depth, number in zip(layers, step, strict=True):
        key, start = (*key, *site.path[start:depth], number), depth
    return (*key, *site.path[start:])


def _rows(stats: SiteStats) -> Iterator[tuple[tuple[int, ...], SiteSummary]]:
    """Time steps added, and what remains taken apart by layer."""
    site = stats.site
    time = tuple(axis for axis, is_layer in enumerate(site.layers) if not is_layer)
    lengths = tuple(n for n, is_layer in zip(site.steps, site.layers, strict=True) if is_layer)

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
    for step in np.ndindex(*lengths):
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
    )


def _activation_gain(signal: Signal | None) -> float | None:
    if signal is None or signal.behind is None:
        return None
    before = float(np.linalg.norm(signal.norm))
    return float(signal.behind) / before if before else None


def dormant_units(stats: SiteStats, share: float = DORMANT_SHARE) -> Any:
    r"""Units with :math:`E|h_i| \le \tau\, \mathrm{mean}_k E|h_k|`, over the outputs that are finite.

    Args:
        stats: of one site, on the host or inside a compiled function.
        share: the share :math:`\tau`.

    Returns:
        A boolean per unit; per layer of a scan over layers, as leading axes. For kinds that can be negative the root
        mean square takes the place of the mean absolute output.

    Reference: Sokar et al., `2023 <https://arxiv.org/abs/2302.12902>`_.

    >>> import relujax as rx
    >>> _, stats = rx.probe(lambda x: rx.relu(x))(jnp.array([[1.0, -1.0, 0.001]]))
    >>> dormant_units(stats["relu"]).tolist()
    [False, True, True]
    """
    xp: Any = np if isinstance(stats.total, np.ndarray) else jnp
    finite = stats.count - stats.nonfinite
    seen, each = finite > 0, xp.maximum(finite, 1).astype(stats.total.dtype)
    # A gated unit is of the kind of its gate, and its product may well be negative.
    positive = (stats.site.kind in NONNEGATIVE) & xp.all(stats.total >= 0, axis=-1, keepdims=True)
    size = xp.where(positive, stats.total / each, xp.sqrt(stats.square / each))
    units = xp.maximum(xp.sum(seen, axis=-1, keepdims=True), 1).astype(size.dtype)
    layer = xp.sum(xp.where(seen, size, 0), axis=-1, keepdims=True) / units
    return seen & (size <= share * layer) & xp.isfinite(layer)  # beside squares that overflowed nothing is small
