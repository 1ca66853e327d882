"""What the runs of a report found: each finding once, with the places where it was seen, and one sentence of all."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..health import Alarm
from ._run import Run


@dataclass(frozen=True)
class Place:
    """Where a finding was seen.

    Attributes:
        runs: runs and stages in which the same was said, such as "relu after training"; empty where there is one only.
        alarm: what was said.
    """

    runs: tuple[str, ...]
    alarm: Alarm


@dataclass(frozen=True)
class Finding:
    """A rule that fired, in all runs and stages.

    Attributes:
        rule: which rule.
        severity: "critical", "warning" or "info".
        remedy: what usually helps.
        reference: where the threshold comes from.
        places: where, in the order of runs and stages; each names the first layer concerned.
    """

    rule: str
    severity: str
    remedy: str
    reference: str
    places: tuple[Place, ...]


def findings(runs: Sequence[Run]) -> list[Finding]:
    """All alarms, most severe first; what is said word for word of several runs or stages is one place."""
    several = len(runs) > 1 or len(runs[0].stages) > 1
    seen: dict[Alarm, list[str]] = {}
    for run in runs:
        for stage, diagnosis in run.stages.items():
            for alarm in diagnosis.alarms:
                seen.setdefault(alarm, []).append(f"{run.name} {stage}")
    groups: dict[tuple[str, str, str, str], list[Place]] = {}
    for alarm, where in seen.items():
        key = (alarm.severity, alarm.rule, alarm.remedy, alarm.reference)
        groups.setdefault(key, []).append(Place(tuple(where) if several else (), alarm))
    order = ("critical", "warning", "info")
    return [
        Finding(rule, severity, remedy, reference, tuple(places))
        for (severity, rule, remedy, reference), places in sorted(
            groups.items(), key=lambda one: order.index(one[0][0])
        )
    ]


def verdict(runs: Sequence[Run]) -> str:
    """One sentence: which runs have a critical finding, and which; else how many warnings there are."""
    found = {run.name: _rules(run, "critical") for run in runs}
    bad = [f"{name} ({', '.join(rules)})" for name, rules in found.items() if rules]
    if len(bad) == 1 == len(runs):
        return f"Critical: {', '.join(found[runs[0].name])}."
    if bad:
        return f"{len(bad)} of {len(runs)} runs {_have(len(bad))} a critical finding: {'; '.join(bad)}."
    warned = list(dict.fromkeys(rule for run in runs for rule in _rules(run, "warning")))
    if warned:
        return f"No critical finding, but {'a warning' if len(warned) == 1 else 'warnings'}: {', '.join(warned)}."
    measured = all(row.signal_norm is not None for run in runs for d in run.stages.values() for row in d.summary)
    return f"No critical finding{': the gradient arrives in every layer' if measured else ''}."


def _rules(run: Run, severity: str) -> list[str]:
    """Rules that fired with this severity, each with its stages where those are not all."""
    stages: dict[str, list[str]] = {}
    for stage, diagnosis in run.stages.items():
        for rule in dict.fromkeys(alarm.rule for alarm in diagnosis.alarms if alarm.severity == severity):
            stages.setdefault(rule, []).append(stage)
    return [
        rule if len(where) == len(run.stages) else f"{rule} {' and '.join(where)}" for rule, where in stages.items()
    ]


def _have(number: int) -> str:
    return "has" if number == 1 else "have"
