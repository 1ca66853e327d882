"""What the runs found: most severe first, the same finding once, and one sentence of all."""

from dataclasses import replace

import pytest
from small_runs import ALARMS, diagnosis

from relujax.report import Run
from relujax.report._findings import findings, verdict


@pytest.fixture(scope="module")
def small():
    return diagnosis()


def run(small, name, **stages):
    return Run(name, {stage: replace(small, alarms=alarms) for stage, alarms in stages.items()})


CRITICAL, WARNING, INFO = ALARMS
ELSEWHERE = replace(CRITICAL, site="second/relu", message="second/relu: worse")


def test_findings_are_most_severe_first_over_all_runs_and_stages(small):
    found = findings([run(small, "a", x=(INFO,), y=(WARNING,)), run(small, "b", x=(WARNING, INFO), y=(CRITICAL,))])
    assert [one.severity for one in found] == ["critical", "warning", "info"]
    assert [(p.runs, p.alarm) for p in found[0].places] == [(("b y",), CRITICAL)]
    assert [(p.runs, p.alarm) for p in found[1].places] == [(("a y", "b x"), WARNING)]  # word for word the same: once


def test_one_rule_at_several_layers_is_one_finding_of_several_places(small):
    [found] = findings([run(small, "a", x=(CRITICAL,)), run(small, "b", x=(ELSEWHERE,))])
    assert (found.rule, found.remedy, found.reference) == (CRITICAL.rule, CRITICAL.remedy, CRITICAL.reference)
    assert [(p.runs, p.alarm.site) for p in found.places] == [(("a",), "first/relu"), (("b",), "second/relu")]


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ({"a": {"x": True}}, ()),  # of the only run there is
        ({"a": {"x": True, "y": True}}, ()),
        ({"a": {"x": True, "y": False}}, ("x",)),
        ({"a": {"x": True, "y": True}, "b": {"x": False}}, ("a",)),
        ({"a": {"x": True, "y": False}, "b": {"x": False}}, ("a x",)),
        ({"a": {"x": True}, "b": {"x": True}}, ()),
    ],
    ids=["one", "both stages", "one stage", "one run", "one stage of a run", "all runs"],
)
def test_a_place_is_named_as_shortly_as_can_be(small, runs, said):
    given = [run(small, name, **{s: (CRITICAL,) * bad for s, bad in stages.items()}) for name, stages in runs.items()]
    [found] = findings(given)
    assert found.places[0].runs == said


@pytest.mark.parametrize(
    ("alarms", "sentence"),
    [
        (((), ()), "No critical finding: the gradient arrives in every layer."),
        (((INFO,), ()), "No critical finding: the gradient arrives in every layer."),
        (((WARNING,), (WARNING,)), "No critical finding, but a warning: rule warning."),
        (((), ALARMS), "1 of 2 runs has a critical finding: b (rule critical)."),
        ((ALARMS, ALARMS), "2 of 2 runs have a critical finding: a (rule critical); b (rule critical)."),
        ((ALARMS,), "Critical: rule critical, first at first/relu."),
    ],
    ids=["nothing", "info", "warning", "one of two", "both", "the only one"],
)
def test_the_verdict_is_a_sentence(small, alarms, sentence):
    assert verdict([run(small, name, x=given) for name, given in zip("ab", alarms, strict=False)]) == sentence


def test_the_verdict_names_the_stage_where_it_is_not_all(small):
    runs = [run(small, "a", before=(CRITICAL,), after=()), run(small, "b", before=(), after=())]
    assert verdict(runs) == "1 of 2 runs has a critical finding: a (rule critical before)."


def test_without_a_loss_the_verdict_says_nothing_of_the_gradient(small):
    rows = tuple(replace(row, signal_norm=None) for row in small.summary)
    bare = replace(small, summary=replace(small.summary, rows=rows))
    assert verdict([run(bare, "a", x=())]) == "No critical finding."
