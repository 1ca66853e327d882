"""The further figures of the report: gains, active units per example, training, initialisers."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from ..health import SiteSummary
from ..probes import ACTIVE_BINS
from ._diagnosis import Diagnosis
from ._drawing import Chart, Panel, add_line, empty, escaped, hover_text, layer_axis
from ._run import Run, stage_names
from ._style import looks


def charts(runs: Sequence[Run]) -> list[Chart]:
    """Every figure for which the runs have numbers, in reading order."""
    return [chart for make in (_gains, _per_example, _training, _initialisers) if (chart := make(runs)) is not None]


def _gains(runs: Sequence[Run]) -> Chart | None:
    styles, panels, stages = looks(runs), [], stage_names(runs)
    for stage in stages:
        figure = empty(300, xaxis=layer_axis(runs), yaxis={"type": "log", "title": {"text": "factor on the norm"}})
        for index, run in enumerate(runs):
            rows = list(enumerate(run.stages[stage].summary, 1)) if stage in run.stages else []
            for by, value, line in (
                ("the activation's slopes", _by_activation, {}),
                ("weights and all else", _by_weights, {"dash": "dash"}),
            ):
                points = [
                    (i, v, hover_text(r, f"times {v:.3g} by {by}")) for i, r in rows if (v := value(r)) is not None
                ]
                if points:
                    add_line(figure, (index, run.name, styles[run.name]), points, line=line)
        if figure.data:
            panels.append(Panel(stage if len(stages) > 1 else "", figure))
    if not panels:
        return None
    text = (
        "What changes the norm of the gradient on its way back through a layer: solid, the activation's slopes; "
        "dashed, the weights and all else between this activation and the one before. Their product is the change per "
        "layer."
    )
    return Chart("gains", "Gains: the activation against the weights", text, tuple(panels))


def _by_activation(row: SiteSummary) -> float | None:
    return row.activation_gain


def _by_weights(row: SiteSummary) -> float | None:
    return row.weight_gain


def _per_example(runs: Sequence[Run]) -> Chart | None:
    several = len(runs) > 1 or len(runs[0].stages) > 1
    panels = [
        Panel(_whole(f"{run.name}, {stage}" if several else "", run.stages[stage]), _heatmap(runs, run, stage), index)
        for index, run in enumerate(runs)
        for stage in run.stages
    ]
    text = (
        "How large a share of each layer is active for one example, and how that varies over the examples: a network "
        "whose size adapts to its input has wide columns. The stronger the colour, the more examples."
    )
    return Chart("per-example", "Active units per example: the dynamic network size", text, tuple(panels))


def _whole(title: str, stage: Diagnosis) -> str:
    """What a panel is of, and how much of all layers together is active for one example."""
    network = stage.summary.network
    if network is None:
        return title
    mean, fewest, most = (f"{share:.1%}" for share in (network.active_fraction, network.fewest, network.most))
    says = f"all layers together: {mean} on average, {fewest} to {most}"
    return f"{title}, {says}" if title else says


def _heatmap(runs: Sequence[Run], run: Run, stage: str) -> go.Figure:
    summary = list(run.stages[stage].summary)
    shares = np.array([np.array(row.active_histogram) / max(sum(row.active_histogram), 1) for row in summary]).T
    hover = [
        [hover_text(row, f"{s:.1%} of the examples") for row, s in zip(summary, line, strict=True)] for line in shares
    ]
    figure = empty(250, xaxis=layer_axis(runs))
    figure.add_trace(
        go.Heatmap(
            x=list(range(1, len(summary) + 1)),
            y=((np.arange(ACTIVE_BINS) + 0.5) / ACTIVE_BINS).tolist(),
            z=[[float(f"{s:.3g}") if s > 0 else None for s in line] for line in shares],
            zmin=0,
            zmax=1,
            # One hue, faint to full: "few" recedes on white and on black alike.
            colorscale=[[0, "rgba(0,114,178,0.12)"], [0.5, "rgba(0,114,178,0.75)"], [1, "rgba(0,158,115,1)"]],
            colorbar={"tickformat": ".0%", "thickness": 8, "outlinewidth": 0, "nticks": 3},
            text=hover,
            hovertemplate="%{text} have about %{y:.0%} active<extra></extra>",
            meta={"run": next(i for i, one in enumerate(runs) if one is run), "role": "line"},
        )
    )
    figure.update_yaxes(range=[0, 1], tickformat=".0%", nticks=4, title_text="active")
    return figure


def _training(runs: Sequence[Run]) -> Chart | None:
    trained = [(index, run, run.history) for index, run in enumerate(runs) if run.history is not None]
    if not trained:
        return None
    styles, panels = looks(runs), []
    for title, name in (
        ("training loss", "loss"),
        ("accuracy on held-out data", "accuracy"),
        ("global gradient norm", "gradient_norm"),
    ):
        share = name == "accuracy"
        axis = {"range": [0, 1.02], "tickformat": ".0%"} if share else {"type": "log"}
        figure = empty(270, xaxis={"title": {"text": "step"}, "nticks": 6}, yaxis=axis)
        for index, run, history in trained:
            points = [(s, v, f"step {s}: {v:.4g}") for s, v in zip(history.step, getattr(history, name), strict=True)]
            add_line(figure, (index, run.name, styles[run.name]), points, share=share)
        # A single point, of a run that has just begun, is no line.
        figure.for_each_trace(lambda line: line.update(mode="lines" if len(line.x) > 1 else "markers"))
        figure.update_traces(line_width=1.8)
        panels.append(Panel(title, figure))
    text = "Means between two points of the curve; the gradient norm is taken before any clipping."
    return Chart("training", "Training", text, tuple(panels), together=False)


def _initialisers(runs: Sequence[Run]) -> Chart | None:
    styles, panels = looks(runs), []
    says = {"lecun_normal": "Flax's default (lecun_normal)", "he_normal": "He (he_normal)"}
    for index, run in enumerate(runs):
        if not run.init_signal:
            continue
        figure = empty(250, xaxis=layer_axis(runs), yaxis={"type": "log", "title": {"text": "norm of the signal"}})
        for (init, values), dash in zip(run.init_signal.items(), ("dot", "solid", "dash", "dashdot"), strict=False):
            name = escaped(says.get(init, init))
            points = [(i, v, f"<b>{name}</b><br>layer {i}: signal {v:.3g}") for i, v in enumerate(values, 1)]
            add_line(figure, (index, run.name, styles[run.name]), points, line={"dash": dash})
        panels.append(Panel(run.name, figure, index))
    if not panels:
        return None
    text = (
        "The backpropagated signal of the same stacks before training under two initialisations, geometric mean over "
        "three seeds: dotted Flax's default, solid He's. With Flax's default ReLU's squared gradient halves per layer; "
        "He's doubles the weight variance and holds it."
    )
    return Chart("initialisers", "Initialisation: does the signal arrive?", text, tuple(panels))
