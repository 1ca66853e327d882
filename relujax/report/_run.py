"""What a report is made of: runs, each with a diagnosis per stage."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..health import not_checked
from ._diagnosis import SCHEMA, Diagnosis, as_json


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
        stages: diagnoses by stage, such as "at initialisation" and "after training".
        facts: how it was made.
        history: loss and accuracy over training, or None.
        init_signal: initialiser to the norm of the backpropagated signal per layer before training.
        predicted: what theory says of the first stage: "signal_norm" and "largest_singular_value" per layer.
    """

    name: str
    stages: Mapping[str, Diagnosis]
    facts: Mapping[str, Any] = field(default_factory=dict)
    history: History | None = None
    init_signal: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    predicted: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        return {
            "name": self.name,
            "facts": dict(self.facts),
            "stages": {name: stage.to_dict() for name, stage in self.stages.items()},
            "history": None if self.history is None else asdict(self.history),
            "init_signal": {name: list(values) for name, values in self.init_signal.items()},
            "predicted": {name: list(values) for name, values in self.predicted.items()},
        }


def as_run(diagnosis: Diagnosis) -> Run:
    """A report of one diagnosis.

    >>> import relujax as rx
    >>> as_run(rx.Diagnosis(rx.Summary(()), (), examples=0, title="mine")).name
    'mine'
    """
    return Run(diagnosis.title, {"as given": diagnosis})


def notes_of(runs: Sequence[Run]) -> list[str]:
    """What was not measured, and which rules could run in none of the stages: each once."""
    stages = [stage for run in runs for stage in run.stages.values()]
    nowhere = set.intersection(*({one.rule for one in stage.skipped} for stage in stages))
    unchecked = not_checked(one for stage in stages for one in stage.skipped if one.rule in nowhere)
    return list(dict.fromkeys([*(note for stage in stages for note in stage.notes), *unchecked]))


def to_json(runs: Sequence[Run]) -> str:
    """Every number of the runs as JSON, with a schema number.

    >>> import json, relujax as rx
    >>> run = as_run(rx.Diagnosis(rx.Summary(()), (), examples=0, title="mine"))
    >>> json.loads(to_json([run]))["runs"][0]["name"]
    'mine'
    """
    return as_json({"schema": SCHEMA, "runs": [run.to_dict() for run in runs]})
