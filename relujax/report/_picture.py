"""The picture of the whole stack: signals, gradients, singular values and units over one axis of depth."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..health import SiteSummary
from ._drawing import Chart, Panel, add_band, add_line, add_theory, empty, escaped, hover_text, layer_axis
from ._quantities import QUANTITIES, Quantity, drawable
from ._run import Run, stage_names
from ._style import Look, looks

#: Pixels of one panel, and between two, where its title stands.
_PANEL, _GAP = 104, 38
#: Up to so many singular values each has a line of its own.
_SINGLE_LINES = 8


def picture(runs: Sequence[Run]) -> Chart:
    """A figure per stage, with a panel for everything of which the runs have numbers."""
    rows = [row for run in runs for stage in run.stages.values() for row in stage.summary]
    shown = [quantity for quantity in QUANTITIES if any(quantity.value(row) is not None for row in rows)]
    text = (
        "The input is on the left. The gradient is made on the right and travels left: a level line means that it "
        "arrives as it left."
    )
    if any(run.is_predicted for run in runs):
        text += (
            " Dotted: what a stack of infinite width does whose weights are independent, of this size and of mean 0; "
            "going back, from the signal at the last layer."
        )
    more = (
        "Hover for a layer and its line of code; click it to see it in detail below; drag to zoom, double-click to "
        "zoom out. The buttons above show and hide runs."
    )
    if any(row.singular_values for row in rows):
        more += (
            " Singular values are those of the Jacobian from the input to the layer's output, medians over examples: "
            "solid the largest, dashed the middle one and, where at most two runs are shown, bands for all of them and "
            f"for their middle half; each has its own dashed line where there are at most {_SINGLE_LINES}. Those that "
            "rounding has taken are left out."
        )
    stages = stage_names(runs)
    panels = tuple(Panel(stage if len(stages) > 1 else "", _stack(runs, stage, shown)) for stage in stages)
    return Chart("picture", "The whole stack", text, panels, more)


def _stack(runs: Sequence[Run], stage: str, shown: Sequence[Quantity]) -> Any:
    inner = len(shown) * _PANEL + (len(shown) - 1) * _GAP
    figure, styles = empty(inner + _GAP + 52, margin={"l": 56, "r": 12, "t": _GAP, "b": 52}), looks(runs)
    for number, quantity in enumerate(shown, 1):
        axis = "y" if number == 1 else f"y{number}"
        top = 1 - (number - 1) * (_PANEL + _GAP) / inner
        _add_axis(figure, quantity, number, (top - _PANEL / inner, top), runs)
        for index, run in enumerate(runs):
            if stage in run.stages:
                _add_run(figure, quantity, (index, run, styles[run.name]), stage, axis)
    figure.update_xaxes(
        **layer_axis(runs),
        anchor="y" if len(shown) == 1 else f"y{len(shown)}",
        showspikes=True,
        spikemode="across",
        spikethickness=1,
        spikedash="dot",
        spikecolor="#808080",
    )
    return figure


def _add_axis(figure: Any, quantity: Quantity, number: int, domain: tuple[float, float], runs: Sequence[Run]) -> None:
    layout: dict[str, Any] = {"domain": [max(0.0, domain[0]), min(1.0, domain[1])], "anchor": "x"}
    if quantity.share:
        values = [quantity.value(row) or 0.0 for run in runs for d in run.stages.values() for row in d.summary]
        most = 1.0 if quantity.key == "active_fraction" else min(1.0, max(0.1, *values))
        layout |= {"tickformat": ".0%", "range": [-0.04 * most, 1.06 * most], "nticks": 4}
    else:
        layout["type"] = "log"
    figure.update_layout({"yaxis" if number == 1 else f"yaxis{number}": layout})
    figure.add_annotation(
        text=f"<b>{escaped(quantity.title)}</b>  {escaped(quantity.unit)}",
        xref="paper",
        yref="paper",
        x=0,
        xshift=-48,
        yshift=4,
        y=layout["domain"][1],
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        font={"size": 13},
    )


def _add_run(figure: Any, quantity: Quantity, which: tuple[int, Run, Look], stage: str, axis: str) -> None:
    index, run, look = which
    rows = [(i, r) for i, r in enumerate(run.stages[stage].summary, 1) if quantity.value(r) is not None]
    if not rows:
        return
    if quantity.key == "largest_singular_value":
        _add_fan(figure, which, rows, axis)
    points = [(i, quantity.value(row), hover_text(row, quantity.says(row))) for i, row in rows]
    add_line(figure, (index, run.name, look), points, share=quantity.share, axis=axis)
    if expected := run.stages[stage].predicted.get(quantity.key):
        add_theory(figure, (index, run.name, look), expected, axis)


def _add_fan(figure: Any, which: tuple[int, Run, Look], rows: Sequence[tuple[int, SiteSummary]], axis: str) -> None:
    index, run, look = which
    layers = [
        (i, row, np.array(row.singular_values)) for i, row in rows if all(map(drawable, row.singular_values or ()))
    ]
    if not layers:
        return
    xs, me = [i for i, _, _ in layers], (index, run.name, look)
    thin = {"width": 1, "dash": "dash"}
    if (most := max(len(values) for _, _, values in layers)) <= _SINGLE_LINES:
        for n in range(1, most):
            points = [
                (i, values[n], hover_text(row, f"singular value {n + 1} of {len(values)}: {values[n]:.3g}"))
                for i, row, values in layers
                if len(values) > n
            ]
            add_line(figure, me, points, axis=axis, line=thin)
        return
    # Interpolated in the logarithm, between the order statistics.
    low, quarter, middle, upper, high = (
        [float(np.exp(np.quantile(np.log(values), q))) for _, _, values in layers] for q in (0, 0.25, 0.5, 0.75, 1)
    )
    add_band(figure, (index, look), xs, (low, high), 0.15, axis)
    add_band(figure, (index, look), xs, (quarter, upper), 0.25, axis)
    points = [
        (i, m, hover_text(row, f"middle singular value {m:.3g}, smallest {values[-1]:.3g}, rank {row.rank:g}"))
        for (i, row, values), m in zip(layers, middle, strict=True)
    ]
    add_line(figure, me, points, axis=axis, line={"width": 1.5, "dash": "dash"})
