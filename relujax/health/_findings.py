"""What a rule says: an alarm, or why it could not run."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ._site_summary import SiteSummary
from ._summary import Summary

Severity = Literal["critical", "warning", "info"]
_ORDER = {"critical": 0, "warning": 1, "info": 2}

NO_SITES = "no activation was measured"
NO_LOSS = "no loss was given"


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
class Skipped:
    """A rule that could not run.

    Attributes:
        rule: which rule.
        reason: what it would have needed.
    """

    rule: str
    reason: str


class Alarms(tuple[Alarm, ...]):
    """A tuple of alarms, most severe first, that also knows which rules could not run; prints as lines.

    Attributes:
        skipped: the rules that could not run, each with its reason. They do not take part in comparisons.
    """

    skipped: tuple[Skipped, ...]

    def __new__(cls, found: Iterable[Alarm] = (), skipped: Iterable[Skipped] = ()) -> "Alarms":
        """Sorts ``found`` by severity, and keeps the order of execution within one."""
        self = super().__new__(cls, sorted(found, key=lambda alarm: _ORDER[alarm.severity]))
        self.skipped = tuple(skipped)
        return self

    def __str__(self) -> str:
        lines = [f"[{alarm.severity}] {alarm.message}" for alarm in self]
        return "\n".join([*lines, *not_checked(self.skipped)])


def not_checked(skipped: Iterable[Skipped]) -> tuple[str, ...]:
    """One line per reason, with the rules that it kept from running.

    >>> not_checked([Skipped("a", "no loss was given"), Skipped("b", "no loss was given")])
    ('not checked, no loss was given: a, b',)
    """
    by_reason: dict[str, list[str]] = {}
    for one in skipped:
        by_reason.setdefault(one.reason, []).append(one.rule)
    return tuple(f"not checked, {reason}: {', '.join(dict.fromkeys(rules))}" for reason, rules in by_reason.items())


Findings = Iterator[Alarm | Skipped]
Rule = Callable[[Summary], Findings]


def at(row: SiteSummary, rule: str, severity: Severity, message: str, remedy: str, reference: str) -> Alarm:
    """An alarm at a layer; the message starts with its name."""
    return Alarm(rule, severity, row.name, row.source, f"{row.name}: {message}", remedy, reference)


def also(bad: Sequence[SiteSummary], worst: SiteSummary, says: str, beyond: str) -> str:
    """The worst layer where that is not the first, and how many layers there are."""
    more = f"; worst is {worst.name} with {says}" if worst is not bad[0] else ""
    others = f"; {len(bad)} layers are beyond {beyond}" if len(bad) > 1 else ""
    return more + others
