"""Statistics of all sites in two arrays: what is read from them is right, or refused."""

import functools
import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax.probes import load, save

X = np.random.default_rng(5).standard_normal((40, 1, 3)).astype(np.float32)


def probed(x):
    return rx.probe(rx.relu)(x)[1]


def test_statistics_of_several_calls_have_their_axes_first():
    several = jax.vmap(probed)(X)
    assert several.calls == (40,)
    np.testing.assert_array_equal(several["relu"].active, (X > 0).sum(1))
    scanned = jax.lax.scan(lambda carry, x: (carry, probed(x)), 0, X)[1]
    np.testing.assert_array_equal(scanned["relu"].active, (X > 0).sum(1))


def test_axes_behind_the_statistics_are_refused():
    turned = jax.vmap(probed, out_axes=1)(X)
    with pytest.raises(ValueError, match=r"counts are of shape \(31, 40\): expected 31 numbers along the last axis"):
        _ = turned["relu"]


def test_shapes_have_shapes():
    of_all = jax.eval_shape(probed, X[0])
    shapes = of_all["relu"]
    assert shapes.active == jax.ShapeDtypeStruct((3,), jnp.int32)
    assert shapes.total == jax.ShapeDtypeStruct((3,), jnp.float32)
    for verb in (rx.summarize, functools.partial(rx.merge, of_all), functools.partial(rx.probes.save, path="a.npz")):
        with pytest.raises(TypeError, match=r"got ShapeDtypeStruct.*: expected an array"):
            verb(of_all)
    with pytest.raises(ValueError, match=r"counts are 'none': expected 31 numbers"):
        _ = jax.tree.map(lambda _: "none", of_all)["relu"]


def test_what_are_no_statistics_is_refused():
    both = rx.probe(rx.relu)(X)
    with pytest.raises(TypeError, match=r"got a tuple: expected the statistics alone"):
        rx.summarize(both)
    with pytest.raises(TypeError, match=r"got a Stats: expected a Summary, such as relujax.summarize\(stats\)"):
        rx.alarms(both[1])


def test_several_calls_are_not_merged_or_summarised_with_one():
    several, one = jax.vmap(probed)(X), probed(X[0])
    with pytest.raises(ValueError, match=r"cannot merge.*axes \(40,\) and \(\) before the last one"):
        rx.merge(several, one)
    with pytest.raises(ValueError, match=r"several calls, with axes \(40,\)"):
        rx.summarize(several)
    [first] = rx.summarize(jax.tree.map(lambda value: value[0], several))
    assert first.active_fraction == (X[0] > 0).mean()
    assert rx.merge(several, several)["relu"].active.tolist() == (2 * (X > 0).sum(1)).tolist()


def test_names_differ():
    stats = probed(X[0])
    with pytest.raises(ValueError, match="got 2 sites of the name 'relu': expected names that differ"):
        rx.Stats.of([*stats.values(), *stats.values()])


def test_what_is_merged_stays_in_64_bits():
    once = rx.probe_grad(lambda x: rx.relu(x).sum())(X[0])[1]
    stats = once
    for _ in range(40):
        stats = rx.merge(stats, stats)
    other = rx.probe_grad(lambda x: jnp.tanh(x).sum())(X[0])[1]
    both = rx.Stats.of([*stats.values(), *other.values()])
    assert int(both["relu"].examples) == 2**40
    assert both.with_norms(lambda norms: norms * 1e300)["tanh"].signal.norm.max() > 1e299


def test_what_is_read_cannot_be_written_to():
    merged = rx.merge(probed(X[0]), probed(X[0]))
    with pytest.raises(ValueError, match="read-only"):
        merged["relu"].active[:] = 0


@pytest.mark.parametrize("damage", ["no counts", "no sites", "shorter"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "stats.npz"
    save(probed(X[0]), path)
    with np.load(path) as file:
        arrays = dict(file)
    if damage == "no counts":
        del arrays["stats/counts"]
    elif damage == "shorter":
        arrays["stats/counts"] = arrays["stats/counts"][:-1]
    else:
        header = json.loads(str(arrays["header"]))
        del header["sites"]
        arrays["header"] = np.array(json.dumps(header))
    np.savez(path, **arrays)
    assert zipfile.is_zipfile(path)
    with pytest.raises(ValueError, match=r"stats.npz, which holds no statistics of this version"):
        load(path)
