"""What ``vmap`` leaves with the examples in another place than the first is read by its examples all the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax.probes import capture
from relujax.report import model_spectra

RNG = np.random.default_rng(0)
#: As many units as examples, and not as many: the length of an axis does not tell.
SIZES = {"as many units": 6, "more units": 9}
EXAMPLES, NAME = 6, "0/relu"
X = RNG.normal(size=(EXAMPLES, 4)).astype(np.float32)


def weights(units):
    return RNG.normal(size=(units, 4)).astype(np.float32), RNG.normal(size=(3, units)).astype(np.float32)


def by_example(params, x):
    """``w @ x`` under ``vmap`` is an array ``(units, examples)``."""
    first, last = params
    return jax.vmap(lambda x: last @ jax.nn.relu(first @ x))(x)


def in_batches(params, x):
    first, last = params
    return jax.nn.relu(x @ first.T) @ last.T


def scanned(params, x):
    def body(h, layer):
        return jax.vmap(lambda x: layer.T @ jax.nn.relu(layer @ x))(h), None

    return jax.lax.scan(body, x, params)[0]


def same(a, b):
    for this, other in zip(jax.tree.leaves(a[NAME]), jax.tree.leaves(b[NAME]), strict=True):
        np.testing.assert_allclose(this, other, rtol=1e-5, atol=1e-6)


@pytest.fixture(params=SIZES.values(), ids=SIZES)
def params(request):
    return weights(request.param)


def test_the_vmapped_function_has_the_units_first(params):
    [site] = rx.sites(by_example, params, X)
    assert site.shape == (len(params[0]), EXAMPLES)


def test_statistics_are_those_of_the_same_function_in_batches(params):
    mask = np.arange(EXAMPLES) % 2 == 0
    for options in ({}, {"mask": mask}, {"edges": (0.5,)}):
        (_, one), (_, two) = (rx.probe(f, batch=EXAMPLES, **options)(params, X) for f in (by_example, in_batches))
        assert one[NAME].active.shape == (len(params[0]),)
        same(one, two)


def test_backward_too(params):
    losses = (lambda params, x, f=f: jnp.sum(f(params, x) ** 2) for f in (by_example, in_batches))
    (_, one), (_, two) = (rx.probe_grad(loss, batch=EXAMPLES, gains=True)(params, X) for loss in losses)
    same(one, two)


def test_rows_and_spectra_are_those_of_the_same_function_in_batches(params):
    def found(model):
        return rx.diagnose(model, (X, np.arange(EXAMPLES) % 3), params=list(params), loss="cross_entropy")

    one, two = found(by_example).summary[0], found(in_batches).summary[0]
    assert one.shape == two.shape == (EXAMPLES, len(params[0]))
    assert (one.units, one.examples, one.dead, one.rank) == (two.units, two.examples, two.dead, two.rank)
    np.testing.assert_allclose(one.singular_values, two.singular_values, rtol=1e-4)
    to_output = rx.layer_spectra(by_example, argnum=1, select=lambda y: y[2], batch=EXAMPLES, to_output=True)
    spectra = to_output(params, X)[NAME]
    inside = (params[0] @ X[2] > 0)[:, None]
    want = np.linalg.svd(np.where(inside, params[0], 0), compute_uv=False)
    np.testing.assert_allclose(np.sort(spectra.from_input)[-4:], np.sort(want), rtol=1e-4, atol=1e-5)


def test_captured_outputs_have_the_examples_first(params):
    want = np.maximum(X @ params[0].T, 0)
    np.testing.assert_allclose(capture(by_example, batch=EXAMPLES)(params, X)[NAME], want, rtol=1e-5)
    np.testing.assert_allclose(capture(by_example)(params, X)[NAME], want.T, rtol=1e-5)


def test_in_a_scan_over_layers():
    layers = RNG.normal(size=(3, EXAMPLES, 4)).astype(np.float32)  # again as many units as examples
    _, one = rx.probe(scanned, batch=EXAMPLES)(layers, X)
    h = X
    for i, layer in enumerate(layers):
        active = h @ layer.T > 0
        np.testing.assert_array_equal(one["relu"].active[i], active.sum(axis=0))
        h = np.maximum(h @ layer.T, 0) @ layer


def test_units_that_the_user_says_come_before():
    params = weights(9)
    _, stats = rx.probe(by_example, batch=EXAMPLES, unit_axis=0)(params, X)
    np.testing.assert_array_equal(stats[NAME].active, (X @ params[0].T > 0).sum(axis=0))
    _, stats = rx.probe(by_example, batch=EXAMPLES, unit_axis=1)(params, X)
    np.testing.assert_array_equal(stats[NAME].active, (X @ params[0].T > 0).sum(axis=1))


def first_of(stats):
    return next(iter(stats.values()))


def test_parameters_in_a_bare_array_and_inside_shard_map():
    w = weights(EXAMPLES)[0]
    want = (X @ w.T > 0).sum(axis=0)

    def layer(w, x):
        return jax.vmap(lambda x: jax.nn.relu(w @ x))(x)

    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    specs = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec("d")
    sharded = jax.shard_map(layer, mesh=mesh, in_specs=specs, out_specs=specs[1])
    for fun in (layer, sharded):
        _, stats = rx.probe(fun, batch=EXAMPLES)(w, X)
        np.testing.assert_array_equal(first_of(stats).active, want)


SQUARE = RNG.normal(size=(EXAMPLES, EXAMPLES)).astype(np.float32)
DATA = RNG.normal(size=(EXAMPLES, EXAMPLES)).astype(np.float32)
LABELS = np.arange(EXAMPLES, dtype=np.float32)
DATA_FIRST = {
    "units first, then a tree": (lambda x, p: jax.nn.relu(p["w"].T @ x.T), DATA, {"w": SQUARE}),
    "then a tree": (lambda x, p: jax.nn.relu(x @ p["w"]), DATA, {"w": SQUARE}),
    "then a tree and labels": (lambda x, p, y: jax.nn.relu(p[0].T @ x.T) + y[None], DATA, [SQUARE], LABELS),
    "then an array": (lambda x, w: jax.nn.relu(x @ w), DATA, SQUARE),
    "then an array and labels": (lambda x, w, y: jax.nn.relu(x @ w) + y[:, None], DATA, SQUARE, LABELS),
    "after an array": (lambda w, x: jax.nn.relu(w.T @ x.T), SQUARE, DATA),
}


@pytest.mark.parametrize("name", DATA_FIRST)
def test_data_may_come_before_parameters(name):
    fun, *args = DATA_FIRST[name]
    _, stats = rx.probe(fun, batch=EXAMPLES)(*args)
    assert not stats.opaque
    np.testing.assert_array_equal(first_of(stats).active, (DATA @ SQUARE > 0).sum(axis=0))


def test_where_two_axes_could_be_it_neither_is_taken():
    both = {"w": weights(EXAMPLES)[0], "x": X}
    _, stats = rx.probe(lambda t: jax.vmap(lambda x: jax.nn.relu(t["w"] @ x))(t["x"]), batch=EXAMPLES)(both)
    assert len(stats) == 0
    assert stats.opaque[0].reason == "which of its axes is that of the 6 examples is not known"


def test_state_as_long_as_the_batch_does_not_lead_astray():
    """Running means of as many units as examples come as data, and begin with that length."""
    w, mean = weights(EXAMPLES)[0], np.full(EXAMPLES, 0.1, np.float32)

    def model(params, state, x):
        return jax.nn.relu(x @ params["w"].T - state["mean"][None])

    _, stats = rx.probe(model, batch=EXAMPLES)({"w": w}, {"mean": mean}, X)
    np.testing.assert_array_equal(first_of(stats).active, (X @ w.T - mean > 0).sum(axis=0))


def test_the_limit_of_spectra_counts_units_first_too(monkeypatch):
    monkeypatch.setattr("relujax.report._spectra.JACOBIAN_LIMIT", 1000)
    for model in (by_example, in_batches):
        with pytest.raises(ValueError, match="got a Jacobian of"):
            model_spectra(model, X, params=list(weights(400)), layers=True)


def test_an_axis_of_another_origin_that_is_as_long_does_not_count():
    """Rows of tokens that are flattened, with as many units as examples: no axis is that of examples."""
    table = RNG.normal(size=(4, EXAMPLES)).astype(np.float32)

    def flattened(params, x):
        return jax.nn.relu(x.reshape(-1, 4) @ params).reshape(EXAMPLES, -1)

    x = RNG.normal(size=(EXAMPLES, 2, 4)).astype(np.float32)
    _, stats = rx.probe(flattened, batch=EXAMPLES)(table, x)
    assert len(stats) == 0
    assert stats.opaque[0].reason == "which of its axes is that of the 6 examples is not known"
