"""A diagnosis that was killed goes on where it was, and ends with the numbers of one that was not."""

import functools
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from small_models import PARAMS, NnxNet, X, Y, apply, closed

import relujax as rx
from relujax.probes import load, save
from relujax.report import _sums

OPTIONS = {"params": PARAMS, "loss": "cross_entropy"}


def batches(interrupted_after=None):
    for i in range(5):
        if i == interrupted_after:
            raise KeyboardInterrupt
        yield X[7 * i : 7 * i + 7], Y[7 * i : 7 * i + 7]


@pytest.fixture(scope="module")
def whole():
    return rx.diagnose(apply, batches(), **OPTIONS)


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_run_goes_on_to_the_same_numbers(after, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(_sums, "SAVE_EVERY", 0)
    file, seen = tmp_path / "run.npz", []
    with pytest.raises(KeyboardInterrupt):
        rx.diagnose(apply, batches(after), resume=file, **OPTIONS)
    assert load(file)[1]["batches"] == after
    found = rx.diagnose(apply, batches(), resume=file, progress=seen.append, **OPTIONS)
    assert found.to_dict() == whole.to_dict()
    assert seen == [7 * (i + 1) for i in range(after, 5)]


def test_a_run_that_is_done_measures_nothing_again(whole, tmp_path):
    seen = []
    for _ in range(2):
        found = rx.diagnose(apply, batches(), resume=tmp_path / "run.npz", progress=seen.append, **OPTIONS)
        assert found.to_dict() == whole.to_dict()
    assert seen == [7, 14, 21, 28, 35]


def test_more_batches_than_before_are_measured(whole, tmp_path):
    rx.diagnose(apply, list(batches())[:2], resume=tmp_path / "run.npz", **OPTIONS)
    assert rx.diagnose(apply, batches(), resume=tmp_path / "run.npz", **OPTIONS).to_dict() == whole.to_dict()


@pytest.mark.parametrize("loss", [None, "cross_entropy"])
def test_an_nnx_module(loss, tmp_path):
    first, second = (rx.diagnose(NnxNet(), (X, Y), loss=loss, resume=tmp_path / "run.npz") for _ in range(2))
    assert first.to_dict() == second.to_dict()


def test_a_model_that_shows_no_parameters_goes_on_too(tmp_path):
    whole = rx.diagnose(closed, batches(), loss="cross_entropy")
    for data in (list(batches())[:2], batches()):
        found = rx.diagnose(closed, data, loss="cross_entropy", resume=tmp_path / "run.npz")
    assert found.to_dict() == whole.to_dict()


OTHERS = {
    "weights": {
        "params": PARAMS | {"third": {"bias": PARAMS["third"]["bias"], "kernel": 2 * PARAMS["third"]["kernel"]}}
    },
    "data": {"batches": (X + 1, Y)},
    "targets": {"batches": (X, (Y + 1) % 3)},
    "loss": {"loss": None},
    "batch size": {"batch_size": 8},
    "edges": {"edges": (0.0, 1.0)},
}


@pytest.mark.parametrize("changed", OTHERS)
def test_a_file_of_something_else_is_refused_and_stays(changed, tmp_path):
    file, options = tmp_path / "run.npz", {"batches": (X, Y), **OPTIONS}
    rx.diagnose(apply, resume=file, **options)
    before = file.read_bytes()
    with pytest.raises(ValueError, match=r"run.npz', which was kept for another model.*expected the same ones as then"):
        rx.diagnose(apply, resume=file, **options | OTHERS[changed])
    assert file.read_bytes() == before


def test_data_with_more_examples_in_as_many_batches_are_refused(tmp_path):
    file = tmp_path / "run.npz"
    rx.diagnose(apply, (X, Y), batch_size=24, resume=file, **OPTIONS)  # batches of 24 and 13
    more = np.concatenate([X, X]), np.concatenate([Y, Y])  # of 24, 24, 24 and 2
    with pytest.raises(ValueError, match="holds 37 examples, and 48 in as many batches of these data"):
        rx.diagnose(apply, more, batch_size=24, resume=file, **OPTIONS)


def test_fewer_batches_than_before_are_refused(tmp_path):
    rx.diagnose(apply, batches(), resume=tmp_path / "run.npz", **OPTIONS)
    with pytest.raises(ValueError, match="holds 35 examples, and 14 in as many batches of these data"):
        rx.diagnose(apply, list(batches())[:2], resume=tmp_path / "run.npz", **OPTIONS)


WEIGHTS = np.eye(5, dtype=np.float32)


@pytest.mark.parametrize(
    "other",
    [lambda w, x: rx.tanh(x @ w), lambda w, x: 2 * rx.relu(x @ w), lambda w, x: rx.relu(x @ w + WEIGHTS[:1])],
    ids=["another activation", "behind the activation", "with a constant"],
)
def test_another_function_of_the_same_weights_is_refused(other, tmp_path):
    rx.diagnose(lambda w, x: rx.relu(x @ w), X, params=WEIGHTS, resume=tmp_path / "run.npz")
    with pytest.raises(ValueError, match="kept for another model"):
        rx.diagnose(other, X, params=WEIGHTS, resume=tmp_path / "run.npz")


def test_another_constant_is_refused(tmp_path):
    def model(shift):
        return lambda w, x: rx.relu(x @ w + shift)

    rx.diagnose(model(WEIGHTS[:1]), X, params=WEIGHTS, resume=tmp_path / "run.npz")
    with pytest.raises(ValueError, match="kept for another model"):
        rx.diagnose(model(WEIGHTS[1:2]), X, params=WEIGHTS, resume=tmp_path / "run.npz")


def test_another_rule_backward_is_refused(tmp_path):
    def options(slope):
        rectifier = rx.surrogate(rx.relu, slope)
        return {"model": lambda w, x: rectifier(x @ w), "loss": "mse", "resume": tmp_path / "run.npz"}

    first, second = options(rx.sigmoid), options(rx.tanh)
    rx.diagnose(batches=(X, X), params=WEIGHTS, **first)
    with pytest.raises(ValueError, match="kept for another model"):
        rx.diagnose(batches=(X, X), params=WEIGHTS, **second)


def squares(outputs, y, scale):
    return (scale * (outputs - y) ** 2).mean(axis=-1)


def test_a_loss_that_is_an_object(tmp_path):
    def run(scale):
        return rx.diagnose(
            lambda w, x: rx.relu(x @ w),
            (X, X),
            params=WEIGHTS,
            loss=functools.partial(squares, scale=np.float32(scale)),  # another object each time
            resume=tmp_path / "run.npz",
        )

    assert run(2).loss == run(2).loss
    with pytest.raises(ValueError, match="kept for another model"):
        run(3)


@pytest.mark.parametrize("changed", ["x", "y"])
def test_other_numbers_in_a_later_batch_are_refused_and_the_file_stays(changed, tmp_path):
    file = tmp_path / "run.npz"
    rx.diagnose(apply, batches(), resume=file, **OPTIONS)
    before, others = file.read_bytes(), [list(batch) for batch in batches()]
    others[3][changed == "y"] = others[3][changed == "y"][::-1].copy()
    with pytest.raises(
        ValueError, match="holds 35 examples, and as many with other numbers in them: expected the same"
    ):
        rx.diagnose(apply, map(tuple, others), resume=file, **OPTIONS)
    assert file.read_bytes() == before


def test_a_file_of_statistics_alone(tmp_path):
    save(rx.probe(rx.relu)(X)[1], tmp_path / "stats.npz", batches=1)
    with pytest.raises(ValueError, match=r"holds statistics but not those of rx.diagnose \('seen' is missing\)"):
        rx.diagnose(rx.relu, X, resume=tmp_path / "stats.npz")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"there is no folder .*missing: expected one"):
        rx.diagnose(rx.relu, X, resume=tmp_path / "missing" / "run.npz")


