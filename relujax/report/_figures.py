"""The static picture: four panels over depth, for papers and READMEs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..health import SiteSummary
from ._run import Run
from ._style import looks

#: Title, unit, value of a row, and the name of what theory says of it.
_PANELS: tuple[tuple[str, str, Callable[[SiteSummary], float | None], str], ...] = (
    ("Backpropagated signal", "norm", lambda r: r.signal_norm, "signal_norm"),
    (
        "Largest singular value, input to layer",
        "singular value",
        lambda r: (r.singular_values or (None,))[0],
        "largest_singular_value",
    ),
    ("Active units", "share of outputs", lambda r: r.active_fraction, ""),
    ("Dead units", "share of units", lambda r: r.dead / r.units, ""),
)


def overview(runs: Sequence[Run], stage: str | None = None) -> tuple[Any, Any]:
    """Signal, largest singular value, active and dead units over depth, one line per run; dots are theory's.

    Args:
        runs: at least one.
        stage: which stage to draw; the first by default.

    Returns:
        Matplotlib's ``(figure, axes)``, the axes an array of two by two.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 6.2), layout="constrained")
    axes = figure.subplots(2, 2)
    styles = looks([run.name for run in runs])
    for ax, (title, label, value, predicted) in zip(axes.flat, _PANELS, strict=True):
        for run in runs:
            first = next(iter(run.stages))
            summary = run.stages[stage or first].summary
            points = [(i, value(row)) for i, row in enumerate(summary, 1)]
            points = [(i, v) for i, v in points if v is not None and math.isfinite(v)]
            look = styles[run.name]
            ax.plot(
                *zip(*points, strict=True) if points else ([], []),
                label=run.name,
                color=look.colour,
                marker=look.marker_static,
                markersize=4,
                linewidth=look.width,
            )
            if (stage or first) == first and (expected := run.predicted.get(predicted)):
                ax.plot(range(1, len(expected) + 1), expected, ":", color="black", linewidth=1.3, zorder=5)
        ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
        ax.set_xlabel("layer")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_ylabel(label)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[0]:
        if any(y > 0 for line in ax.lines for y in line.get_ydata()):
            ax.set_yscale("log")
    for ax in axes[1]:
        ax.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    axes[1, 0].set_ylim(0, 1.05)
    axes[1, 1].set_ylim(bottom=-0.01)
    if any(run.predicted for run in runs):
        axes[0, 0].plot([], [], ":", color="black", linewidth=1.3, label="theory, infinite width")
    if len(axes[0, 0].get_legend_handles_labels()[1]) > 1:
        axes[0, 0].legend(frameon=False)
    return figure, axes
