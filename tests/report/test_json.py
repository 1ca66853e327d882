"""JSON: strict, with a schema number, and the numbers that went in come out."""

import json
import math
from dataclasses import replace

import pytest
from small_runs import ALARMS, HISTORY, HOSTILE, SIGNALS, diagnosis, named, two_runs

from relujax.report import as_run, to_json


def read(text):
    """As strict JSON: Python's own NaN and Infinity are refused."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def small():
    return diagnosis(alarms=ALARMS, notes=("a note",))


def test_a_diagnosis_comes_back_as_it_was(small):
    found = read(small.to_json())
    assert found["schema"] == 1
    parts = {"sites", "opaque", "alarms", "skipped", "notes"}
    assert found.keys() == {"schema", "title", "examples", "loss", "accuracy", *parts}
    assert (found["title"], found["examples"], found["notes"]) == ("small", 37, ["a note"])
    assert (found["loss"], found["accuracy"]) == (small.loss, small.accuracy)
    for site, row in zip(found["sites"], small.summary, strict=True):
        for name, value in site.items():
            given = getattr(row, name)
            assert value == (list(given) if isinstance(given, tuple) else given), name
    assert [alarm["message"] for alarm in found["alarms"]] == [alarm.message for alarm in ALARMS]
    assert found["alarms"][0].keys() == {"rule", "severity", "site", "source", "message", "remedy", "reference"}


def test_runs_come_back_with_how_they_were_made_and_trained(small):
    found = read(to_json(two_runs(small, facts={"depth": 2, "clip_norm": None, "batch_norm": False})))
    assert found["schema"] == 1
    assert [run["name"] for run in found["runs"]] == ["one", "two"]
    run = found["runs"][1]
    assert list(run["stages"]) == ["before", "after"]
    assert run["stages"]["after"] == read(small.to_json())
    assert run["facts"] == {"depth": 2, "clip_norm": None, "batch_norm": False}
    assert run["history"] == {name: list(getattr(HISTORY, name)) for name in HISTORY.__dataclass_fields__}
    assert run["init_signal"] == {name: list(values) for name, values in SIGNALS.items()}


def test_a_diagnosis_on_its_own_is_a_run_without_history(small):
    [run] = read(to_json([as_run(small)]))["runs"]
    assert (run["name"], list(run["stages"]), run["history"]) == ("small", ["as given"], None)


@pytest.mark.parametrize(("value", "word"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_what_is_not_finite_becomes_a_word(small, value, word):
    row = replace(small.summary[0], mean=value, singular_values=(value, 1.0))
    bad = replace(small, loss=value, summary=replace(small.summary, rows=(row,)))
    found = read(bad.to_json())
    assert found["loss"] == word
    assert found["sites"][0]["mean"] == word
    assert found["sites"][0]["singular_values"] == [word, 1.0]
    assert float(word) == value or math.isnan(value)


def test_any_name_survives():
    text = HOSTILE + '\n\t\\ "é 層 \u2028'
    found = read(named(text).to_json())
    assert found["title"] == text
    assert found["notes"] == [text]
    assert found["sites"][0]["source"] == text
    assert found["alarms"][0]["message"] == text


def test_the_same_diagnosis_gives_the_same_text(small):
    assert diagnosis().to_json() == diagnosis().to_json()


def test_rules_that_could_not_run_are_listed_with_their_reason():
    found = read(diagnosis().to_json())
    assert {"rule": "update/weight ratio", "reason": "no params and updates were given"} in found["skipped"]
