"""``relujax compare``: saved runs side by side."""

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
    assert "some_models:function" in printed
    assert "report: both.html" in printed
    first, other = read("both.json")["rows"]
    assert (first["change"], other["run"]) == ({}, "some_models:function (2)")
    assert other["change"] == {"active_fraction": 0.0, "dead": 0}  # twice the input, and no bias
    page = Path("both.html").read_text(encoding="utf-8")
    assert "some_models:function (2)" in page


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.json", r"got one run in a.json: expected two or more; name another file beside it"),
        ("a.json none.json", r"no file none.json: expected JSON that relujax diagnose --json wrote"),
        ("a.json good.npz", r"cannot read good.npz: .*; expected JSON"),
        ("a.json some_models.py", r"cannot read some_models.py: got text that is no JSON .*: expected what relujax"),
        ("a.json b.json --out none/c.html", r"cannot write none/c.html: there is no folder none"),
        ("a.json b.json --out b.json", r"got b.json to read and to write: expected another file"),
    ],
    ids=["one", "missing", "binary", "text", "folder", "over itself"],
)
def test_bad_input_leaves_nothing_behind(saved, line, message, capsys):
    before = files()
    assert run(f"compare {line}") == 2
    assert_one_line(capsys, message)
    assert files() == before
