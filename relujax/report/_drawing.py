"""What the interactive figures are drawn with: grids of panels, lines over depth, axes in layers and in logarithms."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ..health import SiteSummary
from ._run import Run
from ._style import Look, looks


def stage_names(runs: Sequence[Run]) -> list[str]:
    """Stages of all runs, each once, in order."""
    return list(dict.fromkeys(stage for run in runs for stage in run.stages))


def grid(rows: int, titles: Sequence[str], height: int = 340, **options: Any) -> Any:
    """An empty figure of that many rows of panels, in the look of the page."""
    columns = len(titles) // rows
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=[escape(title) for title in titles],
        horizontal_spacing=0.07 if columns < 4 else 0.03,
        vertical_spacing=0.16 if rows > 1 else None,
        **options,
    )
    figure.update_layout(
        height=height * rows + 70,
        margin={"l": 64, "r": 16, "t": 52, "b": 48},
        legend={"orientation": "h", "y": 1.0, "yref": "container", "yanchor": "top", "x": 0},
        hovermode="closest",
        template="none",
        modebar={"bgcolor": "rgba(0,0,0,0)"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    figure.update_annotations(font_size=14)
    return figure


def hover_text(row: SiteSummary, value: str) -> str:
    """What a point says when it is pointed at: its layer, a value, its line of code."""
    source = f"<br>{escape(row.source)}" if row.source else ""
    return f"<b>{escape(row.name)}</b><br>{value}{source}"


def add_line(
    figure: Any,
    cell: tuple[int, int],
    run: Run,
    look: Look,
    xs: Sequence,
    ys: Sequence,
    hover: Sequence[str] | None,
) -> None:
    """A run's line in one panel; its name is in the legend once."""
    first = not any(trace.name == escape(run.name) for trace in figure.data)
    figure.add_trace(
        go.Scatter(
            x=list(xs),
            y=list(ys),
            name=escape(run.name),
            legendgroup=escape(run.name),
            showlegend=first,
            mode="lines+markers" if len(xs) < 60 else "lines",
            line={"color": look.colour, "width": look.width},
            marker={"symbol": look.marker, "size": 6},
            text=hover,
            hovertemplate="%{text}<extra></extra>" if hover else None,
        ),
        row=cell[0],
        col=cell[1],
    )


def over_depth(
    runs: Sequence[Run], value: Callable[[SiteSummary], float | None], says: Callable[[SiteSummary], str]
) -> Any:
    """One panel per stage, one line per run; None where no run has the number."""
    stages, styles = stage_names(runs), looks([run.name for run in runs])
    figure = grid(1, stages)
    for column, stage in enumerate(stages, 1):
        for run in runs:
            points = [(i, value(r), r) for i, r in enumerate(run.stages[stage].summary, 1) if value(r) is not None]
            if points:
                hover = [hover_text(row, says(row)) for _, _, row in points]
                ys = [on_log_axis(v) for _, v, _ in points]
                add_line(figure, (1, column), run, styles[run.name], [i for i, _, _ in points], ys, hover)
    if not figure.data:
        return None
    layer_axis(figure, runs, "layer (input on the left)")
    return figure


def add_theory(figure: Any, cell: tuple[int, int], run: Run, quantity: str) -> None:
    """Dots for what theory says of a run's first stage, in a grey that is seen on every line and on both grounds."""
    values = run.predicted.get(quantity, ())
    if not values:
        return
    first = not any(trace.legendgroup == "theory" for trace in figure.data)
    hover = [f"<b>{escape(run.name)}</b><br>layer {i}: {v:.3g} by theory" for i, v in enumerate(values, 1)]
    figure.add_trace(
        go.Scatter(
            x=list(range(1, len(values) + 1)),
            y=[on_log_axis(v) for v in values],
            name="theory, infinite width",
            legendgroup="theory",
            showlegend=first,
            mode="lines",
            line={"color": "#808080", "width": 2, "dash": "dot"},
            text=hover,
            hovertemplate="%{text}<extra></extra>",
        ),
        row=cell[0],
        col=cell[1],
    )


def on_log_axis(value: float | None) -> float | None:
    """The value, or None where a log axis has no place for it: the line breaks there."""
    return value if value is not None and math.isfinite(value) and value > 0 else None


def layer_axis(figure: Any, runs: Sequence[Run], title: str, **which: int) -> None:
    """One layer axis for every figure: whole numbers, the same range."""
    most = max(len(stage.summary) for run in runs for stage in run.stages.values())
    figure.update_xaxes(range=[0.4, most + 0.6], tick0=1, dtick=max(1, round(most / 5)))
    figure.update_xaxes(title_text=title, **which)


def log_axis(figure: Any, title: str, **which: int) -> None:
    """Values on a logarithmic axis, with the title on the first column."""
    figure.update_yaxes(type="log", **_log_ticks(figure), **which)
    figure.update_yaxes(title_text=title, col=1)


def _log_ticks(figure: Any) -> dict[str, Any]:
    """About six powers of ten on a log axis; within two decades, 1, 2 and 5 times each."""
    values = [y for trace in figure.data for y in (trace.y if trace.y is not None else ()) if on_log_axis(y)]
    if not values:
        return {}
    low, high = math.log10(min(values)), math.log10(max(values))
    if high - low >= 2:
        return {"exponentformat": "power", "dtick": max(1, round((high - low) / 6))}
    # At least a decade, so that some of these are in sight.
    margin = max(0.1, (1 - (high - low)) / 2)
    powers = range(math.floor(low - margin), math.ceil(high + margin) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return {"range": [low - margin, high + margin], "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
