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
_CLASSES = {"holds": "holds", "holds only when": "only", "does not hold": "fails", "undecided": "undecided"}
#: Markers that tell outcomes apart without their colour, about the origin.
_MARKS = {
    "holds": "M0,-5 A5,5 0 1 1 0,5 A5,5 0 1 1 0,-5 Z",
    "fails": "M-5,-3 L-3,-5 L0,-2 L3,-5 L5,-3 L2,0 L5,3 L3,5 L0,2 L-3,5 L-5,3 L-2,0 Z",
    "undecided": "M0,-5.5 L5.5,0 L0,5.5 L-5.5,0 Z",
}


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
seeds, each with its own weights, batches and split of the images, or over rounds of timing.</p></header>
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
    head = "<thead><tr><th>what is said</th><th>verdict</th><th>it held under</th></tr></thead>"
    return f'<section class="overview"><table>{head}<tbody>{rows}</tbody></table></section>'


def _held(finding: Finding) -> str:
    held = finding.outcomes.count("holds")
    return f"{held} of {len(finding.conditions)} conditions"


def _key() -> str:
    said = "effect over its threshold, logarithmic, in the claimed direction: right of the line as claimed; grey "
    said += "lines are factors of 10, of a difference steps of 0.1"
    marks = "".join(f'<span class="{name}">{_svg(_mark(_HEIGHT / 2, name), _HEIGHT)} {name}</span>' for name in _MARKS)
    return f'<div class="key claim">{marks}<span>{said}</span></div>'


def _kind(finding: Finding) -> str:
    return f'<span class="{_CLASSES[finding.kind]}"><span class="kind">{finding.kind}</span></span>'


def _claim(finding: Finding) -> str:
    head = "".join(
        f"<th>{column}</th>" for column in ("condition", "", f"effect, {CONFIDENCE:.0%} interval", "outcome")
    )
    rows = "".join(map(_row, finding.conditions, finding.outcomes))
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


def _row(condition: Condition, outcome: Outcome) -> str:
    effect = html.escape(shown(condition))
    return (
        f'<tr class="{outcome}"><td>{html.escape(condition.name)}</td><td>{_forest(condition, outcome)}</td>'
        f'<td>{effect}</td><td class="outcome">{outcome}</td></tr>'
    )


def _forest(condition: Condition, outcome: Outcome) -> str:
    """A line of the forest plot."""
    effect, low, high = condition.margin
    if math.isnan(effect):
        return ""
    start, end, at = (_x(value) for value in (low, high, effect))
    middle = _HEIGHT / 2
    ticks = "".join(_line("tick", _x(10.0**power), 0, _x(10.0**power), _HEIGHT) for power in (-2, -1, 1, 2))
    zero = _line("zero", _x(1.0), 0, _x(1.0), _HEIGHT)
    return _svg(f"{ticks}{zero}{_line('bar', start, middle, end, middle)}{_mark(at, outcome)}", _WIDTH)


def _x(margin: float) -> float:
    return round(_WIDTH / 2 + on_axis(margin) * (_WIDTH / 2 - 7), 1)


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{name}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>'


def _mark(x: float, outcome: str) -> str:
    return f'<path d="{_MARKS[outcome]}" transform="translate({x},{_HEIGHT / 2})"/>'


def _svg(inside: str, width: float) -> str:
    return f'<svg viewBox="0 0 {width} {_HEIGHT}" aria-hidden="true">{inside}</svg>'
