"""Running claims: which, in what order, how far it is, what is refused, and what an interruption leaves."""

import dataclasses
import io

import pytest
import rich
from rich.console import Console

import relujax as rx
from relujax import claims, study
from relujax.claims import _run

pytestmark = pytest.mark.own_precision

EFFECTS = {"holds": (2.0, 2.1), "fails": (0.1, 0.11)}


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    """Experiments that take no time, one of which is interrupted."""

    def interrupted(lab):
        raise KeyboardInterrupt

    fast = {name: dataclasses.replace(one, experiment=lambda lab: EFFECTS) for name, one in claims.CLAIMS.items()}
    fast["dropout"] = dataclasses.replace(fast["dropout"], experiment=interrupted)
    monkeypatch.setattr(_run, "CLAIMS", fast)


def test_claims_come_in_the_order_asked_for():
    found = rx.claims.run(["sparse", "cheap"], quick=True)
    assert [one.name for one in found] == ["sparse", "cheap"]
    assert [c.values for c in found[0].conditions] == list(EFFECTS.values())
    assert found.unfinished == ()


def test_progress_rises_to_one():
    told = []
    claims.run(["sparse", "cheap"], quick=True, progress=lambda what, share: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert told[0][0] == claims.CLAIMS["sparse"].statement


def test_a_bar_is_shown(monkeypatch):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=140, _environ={"TERM": "xterm"})
    monkeypatch.setattr(rich, "_console", terminal)
    claims.run(["sparse"], quick=True, progress=True)
    shown = terminal.file.getvalue()
    assert "ReLU networks are sparse" in shown
    assert "100%" in shown


def test_an_interrupted_run_has_given_what_it_found():
    told = []
    with pytest.raises(KeyboardInterrupt):
        claims.run(["sparse", "dropout", "cheap"], quick=True, on_finding=told.append)
    assert [one.name for one in told] == ["sparse"]
    partial = claims.Findings(tuple(told), ("dropout", "cheap"))
    assert partial.to_dict()["partial"] is True
    assert "Partial: dropout, cheap not tested." in partial.to_html()


@pytest.mark.parametrize("call", [claims.run, claims.each], ids=["run", "each"])
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            (["drop_out"],),
            {},
            r"unknown claim 'drop_out': expected a name such as dropout.*; rx.claims.names\(\), or relujax claims --l",
        ),
        (([7],), {}, "unknown claim 7: expected a name such as cheap"),
        ((["sparse", "sparse"],), {}, "got the claim 'sparse' twice: expected each name once"),
        (([],), {}, "got no names: expected some of cheap, "),
        (("sparse",), {}, r"got names='sparse': expected a list of names, such as \['sparse'\]"),
        ((), {"seeds": 4}, "got seeds=4: expected 5 or more, which an error bar takes; quick=True takes 2"),
        ((), {"seeds": 1, "quick": True}, "got seeds=1: expected 2 or more"),
        ((), {"seeds": 2.5}, "got seeds=2.5: expected a whole number"),
        ((), {"seeds": True}, "got seeds=True: expected a whole number"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(call, arguments, options, message):
    with pytest.raises(ValueError, match=message):
        call(*arguments, **options)


def test_each_condition_has_the_overlap_of_the_images_that_it_holds_out_and_trains_on(monkeypatch):
    [(x, _), (held, _)] = [getattr(study.digits(0), part) for part in ("train", "test")]
    assert (len(held), len(x)) == (360, 1437)
    whole = 360 / 1437
    expected = {
        "batch_norm": {
            "signal, He's weights": 0,  # before training, and of images that are not held out
            "gradient, weights of twice He's variance": 0,
            "test error after training, He's weights": whole,
        },
        "overfits": {
            "all images, against tanh": whole,
            "150 images, against tanh": 2.4,
            "300 images, a fifth of the labels wrong, against sigmoid": 1.2,
        },
        "dropout": {
            "150 images, rate 0.2": 2.4,
            "300 images, a fifth of the labels wrong, rate 0.5": 1.2,
            "all images, ten layers, 400 steps, rate 0.5": whole,
        },
        "sparse": {"after training": whole},
        "explodes": {"signal, He's weights, against tanh": 0},
    }
    for name, overlaps in expected.items():
        recorded = dict.fromkeys(overlaps, (2.0, 2.1))
        one = dataclasses.replace(claims.CLAIMS[name], experiment=lambda lab, effects=recorded: effects)
        monkeypatch.setattr(_run, "CLAIMS", {name: one})
        [found] = claims.run([name], quick=True)
        assert {c.name: c.overlap for c in found.conditions} == pytest.approx(overlaps)
