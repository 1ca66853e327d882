"""The report in a terminal: a table of runs, then what was found, most severe first."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..health import travel
from ._diagnosis import Diagnosis
from ._run import Run

_STYLES = {"critical": "bold red", "warning": "yellow", "info": "dim"}


def show(runs: Sequence[Run], console: Console) -> None:
    """Print the runs: an overview where there are several or they were trained, else a row per layer."""
    one = runs[0].stages if len(runs) == 1 else {}
    console.print(_layers(next(iter(one.values()))) if len(one) == 1 else _overview(runs))
    console.print(_findings(runs))


def _overview(runs: Sequence[Run]) -> Table:
    table = Table(title="How gradients travelled", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("run", style="bold")
    table.add_column("stage", style="dim")
    for column in ("active", "dead units", "signal per layer", "first / last gradient", "loss", "right"):
        table.add_column(column, justify="right")
    for run in runs:
        for i, (stage, diagnosis) in enumerate(run.stages.items()):
            last = i == len(run.stages) - 1
            held_out = run.history.accuracy[-1] if run.history is not None and last else None
            table.add_row(run.name if i == 0 else "", stage, *_numbers(diagnosis, held_out), end_section=last)
    return table


def _numbers(diagnosis: Diagnosis, held_out: float | None) -> tuple[str, ...]:
    rows, way = diagnosis.summary, travel(diagnosis.summary)
    dead, units = sum(row.dead for row in rows), sum(row.units for row in rows)
    right = held_out if held_out is not None else diagnosis.accuracy
    return (
        f"{sum(row.active_fraction for row in rows) / len(rows):.0%}",
        f"{dead} of {units}",
        "–" if way is None else f"{way.per_layer:.3g}x",
        "–" if way is None else f"{way.ratio:.2g}",
        "–" if diagnosis.loss is None else f"{diagnosis.loss:.3g}",
        "–" if right is None else f"{right:.1%}{' held out' if held_out is not None else ''}",
    )


def _layers(diagnosis: Diagnosis) -> Table:
    title = f"{diagnosis.title}: {diagnosis.examples:,} examples"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("layer", style="bold", overflow="fold")
    for column in ("active", "dead", "mean", "signal", "weight gradient", "largest sv"):
        table.add_column(column, justify="right")
    for row in diagnosis.summary:
        largest = row.singular_values[0] if row.singular_values else None
        numbers = (row.mean, row.signal_norm, row.weight_gradient_norm, largest)
        table.add_row(
            Text(row.name),
            f"{row.active_fraction:.1%}",
            f"{row.dead} of {row.units}",
            *("–" if value is None else f"{value:.3g}" for value in numbers),
        )
    return table


def _findings(runs: Sequence[Run]) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    several = len(runs) > 1 or any(len(run.stages) > 1 for run in runs)
    for run in runs:
        for stage, diagnosis in run.stages.items():
            where = Text(f"{run.name} {stage}" if several else "")
            for alarm in diagnosis.alarms:
                table.add_row(Text(alarm.severity, _STYLES[alarm.severity]), where, Text(alarm.message))
    notes = dict.fromkeys(note for run in runs for stage in run.stages.values() for note in stage.notes)
    for note in notes:
        table.add_row(Text("note", "dim"), "", Text(note))
    return Group(Text(), table)
