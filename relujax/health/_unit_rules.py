"""Rules about units: not finite, dead, dormant, saturated, far from zero."""

import math

from ._findings import NO_SITES, Findings, Skipped, also, at
from ._site_summary import SiteSummary
from ._summary import Summary, saturates

#: A layer is told of beyond this share of dead or dormant units, and more severely beyond half.
SOME, HALF = 0.1, 0.5


def nonfinite(summary: Summary) -> Findings:
    """NaN or infinite outputs, and where first."""
    if not len(summary):
        yield Skipped("non-finite", NO_SITES)
    bad = [row for row in summary if row.nonfinite]
    if bad:
        yield at(
            bad[0],
            "non-finite",
            "critical",
            f"{bad[0].nonfinite} outputs are NaN or infinite; this is the first layer where they appear",
            "lower the learning rate, clip the global gradient norm (5.0 is common), check the data and half precision",
            "first offender in execution order",
        )


def dead(summary: Summary) -> Findings:
    """Units that passed no gradient on anything seen, with the bound that this gives."""
    rows = _bounded(summary)
    if not rows:
        yield Skipped("dead units", _too_few(summary))
    bad = [row for row in rows if row.dead > SOME * row.units]
    if bad:
        first, worst = bad[0], max(bad, key=lambda row: row.dead / row.units)
        more = also(bad, worst, f"{worst.dead} of {worst.units}", "10 %")
        yield at(
            first,
            "dead units",
            "critical" if worst.dead > HALF * worst.units else "warning",
            f"{first.dead} of {first.units} units are dead: no gradient passed on any of {first.examples} examples, so "
            f"on at most {100 * first.dead_bound:.2g} % of such examples (3/n, 95 % confidence){more}",
            "a negative-side slope (leaky_relu, prelu, elu), a lower learning rate, He initialisation, BatchNorm, "
            "rx.optim.recycle_dormant",
            "10 %: CS231n and keras-contrib DeadReLU; critical above 50 %: SageMaker Debugger",
        )


def born_dead(summary: Summary) -> Findings:
    """A layer whose every unit is dead: nothing passes, and the output is constant, unless a path leads around it.

    Where there is a loss, a signal before that layer shows such a path, and the rule is silent.
    """
    rule = "born-dead network"
    if not _bounded(summary):
        yield Skipped(rule, _too_few(summary))
    bad = [row for row in _bounded(summary) if row.dead == row.units and not saturates(row.kind)]
    bad = [row for row in bad if not any(earlier.signal_norm for earlier in _before(summary, row))]
    if bad:
        seen = any(row.signal_norm == 0 for row in _before(summary, bad[0]))
        unless = "" if seen else ", unless a path leads around it"
        yield at(
            bad[0],
            rule,
            "critical",
            f"every unit of this layer is dead on all of {bad[0].examples} examples: the network's output does not "
            f"depend on its input, and nothing up to here is trained{unless}",
            "at initialisation draw again, with wider layers, BatchNorm, a negative-side slope (leaky_relu), or the "
            "asymmetric initialisation of Lu et al.; after training, start again with a lower learning rate",
            "a whole layer: Lu et al. 2019, Dying ReLU and Initialization, arXiv 1903.06733",
        )


def dormant(summary: Summary) -> Findings:
    """Units that are small next to their layer's; dead ones alone are the dead rule's."""
    if not len(summary):
        yield Skipped("dormant units", NO_SITES)
    bad = [row for row in summary if row.dormant > SOME * row.units and row.dormant > row.dead]
    if bad:
        first, worst = bad[0], max(bad, key=lambda row: row.dormant / row.units)
        dead_ones = f" ({first.dead} are dead)" if first.dead else ""
        more = also(bad, worst, f"{worst.dormant} of {worst.units}", "10 %")
        yield at(
            first,
            "dormant units",
            "warning" if worst.dormant > HALF * worst.units else "info",  # they do pass a gradient
            f"{first.dormant} of {first.units} units are dormant: their output is at most 0.025 of the layer's "
            f"mean{dead_ones}{more}",
            "recycle them (ReDo: fresh incoming weights, outgoing ones 0), LayerNorm, a lower learning rate",
            "0.025: ReDo (Sokar et al. 2023, arXiv 2302.12902); 10 % of a layer, and half of it for a warning, "
            "are this library's choice",
        )


