"""``relujax diagnose``: what it writes and prints, and that bad input ends in one line and leaves nothing behind."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import workplace
from workplace import RNG, STACK, X, Y, assert_one_line, files, read

import relujax as rx
from relujax import cli, report, study
from relujax.cli import _common, _diagnose


def run(line):
    return workplace.run(f"diagnose {line}")


def test_a_run_writes_a_page_and_its_numbers_and_prints_a_table(capsys):
    before = files()
    assert run(f"{STACK} --activation tanh --out page.html --json numbers.json") == 0
    assert files() - before == {"page.html", "numbers.json"}
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    found = read("numbers.json")
    assert [one["name"] for one in found["runs"]] == ["relu", "tanh"]
    assert found["runs"][0]["facts"].items() >= {"depth": 2, "width": 4, "steps": 3, "init": "he_normal"}.items()
    for one in found["runs"]:
        for stage in one["stages"].values():
            assert stage["examples"] == 128
            assert [site["units"] for site in stage["sites"]] == [4, 4]
            assert all(site["singular_values"] for site in stage["sites"])
    printed = capsys.readouterr()
    assert printed.err == ""
    for words in ("relu", "tanh", "at initialisation", "after training", "report: page.html"):
        assert words in printed.out
    accuracy = found["runs"][1]["history"]["accuracy"][-1]
    assert f"{accuracy:.1%}" in printed.out


def test_the_same_seed_gives_the_same_numbers_to_the_last_byte():
    for name in ("a", "b"):
        assert run(f"{STACK} --depth 1 --steps 1 --seed 3 --json {name}.json") == 0
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()


def test_the_stack_s_options_arrive(monkeypatch):
    seen = []

    def fake_run(settings, data, progress, watch):
        seen.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run", fake_run)
    options = "--depth 7 --width 5 --steps 9 --optimizer momentum --learning-rate 0.5 --clip-norm 2 --batch-norm"
    run(f"--activation elu {options} --dropout 0.25 --init orthogonal --seed 11")
    expected = {"learning_rate": 0.5, "clip_norm": 2.0, "batch_norm": True, "dropout": 0.25, "init": "orthogonal"}
    assert seen == [study.Settings("elu", depth=7, width=5, steps=9, optimizer="momentum", seed=11, **expected)]
    run("")
    assert seen[1] == study.Settings("relu")


def test_interrupting_before_anything_is_measured_writes_nothing(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run", interrupted)
    before = files()
    assert run(STACK) == 130
    assert capsys.readouterr().err == "relujax: interrupted; nothing was written\n"
    assert files() == before


def test_interrupting_leaves_a_report_of_what_was_measured(monkeypatch, capsys):
    whole = study.run

    def stopped(settings, data, progress, watch):
        def look(found):
            watch(found)
            if settings.activation == "tanh" and found.history:
                raise KeyboardInterrupt

        return whole(settings, data, progress, look)

    monkeypatch.setattr(study, "run", stopped)
    assert run(f"{STACK} --activation tanh --activation elu --out page.html --json numbers.json") == 130
    assert capsys.readouterr().err == "relujax: interrupted; what was measured until then is in page.html\n"
    relu, tanh = read("numbers.json")["runs"]
    assert (list(relu["stages"]), relu["notes"]) == (["at initialisation", "after training"], [])
    assert (list(tanh["stages"]), tanh["history"]["step"]) == (["at initialisation"], [1])
    assert tanh["notes"] == ["partial: tanh is at step 1 of 3", "partial: interrupted; not begun: elu"]
    assert "This report is partial" in Path("page.html").read_text(encoding="utf-8")


def test_interrupting_the_singular_values_leaves_what_was_measured_before(monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("relujax.report._diagnose.with_spectra", stopped)
    assert run("some_models:function --data good.npz --out page.html --json numbers.json") == 130
    assert "what was measured until then is in page.html" in capsys.readouterr().err
    [stage] = read("numbers.json")["runs"][0]["stages"].values()
    assert (stage["examples"], stage["sites"][0]["singular_values"]) == (9, None)
    assert stage["notes"][0].startswith("partial: interrupted, 9 examples")


@pytest.mark.parametrize("what", ["page", "show"])
def test_interrupting_the_end_leaves_the_whole_report(what, monkeypatch, capsys):
    calls, whole = [], getattr(report, what)

    def stopped(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    monkeypatch.setattr(report, what, stopped, raising=False)
    assert run("some_models:function --data good.npz --out page.html") == 130
    assert capsys.readouterr().err == "relujax: interrupted; all was measured, and is in page.html\n"
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.endswith("</html>\n")
    assert "This report is partial" not in page


def test_a_file_name_may_be_as_long_as_can_be(capsys):
    name = "a" * 250 + ".html"
    assert run(f"some_models:function --data good.npz --out {name}") == 0
    assert Path(name).exists()
    capsys.readouterr()
    before = files()
    assert run(f"some_models:function --data good.npz --out a{name}a") == 2
    assert_one_line(capsys, "cannot write aaaa.*: File name too long; expected another file name")
    assert files() == before


def test_a_report_that_is_watched_loads_itself_again_until_it_is_done(monkeypatch):
    pages = []

    def keep(path, text):
        pages.append(text)

    monkeypatch.setattr(_diagnose, "write", keep)
    monkeypatch.setattr(_diagnose, "_WRITE_EVERY", 0)
    monkeypatch.setattr("relujax.report._diagnose._LOOK_EVERY", 0)
    np.savez("twice.npz", x=np.tile(X, (60, 1)))
    assert run("some_models:function --data twice.npz --out page.html --watch") == 0
    assert ["This report is partial" in text for text in pages] == [True, True, True, False]
    pages.clear()
    monkeypatch.setattr(_diagnose, "_WRITE_EVERY", 1e-9)
    assert run(f"{STACK} --activation tanh --out page.html --watch") == 0
    assert [["not begun: tanh" in text, "relu is at" in text, "tanh is at" in text] for text in pages] == (
        [[True, True, False]] * 4 + [[False, False, True]] * 4 + [[False] * 3]
    )


def test_a_report_that_is_watched_is_written_at_the_first_look_and_its_name_told(monkeypatch, capsys):
    monkeypatch.setattr("relujax.report._diagnose._LOOK_EVERY", 0)
    assert run("some_models:function --data good.npz --out [page].html --watch") == 0
    assert capsys.readouterr().out.startswith("to watch: open [page].html in a browser\n")
    assert run("some_models:function --data good.npz --out [page].html") == 0
    assert "to watch" not in capsys.readouterr().out


def test_strict_ends_with_three_where_a_finding_is_critical():
    assert run("some_models:dead --data good.npz") == 0
    assert run("some_models:dead --data good.npz --strict") == 3
    assert run("some_models:function --data good.npz --strict") == 0


def test_quiet_prints_nothing(capsys):
    assert run("some_models:function --data good.npz --quiet") == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_json_to_standard_output_is_json_alone(capsys):
    assert run("some_models:function --data good.npz --json -") == 0
    [one] = json.loads(capsys.readouterr().out)["runs"]
    assert one["name"] == "some_models:function"


@pytest.mark.parametrize(("factory", "site"), [("Net", "hidden/relu"), ("pair", "hidden/relu"), ("function", "relu")])
def test_your_own_model(factory, site, capsys):
    model = f"some_models:{factory}"
    assert run(f"{model} --data good.npz --loss cross_entropy --out page.html --json numbers.json") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert f"{model}: 9 examples" in printed.out
    assert site in printed.out
    [one] = read("numbers.json")["runs"]
    [stage] = one["stages"].values()
    assert [row["name"] for row in stage["sites"]] == [site]
    assert stage["examples"] == 9
    if factory == "function":
        h = np.maximum(X @ np.sin(np.arange(12, dtype=np.float32)).reshape(4, 3), 0)
        assert stage["sites"][0]["active_fraction"] == np.mean(h > 0)
        assert stage["accuracy"] == np.mean(h.argmax(axis=1) == Y)
    else:
        assert stage["sites"][0]["weight_gradient_norm"] > 0
    assert "some_models.py:" in stage["sites"][0]["source"]


def test_your_own_model_without_a_loss_needs_no_targets(capsys):
    np.savez("inputs.npz", x=X)
    assert run("some_models:function --data inputs.npz") == 0
    assert "no loss was given" in capsys.readouterr().out
    assert Path("relujax-report.html").exists()


def test_an_existing_report_is_replaced():
    Path("page.html").write_text("old")
    assert run("some_models:function --data good.npz --out page.html") == 0
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_file_name_that_looks_like_markup_is_printed_as_it_is(capsys):
    assert run("some_models:function --data good.npz --out r[bold]x.html") == 0
    assert "report: r[bold]x.html" in capsys.readouterr().out


def test_a_link_stays_a_link_and_its_file_is_replaced():
    Path("real.html").write_text("old")
    Path("link.html").symlink_to("real.html")
    assert run("some_models:function --data good.npz --out link.html") == 0
    assert Path("link.html").is_symlink()
    assert Path("real.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def data(**arrays):
    """Save an .npz, and the option that names it."""
    np.savez("data.npz", **arrays)
    return "--data data.npz"


def text_file():
    Path("data.npz").write_text("x,y\n1,2\n")
    return "--data data.npz"


def bare_array():
    np.save("data.npy", X)
    return "--data data.npy"


def cut_off():
    Path("data.npz").write_bytes(Path("good.npz").read_bytes()[:200])
    return "--data data.npz"


def damaged(compressed):
    """The middle of the array is not what it was."""
    (np.savez_compressed if compressed else np.savez)("data.npz", x=RNG.standard_normal((90, 4)))
    content = bytearray(Path("data.npz").read_bytes())
    content[len(content) // 2] ^= 0xFF
    Path("data.npz").write_bytes(content)
    return "--data data.npz"


def other_zip():
    with zipfile.ZipFile("data.npz", "w") as file:
        file.writestr("x", "no array at all")
    return "--data data.npz"


OWN = "some_models:function"
BAD = {
    "unknown activation": ("--activation rellu", r"unknown activation 'rellu': expected one of relu, .*mean relu"),
    "activation of two inputs": ("--activation glu", r"unknown activation of a stack 'glu': expected one of relu, "),
    "optimizer by half": ("--optimizer adm", r"unknown optimizer 'adm': expected .*; did you mean adam or adamw\?"),
    "unknown among known": ("--activation relu --activation no", r"unknown activation 'no'"),
    "no depth": ("--depth 0", r"got depth 0: expected at least 1"),
    "half a layer": ("--depth 1.5", r"argument --depth: invalid int value: '1.5'; see relujax diagnose --help"),
    "no width": ("--width 0", r"got width 0"),
    "no steps": ("--steps -1", r"got steps -1"),
    "unknown optimizer": ("--optimizer lion", r"unknown optimizer 'lion': expected one of adam, adamw, sgd"),
    "unknown init": ("--init zeros", r"unknown init 'zeros': expected one of auto, lecun_normal"),
    "learning rate": ("--learning-rate nan", r"got learning rate nan: expected a positive number"),
    "clip norm": ("--clip-norm 0", r"got clip norm 0.0: expected a positive number"),
    "dropout": ("--dropout 1", r"got dropout 1.0: expected a rate from 0"),
    "seed": ("--seed -1", r"seed.*-1|-1.*seed"),
    "unknown option": ("--depht", r"unrecognized arguments: --depht; see relujax"),
    "loss without a model": ("--loss mse", r"got --loss without a model: expected package.module:factory before it"),
    "resume without a model": ("--resume run.npz", r"got --resume without a model"),
    "resume from something else": (f"{OWN} --data good.npz --resume good.npz", r"good.npz, which holds no statistics"),
    "data without a model": ("--data good.npz", r"got --data without a model"),
    "unknown loss": (f"{OWN} --data good.npz --loss hinge", r"invalid choice: 'hinge'"),
    "model without data": (OWN, r"got a model but no data: expected --data batch.npz"),
    "no colon": ("some_models --data good.npz", r"got model 'some_models': expected package.module:factory"),
    "no factory": ("some_models: --data good.npz", r"got model 'some_models:': expected package.module:factory"),
    "no module": ("no_such_module:make --data good.npz", r"no module named 'no_such_module': expected .*importable"),
    "a file": ("some_models.py:make --data good.npz", r"got the file some_models.py: expected .* some_models:make"),
    "dependency": ("broken_module:make --data good.npz", r"no module named 'no_such_dependency_of_mine'"),
    "failing module": ("failing_module:make --data good.npz", r"importing failing_module failed: division by zero"),
    "no attribute": ("some_models:mak --data good.npz", r"module some_models has no 'mak': expected one of .*function"),
    "no callable": ("some_models:NUMBER --data good.npz", r"some_models:NUMBER is int: expected a callable"),
    "factory raises": (
        "some_models:raises --data good.npz",
        r"raises\(\) failed: no weights in this folder",
    ),
    "factory of one": (
        "some_models:needs --data good.npz",
        r"needs\(\) failed: .*'size'; expected a factory that",
    ),
    "factory of None": ("some_models:nothing --data good.npz", r"got a model of type NoneType: expected an NNX module"),
    "no activation": ("some_models:linear --data good.npz", r"no activation was found: expected calls of relujax"),
    "no file": (f"{OWN} --data none.npz", r"no file none.npz: expected an .npz with x, and y for a loss"),
    "folder for data": (f"{OWN} --data folder", r"no file folder: expected an .npz"),
    "bare array": (lambda: f"{OWN} {bare_array()}", r"data.npy is no .npz: expected arrays saved with numpy.savez"),
    "text": (lambda: f"{OWN} {text_file()}", r"data.npz is no .npz: expected arrays saved with numpy.savez"),
    "cut off": (lambda: f"{OWN} {cut_off()}", r"data.npz is no .npz"),
    "damaged": (lambda: f"{OWN} {damaged(compressed=False)}", r"cannot read data.npz: .*; expected arrays"),
    "damaged inside": (lambda: f"{OWN} {damaged(compressed=True)}", r"cannot read data.npz: .*; expected arrays"),
    "another zip": (lambda: f"{OWN} {other_zip()}", r"expected"),
    "pickled": (lambda: f"{OWN} {data(x=np.array([[1], 'a'], object))}", r"data.npz: it holds pickled objects; expect"),
    "no x": (lambda: f"{OWN} {data(inputs=X)}", r"data.npz holds inputs: expected x, and y for a loss"),
    "empty": (lambda: f"{OWN} {data()}", r"data.npz holds nothing: expected x"),
    "no y": (
        lambda: f"{OWN} {data(x=X)} --loss mse",
        r"got --loss mse but no y in data.npz: expected targets",
    ),
    "lengths": (lambda: f"{OWN} {data(x=X, y=Y[:5])}", r"got 9 inputs and 5 targets: expected as many of each"),
    "NaN": (lambda: f"{OWN} {data(x=np.where(X > 1, np.nan, X))}", r"got NaN or infinity in example"),
    "strings": (lambda: f"{OWN} {data(x=np.array(['a', 'b']))}", r"got dtype <U1: expected numbers"),
    "one number": (lambda: f"{OWN} {data(x=np.float32(1))}", r"got shape \(\): expected at least one example"),
    "no examples": (lambda: f"{OWN} {data(x=X[:0])}", r"got shape \(0, 4\): expected at least one example"),
    "shape": (lambda: f"{OWN} {data(x=X[:, :3])}", r"the model cannot be called on a batch of shape \(9, 3\)"),
    "labels": (lambda: f"{OWN} {data(x=X, y=Y + 7)} --loss cross_entropy", r"got labels from 7 to 9: expected 0 to 2"),
    "targets": (f"{OWN} --data good.npz --loss mse", r"got targets of shape \(9,\): expected the outputs' shape"),
    "out in no folder": (f"{STACK} --out none/page.html", r"cannot write none/page.html: there is no folder none"),
    "out is a folder": (f"{STACK} --out folder", r"cannot write folder: it is a folder; expected a file name"),
    "out is a device": (f"{STACK} --out /dev/null", r"cannot write /dev/null: it is no ordinary file; expected a file"),
    "out and json": (
        f"{STACK} --out a.html --json ./a.html",
        r"got a.html for both --out and --json: expected two",
    ),
    "json in no folder": (f"{STACK} --json none/a.json", r"cannot write none/a.json: there is no folder none"),
    "json is a folder": (f"{STACK} --json folder", r"cannot write folder: it is a folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing_behind(case, capsys):
    line, message = BAD[case]
    line = line if isinstance(line, str) else line()
    before = files()
    assert run(line) == 2
    assert_one_line(capsys, message)
    assert files() == before


@pytest.mark.parametrize("option", [name.replace("_", "-") for name in ("activation", *_diagnose.STACK_OPTIONS)])
def test_a_stack_s_options_do_not_go_with_a_model_of_your_own(option, capsys):
    values = {"activation": "relu", "optimizer": "adam", "init": "auto", "batch-norm": ""}
    before = files()
    assert run(f"{OWN} --data good.npz --{option} {values.get(option, 1)}") == 2
    assert_one_line(capsys, f"got --{option} with a model of your own: expected it without a model only")
    assert files() == before


def test_every_setting_of_a_stack_can_be_given():
    assert {"activation", *_diagnose.STACK_OPTIONS} == study.Settings.__dataclass_fields__.keys()


@pytest.mark.parametrize(("where", "what"), [("os", "replace"), ("Path", "write_text")])
def test_a_disk_that_fails_leaves_no_half_a_file(where, what, monkeypatch, capsys):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    before = files()
    monkeypatch.setattr(getattr(_common, where), what, fail)
    assert run(f"{OWN} --data good.npz --out page.html") == 2
    assert_one_line(capsys, r"cannot write page.html: No space left on device")
    assert files() == before


def test_a_missing_extra_is_named(monkeypatch, capsys):
    find = _common.importlib.util.find_spec
    monkeypatch.setattr(_common.importlib.util, "find_spec", lambda name: None if name == "plotly" else find(name))
    assert run(STACK) == 2
    assert_one_line(capsys, r"plotly is not installed: expected the report extra; pip install 'relujax\[report\]'")


def test_no_command_is_bad_input(capsys):
    assert cli.main([]) == 2
    assert_one_line(capsys, "required: COMMAND; see relujax --help")


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    assert "diagnose" in capsys.readouterr().out


def test_help_of_diagnose_names_every_choice(capsys):
    with pytest.raises(SystemExit, match="0"):
        run("--help")
    printed = capsys.readouterr().out
    for name in (*rx.STACKABLE, *study.OPTIMIZERS, *study.INITIALIZERS, "exit codes"):
        assert name in printed, name


def script(*args):
    """The ``relujax`` that stands beside this Python."""
    path = Path(sys.executable).with_name("relujax")
    return subprocess.run([path, *args], capture_output=True, text=True, timeout=120, check=False)


def test_the_installed_script_tells_its_version():
    done = script("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"relujax {rx.__version__}\n", "")


def test_the_installed_script_ends_with_the_exit_code():
    done = script("diagnose", "--depth", "x")
    assert done.returncode == 2
    assert done.stderr.startswith("relujax: ")
    assert done.stderr.count("\n") == 1
