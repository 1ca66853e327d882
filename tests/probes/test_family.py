"""Every member of the family goes through the probe, those that change the shape included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

X = np.random.default_rng(2).standard_normal((6, 8)).astype(np.float32)


@functools.cache
def probed():
    """Of every member: its own output and gradient, and those of the probed function with its statistics."""

    def of(row):
        def fun(x):
            return row.fun(x, **row.example)

        def loss(x):
            return jnp.sum(fun(x) ** 2)

        return fun(X), rx.probe(fun)(X), jax.grad(loss)(X), rx.probe_grad(loss, gains=True)(X)

    return jax.jit(lambda: {name: of(row) for name, row in rx.ACTIVATIONS.items()})()


@pytest.mark.parametrize("name", rx.ACTIVATIONS)
def test_values_and_gradients_stay_and_what_is_counted_is_the_output(name):
    want, (out, stats), want_grad, ((_, grad), _) = probed()[name]
    np.testing.assert_allclose(out, want, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(grad, want_grad, rtol=1e-5, atol=1e-6)
    for site in stats.values():
        assert site.active.shape == site.passing.shape == (site.site.units,)
    y = np.asarray(want)
    kinds = {site.site.kind: site for site in stats.values()}
    if name in kinds and not row_is_gated(name):
        np.testing.assert_allclose(kinds[name].total, y.sum(axis=0), rtol=1e-5, atol=1e-5)
        if rx.ACTIVATIONS[name].active != "unsaturated":
            np.testing.assert_array_equal(kinds[name].active, (y > 0).sum(axis=0))


def row_is_gated(name):
    return rx.ACTIVATIONS[name].kin == "gated"


def test_a_member_is_found_as_itself():
    # Gated units are of the kind of their gate, and a product of two linear parts has none.
    kinds = {name: {site.site.kind for site in stats.values()} for name, (_, (_, stats), *_) in probed().items()}
    assert [name for name in rx.ACTIVATIONS if not row_is_gated(name) and name not in kinds[name]] == []


def test_both_halves_of_crelu_pass_where_they_are_active():
    [site] = probed()["crelu"][1][1].values()
    want = np.concatenate([X > 0, X < 0], axis=1).sum(axis=0)
    np.testing.assert_array_equal(site.active, want)
    np.testing.assert_array_equal(site.passing, want)


def test_every_output_of_maxout_passes_a_gradient():
    y, (_, stats), *_ = probed()["maxout"]
    [site] = stats.values()
    np.testing.assert_array_equal(site.active, (np.asarray(y) > 0).sum(axis=0))
    np.testing.assert_array_equal(site.passing, [6] * y.shape[1])


def test_every_output_of_maxout_passes_a_gradient_in_shard_map():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    fun = functools.partial(rx.maxout, **rx.ACTIVATIONS["maxout"].example)
    mapped = jax.shard_map(fun, mesh=mesh, in_specs=spec, out_specs=spec)
    y, stats = jax.jit(rx.probe(mapped))(X)
    [site] = stats.values()
    np.testing.assert_array_equal(site.passing, [6] * y.shape[1])
