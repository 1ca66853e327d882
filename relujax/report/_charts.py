"""The interactive figures of the report, as plotly figures: what happens over depth, one line per run."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from ..health import SiteSummary
from ..probes import ACTIVE_BINS
from ._drawing import add_line, add_theory, grid, hover_text, layer_axis, log_axis, on_log_axis, over_depth, stage_names
from ._run import Run
from ._style import Look, looks


@dataclass(frozen=True)
class Chart:
    """A figure and the words around it.

    Attributes:
        key: its anchor in the page.
        title: what it shows.
        text: how to read it, in a sentence or two.
        figure: the picture.
    """

    key: str
    title: str
    text: str
    figure: Any


def charts(runs: Sequence[Run]) -> list[Chart]:
    """Every figure for which the runs have numbers, in reading order."""
    makers = (_signal, _weights, _singular_values, _units, _per_example, _training, _initialisers)
    return [chart for make in makers if (chart := make(runs)) is not None]


def _signal(runs: Sequence[Run]) -> Chart | None:
    figure = over_depth(
        runs,
        lambda r: r.signal_norm,
        lambda r: f"signal {r.signal_norm:.3g}, {r.signal_zero_fraction:.1%} exactly zero",
    )
    if figure is None:
        return None
    text = (
        "The gradient of one example's loss with respect to each layer's output, root mean square over all examples. "
        "It is made on the right and travels left; a level line means that it arrives as it left."
    )
    for run in runs:
        add_theory(figure, (1, 1), run, "signal_norm")
    if any(run.predicted for run in runs):
        text += " Dots: what a stack of infinite width does, from the signal at the last layer."
    log_axis(figure, "norm of the signal")
    return Chart("signal", "The backpropagated signal over depth", text, figure)


def _weights(runs: Sequence[Run]) -> Chart | None:
    figure = over_depth(
        runs, lambda r: r.weight_gradient_norm, lambda r: f"weight gradient {r.weight_gradient_norm:.3g}"
    )
    if figure is None:
        return None
    log_axis(figure, "norm of the weight gradient")
    text = "The gradient of the mean loss over the whole data with respect to each layer's weights: what training gets."
    return Chart("weights", "Gradient norm of the weights over depth", text, figure)


def _panels(runs: Sequence[Run]) -> tuple[list[tuple[int, int, Run, str]], list[str], int]:
    """A row per stage and a column per run: ``(row, column, run, stage)`` cells, their titles, the number of rows."""
    stages = stage_names(runs)
    cells = [(i, j, run, stage) for i, stage in enumerate(stages, 1) for j, run in enumerate(runs, 1)]
    titles = [run.name if len(stages) == 1 else f"{run.name}, {stage}" for _, _, run, stage in cells]
    return cells, titles, len(stages)


def _singular_values(runs: Sequence[Run]) -> Chart | None:
    cells, titles, rows = _panels(runs)
    figure, styles = grid(rows, titles, 290, shared_yaxes=True), looks([run.name for run in runs])
    for i, j, run, stage in cells:
        rows_ = enumerate(run.stages[stage].summary, 1)
        layers = [(n, r) for n, r in rows_ if r.singular_values and all(map(on_log_axis, r.singular_values))]
        if layers:
            _fan(figure, (i, j), styles[run.name], layers)
        if stage == next(iter(run.stages)):
            add_theory(figure, (i, j), run, "largest_singular_value")
    if not figure.data:
        return None
    log_axis(figure, "singular value")
    layer_axis(figure, runs, "layer", row=rows)
    figure.update_layout(showlegend=False)
    text = (
        "The Jacobian from the input to each layer's output, one per example: line, the largest singular value; "
        "dashes, the middle one; bands, all of them and the middle half (medians over examples). Where the fan "
        "widens, some directions of the input grow while others are lost. Values below float32 rounding are left out."
    )
    if any("largest_singular_value" in run.predicted for run in runs):
        text += " Dots: the largest one in the limit of infinite width."
    return Chart("singular-values", "Singular values over depth", text, figure)


def _fan(figure: Any, cell: tuple[int, int], look: Look, layers: Sequence[tuple[int, SiteSummary]]) -> None:
    xs = [n for n, _ in layers]
    values = [np.array(row.singular_values) for _, row in layers]
    # Interpolated in the logarithm, between the order statistics.
    quantiles = {q: [float(np.exp(np.quantile(np.log(v), q))) for v in values] for q in (0, 0.25, 0.5, 0.75, 1)}
    hover = [
        hover_text(row, f"largest {v[0]:.3g}, middle {m:.3g}, smallest {v[-1]:.3g}, rank {row.rank:g}")
        for (_, row), v, m in zip(layers, values, quantiles[0.5], strict=True)
    ]
    where = {"row": cell[0], "col": cell[1]}
    for low, high, opacity in ((0, 1, 0.15), (0.25, 0.75, 0.3)):
        band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        figure.add_trace(go.Scatter(x=xs, y=quantiles[low], **band), **where)
        figure.add_trace(
            go.Scatter(x=xs, y=quantiles[high], fill="tonexty", fillcolor=look.fill(opacity), **band), **where
        )
    for q, dash in ((1, "solid"), (0.5, "dash")):
        figure.add_trace(
            go.Scatter(
                x=xs,
                y=quantiles[q],
                mode="lines",
                line={"color": look.colour, "width": 2, "dash": dash},
                text=hover,
                hovertemplate="%{text}<extra></extra>",
            ),
            **where,
        )


def _units(runs: Sequence[Run]) -> Chart | None:
    stages, styles = stage_names(runs), looks([run.name for run in runs])
    titles = [f"{what}, {stage}" for what in ("active", "dead") for stage in stages]
    figure = grid(2, titles, 260)
    for column, stage in enumerate(stages, 1):
        for run in runs:
            rows = list(run.stages[stage].summary)
            xs = range(1, len(rows) + 1)
            active = [row.active_fraction for row in rows]
            dead = [row.dead / row.units for row in rows]
            says = [hover_text(r, f"{r.active_fraction:.1%} active, {r.dead} of {r.units} units dead") for r in rows]
            add_line(figure, (1, column), run, styles[run.name], xs, active, says)
            add_line(figure, (2, column), run, styles[run.name], xs, dead, says)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    figure.update_yaxes(range=[0, 1.04], row=1)
    most = max((y for trace in figure.data[1::2] for y in trace.y), default=0)
    figure.update_yaxes(range=[-0.01, max(0.1, 1.1 * most)], row=2)
    figure.update_yaxes(title_text="share of outputs", row=1, col=1)
    figure.update_yaxes(title_text="share of units", row=2, col=1)
    layer_axis(figure, runs, "layer", row=2)
    text = (
        "Active: a positive output; for sigmoid and tanh, a slope that has not saturated. Dead: a unit that passes no "
        "gradient on any example of the whole data (its slope stays below 1/1000 of the steepest)."
    )
    return Chart("units", "Active and dead units over depth", text, figure)


def _per_example(runs: Sequence[Run]) -> Chart | None:
    cells, titles, rows = _panels(runs)
    figure = grid(rows, titles, 270, shared_yaxes=True)
    edges = (np.arange(ACTIVE_BINS) + 0.5) / ACTIVE_BINS
    for i, j, run, stage in cells:
        summary = list(run.stages[stage].summary)
        shares = np.array([np.array(row.active_histogram) / max(sum(row.active_histogram), 1) for row in summary]).T
        hover = [
            [hover_text(row, f"{s:.1%} of the examples") for row, s in zip(summary, line, strict=True)]
            for line in shares
        ]
        figure.add_trace(
            go.Heatmap(
                x=list(range(1, len(summary) + 1)),
                y=edges.tolist(),
                z=np.where(shares > 0, shares, np.nan).tolist(),
                zmin=0,
                zmax=1,
                coloraxis="coloraxis",
                text=hover,
                hovertemplate="%{text} have about %{y:.0%} active<extra></extra>",
            ),
            row=i,
            col=j,
        )
    figure.update_layout(
        coloraxis={
            # One hue, faint to full: "few" recedes on white and on black alike.
            "colorscale": [
                [0, "rgba(0,114,178,0.10)"],
                [0.5, "rgba(0,114,178,0.75)"],
                [1, "rgba(0,158,115,1)"],
            ],
            "cmin": 0,
            "cmax": 1,
            "colorbar": {"title": {"text": "examples"}, "tickformat": ".0%", "thickness": 12},
        }
    )
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    figure.update_yaxes(title_text="active units", col=1)
    layer_axis(figure, runs, "layer", row=rows)
    text = (
        "How many of a layer's units are active for one example, and how that varies over them: a network whose size "
        "adapts to its input has a wide column."
    )
    return Chart("per-example", "Active units per example", text, figure)


def _training(runs: Sequence[Run]) -> Chart | None:
    trained = [(run, run.history) for run in runs if run.history is not None]
    if not trained:
        return None
    figure, styles = (
        grid(1, ["training loss", "accuracy on held-out images", "global gradient norm"]),
        looks([run.name for run in runs]),
    )
    for run, history in trained:
        for column, values in enumerate((history.loss, history.accuracy, history.gradient_norm), 1):
            hover = [
                f"<b>{escape(run.name)}</b><br>step {s}: {v:.4g}" for s, v in zip(history.step, values, strict=True)
            ]
            shown = values if column == 2 else [on_log_axis(v) for v in values]
            add_line(figure, (1, column), run, styles[run.name], history.step, shown, hover)
    for column in (1, 3):
        figure.update_yaxes(type="log", exponentformat="power", col=column)
    figure.update_yaxes(range=[0, 1.02], tickformat=".0%", col=2)
    figure.update_xaxes(title_text="step")
    figure.update_traces(mode="lines", line_width=1.8)
    text = "Means between two points of the curve; the gradient norm is taken before any clipping."
    return Chart("training", "Loss and accuracy", text, figure)


def _initialisers(runs: Sequence[Run]) -> Chart | None:
    compared = [run for run in runs if run.init_signal]
    if not compared:
        return None
    figure, styles = (
        grid(1, [run.name for run in compared], 280, shared_yaxes=True),
        looks([run.name for run in runs]),
    )
    says = {"lecun_normal": "Flax's default (lecun_normal)", "he_normal": "He (he_normal)"}
    for column, run in enumerate(compared, 1):
        for (init, values), dash in zip(run.init_signal.items(), ("dot", "solid"), strict=False):
            name = says.get(init, init)
            figure.add_trace(
                go.Scatter(
                    x=list(range(1, len(values) + 1)),
                    y=[on_log_axis(v) for v in values],
                    name=name,
                    legendgroup=init,
                    showlegend=column == 1,
                    mode="lines",
                    line={"color": styles[run.name].colour, "width": 2.5, "dash": dash},
                    text=[f"<b>{escape(name)}</b><br>layer {i}: signal {v:.3g}" for i, v in enumerate(values, 1)],
                    hovertemplate="%{text}<extra></extra>",
                ),
                row=1,
                col=column,
            )
    log_axis(figure, "norm of the signal")
    layer_axis(figure, compared, "layer")
    text = (
        "The same stacks before training under two initialisations, geometric mean over three seeds. With Flax's "
        "default ReLU's squared gradient halves per layer; He's doubles the weight variance and holds it."
    )
    return Chart("initialisers", "Initialisation: does the signal arrive?", text, figure)
