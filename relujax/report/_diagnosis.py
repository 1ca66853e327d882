"""What a diagnosis holds, and the forms it takes: text, JSON, HTML, a figure."""

import html
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..health import Alarm, Skipped, Summary, not_checked

#: Of the JSON that reports are saved as; a reader refuses another one.
SCHEMA = 5


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """How signals and gradients travelled through a model, over all batches.

    Attributes:
        summary: one row per activation site.
        alarms: what the numbers say, most severe first.
        examples: examples seen.
        loss: mean loss, or None without one.
        accuracy: share of right answers, for ``cross_entropy``.
        notes: what was not measured, and why.
        title: what was diagnosed.
        predicted: what theory says of it: "output_rms", "signal_norm" and, for stacks of one law in all layers,
            "largest_singular_value" per layer; empty where it was not asked, or says nothing, and then a note tells
            why.
    """

    summary: Summary
    alarms: tuple[Alarm, ...]
    examples: int
    loss: float | None = None
    accuracy: float | None = None
    notes: tuple[str, ...] = ()
    title: str = "model"
    predicted: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The rules that could not run, each with its reason."""
        return getattr(self.alarms, "skipped", ())

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, with a schema number."""
        return {
            "schema": SCHEMA,
            "title": self.title,
            "examples": self.examples,
            "loss": self.loss,
            "accuracy": self.accuracy,
            **self.summary.to_dict(),
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "skipped": [asdict(rule) for rule in self.skipped],
            "notes": list(self.notes),
            "predicted": {name: list(values) for name, values in self.predicted.items()},
        }

    def to_json(self) -> str:
        """That dict as JSON, for :func:`relujax.report.from_json`; NaN and infinities become strings."""
        return as_json(self.to_dict())

    def figure(self) -> Any:
        """A static picture, as matplotlib's ``(figure, axes)``; needs the ``report`` extra."""
        from ._figures import overview
        from ._run import as_run

        return overview([as_run(self)])

    def to_html(self) -> str:
        """One self-contained page; needs the ``report`` extra."""
        from ._html import page
        from ._run import as_run

        return page([as_run(self)])

    def _repr_html_(self) -> str:
        return frame(self.to_html())

    def __repr__(self) -> str:
        counts = f"{len(self.summary)} sites, {self.examples} examples, {len(self.alarms)} alarms"
        return f"<Diagnosis of {self.title}: {counts}>"

    def __str__(self) -> str:
        lines = [f"{self.title}: {self.examples} examples", str(self.summary), ""]
        lines += [f"[{alarm.severity}] {alarm.message}" for alarm in self.alarms]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes), *not_checked(self.skipped)])


def frame(page: str) -> str:
    """A page as a notebook shows it.

    In a frame of its own, neither its style nor its scripts meet those of the notebook, or of another report.

    >>> frame("<p>hello</p>").startswith('<iframe srcdoc="&lt;p&gt;hello')
    True
    """
    return f'<iframe srcdoc="{html.escape(page, quote=True)}" style="width: 100%; height: 900px; border: 0"></iframe>'


def as_json(value: dict[str, Any]) -> str:
    """Strict JSON: what has no number there becomes a string.

    >>> json.loads(as_json({"loss": float("nan"), "steps": (1, 2)}))
    {'loss': 'nan', 'steps': [1, 2]}
    """
    return json.dumps(_jsonable(value), indent=1, allow_nan=False)


def _jsonable(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become the strings people write."""
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
