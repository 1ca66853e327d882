"""What findings look like: text, JSON, a terminal, a figure, a page."""

import html
import io
import json
import math
import re
from dataclasses import replace

import pytest
from made_up_findings import HOSTILE, SOME, VALUES, finding
from rich.console import Console

from relujax.claims import Condition, Criterion, Findings, show

pytestmark = pytest.mark.own_precision


def test_the_verdict_names_the_conditions_under_which_it_held():
    assert [one.verdict for one in SOME] == ["holds", "holds only when two 0 holds", "does not hold", "undecided"]


def test_the_verdict_says_how_many_conditions_are_undecided_beside_others():
    assert finding("x", ["holds", "undecided"]).verdict == "holds only when x 0 holds (1 of 2 undecided)"
    surely = Condition("y", (0.5, 0.51, 0.49), Criterion(1.0))
    open_ = finding("x", ["undecided", "undecided"])
    assert replace(open_, conditions=(surely, *open_.conditions)).verdict == "does not hold (2 of 3 undecided)"
    assert open_.verdict == "undecided"


def test_the_reason_of_a_threshold_is_told_wherever_the_threshold_is():
    one = finding("x", ["holds"], Criterion(1.0, reason="no more than that"))
    console = Console(file=io.StringIO(), width=200)
    show(Findings((one,)), console)
    for text in (str(one), console.file.getvalue(), Findings((one,)).to_html()):
        assert "claimed: above 1 (no more than that)" in text
    assert one.to_dict()["reason"] == "no more than that"


def test_a_sentence_counts_them_and_says_where_the_run_was_cut_short():
    line = "Of 4 claims 1 holds, 1 holds only under some conditions, 1 does not hold, 1 is undecided."
    assert SOME.headline() == line
    assert replace(SOME, unfinished=("five",)).headline() == f"{line} Partial: five not tested."
    assert Findings(()).headline() == "No claim was tested."
    assert Findings((*SOME, *SOME)).headline().startswith("Of 8 claims 2 hold, 2 hold only under some")


def test_verdicts_on_tiny_networks_say_so_themselves():
    quick = replace(SOME, quick=True)
    for text in (quick.headline(), quick.to_html(), str(quick)):
        assert "Of tiny networks, to see that it runs: these verdicts say nothing." in text
    assert "tiny" not in SOME.to_html()
    assert [json.loads(one.to_json())["quick"] for one in (SOME, quick)] == [False, True]


def test_json_holds_every_number_and_stays_strict():
    endless = replace(SOME[3], conditions=(Condition("x", (math.inf, math.nan), Criterion(1.0)),))
    found = json.loads(Findings((*SOME, endless), ("left",)).to_json())
    assert (found["schema"], found["partial"], found["unfinished"]) == (1, True, ["left"])
    assert found["findings"][1]["verdict"] == "holds only when two 0 holds"
    assert found["findings"][1]["claimed"] == "above 1"
    assert found["findings"][1]["conditions"][1]["values"] == list(VALUES["fails"])
    assert found["findings"][1]["conditions"][1]["outcome"] == "fails"
    assert found["findings"][4]["conditions"][0]["values"] == ["inf", "nan"]


def test_text_and_terminal_hold_every_verdict_and_effect():
    console = Console(file=io.StringIO(), width=120)
    show(SOME, console)
    for text in (str(SOME), console.file.getvalue()):
        for one in SOME:
            assert one.statement in text
            for condition in one.conditions:
                assert condition.name in text
                assert f"{condition.effect:.3g}" in text
        assert SOME.headline() in text
    assert max(map(len, str(SOME).splitlines())) <= 120


def test_in_a_narrow_terminal_a_long_condition_goes_on_below_its_beginning():
    words = "under a condition that has a name of many words, of which the last do not fit in one line"
    console = Console(file=io.StringIO(), width=60)
    show(Findings((finding(words, ["holds"]),)), console)
    lines = [line for line in console.file.getvalue().splitlines() if line.startswith("  ")]
    assert len(lines) > 1
    assert all(line[2] != " " for line in lines)


def test_the_figure_has_a_line_per_condition_coloured_by_outcome():
    _, [ax] = SOME.figure()
    assert [label.get_text() for label in ax.get_yticklabels()] == [c.name for one in SOME for c in one.conditions]
    bars = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_ydata()[0] == line.get_ydata()[1]]
    colours = {"holds": "#009E73", "fails": "#D55E00", "undecided": "#808080"}
    assert [bar.get_color() for bar in bars] == [colours[c.outcome] for one in SOME for c in one.conditions]
    for bar, condition in zip(bars, [c for one in SOME for c in one.conditions], strict=True):
        left, right = bar.get_xdata()
        assert (left > 0) == (condition.outcome == "holds")
        assert (right < 0) == (condition.outcome == "fails")


def test_many_claims_take_two_columns_and_none_no_figure():
    many = Findings(tuple(finding(f"claim {i}", ["holds", "fails"]) for i in range(12)))
    _, axes = many.figure()
    assert [len(ax.get_yticks()) for ax in axes] == [12, 12]
    with pytest.raises(ValueError, match="got no findings: expected at least one"):
        Findings(()).figure()


def test_the_page_is_self_contained_and_runs_nothing():
    page = SOME.to_html()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy
    assert not re.search(r"<script|<img|<iframe|@import|url\(|https?:", page)
    assert set(re.findall(r'href="([^"]*)"', page)) == {"data:,", "#content", *(f"#claim-{one.name}" for one in SOME)}
    for one in SOME:
        assert f'id="claim-{one.name}"' in page
        for condition in one.conditions:
            assert condition.name in page
    assert page.count('class="bar"') == 6


def test_hostile_names_are_text():
    page = Findings((finding(HOSTILE, ["holds", "fails"]),), (HOSTILE,)).to_html()
    assert "<script" not in page
    assert "<img" not in page
    assert html.escape(HOSTILE) in page


def test_a_notebook_shows_the_page():
    frame = SOME._repr_html_()
    assert frame.startswith("<iframe srcdoc=")
    assert frame.count("<") == 2
    assert SOME.to_html() in html.unescape(frame)


def test_a_bar_is_on_the_side_of_the_threshold_that_the_outcome_names():
    page = SOME.to_html()
    rows = re.findall(r'<tr class="(\w+)">.*?class="bar" x1="([\d.]+)".*?x2="([\d.]+)"', page)
    assert len(rows) == 6
    for outcome, start, end in rows:
        middle = 130
        assert (float(start) > middle) == (outcome == "holds")
        assert (float(end) < middle) == (outcome == "fails")


@pytest.mark.parametrize(
    ("values", "criterion", "ends"),
    [
        ((1.5, 1.6), Criterion(1.0), ["0.5", "1", "2"]),
        ((0.02, 0.021), Criterion(0.1, above=False), ["1", "0.1", "0.01"]),
        ((0.05, 0.06), Criterion(0.0, log=False), ["-0.1", "0", "0.1"]),
        ((1e9, 1e9), Criterion(1.0), ["0.001", "1", "1000"]),
    ],
    ids=["near", "below", "difference", "far"],
)
def test_an_axis_reaches_as_far_as_its_error_bars(values, criterion, ends):
    shown = replace(SOME[0], criterion=criterion, conditions=(Condition("x", (*values, *values), criterion),))
    page = Findings((shown,)).to_html()
    [axis] = re.findall(r'<span class="axis">(.*?)</span></th>', page)
    assert re.findall(r"<span>(.*?)</span>", axis) == ends
    assert ("M-5,-5 L-5,5 L5,0 Z" in page) == (values[0] == 1e9)
