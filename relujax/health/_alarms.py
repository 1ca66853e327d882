"""What is wrong, where, how one knows, and what usually helps: rules with published thresholds."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ._summary import SiteSummary, Summary

Severity = Literal["critical", "warning", "info"]
_ORDER = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Alarm:
    """A finding in plain words.

    Attributes:
        rule: which rule fired.
        severity: "critical", "warning" or "info".
        site: the first layer concerned, or None where it concerns all.
        source: ``file:line`` of that layer's activation, or None.
        message: what was seen, with the numbers.
        remedy: what usually helps.
        reference: where the threshold comes from.
    """

    rule: str
    severity: Severity
    site: str | None
    source: str | None
    message: str
    remedy: str
    reference: str


@dataclass(frozen=True)
class Travel:
    """How the gradient changes on its way from the last site to the first.

    Attributes:
        quantity: what was compared: "weight gradient" or "backpropagated signal".
        per_layer: geometric mean factor per layer going backward; below 1 it shrinks.
        ratio: the first layer's norm over the last one's.
        first: the first site.
        last: the last site.
    """

    quantity: str
    per_layer: float
    ratio: float
    first: SiteSummary
    last: SiteSummary


def travel(summary: Summary) -> Travel | None:
    """How the gradient travels through a stack, or None where it does not.

    That is without a loss, with fewer than two sites, or where no finite gradient leaves the last one.

    ``per_layer`` is of the backpropagated signal; ``ratio`` is of the weight gradients where they are known.
    """
    rows = [row for row in summary if row.signal_norm is not None]
    if len(rows) < 2:
        return None
    first, last = rows[0], rows[-1]
    signal = _ratio(first.signal_norm, last.signal_norm)
    if signal is None:
        return None
    weighed = [row for row in rows if row.weight_gradient_norm is not None]
    per_layer = signal ** (1 / (len(rows) - 1))
    # Where the last layer's weights get nothing, its own units are dead: only the signal tells what comes through.
    if len(weighed) < 2 or weighed[-1].weight_gradient_norm == 0:
        return Travel("backpropagated signal", per_layer, signal, first, last)
    first, last = weighed[0], weighed[-1]
    ratio = _ratio(first.weight_gradient_norm, last.weight_gradient_norm)
    return None if ratio is None else Travel("weight gradient", per_layer, ratio, first, last)


def _ratio(a: float | None, b: float | None) -> float | None:
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)) or b == 0:
        return None
    return a / b


def _gradients(row: SiteSummary) -> list[float]:
    return [v for v in (row.signal_norm, row.weight_gradient_norm) if v is not None]


def alarms(summary: Summary) -> tuple[Alarm, ...]:
    """What the numbers say, most severe first.

    Args:
        summary: rows of :func:`relujax.summarize` or of a diagnosis.

    Returns:
        The alarms; each names the first layer concerned, its line of code, the threshold's source and a remedy.

    >>> import jax.numpy as jnp, relujax as rx
    >>> _, stats = rx.probe(rx.relu)(-jnp.ones((4, 2)))
    >>> alarms(rx.summarize(stats))[0].message
    'relu: 2 of 2 units are dead: no gradient passed on any of 4 examples'
    """
    found = [alarm for rule in _RULES for alarm in rule(summary)]
    return tuple(sorted(found, key=lambda alarm: _ORDER[alarm.severity]))


def _nonfinite(summary: Summary) -> Iterator[Alarm]:
    bad = [row for row in summary if row.nonfinite]
    if bad:
        yield _alarm(
            "non-finite",
            "critical",
            bad,
            f"{bad[0].name}: {bad[0].nonfinite} outputs are NaN or infinite; this is the first layer where they appear",
            "lower the learning rate, clip the global gradient norm (5.0 is common), check the data and half precision",
            "first offender in execution order",
        )


def _nonfinite_gradient(summary: Summary) -> Iterator[Alarm]:
    bad = [row for row in summary if not all(math.isfinite(v) for v in _gradients(row))]
    if bad:
        last = bad[-1]
        yield _alarm(
            "non-finite gradient",
            "critical",
            [last],
            f"{last.name}: the gradient is NaN or infinite; going back, this is the first layer where it is",
            "look at the loss and at what follows this layer: a root or a logarithm at 0, a half-precision overflow",
            "first offender going backward",
        )


def _no_gradient(summary: Summary) -> Iterator[Alarm]:
    rows = [row for row in summary if row.signal_norm is not None]
    if rows and rows[-1].signal_norm == 0:
        yield _alarm(
            "no gradient",
            "critical",
            [rows[-1]],
            f"{rows[-1].name}: no gradient arrives, not even at this last layer",
            "check that the loss depends on the model, and for dead units after it",
            "exactly 0",
        )


def _dead(summary: Summary) -> Iterator[Alarm]:
    bad = [row for row in summary if row.dead > 0.1 * row.units]
    if bad:
        worst = max(bad, key=lambda row: row.dead / row.units)
        more = f"; worst is {worst.name} with {worst.dead} of {worst.units}" if worst is not bad[0] else ""
        others = f"; {len(bad)} layers are beyond 10 %" if len(bad) > 1 else ""
        yield _alarm(
            "dead units",
            "critical" if worst.dead > 0.5 * worst.units else "warning",
            bad,
            f"{bad[0].name}: {bad[0].dead} of {bad[0].units} units are dead: no gradient passed on any of "
            f"{bad[0].examples} examples{more}{others}",
            "a negative-side slope (leaky_relu, prelu, elu), a lower learning rate, He initialisation, BatchNorm",
            "10 %: CS231n and keras-contrib DeadReLU; critical above 50 %: SageMaker Debugger",
        )


def _vanishing(summary: Summary) -> Iterator[Alarm]:
    way = travel(summary)
    if way and way.ratio < 1e-3:
        yield _alarm(
            "vanishing gradient",
            "critical",
            [way.first],
            f"{way.first.name}: {_per_layer(way)}; {_compared(way, '.1g')}",
            "ReLU or its kin with He initialisation, BatchNorm, residual connections",
            "first over last below 1e-3: AUTOTRAINER (Zhang et al. 2021), without its bound on the norm itself, which "
            "depends on the loss's scale",
        )


def _exploding(summary: Summary) -> Iterator[Alarm]:
    way = travel(summary)
    if way and way.ratio > 70:
        yield _alarm(
            "exploding gradient",
            "critical",
            [way.first],
            f"{way.first.name}: {_per_layer(way)}; {_compared(way, '.1g')}",
            "a smaller weight variance, clipping by global norm 5.0, BatchNorm",
            "first over last above 70: AUTOTRAINER (Zhang et al. 2021)",
        )


def _shift(summary: Summary) -> Iterator[Alarm]:
    bad = [row for row in summary if abs(row.mean) > 0.5 * row.std]
    if bad:
        worst = max(bad, key=_standard_deviations)
        yield _alarm(
            "not zero-centred",
            "info",
            [worst],
            f"{worst.name}: the mean output is {worst.mean:.2g}, "
            f"{_standard_deviations(worst):.1f} standard deviations from 0",
            "BatchNorm, or a function with negative outputs (elu, tanh, leaky_relu)",
            "LeCun et al. 1998, section 4.3; half a standard deviation is this library's choice",
        )


def _standard_deviations(row: SiteSummary) -> float:
    return abs(row.mean) / row.std if row.std > 0 else math.inf


def _travels(summary: Summary) -> Iterator[Alarm]:
    way = travel(summary)
    if way and 1e-3 <= way.ratio <= 70:
        yield _alarm(
            "gradient travel",
            "info",
            [way.first],
            f"{_per_layer(way)}; {_compared(way, '.2g')}",
            "none needed",
            "between the bounds of AUTOTRAINER (Zhang et al. 2021), 1e-3 and 70",
        )


def _per_layer(way: Travel) -> str:
    if 0.99 <= way.per_layer <= 1.01:
        return "the signal holds over depth"
    if way.per_layer == 0:
        return "no signal arrives"
    if way.per_layer < 1:
        return f"the signal shrinks {_factor(1 / way.per_layer)} per layer"
    return f"the signal grows {_factor(way.per_layer)} per layer"


def _compared(way: Travel, digits: str) -> str:
    link = "times" if way.ratio > 1 else "of"
    return f"the first layer's {way.quantity} is {way.ratio:{digits}} {link} the last one's"


def _factor(value: float) -> str:
    """A factor as people say it: 4.3x, and 1.04x where one digit would read as no change."""
    return f"{value:.3g}x" if value < 1.95 else f"{value:.2g}x"


def _alarm(
    rule: str, severity: Severity, rows: Sequence[SiteSummary], message: str, remedy: str, reference: str
) -> Alarm:
    return Alarm(rule, severity, rows[0].name, rows[0].source, message, remedy, reference)


_RULES: tuple[Callable[[Summary], Iterator[Alarm]], ...] = (
    _nonfinite,
    _nonfinite_gradient,
    _no_gradient,
    _vanishing,
    _exploding,
    _dead,
    _shift,
    _travels,
)
