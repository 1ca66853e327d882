"""The numbers of the report: a table per run and stage that sorts and filters, and what is told of one layer."""

import html
import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..health import SiteSummary
from ..probes import ACTIVE_BINS
from ._compare import COLUMNS, cells, compare, legend
from ._diagnosis import Diagnosis
from ._findings import findings
from ._run import Run
from ._style import looks


@dataclass(frozen=True)
class Column:
    """A column of the table of layers.

    Attributes:
        title: its head.
        text: what stands in a row's cell.
        value: by what it sorts; None last.
        about: what it is, for whoever points at the head.
    """

    title: str
    text: Callable[[SiteSummary], str]
    value: Callable[[SiteSummary], float | str | None]
    about: str = ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _measured(title: str, value: Callable[[SiteSummary], float | None], about: str) -> Column:
    return Column(title, lambda r: _number(value(r)), value, about)


#: After the number and the name of the layer.
_LAYER_COLUMNS = (
    Column("kind", lambda r: r.kind, lambda r: r.kind, "which activation"),
    Column(
        "shape",
        lambda r: " × ".join(map(str, r.shape[1:])) or "1",
        lambda r: math.prod(r.shape[1:]),
        "of one example's output",
    ),
    Column(
        "runs",
        lambda r: "varies" if r.executions is None else str(r.executions),
        lambda r: r.executions,
        "how often it is executed per call",
    ),
    Column("active", lambda r: f"{r.active_fraction:.1%}", lambda r: r.active_fraction, "share of active outputs"),
    Column("dead", lambda r: f"{r.dead} of {r.units}", lambda r: r.dead_fraction, "units that passed no gradient"),
    _measured("mean", lambda r: r.mean, "mean output: how far it is from zero-centred"),
    _measured("forward", lambda r: r.root_mean_square, "root mean square output"),
    _measured("backward", lambda r: r.signal_norm, "norm of the gradient of one example's loss, at the output"),
    _measured("weights", lambda r: r.weight_gradient_norm, "norm of the gradient of the weights before it"),
    _measured("gain", lambda r: r.activation_gain, "factor on the gradient by the activation's slopes"),
    _measured("gain before", lambda r: r.weight_gain, "factor on the gradient by weights and all else before it"),
    _measured("largest sv", lambda r: r.largest_singular_value, "of the Jacobian from the input: the largest"),
    _measured("rank", lambda r: r.rank, "singular values above rounding"),
    _measured("eff. rank", lambda r: r.effective_rank, "directions that carry the squared size"),
    _measured("stable rank", lambda r: r.stable_rank, "sum of the squared singular values over the largest of them"),
    _measured("cond.", lambda r: r.condition_number, "largest singular value over the smallest above rounding"),
    _measured("log vol.", lambda r: r.log_volume, "sum of the logarithms of singular values above rounding"),
    Column("source", lambda r: os.path.basename(r.source or "–"), lambda r: r.source, "line of code"),
)


def layer_tables(runs: Sequence[Run]) -> str:
    """A table per run and stage in markup; the first is open."""
    tables = [(index, run, stage) for index, run in enumerate(runs) for stage in run.stages]
    body = "".join(
        f'<details data-run="{index}"{" open" if number == 0 else ""}>'
        f"<summary>{html.escape(run.name)}, {html.escape(stage)}</summary>{_table(run, stage)}</details>"
        for number, (index, run, stage) in enumerate(tables)
    )
    return (
        '<section id="numbers"><h2>The layers in numbers</h2>'
        '<p class="screen">Click a head to sort, a layer to see it in detail below.</p>'
        '<p class="filter"><label>Filter <input type="search" id="filter" placeholder="name, kind, file …" '
        f'autocomplete="off"></label> <output for="filter" id="filtered"></output></p>{body}</section>'
    )


def _table(run: Run, stage: str) -> str:
    diagnosis = run.stages[stage]
    head = "".join(_head(title, about) for title, about in (("#", "order of execution"), ("layer", "")))
    head += "".join(_head(column.title, column.about) for column in _LAYER_COLUMNS)
    rows = "".join(_row(number, row) for number, row in enumerate(diagnosis.summary))
    label = html.escape(f"{run.name}, {stage}")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="layers"><thead><tr>{head}'
        f"</tr></thead><tbody>{rows}</tbody></table></div><p>{_bound(diagnosis)}</p>"
    )


def _head(title: str, about: str) -> str:
    return f'<th scope="col" aria-sort="none" title="{about}"><button type="button">{title}</button></th>'


def _row(number: int, row: SiteSummary) -> str:
    name = f'<button type="button" class="pick" data-layer="{number}">{html.escape(row.name)}</button>'
    first = f'<td>{number + 1}</td><th scope="row">{name}</th>'
    return f"<tr>{first}{''.join(_cell(column, row) for column in _LAYER_COLUMNS)}</tr>"


def _cell(column: Column, row: SiteSummary) -> str:
    value, text = column.value(row), column.text(row)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        value = ""
    plain = "" if str(value) == text else f' data-value="{html.escape(str(value))}"'
    return f"<td{plain}>{html.escape(text)}</td>"


def _bound(diagnosis: Diagnosis) -> str:
    bound = diagnosis.summary[0].dead_bound
    return (
        f"A unit counted as dead passes a gradient on at most {bound:.2%} of examples like these, with 95 % confidence "
        f"(3 / {diagnosis.examples:,})."
    )


def compared(runs: Sequence[Run]) -> str:
    """The runs side by side in markup; "" for one run of one stage."""
    rows = compare(runs).rows
    if len(rows) < 2:
        return ""
    styles, by_name = looks(runs), {run.name: run for run in runs}
    head = "".join(f'<th scope="col">{title}</th>' for title in ("run", "stage", *COLUMNS))
    body = ""
    for row in rows:
        swatch = f'<span class="dot" style="background:{styles[row.run].colour}"></span>'
        made = _own_facts(by_name[row.run], runs)
        name = f'<th scope="row">{swatch}{html.escape(row.run)}{f" <small>{made}</small>" if made else ""}</th>'
        values = "".join(
            f"<td>{html.escape(value)}{f' <small>{html.escape(change)}</small>' if change else ''}</td>"
            for value, change in cells(row)
        )
        body += f"<tr>{name}<td>{html.escape(row.stage)}</td>{values}</tr>"
    about = legend(runs)
    against = f" Small: the change against {html.escape(runs[0].name)} at the same stage." if len(runs) > 1 else ""
    return (
        f'<section id="compared"><h2>{"The runs compared" if len(runs) > 1 else "The stages compared"}</h2>'
        f'<div class="scroll" tabindex="0" role="region" aria-label="The runs compared"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{body}</tbody></table></div><p>{about[0].upper()}{about[1:]}.{against}</p></section>"
    )


def _own_facts(run: Run, runs: Sequence[Run]) -> str:
    """How this run was made otherwise than the others."""
    differing = (k for k, v in run.facts.items() if any(other.facts.get(k) != v for other in runs))
    told = (f"{k.replace('_', ' ')} {run.facts[k]}" for k in differing if str(run.facts[k]) != run.name)
    return html.escape(", ".join(told))


def layer_data(runs: Sequence[Run]) -> dict[str, Any]:
    """What the detail of a layer is drawn from: per run and stage, histograms and words of each layer."""
    styles = looks(runs)
    lines = [
        {
            "run": index,
            # Read as markup by the charting library, where the cells of the table are text.
            "label": html.escape(_label(run, stage)),
            "cells": [run.name, stage],
            "colour": styles[run.name].colour,
            "marker": styles[run.name].marker,
            "later": number > 0 or len(run.stages) == 1,
            "rows": [_detail(row) for row in run.stages[stage].summary],
        }
        for index, run in enumerate(runs)
        for number, stage in enumerate(run.stages)
    ]
    return {"heads": _DETAIL_HEADS, "bins": ACTIVE_BINS, "first": _first_concerned(runs), "lines": lines}


def _first_concerned(runs: Sequence[Run]) -> int:
    """Where the first of the findings is, of a layer: most severe first."""
    site = next((place.alarm.site for one in findings(runs) for place in one.places if place.alarm.site), None)
    rows = (enumerate(stage.summary) for run in runs for stage in run.stages.values())
    return next((number for number, row in itertools.chain(*rows) if row.name == site), 0)


def _label(run: Run, stage: str) -> str:
    return f"{run.name}, {stage}" if len(run.stages) > 1 else run.name


_DETAIL_HEADS = (
    *("run", "stage", "layer", "active units per example", "dead", "largest output", "not finite"),
    *("gradient's change: activation", "weights", "source"),
)


def _detail(row: SiteSummary) -> dict[str, Any]:
    return {
        "cells": [
            row.name,
            active_units(row),
            f"{row.dead} of {row.units}",
            _number(row.largest),
            str(row.nonfinite),
            _factor(row.activation_gain),
            _factor(row.weight_gain),
            os.path.basename(row.source or "–"),
        ],
        "active": row.active_histogram,
        "outputs": row.output_histogram,
        "edges": row.output_edges,
    }


def active_units(row: SiteSummary) -> str:
    """How many units of a layer are active for one example: the mean, and where nine in ten examples lie.

    The latter from the histogram, and so as wide as whole bins: at least nine in ten.
    """
    counts = np.cumsum(row.active_histogram)
    low = int(np.searchsorted(counts, 0.05 * counts[-1], side="right")) / ACTIVE_BINS
    high = (int(np.searchsorted(counts, 0.95 * counts[-1])) + 1) / ACTIVE_BINS
    mean = f"{row.active_fraction * row.units:.3g} of {row.units}"
    return f"{mean}; {low * row.units:.0f} to {high * row.units:.0f} for 90 % of examples"


def _factor(value: float | None) -> str:
    return "–" if value is None else f"× {value:.3g}"
