"""The report in a terminal: a table of runs, then what was found, most severe first."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..health import travel
from ._diagnosis import Diagnosis
from ._run import Run, notes_of

_STYLES = {"critical": "bold red", "warning": "yellow", "info": "dim"}


def show(runs: Sequence[Run], console: Console) -> None:
    """Print the runs: an overview where there are several or they were trained, else a row per layer."""
    one = runs[0].stages if len(runs) == 1 else {}
    console.print(_layers(next(iter(one.values()))) if len(one) == 1 else _overview(runs))
    console.print(_findings(runs))


def _overview(runs: Sequence[Run]) -> Table:
    table = Table(title="How gradients travelled", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("run", style="bold", overflow="fold")
    table.add_column("stage", style="dim", no_wrap=True)
    for column in ("active", "dead", "per layer", "first/last", "accuracy"):
        table.add_column(column, justify="right", no_wrap=True)
    for run in runs:
        for i, (stage, diagnosis) in enumerate(run.stages.items()):
            last = i == len(run.stages) - 1
            accuracy = run.history.accuracy[-1] if run.history is not None and last else diagnosis.accuracy
            table.add_row(Text(run.name if i == 0 else ""), Text(stage), *_numbers(diagnosis, accuracy))
    table.caption = "per layer: the signal going back; first/last: weight gradient; accuracy after training: held out"
    table.caption_justify = "left"
    return table


def _numbers(diagnosis: Diagnosis, accuracy: float | None) -> tuple[str, ...]:
    rows, way = diagnosis.summary, travel(diagnosis.summary)
    return (
        f"{sum(row.active_fraction for row in rows) / len(rows):.0%}",
        f"{sum(row.dead for row in rows)}/{sum(row.units for row in rows)}",
        "–" if way is None else f"{way.per_layer:.3g}x",
        "–" if way is None else f"{way.ratio:.2g}",
        "–" if accuracy is None else f"{accuracy:.1%}",
    )


def _layers(diagnosis: Diagnosis) -> Table:
    title = Text(f"{diagnosis.title}: {diagnosis.examples:,} examples")
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
    for note in notes_of(runs):
        table.add_row(Text("note", "dim"), "", Text(note))
    return Group(Text(), table)
