"""The static picture: six panels over depth, for papers and READMEs."""

from collections.abc import Sequence
from typing import Any

from ._quantities import QUANTITIES, drawable
from ._run import Run, checked
from ._style import looks

_THEORY = "theory, infinite width"


def overview(runs: Sequence[Run], stage: str | None = None) -> tuple[Any, Any]:
    """Signals forward and backward, singular values, active and dead units over depth, a line per run; dots: theory's.

    Args:
        runs: at least one.
        stage: which stage to draw; the first of each run by default.

    Returns:
        Matplotlib's ``(figure, axes)``, the axes an array of two rows and three columns.

    Raises:
        ValueError: for no run, or a stage that a run lacks.
    """
    from matplotlib.figure import Figure

    runs = checked(runs)
    for run in runs:
        if stage is not None and stage not in run.stages:
            raise ValueError(
                f"got stage {stage!r}: expected one of {', '.join(map(repr, run.stages))} for run {run.name!r}"
            )
    figure = Figure(figsize=(12.5, 6.2), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True)
    for ax, quantity in zip(axes.flat, QUANTITIES, strict=True):
        _panel(ax, quantity, runs, stage)
    for ax in axes[-1]:
        ax.set_xlabel("layer")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if any(run.stages[stage or next(iter(run.stages))].predicted for run in runs):
        handles += axes[0, 0].plot([], [], ":", color="black", linewidth=1.3)
        labels.append(_THEORY)
    if len(labels) > 1:
        figure.legend(handles, labels, frameon=False, loc="outside upper left", ncols=min(len(labels), 6))
    return figure, axes


def _panel(ax: Any, quantity: Any, runs: Sequence[Run], stage: str | None) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator

    styles, positive = looks(runs), False
    for run in runs:
        drawn = run.stages[stage or next(iter(run.stages))]
        points = [(i, quantity.value(row)) for i, row in enumerate(drawn.summary, 1)]
        # NaN, not left out: the line breaks there.
        ys = [float("nan") if not drawable(v, quantity.share) else v for _, v in points]
        positive |= any(y > 0 for y in ys)
        look = styles[run.name]
        ax.plot(
            [i for i, _ in points],
            ys,
            label=run.name,
            color=look.colour,
            marker=look.marker_static,
            markevery=max(1, len(points) // 24),
            markersize=4,
            linewidth=look.width,
        )
        if expected := drawn.predicted.get(quantity.key):
            ax.plot(range(1, len(expected) + 1), expected, ":", color="black", linewidth=1.3, zorder=5)
    ax.set_title(quantity.title, loc="left", fontsize=11, fontweight="bold")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel(quantity.unit)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    if quantity.share:
        ax.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
        ax.set_ylim(-0.01, 1.05 if quantity.key == "active_fraction" else None)
    elif positive:
        ax.set_yscale("log")
        if ax.get_ylim()[1] < 100 * ax.get_ylim()[0]:  # within two decades, numbers as people write them
            ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
            ax.yaxis.set_major_formatter(lambda v, _: f"{v:g}")
            ax.yaxis.set_minor_formatter(lambda v, _: f"{v:g}")
    else:
        ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", color="gray")
