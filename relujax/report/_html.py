"""The report as one self-contained page: no request leaves it, and every name in it is escaped."""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jax
from plotly.offline import get_plotlyjs

from .. import __version__
from ..health import Alarm, SiteSummary
from ._charts import Chart, charts
from ._diagnosis import Diagnosis
from ._run import Run, notes_of
from ._style import looks

_TITLE = "How gradients travelled"


def page(runs: Sequence[Run]) -> str:
    """One HTML page for the runs: verdicts, figures, tables and what was not measured.

    Args:
        runs: at least one; figures show them side by side.

    Returns:
        The page. Its scripts are inline and allowed by their hashes alone; nothing is loaded from anywhere.
    """
    drawn = charts(runs)
    library, draw = get_plotlyjs(), _asset("report.js")
    data = json.dumps({chart.key: json.loads(chart.figure.to_json()) for chart in drawn})
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(draw)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    body = "\n".join(
        [
            _header(runs),
            f'<section class="cards">{"".join(_card(run, colour) for run, colour in _coloured(runs))}</section>',
            *(_figure(chart) for chart in drawn),
            _tables(runs),
            _notes(runs),
        ]
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_TITLE}</title>
<link rel="icon" href="data:,">
<style>{_asset("report.css")}</style>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="figures">{data.replace("<", chr(92) + "u003c")}</script>
<script>{library}</script>
<script>{draw}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return resources.files("relujax.report").joinpath(name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _coloured(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    styles = looks([run.name for run in runs])
    return [(run, styles[run.name].colour) for run in runs]


def _header(runs: Sequence[Run]) -> str:
    facts = _shared_facts(runs)
    seen = next(iter(runs[0].stages.values())).examples
    line = [f"{seen:,} examples", *(f"{html.escape(k)} {html.escape(str(v))}" for k, v in facts.items())]
    return (
        f'<header><h1>{_TITLE}</h1><p class="verdict">{html.escape(verdict(runs))}</p>'
        f"<p>{' &middot; '.join(line)}</p></header>"
    )


def verdict(runs: Sequence[Run]) -> str:
    """One sentence: which runs have a critical finding, and which."""
    found = {
        run.name: list(dict.fromkeys(a.rule for d in run.stages.values() for a in d.alarms if a.severity == "critical"))
        for run in runs
    }
    bad = [f"{name} ({', '.join(rules)})" for name, rules in found.items() if rules]
    if not bad:
        measured = all(row.signal_norm is not None for run in runs for d in run.stages.values() for row in d.summary)
        return f"No critical finding{': the gradient arrives in every layer' if measured else ''}."
    if len(runs) == 1:
        return f"Critical: {', '.join(found[runs[0].name])}."
    return f"{len(bad)} of {len(runs)} runs {'has' if len(bad) == 1 else 'have'} a critical finding: {'; '.join(bad)}."


def _shared_facts(runs: Sequence[Run]) -> dict[str, Any]:
    """What all runs have in common and is set: the rest stands on each card."""
    first = runs[0].facts
    return {
        key.replace("_", " "): value
        for key, value in first.items()
        if value is not None and value is not False and (value or key == "seed")
        if all(run.facts.get(key) == value for run in runs)
    }


def _card(run: Run, colour: str) -> str:
    stages = "".join(_stage(name, diagnosis) for name, diagnosis in run.stages.items())
    init = run.facts.get("init")
    made = f'<span class="made">{html.escape(str(init))}</span>' if init else ""
    name = html.escape(run.name)
    return f'<article class="card" style="--accent:{colour}"><h2>{name}</h2>{made}{_result(run)}{stages}</article>'


def _result(run: Run) -> str:
    last = list(run.stages.values())[-1]
    if run.history is not None:
        return f'<p class="result"><b>{run.history.accuracy[-1]:.1%}</b> of held-out images right</p>'
    if last.accuracy is not None:
        return f'<p class="result"><b>{last.accuracy:.1%}</b> of examples right, loss {last.loss:.3g}</p>'
    return "" if last.loss is None else f'<p class="result">loss <b>{last.loss:.3g}</b></p>'


def _stage(name: str, diagnosis: Diagnosis) -> str:
    items = "".join(_alarm(alarm) for alarm in diagnosis.alarms)
    return f"<h3>{html.escape(name)}</h3><ul>{items or '<li>nothing to report</li>'}</ul>"


def _alarm(alarm: Alarm) -> str:
    where = f'<span class="where">{html.escape(alarm.source)}</span>' if alarm.source else ""
    help_ = (
        "" if alarm.severity == "info" else f'<span class="remedy">Usually helps: {html.escape(alarm.remedy)}.</span>'
    )
    title = html.escape(f"{alarm.rule}: {alarm.reference}")
    return (
        f'<li class="{alarm.severity}" title="{title}"><span class="badge">{alarm.severity}</span> '
        f"{html.escape(alarm.message)}{help_}{where}</li>"
    )


def _figure(chart: Chart) -> str:
    height = chart.figure.layout.height
    return (
        f'<section id="{chart.key}"><h2>{html.escape(chart.title)}</h2><p>{html.escape(chart.text)}</p>'
        f'<div class="scroll"><div class="plot" data-figure="{chart.key}" style="min-height:{height}px" role="img" '
        f'aria-label="{html.escape(chart.title)}"></div></div></section>'
    )


_COLUMNS = (
    "layer",
    "kind",
    "shape",
    "active",
    "dead",
    "mean",
    "signal",
    "weight gradient",
    "largest sv",
    "rank",
    "source",
)


def _tables(runs: Sequence[Run]) -> str:
    tables = [
        f"<details><summary>{html.escape(run.name)}, {html.escape(stage)}</summary>{_table(diagnosis)}</details>"
        for run in runs
        for stage, diagnosis in run.stages.items()
    ]
    return f'<section id="numbers"><h2>The numbers</h2>{"".join(tables)}</section>'


def _table(diagnosis: Diagnosis) -> str:
    head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(c)}</td>' for c in _cells(row))}</tr>" for row in diagnosis.summary
    )
    bound = diagnosis.summary[0].dead_bound
    note = (
        f"A unit counted as dead passes a gradient on at most {bound:.2%} of examples like these, with 95 % confidence "
        f"(3 / {diagnosis.examples:,})."
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div><p>{note}</p>'


def _cells(row: SiteSummary) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3g}"

    return (
        row.name,
        row.kind,
        " × ".join(map(str, row.shape[1:])) or "1",
        f"{row.active_fraction:.1%}",
        f"{row.dead} of {row.units}",
        number(row.mean),
        number(row.signal_norm),
        number(row.weight_gradient_norm),
        number(row.singular_values[0] if row.singular_values else None),
        number(row.rank),
        row.source or "–",
    )


def _notes(runs: Sequence[Run]) -> str:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes_of(runs))
    listed = f"<h2>What was not measured, and how the rest was</h2><ul>{items}</ul>" if items else ""
    return f"<footer>{listed}<p>relujax {__version__}, jax {jax.__version__}, {jax.default_backend()}</p></footer>"
