"""The findings as one self-contained page: no scripts, no requests, every name escaped."""

import html
import math
from importlib import resources

import jax

from .. import __version__
from ..report import document
from ._findings import Finding, Findings, shown
from ._forest import on_axis
from ._rule import CONFIDENCE, Condition, Outcome

_TITLE = "What everybody says of ReLU, measured"
_WIDTH, _HEIGHT = 260, 18
#: How far a claim's axis reaches from its threshold, by what factor: the least that shows its error bars.
_REACHES = (2.0, 10.0, 100.0, 1000.0)
_CLASSES = {"holds": "holds", "holds only when": "only", "does not hold": "fails", "undecided": "undecided"}
#: Markers that tell outcomes apart without their colour, about the origin.
_MARKS = {
    "holds": "M0,-5 A5,5 0 1 1 0,5 A5,5 0 1 1 0,-5 Z",
    "fails": "M-5,-3 L-3,-5 L0,-2 L3,-5 L5,-3 L2,0 L5,3 L3,5 L0,2 L-3,5 L-5,3 L-2,0 Z",
    "undecided": "M0,-5.5 L5.5,0 L0,5.5 L-5.5,0 Z",
}
#: Those of effects that lie beyond the axis, left and right.
_BEYOND = {-1.0: "M5,-5 L5,5 L-5,0 Z", 1.0: "M-5,-5 L-5,5 L5,0 Z"}


def page(findings: Findings) -> str:
    """One HTML page: the verdicts, then every claim with its conditions, effects and error bars.

    Args:
        findings: what came out, all or a part of it.

    Returns:
        The page; nothing in it is loaded from anywhere, and nothing in it runs.

    >>> from relujax.claims import run
    >>> page(run(["one_sign"], quick=True)).count("<section")  # the overview, and the claim
    2
    """
    body = f"""<header><h1>{_TITLE}</h1><p class="verdict">{html.escape(findings.headline())}</p>
<p>Each verdict follows from the numbers by one rule: a claim holds under a condition where its effect lies on the
claimed side of its threshold, fails where it lies on the other, and is undecided where a t test cannot tell, by
Holm's correction for the number of conditions of the claim (together {1 - CONFIDENCE:.0%}). The error bars are those of
each condition alone ({CONFIDENCE:.0%}, not corrected), so that one beside the line may be undecided. They are over
seeds, each with its own weights, batches and split of the images, or over rounds of timing; on held-out images they are
wider, for what the splits have in common (Nadeau and Bengio, 2003).</p></header>
{_overview(findings)}
{_key()}
{"".join(map(_claim, findings))}
<footer><p>relujax {__version__}, jax {jax.__version__}, {jax.default_backend()}</p></footer>"""
    style = resources.files("relujax.claims").joinpath("claims.css").read_text(encoding="utf-8")
    return document(_TITLE, body, style=style)


def _overview(findings: Findings) -> str:
    rows = "".join(
        f'<tr><td><a href="#claim-{html.escape(one.name)}">{html.escape(one.statement)}</a></td>'
        f"<td>{_kind(one)}</td><td>{_held(one)}</td></tr>"
        for one in findings
    )
    head = "<thead><tr><th>what is said</th><th>verdict</th><th>conditions it held under</th></tr></thead>"
    return f'<section class="overview"><table>{head}<tbody>{rows}</tbody></table></section>'


def _held(finding: Finding) -> str:
    return f"{finding.outcomes.count('holds')} of {len(finding.conditions)}"


def _key() -> str:
    said = "The line is the threshold, right of it is as claimed; the axis is logarithmic, of a difference linear. "
    said += "A triangle lies farther out than the axis."
    marks = "".join(
        f'<span class="{name}">{_svg(_mark(_HEIGHT / 2, path), _HEIGHT)} {name}</span>' for name, path in _MARKS.items()
    )
    return f'<div class="key claim">{marks}<span>{said}</span></div>'


def _kind(finding: Finding) -> str:
    return f'<span class="{_CLASSES[finding.kind]}"><span class="kind">{finding.kind}</span></span>'


def _claim(finding: Finding) -> str:
    reach = _reach(finding)
    columns = ("condition", _axis(finding, reach), f"effect, {CONFIDENCE:.0%} interval", "outcome")
    head = "".join(f"<th>{column}</th>" for column in columns)
    rows = "".join(_row(*one, reach) for one in zip(finding.conditions, finding.outcomes, strict=True))
    count = len(finding.conditions[0].values)
    how = f"{finding.measured}. Unit: {finding.unit}; claimed: {finding.claimed}; {count} values for each error bar."
    return (
        f'<section class="claim" id="claim-{html.escape(finding.name)}"><h2>{html.escape(finding.statement)}</h2>'
        f'<p class="said">{_kind(finding)}{html.escape(_under(finding))}</p><p>{html.escape(_capital(how))}</p>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _under(finding: Finding) -> str:
    return finding.verdict.removeprefix(finding.kind)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _reach(finding: Finding) -> float:
    ends = [v for one in finding.conditions for v in one.margin if v > 0]  # nor are they NaN
    farthest = max((abs(math.log(v)) for v in ends), default=0.0)
    return next((reach for reach in _REACHES if farthest <= math.log(reach)), _REACHES[-1])


def _axis(finding: Finding, reach: float) -> str:
    """The effects at the left end, in the middle and at the right end."""
    middle, above = finding.criterion.threshold, finding.criterion.above
    left, right = (middle / reach, middle * reach) if middle else (-0.1 * math.log10(reach), 0.1 * math.log10(reach))
    ends = (left, middle, right) if above else (right, middle, left)
    return f'<span class="axis">{"".join(f"<span>{v:.4g}</span>" for v in ends)}</span>'


def _row(condition: Condition, outcome: Outcome, reach: float) -> str:
    effect = html.escape(shown(condition))
    return (
        f'<tr class="{outcome}"><td>{html.escape(condition.name)}</td><td>{_forest(condition, outcome, reach)}</td>'
        f'<td>{effect}</td><td class="outcome">{outcome}</td></tr>'
    )


def _forest(condition: Condition, outcome: Outcome, reach: float) -> str:
    """A line of the forest plot."""
    effect, low, high = condition.margin
    if math.isnan(effect):
        return ""
    start, end, left, zero, right = (_x(value, reach) for value in (low, high, 1 / reach, 1.0, reach))
    middle = _HEIGHT / 2
    ends = "".join(_line("tick", x, 0, x, _HEIGHT) for x in (left, right))
    line, bar = _line("zero", zero, 0, zero, _HEIGHT), _line("bar", start, middle, end, middle)
    path = _MARKS[outcome] if 1 / reach <= effect <= reach else _BEYOND[on_axis(effect, reach)]
    return _svg(f"{ends}{line}{bar}{_mark(_x(effect, reach), path)}", _WIDTH)


def _x(margin: float, reach: float) -> float:
    return round(_WIDTH / 2 + on_axis(margin, reach) * (_WIDTH / 2 - 7), 1)


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{name}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _mark(x: float, path: str) -> str:
    return f'<path d="{path}" transform="translate({x},{_HEIGHT / 2})"/>'


def _svg(inside: str, width: float) -> str:
    return f'<svg viewBox="0 0 {width} {_HEIGHT}" aria-hidden="true">{inside}</svg>'
