"""The report in a terminal: what was found in a sentence, a table of layers or of runs, and each finding once."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ._compare import COLUMNS, cells, compare, legend
from ._diagnosis import Diagnosis
from ._findings import Finding, findings, verdict
from ._run import Run, checked, notes_of, partial_notes

_STYLES = {"critical": "bold red", "warning": "yellow", "info": "dim"}
#: Of a remark, so many places are told; of what is worse, all.
_PLACES = 3


def show(runs: Sequence[Run], console: Console) -> None:
    """Print the runs: side by side where there are several or they were trained, else a row per layer.

    Args:
        runs: at least one.
        console: where to.

    Raises:
        ValueError: for no run, or one without a stage.
    """
    runs = checked(runs)
    for note in partial_notes(runs):
        console.print(Text.assemble(("partial ", "bold yellow"), note))
    console.print(Text(f"{verdict(runs)}\n", "bold"))
    one = runs[0].stages if len(runs) == 1 else {}
    console.print(_layers(next(iter(one.values()))) if len(one) == 1 else _compared(runs))
    console.print(_found(runs))


def _compared(runs: Sequence[Run]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("run", style="bold", overflow="fold")
    table.add_column("stage", style="dim", no_wrap=True)
    rows = compare(runs).rows
    # In 80 columns there is no place for both.
    left_out = "loss" if any(row.accuracy is not None for row in rows) else "accuracy"
    shown = [i for i, column in enumerate(COLUMNS) if column != left_out]
    for i in shown:
        table.add_column(COLUMNS[i], justify="right", no_wrap=True)
    before = ""
    for row in rows:
        name = "" if row.run == before else row.run
        table.add_row(Text(name), Text(row.stage), *(cells(row)[i][0] for i in shown))
        before = row.run
    table.caption, table.caption_justify = legend(runs), "left"
    return table


def _layers(diagnosis: Diagnosis) -> Table:
    title = Text(f"{diagnosis.title}: {diagnosis.examples:,} examples")
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("layer", style="bold", overflow="fold")
    for column in ("active", "dead", "mean", "signal", "weight gradient", "largest sv"):
        table.add_column(column, justify="right")
    for row in diagnosis.summary:
        numbers = (row.mean, row.signal_norm, row.weight_gradient_norm, row.largest_singular_value)
        table.add_row(
            Text(row.name),
            f"{row.active_fraction:.1%}",
            f"{row.dead} of {row.units}",
            *("–" if value is None else f"{value:.3g}" for value in numbers),
        )
    if diagnosis.summary.network is not None:
        table.caption, table.caption_justify = Text(str(diagnosis.summary.network), "dim"), "left"
    return table


def _found(runs: Sequence[Run]) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for finding in findings(runs):
        table.add_row(Text(finding.severity, _STYLES[finding.severity]), _words(finding))
    for note in notes_of(runs):
        table.add_row(Text("note", "dim"), Text(note))
    return Group(Text(), table)


def _words(finding: Finding) -> Text:
    told = finding.places[:_PLACES] if finding.severity == "info" else finding.places
    lines = [Text(finding.rule, "bold")]
    for place in told:
        where = f"{', '.join(place.runs)}: " if place.runs else ""
        source = f" ({place.alarm.source})" if place.alarm.source else ""
        lines.append(Text.assemble((where, "dim"), place.alarm.message, (source, "dim")))
    if len(finding.places) > len(told):
        lines.append(Text(f"and {len(finding.places) - len(told)} more, in the report", "dim"))
    if finding.severity != "info":
        lines.append(Text.assemble(("usually helps: ", "dim"), finding.remedy))
        lines.append(Text.assemble(("threshold: ", "dim"), (finding.reference, "dim")))
    return Text("\n").join(lines)
