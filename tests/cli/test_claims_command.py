"""``relujax claims``: verdicts in the terminal, on a page, as JSON."""

import json
from pathlib import Path

import pytest
from workplace import assert_one_line, files, read, run

from relujax import claims


def test_one_claim_is_tested_and_written(capsys):
    assert run("claims one_sign --quick --out page.html --json found.json") == 0
    printed = capsys.readouterr().out
    statement = claims.CLAIMS["one_sign"].statement
    assert statement in " ".join(printed.split())
    found = read("found.json")
    assert ([one["name"] for one in found["findings"]], found["unfinished"]) == (["one_sign"], [])
    assert found["quick"]
    assert "these verdicts say nothing" in " ".join(printed.split())
    assert "one sign" in Path("page.html").read_text(encoding="utf-8")


def test_interrupting_leaves_the_claims_that_were_tested(monkeypatch, capsys):
    whole = claims.each

    def stopped(*args, **kwargs):
        yield next(whole(*args, **kwargs))
        raise KeyboardInterrupt

    monkeypatch.setattr(claims, "each", stopped)
    assert run("claims one_sign sparse --quick --out page.html --json found.json") == 130
    assert "relujax: interrupted; the 1 claim tested until then: page.html" in capsys.readouterr().err
    found = read("found.json")
    assert (found["partial"], found["unfinished"]) == (True, ["sparse"])
    assert "sparse not tested" in Path("page.html").read_text(encoding="utf-8")


def test_interrupting_as_the_page_is_made_leaves_it_all_the_same(monkeypatch, capsys):
    made, page = [], claims.Findings.to_html

    def stopped(findings):
        made.append(1)
        if len(made) == 1:
            raise KeyboardInterrupt
        return page(findings)

    monkeypatch.setattr(claims.Findings, "to_html", stopped)
    assert run("claims one_sign --quick --out page.html") == 130
    assert "the 1 claim tested until then: page.html" in capsys.readouterr().err
    assert claims.CLAIMS["one_sign"].statement.split()[-1] in Path("page.html").read_text(encoding="utf-8")


def test_without_a_number_the_library_s_seeds_are_taken(monkeypatch):
    told = []
    monkeypatch.setattr(claims, "each", lambda names, *, seeds, **_: told.append(seeds) or iter(()))
    assert run("claims one_sign --quiet") == 0
    assert told == [claims.SEEDS]


def test_list_measures_nothing(capsys):
    before = files()
    assert run("claims --list --json -") == 0
    statements = {name: claim.statement for name, claim in claims.CLAIMS.items()}
    assert json.loads(capsys.readouterr().out) == {"schema": claims.SCHEMA, "claims": statements}
    assert files() == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("spars", r"'spars'.*sparse"),
        ("sparse --seeds 2", r"got seeds=2: expected 5 or more"),
        ("sparse --quick --seeds 1", r"got seeds=1: expected 2 or more"),
        ("sparse sparse", r"got the claim 'sparse' twice"),
        ("sparse --list", r"got --list with sparse: expected names to test, or --list alone"),
        ("sparse --out none/x.html", r"cannot write none/x.html: there is no folder none"),
    ],
    ids=["name", "seeds", "quick seeds", "twice", "list", "folder"],
)
def test_bad_input_leaves_nothing_behind(line, message, capsys):
    before = files()
    assert run(f"claims {line}") == 2
    assert_one_line(capsys, message)
    assert files() == before
