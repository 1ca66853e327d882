"""What a report is made of: runs, each with a diagnosis per stage."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..health import not_checked
from ._diagnosis import SCHEMA, Diagnosis, as_json, frame

#: How a note begins that says of a run or a diagnosis that it is not whole; reports tell it first.
PARTIAL = "partial: "


@dataclass(frozen=True)
class History:
    """Curves of a training run, at the same steps.

    Attributes:
        step: optimiser steps done.
        loss: mean training loss since the point before.
        gradient_norm: mean global gradient norm before clipping, since the point before.
        accuracy: share of right answers on the held-out data.
    """

    step: tuple[int, ...]
    loss: tuple[float, ...]
    gradient_norm: tuple[float, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """One model: its diagnoses by stage, and how it was made and trained where that is known.

    Attributes:
        name: what tells it apart from the other runs of a report.
        stages: diagnoses by stage, such as "at initialisation" and "after training"; at least one.
        facts: how it was made.
        history: loss and accuracy over training, or None.
        init_signal: initialiser to the norm of the backpropagated signal per layer before training.
        notes: what holds of the run as a whole; one that begins with "partial: " is told first.
    """

    name: str
    stages: Mapping[str, Diagnosis]
    facts: Mapping[str, Any] = field(default_factory=dict)
    history: History | None = None
    init_signal: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_predicted(self) -> bool:
        """Whether theory says something of any of its stages."""
        return any(stage.predicted for stage in self.stages.values())

    @property
    def accuracy(self) -> float | None:
        """Share of right answers of the last stage, on held-out data where it was trained."""
        return self.history.accuracy[-1] if self.history else list(self.stages.values())[-1].accuracy

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        return {
            "name": self.name,
            "facts": dict(self.facts),
            "stages": {name: stage.to_dict() for name, stage in self.stages.items()},
            "history": None if self.history is None else asdict(self.history),
            "init_signal": {name: list(values) for name, values in self.init_signal.items()},
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """What :func:`relujax.report.from_json` reads, as a list of this one run."""
        return to_json([self])

    def figure(self, stage: str | None = None) -> Any:
        """A static picture, as matplotlib's ``(figure, axes)``; needs the ``report`` extra."""
        from ._figures import overview

        return overview([self], stage)

    def to_html(self) -> str:
        """One self-contained page; needs the ``report`` extra."""
        from ._html import page

        return page([self])

    def _repr_html_(self) -> str:
        return frame(self.to_html())

    def __str__(self) -> str:
        return "\n\n".join(f"{self.name}, {name}\n{stage}" for name, stage in self.stages.items())


def as_run(diagnosis: Diagnosis) -> Run:
    """A report of one diagnosis.

    >>> import relujax as rx
    >>> as_run(rx.Diagnosis(rx.Summary(()), (), examples=0, title="mine")).name
    'mine'
    """
    return Run(diagnosis.title, {"as given": diagnosis})


def checked(runs: Sequence[Run]) -> list[Run]:
    """The runs of one report, those of a name that is taken numbered: two saved runs may well have the same.

    Raises:
        ValueError: for no run, or one without a stage.
    """
    if not runs:
        raise ValueError("got no run: expected at least one")
    for run in runs:
        if not run.stages:
            raise ValueError(f"got run {run.name!r} without a stage: expected a diagnosis at least")
    taken, seen = {run.name for run in runs}, Counter[str]()
    found = []
    for run in runs:
        seen[run.name] += 1
        name, number = run.name, seen[run.name]
        while number > 1 and name in taken:
            name, number = f"{run.name} ({number})", number + 1
        taken.add(name)
        found.append(replace(run, name=name))
    return found


def stage_names(runs: Sequence[Run]) -> list[str]:
    """Stages of all runs, each once, in order."""
    return list(dict.fromkeys(stage for run in runs for stage in run.stages))


def notes_of(runs: Sequence[Run]) -> list[str]:
    """What was not measured, and which rules could run in none of the stages: each once; partial ones are apart."""
    stages = [stage for run in runs for stage in run.stages.values()]
    nowhere = set.intersection(*({one.rule for one in stage.skipped} for stage in stages))
    unchecked = not_checked(one for stage in stages for one in stage.skipped if one.rule in nowhere)
    return [note for note in dict.fromkeys([*_all_notes(runs), *unchecked]) if not note.startswith(PARTIAL)]


def partial_notes(runs: Sequence[Run]) -> list[str]:
    """Why the runs do not hold all that was asked for; empty where they do."""
    return [note.removeprefix(PARTIAL) for note in dict.fromkeys(_all_notes(runs)) if note.startswith(PARTIAL)]


def _all_notes(runs: Sequence[Run]) -> list[str]:
    return [note for run in runs for source in (run, *run.stages.values()) for note in source.notes]


def to_json(runs: Sequence[Run]) -> str:
    """Every number of the runs as JSON, with a schema number; :func:`relujax.report.from_json` reads it.

    >>> import json, relujax as rx
    >>> run = as_run(rx.Diagnosis(rx.Summary(()), (), examples=0, title="mine"))
    >>> json.loads(to_json([run]))["runs"][0]["name"]
    'mine'
    """
    return as_json({"schema": SCHEMA, "runs": [run.to_dict() for run in runs]})
