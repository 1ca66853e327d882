"""``relujax list``, ``sites``, ``spectrum`` and ``completion``: they print, and write nothing unless asked to."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from workplace import MODELS, X, assert_one_line, files, run

import relujax as rx

WEIGHTS = np.sin(np.arange(12, dtype=np.float32)).reshape(4, 3)


def printed_json(line, capsys):
    before = files()
    assert run(f"{line} --json -") == 0
    assert files() == before
    return json.loads(capsys.readouterr().out)


def test_the_list_is_the_registry(capsys):
    found = printed_json("list", capsys)["activations"]
    assert [row["name"] for row in found] == list(rx.ACTIVATIONS)
    assert {row["name"]: row["residual"] for row in found} == {n: r.residual for n, r in rx.ACTIVATIONS.items()}
    assert run("list leaky") == 0
    printed = capsys.readouterr().out
    assert "leaky_relu" in printed
    assert "gelu" not in printed
    assert run("list lekyrelu") == 2
    assert_one_line(capsys, "no activation has 'lekyrelu' in its name: expected .*leaky_relu")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device here that is always full")
@pytest.mark.parametrize("line", ["list", "list --json -"])
def test_a_full_disk_behind_the_output_is_one_line(line, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(line) == 2
    assert_one_line(capsys, "cannot write the output: No space left on device")


def test_a_full_disk_elsewhere_is_not_taken_for_that_of_the_output(monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("relujax.cli._list._numbers", fail)
    with pytest.raises(OSError, match="No space left"):
        run("list --quiet --json -")


@pytest.mark.parametrize(("factory", "name"), [("Net", "hidden/relu"), ("pair", "hidden/relu"), ("function", "relu")])
def test_sites_of_a_model(factory, name, capsys):
    found = printed_json(f"sites some_models:{factory} --data good.npz", capsys)
    [site] = found["sites"]
    assert (site["name"], site["kind"], site["shape"], found["opaque"]) == (name, "relu", [9, 3], [])
    line = 1 + next(i for i, text in enumerate(MODELS.splitlines()) if "rx.relu(self.hidden" in text)
    assert factory != "Net" or site["source"].endswith(f"some_models.py:{line}")
    assert run(f"sites some_models:{factory} --data good.npz") == 0
    assert name in capsys.readouterr().out


def test_the_spectrum_of_each_example(capsys):
    found = printed_json("spectrum some_models:function --data good.npz --layers --examples 5", capsys)["spectra"]
    masks = X[:5] @ WEIGHTS > 0
    want = [np.linalg.svd(WEIGHTS * mask, compute_uv=False) for mask in masks]
    for name in ("relu", "output"):
        np.testing.assert_allclose(found[name], want, rtol=1e-5, atol=1e-6)
    assert run("spectrum some_models:function --data good.npz --num 1") == 0
    printed = capsys.readouterr().out
    largest = np.median([np.linalg.svd(WEIGHTS * mask, compute_uv=False)[0] for mask in X[:8] @ WEIGHTS > 0])
    assert f"{largest:.3g}" in printed


def test_examples_that_depend_on_each_other_are_taken_within_their_batch(capsys):
    found = printed_json("spectrum some_models:normalised --data good.npz --examples 1", capsys)["spectra"]["output"]

    def first(x):  # the first row of the output, by the first row of the input
        batch = np.concatenate([x[None], X[1:]]).astype(np.float64)
        return np.maximum(((batch - batch.mean(0)) / batch.std(0))[0], 0)

    steps = 1e-6 * np.eye(4)
    jacobian = np.array([(first(X[0] + h) - first(X[0] - h)) / 2e-6 for h in steps]).T
    np.testing.assert_allclose(found[0], np.linalg.svd(jacobian, compute_uv=False), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sites some_models:function", r"required: --data; see relujax sites --help"),
        ("sites some_models:function --data none.npz", r"no file none.npz"),
        ("sites some_models:nothing --data good.npz", r"got a model of type NoneType"),
        ("spectrum some_models:function --data good.npz --examples 0", r"got examples=0: expected .*1"),
        ("spectrum some_models:function --data good.npz --num 4", r"num=4"),
        ("spectrum some_models:function --data good.npz --num 1 --layers", r"got layers=True with num=1"),
        ("sites some_models:function --data nothing.npz", r"got shape \(0, 4\): expected at least one example"),
        ("spectrum some_models:function --data labels.npz", r"got int32 inputs: expected floating ones"),
        ("completion fish", r"invalid choice: 'fish'"),
        ("list --json none/a.json", r"cannot write none/a.json: there is no folder none"),
        ("sites some_models:function --data good.npz --json folder", r"cannot write folder: it is a folder"),
        ("spectrum some_models:function --data good.npz --json folder", r"cannot write folder: it is a folder"),
        ("sites some_models:function --data wide.npz", r"same shape, got [^.;]*; expected a model of one argument"),
    ],
    ids=[
        "no data",
        "no file",
        "no model",
        "no examples",
        "too many",
        "both",
        "no rows",
        "integers",
        "shell",
        "no folder",
        "sites to a folder",
        "spectrum to a folder",
        "another width",
    ],
)
def test_bad_input_is_one_line(line, message, capsys):
    np.savez("labels.npz", x=np.int32(X))
    np.savez("nothing.npz", x=X[:0])
    np.savez("wide.npz", x=np.tile(X, 2))
    before = files()
    assert run(line) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    print(printed.err, end="", file=sys.stderr)
    assert_one_line(capsys, message)
    assert files() == before


def test_a_spectrum_of_few_examples_runs_few_of_many(monkeypatch, capsys):
    np.savez("many.npz", x=np.tile(X, (100, 1)))
    assert run("spectrum some_models:small_batches_only --data many.npz --examples 3") == 0
    assert "medians over 3 examples" in capsys.readouterr().out


def test_the_jacobians_of_all_layers_count_against_the_limit(monkeypatch, capsys):
    monkeypatch.setattr("relujax.report._spectra.JACOBIAN_LIMIT", 20)  # 4 inputs times 3 outputs, and again 3 units
    assert run("spectrum some_models:function --data good.npz") == 0
    capsys.readouterr()
    assert run("spectrum some_models:function --data good.npz --layers") == 2
    assert_one_line(capsys, "got a Jacobian of 2e\\+01 numbers per example")


def test_what_a_model_prints_is_not_in_the_json(capsys):
    assert len(printed_json("sites some_models:talks --data good.npz", capsys)["sites"]) == 1


def test_a_model_that_ends_the_process_is_bad_input(capsys):
    assert run("sites some_models:leaves --data good.npz") == 2
    assert_one_line(capsys, r"some_models:leaves\(\) failed: 7; expected a factory")


@pytest.mark.parametrize(("columns", "width"), [(None, 120), ("80", 80)], ids=["no width", "80"])
def test_a_file_gets_lines_of_120_where_no_width_is_given(columns, width, monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS")
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert run("list") == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) == width


def test_what_has_no_forward_mode_is_marked_and_the_mark_explained(capsys):
    assert run("list guided") == 0
    assert re.search(r"bits\*.*\n\* has no forward mode", capsys.readouterr().out)
    assert run("list gelu") == 0
    assert "*" not in capsys.readouterr().out.replace(" * ", "")


@pytest.mark.parametrize(
    "command",
    ["", "diagnose", "compare", "claims", "list", "sites", "spectrum", "completion"],
    ids=lambda c: c or "all",
)
def test_help_fits_in_80_columns(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        run(f"{command} --help")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert lines[0].startswith("usage: relujax")


def test_a_terminal_of_few_letters_gets_question_marks():
    script = [sys.executable, "-m", "relujax.cli", "list", "gelu"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "quick_gelu" in done.stdout


def test_bash_completes_commands_and_options(capsys):
    assert run("completion bash") == 0
    script = capsys.readouterr().out
    ask = (
        'COMP_WORDS=(relujax diagnose --acti); COMP_CWORD=2; _shtab_relujax "" --acti diagnose; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, timeout=30, check=False)
    assert "--activation" in done.stdout.split()
