"""The forest plot: every effect over its threshold with its error bar, coloured by what came of it."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from ._findings import Finding, Findings
from ._rule import Condition, Outcome

#: Colours that colour-blind readers can tell apart, and a marker for each.
LOOKS = {"holds": ("#009E73", "o"), "fails": ("#D55E00", "X"), "undecided": ("#808080", "D")}
#: Colours of verdicts.
KINDS = {"holds": "#007a59", "holds only when": "#0072B2", "does not hold": "#b34a00", "undecided": "#606060"}
#: Effects farther from their threshold than this factor are drawn at it.
REACH = 300.0

# In inches: lines, and the parts of a column.
_LINE, _HEADING, _GAP = 0.17, 0.23, 0.15
_LABELS, _PLOT, _RIGHT, _TOP, _BOTTOM = 4.0, 3.8, 0.2, 0.6, 0.7
_WRAP = 68


def on_axis(margin: float, reach: float = REACH) -> float:
    """Where a margin stands on a logarithmic axis from -1 to 1, whose middle is the threshold."""
    return max(-1.0, min(1.0, math.log(max(margin, 1 / reach**2)) / math.log(reach)))


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
    count, body = len(columns), max(sum(map(_height, column)) for column in columns) + _LINE
    width, height = count * (_LABELS + _PLOT + _RIGHT), body + _TOP + _BOTTOM
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(1, count, squeeze=False)[0]
    figure.subplots_adjust(
        left=_LABELS / width,
        right=1 - _RIGHT / width,
        top=1 - _TOP / height,
        bottom=_BOTTOM / height,
        wspace=(_LABELS + _RIGHT) / _PLOT,
    )
    for ax, column in zip(axes, columns, strict=True):
        _draw(ax, column, body)
    for i, line in enumerate(textwrap.wrap(findings.headline(), 72 * count)):
        y = 1 - (0.35 + 0.25 * i) / height
        figure.text(0.1 / width, y, line, ha="left", va="center", fontsize=13, fontweight="bold")
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
        for i, line in enumerate(_headings(finding)):
            y -= _HEADING
            across = ax.get_yaxis_transform()
            ax.text((0.1 - _LABELS) / _PLOT, y, line, transform=across, fontsize=9.5, fontweight="bold", va="center")
            if i == 0:
                said = {"fontsize": 9.5, "fontweight": "bold", "color": KINDS[finding.kind]}
                ax.text(1.0, y, finding.kind, transform=across, ha="right", va="center", **said)
        for condition, outcome in zip(finding.conditions, finding.outcomes, strict=True):
            y -= _LINE
            ticks.append(y)
            labels.append(condition.name)
            _bar(ax, y, condition, outcome)
    ax.axvline(0, color="black", linewidth=0.9, zorder=1)
    ticks_x = [1 / 100, 1 / 10, 1, 10, 100]
    ax.set(xlim=(-1.06, 1.06), ylim=(-height, 0))
    ax.set_xticks([on_axis(value) for value in ticks_x], [f"{value:g}" for value in ticks_x])
    ax.set_yticks(ticks, labels, fontsize=8)
    ax.tick_params(axis="x", labelsize=8)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(
        "effect over its threshold: right of the line as claimed\n(a difference: 10 for each 0.1)", fontsize=8
    )
    ax.grid(axis="x", alpha=0.25)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _bar(ax: Any, y: float, condition: Condition, outcome: Outcome) -> None:
    colour, marker = LOOKS[outcome]
    effect, low, high = condition.margin
    if math.isnan(effect):
        ax.text(0.03, y, "not measurable", fontsize=7.5, color=colour, va="center")
        return
    x = on_axis(effect)
    ax.plot([on_axis(low), on_axis(high)], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=2)
    beyond = {1.0: ">", -1.0: "<"}.get(x, marker)
    ax.plot([x], [y], beyond, color=colour, markersize=5, markeredgecolor="white", markeredgewidth=0.5, zorder=3)
