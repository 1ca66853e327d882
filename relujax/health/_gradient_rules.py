"""Rules about the gradient: whether it is finite, whether it arrives, and how it changes on its way."""

import math

from ._findings import NO_LOSS, NO_SITES, Findings, Skipped, also, at
from ._site_summary import SiteSummary
from ._summary import Summary
from ._travel import on_the_way, travel

#: First layer over last one: below and above, the gradient vanishes and explodes (AUTOTRAINER, Zhang et al. 2021).
VANISHING_RATIO, EXPLODING_RATIO = 1e-3, 70.0
#: Mean absolute entry of a weight gradient: below and above, it is small and large (TheDeepChecker).
SMALL_GRADIENT, LARGE_GRADIENT = 1e-6, 1e6


def _gradients(row: SiteSummary) -> list[float]:
    return [v for v in (row.signal_norm, row.weight_gradient_norm) if v is not None]


def nonfinite_gradient(summary: Summary) -> Findings:
    """NaN or infinite; going back, where first."""
    rule = "non-finite gradient"
    if not any(_gradients(row) for row in summary):
        yield Skipped(rule, _reason(summary))
    bad = [row for row in summary if not all(math.isfinite(v) for v in _gradients(row))]
    if bad:
        yield at(
            bad[-1],
            rule,
            "critical",
            "the gradient is NaN or infinite; going back, this is the first layer where it is",
            "look at the loss and at what follows this layer: a root or a logarithm at 0, a half-precision overflow",
            "first offender going backward",
        )


def no_gradient(summary: Summary) -> Findings:
    """None reaches the last layer."""
    rule = "no gradient"
    rows = on_the_way(summary)
    if not rows:
        yield Skipped(rule, _reason(summary))
    elif _nothing_arrives(summary):
        yield at(
            rows[-1],
            rule,
            "critical",
            "no gradient arrives, not even at this last layer",
            "check that the loss depends on the model, and for dead units after it",
            "exactly 0",
        )


def cut_off(summary: Summary) -> Findings:
    """There is no way for it to some layers; a warning where they have weights that the user asks gradients of."""
    if not any(row.signal_norm is not None for row in summary):
        yield Skipped("cut off", _reason(summary))
    bad = [row for row in summary if not row.reached]
    if bad and any(row.reached and row.signal_norm is not None for row in summary):
        others = f"; so it is with {len(bad)} layers" if len(bad) > 1 else ""
        why = "the loss does not depend on it, or only behind stop_gradient or whole numbers"
        yield at(
            bad[0],
            "cut off",
            "warning" if any(row.weights for row in bad) else "info",
            f"no gradient can come here: {why}{others}",
            "nothing, where it is meant, as in a target network, a teacher, or a generator in its critic's step; else "
            "look for stop_gradient, rounding, comparisons and whole numbers between this layer and the loss",
            "no way for a gradient in the equations",
        )


def vanishing(summary: Summary) -> Findings:
    """First over last, which does not depend on the loss's scale."""
    way = travel(summary)
    if way is None:
        yield Skipped("vanishing gradient", _reason(summary))
    elif way.ratio < VANISHING_RATIO:
        yield at(
            way.first,
            "vanishing gradient",
            "critical",
            f"{way.factor()}; {way.compared('.1g')}",
            "ReLU or its kin with He initialisation, BatchNorm, residual connections",
            "first over last below 1e-3: AUTOTRAINER (Zhang et al. 2021), without its bound on the norm itself, which "
            "depends on the loss's scale",
        )


def exploding(summary: Summary) -> Findings:
    """First over last, which does not depend on the loss's scale."""
    way = travel(summary)
    if way is None:
        yield Skipped("exploding gradient", _reason(summary))
    elif way.ratio > EXPLODING_RATIO:
        yield at(
            way.first,
            "exploding gradient",
            "critical",
            f"{way.factor()}; {way.compared('.1g')}",
            "a smaller weight variance, clipping by global norm 5.0, BatchNorm",
            "first over last above 70: AUTOTRAINER (Zhang et al. 2021)",
        )


def small(summary: Summary) -> Findings:
    """Small in every unit of measure that the loss has: what the ratio cannot see where all layers are alike.

    A warning and no more: the threshold depends on the scale of the loss and on the dtype. Not told where the gradient
    vanishes by its ratio, or does not arrive at all: that is said already.
    """
    rule = "small gradient"
    rows = [row for row in summary if row.weight_gradient_mean is not None]
    if not rows:
        yield Skipped(rule, _reason(summary, weights=True))
    way = travel(summary)
    bad = [row for row in rows if row.reached and _mean(row) < SMALL_GRADIENT]
    if bad and not _nothing_arrives(summary) and not (way and way.ratio < VANISHING_RATIO):
        least = min(bad, key=_mean)
        more = also(bad, least, f"{_mean(least):.2g}", "that")
        yield at(
            bad[0],
            rule,
            "warning",
            f"a weight's gradient is {_mean(bad[0]):.2g} on average, below 1e-6{more}",
            "none if the loss has converged, or is scaled down on purpose; else a larger weight variance, BatchNorm, "
            "and a loss scale in half precision",
            "mean |gradient| below 1e-6: TheDeepChecker (Ben Braiek & Khomh 2023); SageMaker Debugger has 1e-7. It "
            "depends on the loss's scale and on the dtype",
        )


def large(summary: Summary) -> Findings:
    """Large in every unit of measure that the loss has; a warning and no more, as for :func:`small`."""
    rule = "large gradient"
    rows = [row for row in summary if row.weight_gradient_mean is not None]
    if not rows:
        yield Skipped(rule, _reason(summary, weights=True))
    way = travel(summary)
    bad = [row for row in rows if LARGE_GRADIENT < _mean(row) < math.inf]
    if bad and not (way and way.ratio > EXPLODING_RATIO):
        most = max(bad, key=_mean)
        more = also(bad, most, f"{_mean(most):.2g}", "that")
        yield at(
            bad[0],
            rule,
            "warning",
            f"a weight's gradient is {_mean(bad[0]):.2g} on average, above 1e6{more}",
            "a smaller weight variance, clipping by global norm 5.0, inputs and targets of size 1",
            "mean |gradient| above 1e6: TheDeepChecker (Ben Braiek & Khomh 2023). It depends on the loss's scale",
        )


def travels(summary: Summary) -> Findings:
    """How the gradient travels, where it does."""
    way = travel(summary)
    if way and VANISHING_RATIO <= way.ratio <= EXPLODING_RATIO:
        yield at(
            way.first,
            "gradient travel",
            "info",
            str(way),
            "none needed",
            "between the bounds of AUTOTRAINER (Zhang et al. 2021), 1e-3 and 70",
        )


def _mean(row: SiteSummary) -> float:
    return row.weight_gradient_mean if row.weight_gradient_mean is not None else math.nan


def _nothing_arrives(summary: Summary) -> bool:
    rows = on_the_way(summary)
    return bool(rows) and rows[-1].signal_norm == 0


def _reason(summary: Summary, weights: bool = False) -> str:
    """Why a rule about gradients cannot run."""
    rows = on_the_way(summary)
    if not len(summary):
        return NO_SITES
    if not rows:
        return NO_LOSS
    if weights:
        return "no gradients of weights were measured: rx.diagnose does, given a loss and parameters"
    if len(rows) < 2:
        return "the gradient was measured at one activation, and it takes two"
    return "no finite gradient leaves the last activation"
