"""What the runs of a report found: each finding once, with the places where it was seen, and one sentence of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..health import Alarm
from ._run import Run


@dataclass(frozen=True)
class Place:
    """Where a finding was seen.

    Attributes:
        runs: in which the same was said, "relu" or "relu after training"; empty where it was said of all.
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
    seen: dict[Alarm, dict[str, list[str]]] = {}
    for run in runs:
        for stage, diagnosis in run.stages.items():
            for alarm in diagnosis.alarms:
                seen.setdefault(alarm, {}).setdefault(run.name, []).append(stage)
    groups: dict[tuple[str, str, str, str], list[Place]] = {}
    for alarm, where in seen.items():
        key = (alarm.severity, alarm.rule, alarm.remedy, alarm.reference)
        groups.setdefault(key, []).append(Place(_where(runs, where), alarm))
    order = ("critical", "warning", "info")
    return [
        Finding(rule, severity, remedy, reference, tuple(places))
        for (severity, rule, remedy, reference), places in sorted(
            groups.items(), key=lambda one: order.index(one[0][0])
        )
    ]


def _where(runs: Sequence[Run], where: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    whole = {run.name for run in runs if len(where.get(run.name, ())) == len(run.stages)}
    if len(whole) == len(runs):
        return ()
    prefix = len(runs) > 1
    return tuple(
        words
        for name, stages in where.items()
        for words in ([name] if name in whole else [f"{name} {stage}" if prefix else stage for stage in stages])
    )


def verdict(runs: Sequence[Run]) -> str:
    """One sentence: which runs have a critical finding, and which; else how many warnings there are."""
    found = {run.name: _rules(run, "critical") for run in runs}
    bad = [f"{name} ({', '.join(rules)})" for name, rules in found.items() if rules]
    if len(bad) == 1 == len(runs):
        sites = dict.fromkeys(p.alarm.site for f in findings(runs) if f.severity == "critical" for p in f.places)
        [first, *_] = [*filter(None, sites), ""]
        return f"Critical: {', '.join(found[runs[0].name])}{f', first at {first}' if first else ''}."
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