PROGRAM = """
import sys, time
import numpy as np
import relujax as rx
from relujax.report import _sums

_sums.SAVE_EVERY, slow = 0, float(sys.argv[2])
w = np.random.default_rng(0).standard_normal((4, 6), np.float32)

def batches():
    for i in range(30):
        yield np.random.default_rng(i).standard_normal((8, 4), np.float32)
        time.sleep(slow)

print(rx.diagnose(lambda w, x: rx.relu(x @ w), batches(), params=w, resume=sys.argv[1]).to_json())
"""


def test_a_run_that_is_killed_ends_with_the_same_counts(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}

    def run(name, slow=0.0):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / name), str(slow)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)

    whole, killed = run("whole.npz"), run("killed.npz", 0.1)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()  # SIGKILL
    killed.communicate()
    assert 0 < load(tmp_path / "killed.npz")[1]["batches"] < 30
    want, _ = whole.communicate(timeout=120)
    again = run("killed.npz")
    found, _ = again.communicate(timeout=120)
    assert (whole.returncode, again.returncode) == (0, 0)
    assert found == want
    assert b'"examples": 240' in found


def test_a_bar(capsys):
    rx.diagnose(rx.relu, np.ones((40, 3), np.float32), batch_size=16, progress=True)
    assert "measured 40 examples" in capsys.readouterr().out
