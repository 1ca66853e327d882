"""Several runs side by side: what is different in the others from the first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..health import travel
from ._diagnosis import frame
from ._run import Run, checked


@dataclass(frozen=True)
class Compared:
    """One run at one stage, and how it differs from the first run at that stage.

    Attributes:
        run: its name.
        stage: the stage.
        active_fraction: share of active elements, mean over the layers.
        dead: dead units in all layers.
        units: units in all layers.
        per_layer: geometric mean factor of the signal's norm per layer going backward; None without a loss.
        ratio: the first layer's weight gradient over the last one's; None without a loss.
        loss: mean loss, or None.
        accuracy: share of right answers; of the last stage of a training, on held-out data.
        change: differences of ``active_fraction``, ``dead``, ``loss`` and ``accuracy``, factors of ``per_layer`` and
            ``ratio``, for what both runs have; empty for the first run, and at a stage that the first run lacks.
    """

    run: str
    stage: str
    active_fraction: float
    dead: int
    units: int
    per_layer: float | None
    ratio: float | None
    loss: float | None
    accuracy: float | None
    change: Mapping[str, float]


@dataclass(frozen=True)
class Comparison(Sequence[Compared]):
    """Runs side by side; prints as a table, and shows itself as the report of these runs in a notebook.

    Attributes:
        runs: the runs, those of a name that was taken numbered.
        rows: one per run and stage.
    """

    runs: tuple[Run, ...]
    rows: tuple[Compared, ...]

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Compared]:
        return iter(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        return {"rows": [asdict(row) for row in self.rows]}

    def to_html(self) -> str:
        """One self-contained page of the runs; needs the ``report`` extra."""
        from ._html import page

        return page(self.runs)

    def _repr_html_(self) -> str:
        return frame(self.to_html())

    def __str__(self) -> str:
        table = [("run", "stage", *COLUMNS), *((row.run, row.stage, *map(" ".join, cells(row))) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join(
            "  ".join(f"{c:<{w}}" if i < 2 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(line, widths, strict=True)))
            for line in table
        )


def compare(runs: Sequence[Run]) -> Comparison:
    """How the other runs differ from the first, stage by stage: activations, initialisations, steps of one training.

    Args:
        runs: at least one; what ``rx.diagnose`` gave becomes one by :func:`relujax.report.as_run`, what was saved by
            :func:`relujax.report.from_json`.

    Returns:
        A :class:`Comparison`, with a row per run and stage.

    Raises:
        ValueError: for no run, or one without a stage.

    >>> import jax.numpy as jnp, relujax as rx
    >>> x = jnp.array([[-1.0, 1.0], [-2.0, 3.0]])
    >>> both = compare([rx.report.as_run(rx.diagnose(f, x, spectrum_examples=0)) for f in (rx.relu, rx.leaky_relu)])
    >>> both[1].run, both[1].change
    ('leaky_relu', {'active_fraction': 0.0, 'dead': -1})
    """
    runs = checked(runs)
    first = {stage: _row(runs[0], stage, {}) for stage in runs[0].stages}
    rows = [
        _row(run, stage, first) if number else first[stage] for number, run in enumerate(runs) for stage in run.stages
    ]
    return Comparison(tuple(runs), tuple(rows))


def _row(run: Run, stage: str, first: Mapping[str, Compared]) -> Compared:
    diagnosis = run.stages[stage]
    rows, way = diagnosis.summary, travel(diagnosis.summary)
    last = stage == list(run.stages)[-1]
    values: dict[str, Any] = {
        "active_fraction": sum(row.active_fraction for row in rows) / len(rows),
        "dead": sum(row.dead for row in rows),
        "per_layer": way and way.per_layer,
        "ratio": way and way.ratio,
        "loss": diagnosis.loss,
        "accuracy": run.accuracy if last else diagnosis.accuracy,
    }
    change = {}
    for name, value in values.items():
        before = getattr(first.get(stage), name, None)
        if before is None or value is None:
            continue
        if name not in ("per_layer", "ratio"):
            change[name] = value - before
        elif before:
            change[name] = value / before
    return Compared(run=run.name, stage=stage, units=sum(row.units for row in rows), change=change, **values)


#: What :func:`cells` gives.
COLUMNS = ("active", "dead", "per layer", "first/last", "loss", "accuracy")
_LEGEND = "per layer: factor of the signal going back; first/last: weight gradients"


def legend(runs: Sequence[Run]) -> str:
    """What these columns mean, for a line below a table."""
    return _LEGEND + ("; accuracy after training: held out" if any(run.history for run in runs) else "")


def cells(row: Compared) -> list[tuple[str, str]]:
    """Per column, the value and the change against the first run, which is empty where there is none."""
    values = (
        f"{row.active_fraction:.0%}",
        f"{row.dead}/{row.units}",
        _number(row.per_layer, ".3g", "x"),
        _number(row.ratio, ".2g"),
        _number(row.loss, ".3g"),
        _number(row.accuracy, ".1%"),
    )
    names = ("active_fraction", "dead", "per_layer", "ratio", "loss", "accuracy")
    return [(value, _change(row, name)) for value, name in zip(values, names, strict=True)]


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"


def _change(row: Compared, name: str) -> str:
    if name not in row.change:
        return ""
    value = row.change[name]
    if name in ("per_layer", "ratio"):
        return f"×{value:.2g}"
    if isinstance(value, int):
        return f"{value:+d}" if value else "±0"
    if name == "loss":  # what would not be seen in the number itself is none
        return f"{value:+.2g}" if abs(value) >= 5e-4 * abs(getattr(row, name)) else "±0"
    points = round(100 * value, 1)
    return f"{points:+.1f} pts" if points else "±0"
