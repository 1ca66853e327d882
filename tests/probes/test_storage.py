"""Statistics on disk: what is read is what was written, and a run that is killed resumes to the same counts."""

import os
import pathlib
import subprocess
import sys
import time
from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax.probes import Signal, SiteStats, load, save

RNG = np.random.default_rng(0)
PARAMS = {"w": RNG.standard_normal((4, 6), np.float32), "stack": RNG.standard_normal((3, 6, 6), np.float32)}
X = RNG.standard_normal((8, 4), np.float32)


def loss(params, x):
    h = rx.relu(x @ params["w"])
    h, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), h, params["stack"])
    return jnp.sum(h**2) + jax.pure_callback(lambda: np.float32(0), jax.ShapeDtypeStruct((), jnp.float32))


def same(a, b):
    assert list(a) == list(b)
    assert a.opaque == b.opaque
    for name in a:
        assert a[name].site == b[name].site
        for field in fields(SiteStats):
            if field.name not in ("site", "signal"):
                np.testing.assert_array_equal(getattr(a[name], field.name), getattr(b[name], field.name))
        assert (a[name].signal is None) == (b[name].signal is None)
        for field in fields(Signal) if a[name].signal else ():
            np.testing.assert_array_equal(getattr(a[name].signal, field.name), getattr(b[name].signal, field.name))


@pytest.mark.parametrize("edges", [None, (-1.0, 0.0, 1.0)])
def test_what_is_read_is_what_was_written(tmp_path, edges):
    _, stats = jax.jit(rx.probe(loss, edges=edges))(PARAMS, X)
    save(stats, tmp_path / "stats.npz", batches=3, note="x")
    again, progress = load(tmp_path / "stats.npz")
    assert progress == {"batches": 3, "note": "x"}
    same(again, stats)
    same(rx.merge(again, stats), rx.merge(stats, stats))
    assert os.listdir(tmp_path) == ["stats.npz"]


def test_signals_too(tmp_path):
    _, stats = jax.jit(rx.probe_grad(lambda p, x: jnp.sum(rx.relu(x @ p["w"]) ** 2)))(PARAMS, X)
    save(stats, tmp_path / "stats.npz")
    same(load(tmp_path / "stats.npz")[0], stats)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", None])
def test_a_file_of_another_kind(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content) if content is not None else np.savez(path, a=np.zeros(3))
    with pytest.raises(ValueError, match=r"other.npz, which holds no statistics .*expected a file that"):
        load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.npz")


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "stats.npz"
    _, stats = jax.jit(rx.probe(rx.relu))(X)
    save(stats, path, batches=1)
    broken = replace(stats, counts=object())
    with pytest.raises((TypeError, ValueError)):
        save(broken, path, batches=2)
    assert load(path)[1] == {"batches": 1}
    assert os.listdir(tmp_path) == ["stats.npz"]


PROGRAM = """
import os, sys, time
import jax, numpy as np
import relujax as rx
from relujax.probes import load, save

path, batches, slow = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
probed = jax.jit(lambda w, x: rx.probe(lambda w, x: rx.relu(x @ w))(w, x)[1])
w = np.random.default_rng(0).standard_normal((4, 6), np.float32)
total, progress = load(path) if os.path.exists(path) else (None, {"batches": 0})
for i in range(progress["batches"], batches):
    stats = probed(w, np.random.default_rng(i).standard_normal((8, 4), np.float32))
    total = stats if total is None else rx.merge(total, stats)
    save(total, path, batches=i + 1)
    time.sleep(slow)
"""


def test_a_run_that_is_killed_resumes_to_the_same_counts(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])}

    def run(name, slow):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / name), "40", str(slow)]
        return subprocess.Popen(command, env=environment)

    whole, killed = run("whole.npz", 0), run("killed.npz", 0.05)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()  # SIGKILL
    killed.wait()
    assert whole.wait(120) == 0
    assert 0 < load(tmp_path / "killed.npz")[1]["batches"] < 40
    assert run("killed.npz", 0).wait(120) == 0
    (a, first), (b, second) = load(tmp_path / "whole.npz"), load(tmp_path / "killed.npz")
    assert first == second == {"batches": 40}
    same(a, b)
    assert int(a["relu"].examples) == 320


def test_an_array_of_another_kind(tmp_path):
    np.save(tmp_path / "array.npy", X)
    with pytest.raises(
        ValueError,
        match=r"array.npy, which holds no statistics .*expected a file that relujax.probes.save wrote, or a new name",
    ):
        load(tmp_path / "array.npy")


def test_numpy_numbers_as_progress(tmp_path):
    stats = rx.probe(rx.relu)(X)[1]
    save(stats, tmp_path / "stats.npz", step=np.int64(3), loss=jnp.float32(0.5))
    assert load(tmp_path / "stats.npz")[1] == {"step": 3, "loss": 0.5}


def test_a_folder_as_the_file_leaves_nothing_behind(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        save(rx.probe(rx.relu)(X)[1], tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]


def test_others_may_read_what_they_may_read_otherwise(tmp_path):
    (tmp_path / "plain").write_text("")
    save(rx.probe(rx.relu)(X)[1], tmp_path / "stats.npz")
    assert (tmp_path / "stats.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode
