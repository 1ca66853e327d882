"""The terminal: the numbers that matter are readable at any width, and names are printed as they are."""

import io
from dataclasses import replace

import pytest
from rich.console import Console
from small_models import PARAMS, X, apply
from small_runs import ALARMS, diagnosis, named, two_runs

import relujax as rx
from relujax.health import travel
from relujax.report import as_run
from relujax.report._findings import verdict
from relujax.report._run import notes_of
from relujax.report._terminal import show

MARKUP = "[red]x[/red]"
WIDTHS = pytest.mark.parametrize("width", [80, 140])


def printed(runs, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    show(runs, console)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def small():
    return diagnosis(alarms=ALARMS, notes=("a note",))


@WIDTHS
def test_one_diagnosis_is_a_row_per_layer(small, width):
    text = printed([as_run(small)], width)
    assert "small: 37 examples" in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    for row in small.summary:
        cells = lines[row.name].split()
        numbers = (row.mean, row.signal_norm, row.weight_gradient_norm, row.singular_values[0])
        assert cells[1:5] == [f"{row.active_fraction:.1%}", str(row.dead), "of", "6"]
        assert cells[5:] == [f"{number:.3g}" for number in numbers]


@WIDTHS
def test_several_runs_are_an_overview(small, width):
    text = printed(two_runs(small), width)
    way = travel(small.summary)
    rows = [line.split() for line in text.splitlines() if line.split()[:2] in (["one", "before"], ["two", "before"])]
    assert len(rows) == 2
    dead, units = (sum(getattr(row, name) for row in small.summary) for name in ("dead", "units"))
    active = sum(row.active_fraction for row in small.summary) / 2
    numbers = [f"{active:.0%}", f"{dead}/{units}", f"{way.per_layer:.3g}x", f"{way.ratio:.2g}", f"{small.accuracy:.1%}"]
    assert all(row[2:] == numbers for row in rows)
    after = [line.split() for line in text.splitlines() if line.split()[:1] == ["after"]]
    assert [row[-1] for row in after] == ["43.8%", "43.8%"]  # held out, from the history


@WIDTHS
def test_findings_and_notes_follow(small, width):
    text = printed([as_run(small)], width)
    for alarm in ALARMS:
        assert f"{alarm.severity} " in text
        assert alarm.message in text
    assert text.count("a note") == 1


@WIDTHS
@pytest.mark.parametrize("form", ["one", "two"])
def test_nothing_runs_over_the_edge_and_nothing_is_cut(form, width):
    name = "a/very/long/path/" * 6 + "kernel"
    found = named(name)
    text = printed([as_run(found)] if form == "one" else two_runs(found), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


@WIDTHS
@pytest.mark.parametrize("form", ["one", "two"])
def test_names_that_look_like_markup_are_printed_as_they_are(form, width):
    found = named(MARKUP)
    runs = [as_run(found)] if form == "one" else two_runs(found, (MARKUP, f"2{MARKUP}"), (MARKUP, f"3{MARKUP}"))
    text = printed(runs, width)
    # Title, layers, alarm and note; or runs, stages, alarms and note.
    expected = {"one": [f"{MARKUP}: 37 examples", f"{MARKUP}/relu", f" {MARKUP}"], "two": [MARKUP, f"3{MARKUP}"]}
    for words in expected[form]:
        assert words in text, text
    assert text.count(MARKUP) >= 4
    assert text.count(MARKUP) == text.count("x[/red]") == text.count("[red]x")


def test_a_closing_tag_on_its_own_is_no_error():
    assert "[/]: 37 examples" in printed([as_run(diagnosis("[/]"))], 80)


def test_without_a_loss_there_are_dashes():
    text = printed([as_run(rx.diagnose(apply, X, params=PARAMS))], 80)
    row = next(line for line in text.splitlines() if line.startswith("first/relu"))
    assert row.split()[6:8] == ["–", "–"]
    assert "no loss was given" in text


def test_rules_that_could_not_run_are_one_line_per_reason():
    found = diagnosis()
    text = printed(two_runs(found), 140)
    assert text.count("not checked, no params and updates were given: update/weight ratio") == 1
    assert "not checked, no params and updates were given: update/weight ratio" in str(found)
    assert "not checked" not in printed([as_run(diagnosis(alarms=ALARMS))], 140)  # a plain tuple of alarms knows none


def test_a_rule_that_ran_in_one_of_the_runs_is_not_told_as_unchecked():
    relu, tanh = (rx.diagnose(act, X, title=act.__name__) for act in (rx.relu, rx.tanh))
    both, alone = (notes_of([as_run(one) for one in which]) for which in ((relu, tanh), (relu,)))
    assert any("no activation saturates" in note for note in alone)
    assert not any("saturates" in note for note in both)
    assert any("no loss was given" in note for note in both)


def test_each_finding_is_told_once_with_its_place_remedy_and_threshold(small):
    text = printed(two_runs(small), 140)
    for alarm in ALARMS:
        assert text.count(alarm.message) == 1
        serious = alarm.severity != "info"
        assert text.count(f"usually helps: {alarm.remedy}") == text.count(f"threshold: {alarm.reference}") == serious
    assert f"{ALARMS[0].message} (model.py:7)" in text
    assert text.splitlines()[0].rstrip() == verdict(two_runs(small))


def test_of_remarks_the_first_places_are_told_and_of_warnings_all(small):
    few, many = (tuple(replace(ALARMS[i], message=f"{i} at {n}") for n in range(5)) for i in (2, 1))
    text = printed([as_run(replace(small, alarms=(*many, *few)))], 80)
    assert [text.count(f"{i} at ") for i in (2, 1)] == [3, 5]
    assert text.count("and 2 more, in the report") == 1


def test_a_report_that_is_partial_says_so_first(small):
    [run] = two_runs(small, ("one",))
    text = printed([replace(run, notes=("partial: [interrupted] after step 3",))], 80)
    assert text.splitlines()[0].rstrip() == "partial [interrupted] after step 3"
    assert text.count("interrupted") == 1


def test_without_an_accuracy_the_loss_is_in_its_place(small):
    text = printed([replace(run, history=None) for run in two_runs(replace(small, accuracy=None))], 80)
    [row, *_] = [line.split() for line in text.splitlines() if line.startswith("one")]
    assert row[-1] == f"{small.loss:.3g}"
    assert "accuracy" not in text
