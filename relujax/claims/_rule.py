"""The one rule by which every verdict is computed: on which side of the threshold the effect lies for certain."""

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
        threshold: the effect that divides; above 0, or 0 for a difference.
        above: whether the claim is that the effect lies above it; else below.
        log: whether effects are ratios, whose mean and error bar are those of their logarithms.
        reason: why the threshold lies there, and who says so; nothing where it stands for no difference.

    Raises:
        ValueError: for a threshold below 0, or of a ratio that is 0.
    """

    threshold: float
    above: bool = True
    log: bool = True
    reason: str = ""

    def __post_init__(self) -> None:
        if not (self.threshold > 0 or (self.threshold == 0 and not self.log)):
            expected = "a number above 0, or 0 with log=False for a difference"
            raise ValueError(f"got threshold={self.threshold!r} with log={self.log!r}: expected {expected}")

    def __str__(self) -> str:
        return f"{'above' if self.above else 'below'} {self.threshold:g}"


@dataclass(frozen=True)
class Condition:
    """One of the conditions under which a claim was tested.

    Attributes:
        name: what it is.
        values: the effect, once per seed or round.
        criterion: what the claim says of it.
        overlap: where each seed is another split of the same images, and the effect is read on those held out, their
            number over that of those trained on; else 0. As it stands for splits of which both parts are all images, it
            makes the error bar wide rather than narrow where fewer are trained on. It is not for effects that are
            read on the images trained on, or before training on some of these: what seeds share there is not
            corrected for, and their error bars may be narrow.
    """

    name: str
    values: tuple[float, ...]
    criterion: Criterion
    overlap: float = 0.0

    @property
    def interval(self) -> tuple[float, float, float]:
        """The mean effect and the ends of its error bar; Student's t, 95 %; of ratios, the geometric mean.

        Where seeds share images, the variance of the mean is not s^2 / n but s^2 (1 / n + overlap): the corrected
        resampled t test of Nadeau and Bengio, `2003 <https://doi.org/10.1023/A:1024068626366>`_.

        >>> Condition("ratio", (0.5, 2.0), Criterion(1.0)).interval[0]
        1.0
        """
        mean, error = self._mean_and_error()
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(self.values) - 1)) * error if error < math.inf else error
        low, high = mean - half, mean + half
        return (_ratio(mean), _ratio(low), _ratio(high)) if self.criterion.log else (mean, low, high)

    def _mean_and_error(self) -> tuple[float, float]:
        """Of the values, or of the logarithms of ratios; the error is that of the mean."""
        if not len(self.values) or any(map(math.isnan, self.values)):
            return math.nan, math.nan
        log = self.criterion.log
        numbers = np.clip(np.asarray(self.values, np.float64), SMALLEST if log else -LARGEST, LARGEST)
        numbers = np.log(numbers) if log else numbers
        # One value says nothing of its spread; equal ones, that there is none.
        count = len(numbers)
        error = float(numbers.std(ddof=1)) * math.sqrt(1 / count + self.overlap) if count > 1 else math.inf
        return float(numbers.mean()), error

    @property
    def effect(self) -> float:
        """The mean effect."""
        return self.interval[0]

    @property
    def p_value(self) -> float:
        """Of the two-sided t test against the threshold; 1 where nothing could be tested."""
        mean, error = self._mean_and_error()
        threshold = math.log(self.criterion.threshold) if self.criterion.log else self.criterion.threshold
        away = abs(mean - threshold)
        if math.isnan(mean) or math.isinf(error) or away == 0:
            return 1.0
        return 2 * float(stats.t.sf(away / error, len(self.values) - 1)) if error else 0.0

    @property
    def outcome(self) -> Outcome:
        """Whether the error bar lies on the side that the claim names, on the other, or on both; were it the only one.

        Among several conditions :func:`outcomes` asks for more.
        """
        return outcomes([self])[0]

    @property
    def margin(self) -> tuple[float, float, float]:
        """Effect and error bar over the threshold, in the claimed direction; above 1 the claim holds.

        A difference, whose threshold is 0, gives a factor of 10 for every 0.1.
        """
        over = self.criterion.threshold
        ends = self.interval if over else tuple(_ratio(math.log(10) * value / 0.1) for value in self.interval)
        effect, low, high = (max(v, SMALLEST) if not math.isnan(v) else v for v in ends)
        over = over or 1.0
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
            "p_value": self.p_value,
            "overlap": self.overlap,
            "values": list(self.values),
        }


def outcomes(conditions: Sequence[Condition]) -> tuple[Outcome, ...]:
    """What came of each condition of a claim, corrected for their number by Holm's method.

    The smallest p-value is held against 0.05 over the number of conditions, the next one against 0.05 over one less,
    and so on until one is larger: from there on all are undecided. So the chance that any condition of a claim holds or
    fails wrongly is at most 5 %, and an error bar may lie beside the threshold of a condition that is undecided.

    Reference: Holm, `1979 <https://www.jstor.org/stable/4615733>`_.

    >>> one = Condition("one", (1.0, 2.0, 3.0, 4.0, 5.0), Criterion(0.9, log=False))
    >>> outcomes([one]), outcomes([one, one])
    (('holds',), ('undecided', 'undecided'))
    """
    found: list[Outcome] = ["undecided"] * len(conditions)
    order = sorted(range(len(conditions)), key=lambda i: conditions[i].p_value)
    for left, i in zip(range(len(order), 0, -1), order, strict=True):
        one = conditions[i]
        if one.p_value > (1 - CONFIDENCE) / left:
            break
        found[i] = "holds" if (one.effect > one.criterion.threshold) == one.criterion.above else "fails"
    return tuple(found)


def judge(conditions: Sequence[Condition]) -> tuple[Kind, tuple[str, ...]]:
    """The verdict over all conditions, and those under which the claim held by :func:`outcomes`.

    It holds where it held under every condition, holds only when some of them are met where it held under these, does
    not hold where it held under none and failed under some, and is undecided where it is under every one.

    >>> rule = Criterion(1.0)
    >>> cheap, dear = Condition("in cache", (2.0, 2.1, 1.9), rule), Condition("out of cache", (0.8, 0.9, 0.7), rule)
    >>> judge([cheap, dear])
    ('holds only when', ('in cache',))
    """
    if not conditions:
        raise ValueError("got no conditions: expected at least one, under which the claim was tested")
    found = outcomes(conditions)
    held = tuple(c.name for c, outcome in zip(conditions, found, strict=True) if outcome == "holds")
    if len(held) == len(found):
        return "holds", held
    if held:
        return "holds only when", held
    return ("does not hold" if "fails" in found else "undecided"), ()


def _ratio(log: float) -> float:
    """``exp``; 0 and infinity where it is as far out as ratios are read."""
    if abs(log) < math.log(LARGEST) * (1 - 1e-12) or math.isnan(log):
        return math.exp(log)
    return math.inf if log > 0 else 0.0
