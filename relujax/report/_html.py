"""The report as one self-contained page: no request leaves it, and every name in it is escaped."""

import html
import json
from collections.abc import Sequence
from typing import Any

import jax
from plotly.offline import get_plotlyjs

from .. import __version__
from ._charts import charts
from ._document import asset, document
from ._drawing import Chart
from ._findings import Finding, Place, findings, verdict
from ._picture import picture
from ._run import Run, checked, notes_of, partial_notes
from ._style import Look, looks
from ._tables import compared, layer_data, layer_tables

_TITLE = "How gradients travelled"
#: Of a finding, so many places are shown at once.
_PLACES = 2


def page(runs: Sequence[Run], refresh: int | None = None) -> str:
    """One HTML page for the runs: verdict, findings, the picture of the stack, tables, layers, what was not measured.

    Args:
        runs: at least one; figures and tables show them side by side, the others against the first.
        refresh: after so many seconds the page loads itself again, for a file that is written anew while it is looked
            at; by default it does not.

    Returns:
        The page, of about 2 MB. Its scripts are inline and allowed by their hashes alone; nothing is loaded.

    Raises:
        ValueError: for no run, or one without a stage.
    """
    runs = checked(runs)
    whole, further = picture(runs), charts(runs)
    body = "\n".join(
        [
            _header(runs, refresh),
            _findings(findings(runs)),
            _legend(runs),
            _section(whole),
            compared(runs),
            layer_tables(runs),
            _layer(runs),
            *map(_section, further),
            _notes(runs),
        ]
    )
    data = {
        "figures": {_plot_key(c, i): _figure(c, i) for c in (whole, *further) for i in range(len(c.panels))},
        "layers": layer_data(runs),
    }
    return document(_title(runs), body, scripts=(get_plotlyjs(), asset("report.js")), data=data, refresh=refresh)


def _title(runs: Sequence[Run]) -> str:
    names = ", ".join(run.name for run in runs)
    return f"{_TITLE}: {names}"


def _header(runs: Sequence[Run], refresh: int | None) -> str:
    seen = next(iter(runs[0].stages.values())).examples
    names = [html.escape(runs[0].name)] if len(runs) == 1 else [f"{len(runs)} runs"]
    facts = (f"{html.escape(k)} {html.escape(str(v))}" for k, v in _shared_facts(runs).items())
    line = [*names, f"{seen:,} examples", *facts, *_results(runs)]
    worst = next((one.severity for one in findings(runs)), "info")
    partial = "".join(f"<li>{html.escape(note)}</li>" for note in partial_notes(runs))
    again = f" It loads itself again every {refresh} seconds, until the end." if refresh else ""
    banner = f'<div class="partial" role="note"><b>This report is partial.</b>{again}<ul>{partial}</ul></div>'
    return (
        f'<header><h1>{_TITLE}</h1>{banner if partial else ""}<p class="verdict {worst}">{html.escape(verdict(runs))}'
        f"</p><p>{' &middot; '.join(line)}</p></header>"
    )


def _shared_facts(runs: Sequence[Run]) -> dict[str, Any]:
    """What all runs have in common and is set: the rest stands in the table of runs."""
    first = runs[0].facts
    return {
        key.replace("_", " "): value
        for key, value in first.items()
        if value is not None and value is not False and (value or key == "seed")
        if all(run.facts.get(key) == value for run in runs) and value != runs[0].name
    }


def _results(runs: Sequence[Run]) -> list[str]:
    """What one run achieved; several have a table."""
    [run, *others] = runs
    if others:
        return []
    loss = list(run.stages.values())[-1].loss
    if run.history and len(run.stages) == 1:  # it is in training: the stage was before
        loss = run.history.loss[-1]
    words = (
        [] if run.accuracy is None else [f"{run.accuracy:.1%} of {'held-out ' if run.history else ''}examples right"]
    )
    return [*words, *([] if loss is None else [f"loss {loss:.3g}"])]


def _findings(found: Sequence[Finding]) -> str:
    serious = "".join(_finding(one) for one in found if one.severity != "info")
    remarks = [one for one in found if one.severity == "info"]
    listed = ", ".join(html.escape(one.rule) for one in remarks)
    more = (
        f"<details><summary>{len(remarks)} {'remark' if len(remarks) == 1 else 'remarks'}: {listed}</summary>"
        f'<div class="findings">{"".join(map(_finding, remarks))}</div></details>'
    )
    first = f'<div class="findings">{serious}</div>' if serious else "<p>Nothing critical, and no warning.</p>"
    return f'<section id="findings"><h2>Findings</h2>{first}{more if remarks else ""}</section>'


def _finding(found: Finding) -> str:
    places = [_place(place) for place in found.places]
    rest = "".join(places[_PLACES:])
    more = f"<details><summary>and {len(places) - _PLACES} more</summary><ul>{rest}</ul></details>" if rest else ""
    remedy = f"<p><b>Usually helps</b> {html.escape(found.remedy)}.</p>" if found.severity != "info" else ""
    return (
        f'<article class="finding {found.severity}"><h3><span class="badge">{found.severity}</span> '
        f"{html.escape(found.rule)}</h3><ul>{''.join(places[:_PLACES])}</ul>{more}{remedy}"
        f'<p class="soft"><b>Threshold</b> {html.escape(found.reference)}</p></article>'
    )


