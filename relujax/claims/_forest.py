"""The forest plot: every effect over its threshold with its error bar, coloured by what came of it."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from ._findings import Finding, Findings
from ._rule import Condition

#: Colours that colour-blind readers can tell apart, and a marker for each.
LOOKS = {"holds": ("#009E73", "o"), "fails": ("#D55E00", "X"), "undecided": ("#808080", "D")}
#: Effects farther from their threshold than this factor are drawn at it.
REACH = 300.0

_LINE, _HEADING, _GAP = 0.17, 0.24, 0.16  # inches
_WRAP = 74


def on_axis(margin: float) -> float:
    """Where a margin stands on a logarithmic axis from -1 to 1, whose middle is the threshold."""
    return max(-1.0, min(1.0, math.log(max(margin, 1 / REACH**2)) / math.log(REACH)))


def forest(findings: Findings) -> tuple[Any, Any]:
    """One line per condition, in a group per claim; needs the ``report`` extra.

    Args:
        findings: at least one.

    Returns:
        Matplotlib's ``(figure, axes)``, the axes an array: one column, or two where there are many.
    """
    if not len(findings):
        raise ValueError("got no findings: expected at least one to draw")
    from matplotlib.figure import Figure

    columns = _columns(findings)
    height = max(sum(map(_height, column)) for column in columns)
    figure = Figure(figsize=(8 * len(columns), height + 1.1), layout="constrained")
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    for ax, column in zip(axes, columns, strict=True):
        _draw(ax, column, height)
    figure.suptitle(findings.headline(), x=0.01, ha="left", fontsize=13, fontweight="bold", wrap=True)
    return figure, axes


def _columns(findings: Findings) -> list[list[Finding]]:
    """All in one column, or in two of about equal height."""
    listed = list(findings)
    total = sum(map(_height, listed))
    if total < 5:
        return [listed]
    heights = [sum(map(_height, listed[:count])) for count in range(1, len(listed))]
    if not heights:
        return [listed]
    first = min(range(len(heights)), key=lambda i: abs(heights[i] - total / 2)) + 1
    return [listed[:first], listed[first:]]


def _headings(finding: Finding) -> list[str]:
    return textwrap.wrap(finding.statement, _WRAP)


def _height(finding: Finding) -> float:
    return _GAP + _HEADING * len(_headings(finding)) + _LINE * len(finding.conditions)


def _draw(ax: Any, findings: Sequence[Finding], height: float) -> None:
    y, ticks, labels = 0.0, [], []
    for finding in findings:
        y -= _GAP
        look = LOOKS[_as_outcome(finding)]
        for i, line in enumerate(_headings(finding)):
            y -= _HEADING
            ax.text(-0.92, y, line, transform=ax.get_yaxis_transform(), fontsize=9.5, fontweight="bold", va="center")
            if i == 0:
                verdict = finding.kind
                ax.text(1.0, y, verdict, transform=ax.get_yaxis_transform(), fontsize=9.5, ha="right", va="center",
                        color=look[0], fontweight="bold")  # fmt: skip
        for condition in finding.conditions:
            y -= _LINE
            ticks.append(y)
            labels.append(condition.name)
            _bar(ax, y, condition)
    ax.axvline(0, color="black", linewidth=0.9, zorder=1)
    ticks_x = [1 / 100, 1 / 10, 1, 10, 100]
    ax.set(xlim=(-1.06, 1.06), ylim=(-height - 0.1, 0.05))
    ax.set_xticks([on_axis(value) for value in ticks_x], [f"{value:g}" for value in ticks_x])
    ax.set_yticks(ticks, labels, fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("effect over its threshold, in the claimed direction: right of the line, the claim holds")
    ax.grid(axis="x", alpha=0.25)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _bar(ax: Any, y: float, condition: Condition) -> None:
    colour, marker = LOOKS[condition.outcome]
    effect, low, high = condition.margin
    if math.isnan(effect):
        ax.text(0.03, y, "not measurable", fontsize=7.5, color=colour, va="center")
        return
    x = on_axis(effect)
    ax.plot([on_axis(low), on_axis(high)], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
    beyond = {1.0: ">", -1.0: "<"}.get(x, marker)
    ax.plot([x], [y], beyond, color=colour, markersize=5, markeredgecolor="white", markeredgewidth=0.5, zorder=3)


def _as_outcome(finding: Finding) -> str:
    return {"holds": "holds", "does not hold": "fails"}.get(finding.kind, "undecided")
