"""The one rule by which every verdict is computed: where the error bar lies beside the threshold."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

#: How sure an error bar is to hold the mean.
CONFIDENCE = 0.95
#: Ratios beyond are read as these: a gradient that underflowed, a signal that overflowed.
SMALLEST, LARGEST = 1e-30, 1e30

Outcome = Literal["holds", "fails", "undecided"]
Kind = Literal["holds", "holds only when", "does not hold", "undecided"]


@dataclass(frozen=True)
class Criterion:
    """What a claim says of its effect.

    Attributes:
        threshold: the effect that divides, above 0.
        above: whether the claim is that the effect lies above it; else below.
        log: whether effects are ratios, whose mean and error bar are those of their logarithms.
    """

    threshold: float
    above: bool = True
    log: bool = True

    def __str__(self) -> str:
        return f"{'above' if self.above else 'below'} {self.threshold:g}"


@dataclass(frozen=True)
class Condition:
    """One of the conditions under which a claim was tested.

    Attributes:
        name: what it is.
        values: the effect, once per seed or round.
        criterion: what the claim says of it.
    """

    name: str
    values: tuple[float, ...]
    criterion: Criterion

    @property
    def interval(self) -> tuple[float, float, float]:
        """The mean effect and the ends of its error bar; Student's t, 95 %; of ratios, the geometric mean."""
        if not len(self.values) or any(map(math.isnan, self.values)):
            return math.nan, math.nan, math.nan
        log = self.criterion.log
        numbers = np.clip(np.asarray(self.values, np.float64), SMALLEST if log else -LARGEST, LARGEST)
        numbers = np.log(numbers) if log else numbers
        mean, count = float(numbers.mean()), len(numbers)
        # One value says nothing of its spread; equal ones, that there is none.
        t = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) if count > 1 else math.inf
        half = t * float(numbers.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
        low, high = mean - half, mean + half
        return (_exp(mean), _exp(low), _exp(high)) if log else (mean, low, high)

    @property
    def effect(self) -> float:
        """The mean effect."""
        return self.interval[0]

    @property
    def outcome(self) -> Outcome:
        """Whether the error bar lies on the side that the claim names, on the other, or on both."""
        _, low, high = self.interval
        beyond, short = (low, high) if self.criterion.above else (-high, -low)
        threshold = self.criterion.threshold if self.criterion.above else -self.criterion.threshold
        if beyond > threshold:
            return "holds"
        return "fails" if short < threshold else "undecided"

    @property
    def margin(self) -> tuple[float, float, float]:
        """Effect and error bar over the threshold, in the claimed direction; above 1 the claim holds."""
        effect, low, high = (max(v, SMALLEST) if not math.isnan(v) else v for v in self.interval)
        over = self.criterion.threshold
        return (
            (effect / over, low / over, high / over)
            if self.criterion.above
            else (over / effect, over / high, over / low)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        effect, low, high = self.interval
        return {
            "name": self.name,
            "effect": effect,
            "low": low,
            "high": high,
            "outcome": self.outcome,
            "values": list(self.values),
        }


def judge(conditions: Sequence[Condition]) -> tuple[Kind, tuple[str, ...]]:
    """The verdict over all conditions, and those under which the claim held.

    It holds where it held under every condition, holds only when some of them are met where it held under these, does
    not hold where it held under none and failed under some, and is undecided where it is under every one.

    >>> rule = Criterion(1.0)
    >>> cheap, dear = Condition("in cache", (2.0, 2.1, 1.9), rule), Condition("out of cache", (0.8, 0.9, 0.7), rule)
    >>> judge([cheap, dear])
    ('holds only when', ('in cache',))
    """
    if not conditions:
        raise ValueError("got no conditions: expected at least one, under which the claim was tested")
    outcomes = [condition.outcome for condition in conditions]
    held = tuple(c.name for c, outcome in zip(conditions, outcomes, strict=True) if outcome == "holds")
    if len(held) == len(outcomes):
        return "holds", held
    if held:
        return "holds only when", held
    return ("does not hold" if "fails" in outcomes else "undecided"), ()


def _exp(value: float) -> float:
    """``exp``, where it overflows infinite."""
    return math.exp(value) if value < 709 else math.inf
