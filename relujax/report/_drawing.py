"""What the interactive figures are drawn with: panels, lines over depth, theory's dots, axes in layers."""

import html
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from ..health import SiteSummary
from ._quantities import drawable
from ._run import Run
from ._style import Look

#: A line has no more markers than this: they tell lines apart without colour, and more would hide them.
_MARKERS = 24
_THEORY = "#808080"  # a grey that is seen on every line and on both grounds


@dataclass(frozen=True)
class Panel:
    """One figure.

    Attributes:
        title: what it is of, such as a run or a stage; "" where the chart says it.
        figure: the picture. Each trace says in ``meta`` of which run it is, by number, and what part it has: "line",
            "fan" or "theory".
        run: the number of the run that all of it is of, or None.
    """

    title: str
    figure: Any
    run: int | None = None


@dataclass(frozen=True)
class Chart:
    """Figures that belong together, and the words around them.

    Attributes:
        key: its anchor in the page.
        title: what it shows.
        text: how to read it, in a sentence or two.
        more: the rest of it, for who asks.
        panels: the figures.
        together: whether logarithmic axes of the same place share their range.
    """

    key: str
    title: str
    text: str
    panels: tuple[Panel, ...]
    more: str = ""
    together: bool = True


def escaped(text: str) -> str:
    """Text in the markup of plotly, which knows tags, and of the entities not those of quotes."""
    return html.escape(text, quote=False)


def empty(height: int, **layout: Any) -> Any:
    """A figure with nothing in it, in the look of the page."""
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 56, "r": 12, "t": 12, "b": 44},
            "showlegend": False,
            "hovermode": "closest",
            "template": "none",
            "dragmode": "zoom",
            "modebar": {"bgcolor": "rgba(0,0,0,0)"},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 12},
            **layout,
        }
    )


def layer_axis(runs: Sequence[Run]) -> Mapping[str, Any]:
    """The axis of layers: whole numbers, the same range in every figure."""
    most = max(len(stage.summary) for run in runs for stage in run.stages.values())
    step = next(n * 10**power for power in itertools.count() for n in (1, 2, 5) if n * 10**power >= most / 12)
    return {"range": [0.4, most + 0.6], "tick0": 0, "dtick": step, "title": {"text": "layer", "standoff": 4}}


def hover_text(row: SiteSummary, value: str) -> str:
    """What a point says when it is pointed at: its layer, a value, its line of code."""
    source = f"<br>{escaped(row.source)}" if row.source else ""
    return f"<b>{escaped(row.name)}</b><br>{value}{source}"


def add_line(
    figure: Any,
    run: tuple[int, str, Look],
    points: Sequence[tuple[float, float | None, str]],
    *,
    share: bool = False,
    axis: str = "y",
    **changes: Any,
) -> None:
    """A run's line: ``(x, y, what is said there)``; it breaks where y has no place on the axis."""
    number, name, look = run
    figure.add_trace(
        go.Scatter(
            x=[x for x, _, _ in points],
            y=[_short(y) if drawable(y, share) else None for _, y, _ in points],
            yaxis=axis,
            name=escaped(name),
            mode="lines+markers",
            line={"color": look.colour, "width": look.width, **changes.pop("line", {})},
            marker={"symbol": look.marker, "size": 5, "maxdisplayed": _MARKERS},
            text=[f"{escaped(name)}, {says}" for _, _, says in points],
            hovertemplate="%{text}<extra></extra>",
            meta={"run": number, "role": "line"},
            **changes,
        )
    )


def add_theory(figure: Any, run: tuple[int, str, Look], values: Sequence[float], axis: str) -> None:
    """Dots for what theory says of a run."""
    number, name, _ = run
    figure.add_trace(
        go.Scatter(
            x=list(range(1, len(values) + 1)),
            y=[_short(v) if drawable(v) else None for v in values],
            yaxis=axis,
            name="theory, infinite width",
            mode="lines",
            line={"color": _THEORY, "width": 2, "dash": "dot"},
            text=[f"<b>{escaped(name)}</b><br>layer {i}: {v:.3g} by theory" for i, v in enumerate(values, 1)],
            hovertemplate="%{text}<extra></extra>",
            meta={"run": number, "role": "theory"},
        )
    )


def add_band(
    figure: Any, run: tuple[int, Look], xs: Sequence[int], edges: tuple[Sequence, Sequence], opacity: float, axis: str
) -> None:
    """What lies between two lines, in the run's colour."""
    number, look = run
    for values, fill in zip(edges, ({}, {"fill": "tonexty", "fillcolor": look.fill(opacity)}), strict=True):
        figure.add_trace(
            go.Scatter(
                x=xs,
                y=[_short(v) for v in values],
                yaxis=axis,
                mode="lines",
                line={"width": 0},
                hoverinfo="skip",
                meta={"run": number, "role": "fan"},
                **fill,
            )
        )


def _short(value: float | None) -> float | None:
    """To six digits: no pixel is finer."""
    return None if value is None else float(f"{value:.6g}")