def silent(summary: Summary) -> Findings:
    """Layers that hardly answer at all, which a share of the layer's own mean cannot see."""
    rule = "dormant units, absolute"
    if not len(summary):
        yield Skipped(rule, NO_SITES)
    bad = [row for row in summary if row.silent > HALF * row.units and row.silent > row.dead]
    if bad:
        first, worst = bad[0], max(bad, key=lambda row: row.silent / row.units)
        more = also(bad, worst, f"{worst.silent} of {worst.units}", "50 %")
        yield at(
            first,
            rule,
            "warning",
            f"{first.silent} of {first.units} units never reach 1e-5 in absolute output{more}",
            "a larger weight variance (He initialisation), BatchNorm or LayerNorm, inputs of size 1",
            "1e-5 in more than 50 % of units: TheDeepChecker (Ben Braiek & Khomh 2023), of the largest output here and "
            "of its 95th percentile there. It depends on the scale of the data",
        )


def saturated(summary: Summary) -> Findings:
    """Sigmoids, tanh and the like where their slope is flat."""
    if not any(row.saturated_fraction is not None for row in summary):
        yield Skipped("saturated", "no activation saturates" if len(summary) else NO_SITES)
    bad = [row for row in summary if _flat(row) > HALF or _flat_units(row) > HALF * row.units]
    if bad:
        first, worst = bad[0], max(bad, key=_flat)
        units_first = max(bad, key=lambda row: _flat_units(row) / row.units)
        more = also(bad, worst, f"{_flat(worst):.0%}", "50 %")
        yield at(
            first,
            "saturated",
            "critical" if _flat_units(units_first) > HALF * units_first.units else "warning",
            f"{_flat(first):.0%} of the outputs are saturated, and {_flat_units(first)} of {first.units} units on more "
            f"than 99 % of what was seen{more}",
            "Xavier initialisation, a smaller weight variance, BatchNorm before it, inputs of size 1, or ReLU's kin",
            "critical: more than 50 % of units active on less than 1 %, SageMaker Debugger SaturatedActivation, here "
            "with a slope below 1/1000 of the steepest and there below 1e-7; warning: half of the outputs, this "
            "library's choice",
        )


def shift(summary: Summary) -> Findings:
    """Outputs whose mean is far from 0 for their spread."""
    if not len(summary):
        yield Skipped("not zero-centred", NO_SITES)
    bad = [row for row in summary if abs(row.mean) > 0.5 * row.std]
    if bad:
        worst = max(bad, key=_standard_deviations)
        yield at(
            worst,
            "not zero-centred",
            "info",
            f"the mean output is {worst.mean:.2g}, {_standard_deviations(worst):.1f} standard deviations from 0",
            "BatchNorm, or a function with negative outputs (elu, tanh, leaky_relu)",
            "LeCun et al. 1998, section 4.3; half a standard deviation is this library's choice",
        )


def _bounded(summary: Summary) -> list[SiteSummary]:
    """Rows with examples enough for the bound 3/n to say something."""
    return [row for row in summary if row.dead_bound < 1]


def _too_few(summary: Summary) -> str:
    most = max((row.examples for row in summary), default=0)
    return f"{most} examples were seen, and the bound 3/n takes at least 4" if len(summary) else NO_SITES


def _before(summary: Summary, row: SiteSummary) -> tuple[SiteSummary, ...]:
    return summary.rows[: summary.rows.index(row)]


def _flat(row: SiteSummary) -> float:
    return row.saturated_fraction or 0.0


def _flat_units(row: SiteSummary) -> int:
    return row.saturated or 0


def _standard_deviations(row: SiteSummary) -> float:
    return abs(row.mean) / row.std if row.std > 0 else math.inf
