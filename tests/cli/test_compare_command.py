"""``relujax compare``: saved runs side by side."""

import json
from pathlib import Path

import numpy as np
import pytest
from workplace import X, assert_one_line, files, read, run


@pytest.fixture
def saved():
    np.savez("double.npz", x=2 * X)
    for name, data in (("a", "good"), ("b", "double")):
        assert run(f"diagnose some_models:function --data {data}.npz --json {name}.json --quiet") == 0


def test_two_saved_runs_side_by_side(saved, capsys):
    assert run("compare a.json b.json --out both.html --json both.json") == 0
    printed = capsys.readouterr().out
    assert "some_models:function (a)" in " ".join(printed.split())
    assert "report: both.html" in printed
    first, other = read("both.json")["rows"]
    assert (first["change"], other["run"]) == ({}, "some_models:function (b)")
    assert other["change"] == {"active_fraction": 0.0, "dead": 0}  # twice the input, and no bias
    page = Path("both.html").read_text(encoding="utf-8")
    assert "some_models:function (a)" in page


def damaged(change):
    value = read("a.json")
    change(value, value["runs"][0], next(iter(value["runs"][0]["stages"].values())))
    Path("bad.json").write_text(json.dumps(value))


HOLES = {
    "facts": lambda value, run, stage: run.update(facts=[]),
    "no runs": lambda value, run, stage: value.update(runs=[]),
    "runs of another kind": lambda value, run, stage: value.update(runs={}),
    "no stage": lambda value, run, stage: run.update(stages={}),
    "no layer": lambda value, run, stage: stage.update(sites=[]),
    "no unit": lambda value, run, stage: stage["sites"][0].update(units=0),
    "no rank": lambda value, run, stage: stage["sites"][0].update(rank=None),
    "no histogram": lambda value, run, stage: stage["sites"][0].update(active_histogram=[]),
    "uneven curves": lambda value, run, stage: run.update(
        history={"step": [1], "loss": [], "gradient_norm": [1], "accuracy": [1]}
    ),
    "no curves": lambda value, run, stage: run.update(
        history={"step": [], "loss": [], "gradient_norm": [], "accuracy": []}
    ),
    "half a letter": lambda value, run, stage: run.update(name="\ud800"),
}


@pytest.mark.parametrize("hole", HOLES)
def test_damaged_runs_are_refused_by_the_name_of_their_file(saved, hole, capsys):
    damaged(HOLES[hole])
    before = files()
    assert run("compare a.json bad.json") == 2
    assert_one_line(capsys, r"cannot read bad.json: got JSON of schema \d that is damaged")
    assert files() == before


def test_json_without_end_is_refused(saved, capsys):
    Path("deep.json").write_text("[" * 100_000)
    assert run("compare a.json deep.json") == 2
    assert_one_line(capsys, "cannot read deep.json: got text that is no JSON")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.json", r"got one run in a.json: expected two or more; name another file beside it"),
        ("a.json none.json", r"no file none.json: expected JSON that relujax diagnose --json wrote"),
        ("a.json good.npz", r"cannot read good.npz: .*; expected JSON"),
        ("a.json some_models.py", r"cannot read some_models.py: got text that is no JSON .*: expected what relujax"),
        ("a.json b.json --out none/c.html", r"cannot write none/c.html: there is no folder none"),
        ("a.json b.json --out -", r"got --out -: expected a file; only --json can be printed"),
        ("a.json b.json --out b.json", r"got b.json to read and to write: expected another file"),
    ],
    ids=["one", "missing", "binary", "text", "folder", "dash", "over itself"],
)
def test_bad_input_leaves_nothing_behind(saved, line, message, capsys):
    before = files()
    assert run(f"compare {line}") == 2
    assert_one_line(capsys, message)
    assert files() == before
