"""JSON: strict, with a schema number, and read again it gives what was written."""

import json
import math
from dataclasses import replace

import pytest
from small_models import PARAMS, X, apply
from small_runs import ALARMS, HISTORY, HOSTILE, SIGNALS, diagnosis, named, two_runs

import relujax as rx
from relujax.health import Alarms
from relujax.report import as_run, from_json, to_json


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
    assert found["schema"] == 5
    parts = {"sites", "opaque", "network", "alarms", "skipped", "notes", "predicted"}
    assert found.keys() == {"schema", "title", "examples", "loss", "accuracy", *parts}
    assert (found["title"], found["examples"], found["notes"]) == ("small", 37, ["a note"])
    assert (found["loss"], found["accuracy"]) == (small.loss, small.accuracy)
    assert found["network"]["elements"] == sum(row.units for row in small.summary)
    for site, row in zip(found["sites"], small.summary, strict=True):
        for name, value in site.items():
            given = getattr(row, name)
            assert value == (list(given) if isinstance(given, tuple) else given), name
    assert [alarm["message"] for alarm in found["alarms"]] == [alarm.message for alarm in ALARMS]
    assert found["alarms"][0].keys() == {"rule", "severity", "site", "source", "message", "remedy", "reference"}


def test_runs_come_back_with_how_they_were_made_and_trained(small):
    found = read(to_json(two_runs(small, facts={"depth": 2, "clip_norm": None, "batch_norm": False})))
    assert found["schema"] == 5
    assert [run["name"] for run in found["runs"]] == ["one", "two"]
    run = found["runs"][1]
    assert list(run["stages"]) == ["before", "after"]
    assert run["stages"]["after"] == read(small.to_json())
    assert run["facts"] == {"depth": 2, "clip_norm": None, "batch_norm": False}
    assert run["history"] == {name: list(getattr(HISTORY, name)) for name in HISTORY.__dataclass_fields__}
    assert run["notes"] == []
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


def test_saved_runs_are_read_as_they_were(small):
    runs = two_runs(diagnosis(), facts={"depth": 2, "clip_norm": None})
    stages = {name: replace(one, predicted={"signal_norm": (0.5, 2.0)}) for name, one in runs[0].stages.items()}
    runs[0] = replace(runs[0], stages=stages, notes=("partial: interrupted",))
    assert from_json(to_json(runs)) == runs
    assert from_json(runs[0].to_json()) == runs[:1]
    [alone] = from_json(diagnosis().to_json())
    assert alone == as_run(diagnosis())
    assert alone.stages["as given"].skipped == diagnosis().skipped != ()
    assert isinstance(alone.stages["as given"].alarms, Alarms)


def test_a_diagnosis_without_a_loss_and_with_histograms_is_read_as_it_was():
    found = rx.diagnose(apply, X, params=PARAMS, edges=(0.0, 1.0))
    assert found.summary[0].output_histogram is not None
    assert from_json(found.to_json()) == [as_run(found)]


def test_words_for_what_is_not_finite_are_numbers_again_and_names_stay_words(small):
    row = replace(small.summary[0], name="nan", mean=math.inf, std=math.nan, singular_values=(-math.inf, 1.0))
    bad = replace(small, title="inf", loss=math.nan, summary=replace(small.summary, rows=(row,)))
    [run] = from_json(bad.to_json())
    found = run.stages["as given"]
    assert (found.title, found.summary[0].name) == ("inf", "nan")
    assert math.isnan(found.loss)
    assert math.isnan(found.summary[0].std)
    assert (found.summary[0].mean, found.summary[0].singular_values) == (math.inf, (-math.inf, 1.0))


def damaged(change):
    value = json.loads(to_json(two_runs(diagnosis())))
    change(value["runs"][0])
    return json.dumps(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "got text that is no JSON"),
        ("[1]", "got JSON without a schema number: expected what relujax.report.to_json wrote"),
        ('{"schema": 2, "runs": []}', "got schema 2: expected 5, which this version of relujax writes"),
        (damaged(lambda run: run.pop("name")), "damaged .*'name'"),
        (damaged(lambda run: run["stages"]["after"]["sites"][0].pop("dead")), "damaged .*'dead'"),
        (damaged(lambda run: run["stages"]["after"].update(examples="many")), "damaged .*'many' is no int"),
        (damaged(lambda run: run.update(history=3)), "damaged"),
        (damaged(lambda run: run["stages"]["after"]["alarms"].append({"rule": 1})), "damaged .*1 is no str"),
    ],
    ids=["text", "list", "schema", "name", "column", "words", "history", "alarm"],
)
def test_what_was_not_written_so_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        from_json(text)