def _place(place: Place) -> str:
    alarm = place.alarm
    where = f' <code class="where">{html.escape(alarm.source)}</code>' if alarm.source else ""
    runs = f'<span class="runs">{html.escape(", ".join(place.runs))}</span> ' if place.runs else ""
    prefix = f"{alarm.site}: "
    named = alarm.site is not None and alarm.message.startswith(prefix)
    first = f"<b>{html.escape(prefix)}</b>" if named else ""
    said = alarm.message.removeprefix(prefix) if named else alarm.message
    return f"<li>{runs}{first}{html.escape(said)}{where}</li>"


def _legend(runs: Sequence[Run]) -> str:
    """Buttons that show and hide runs in all figures."""
    styles = looks(runs)
    buttons = "".join(
        f'<button type="button" aria-pressed="true" data-toggle="{index}">{_swatch(styles[run.name])}'
        f"{html.escape(run.name)}</button>"
        for index, run in enumerate(runs)
    )
    if any(run.is_predicted for run in runs):
        buttons += f'<button type="button" aria-pressed="true" data-toggle="theory">{_DOTS}theory</button>'
    return f'<div class="legend" role="group" aria-label="Runs that are shown">{buttons}</div>'


_DOTS = (
    '<svg width="30" height="12" aria-hidden="true"><line x1="0" y1="6" x2="30" y2="6" stroke="#808080" '
    'stroke-width="2" stroke-dasharray="2 3"/></svg>'
)
#: The markers of the charting library, as paths around (15, 6).
_SHAPES = {
    "circle": "M15 2a4 4 0 1 1 0 8a4 4 0 1 1 0-8z",
    "square": "M11 2h8v8h-8z",
    "diamond": "M15 1l5 5l-5 5l-5-5z",
    "triangle-up": "M15 1l5 9h-10z",
    "x": "M12 1l3 3l3-3l2 2l-3 3l3 3l-2 2l-3-3l-3 3l-2-2l3-3l-3-3z",
    "cross": "M13.500 1h3v3.500h3.500v3h-3.500v3.500h-3v-3.500h-3.500v-3h3.500z",
}


def _swatch(look: Look) -> str:
    return (
        f'<svg width="30" height="12" aria-hidden="true"><path d="M0 6h30" stroke="{look.colour}" stroke-width="2"/>'
        f'<path d="{_SHAPES[look.marker]}" fill="{look.colour}"/></svg>'
    )


def _plot_key(chart: Chart, number: int) -> str:
    return f"{chart.key}-{number}"


def _figure(chart: Chart, number: int) -> dict[str, Any]:
    """A panel for the script: as the charting library takes it, and with which others its axes are drawn."""
    group = chart.key if chart.together else _plot_key(chart, number)
    return {**json.loads(chart.panels[number].figure.to_json()), "group": group}


def _section(chart: Chart) -> str:
    panels = "".join(_panel(chart, number) for number in range(len(chart.panels)))
    kind = "wide" if chart.key == "picture" else "small"
    more = f"<details><summary>How to read it</summary><p>{html.escape(chart.more)}</p></details>" if chart.more else ""
    return (
        f'<section id="{chart.key}"><h2>{html.escape(chart.title)}</h2><p>{html.escape(chart.text)}</p>{more}'
        f'<div class="panels {kind}">{panels}</div></section>'
    )


def _panel(chart: Chart, number: int) -> str:
    panel = chart.panels[number]
    height = panel.figure.layout.height
    title = f"<figcaption>{html.escape(panel.title)}</figcaption>" if panel.title else ""
    label = html.escape(f"{chart.title}: {panel.title}" if panel.title else chart.title)
    run = "" if panel.run is None else f' data-run="{panel.run}"'
    return (
        f'<figure{run}>{title}<div class="plot" data-figure="{_plot_key(chart, number)}" style="height:{height}px" '
        f'role="img" aria-label="{label}"></div></figure>'
    )


def _layer(runs: Sequence[Run]) -> str:
    """One layer in detail, of all runs and stages: filled by the script."""
    stages = " Dotted the first stage, solid what follows." if any(len(run.stages) > 1 for run in runs) else ""
    return (
        '<section id="layer"><h2>One layer in detail</h2><p>How the size of the network adapts to its input: the '
        f"share of the layer that is active differs from one example to another.{stages}</p>"
        '<p class="filter"><label>Layer <select id="pick"></select></label></p>'
        '<div class="panels small"><figure><figcaption>Share of the layer that is active, per example</figcaption>'
        '<div class="plot" id="layer-active" style="height:250px" role="img" aria-label="Active share per example">'
        '</div></figure><figure id="with-outputs"><figcaption>Outputs</figcaption><div class="plot" '
        'id="layer-outputs" style="height:250px" role="img" aria-label="Histogram of the outputs"></div></figure></div>'
        '<div class="scroll" tabindex="0" role="region" aria-label="The layer in numbers"><table id="layer-numbers">'
        "<thead></thead><tbody></tbody></table></div></section>"
    )


def _notes(runs: Sequence[Run]) -> str:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes_of(runs))
    listed = f"<h2>What was not measured, and how the rest was</h2><ul>{items}</ul>" if items else ""
    return f"<footer>{listed}<p>relujax {__version__}, jax {jax.__version__}, {jax.default_backend()}</p></footer>"
