"""Forward statistics: NumPy's on the same activations, and the function that was probed stays what it was."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax.probes import ACTIVE_BINS, SLOPE_FLOOR, capture

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


PARAMS = {
    "first": {"kernel": 2 * normal(5, 12), "bias": normal(1, 12)},
    "second": {"kernel": 2 * normal(12, 7)},
    "third": {"kernel": 4 * normal(7, 3)},
}
X = normal(16, 5)


def statistics(fun, *args):
    """Of the only site of ``fun``. Under jit: one compilation is faster than one for each operation."""
    [stats] = jax.jit(rx.probe(fun))(*args)[1].values()
    return stats


def dense(layer, x):
    return x @ layer["kernel"] + layer.get("bias", np.zeros((1, 1), np.float32))


def plain_model(params, x):
    h = rx.relu(dense(params["first"], x))
    h = jnp.tanh(dense(params["second"], h))
    return {"out": jax.nn.sigmoid(dense(params["third"], h)), "sum": h.sum()}


def wrapped_model(params, x):
    h = jax.jit(lambda layer, x: rx.relu(dense(layer, x)))(params["first"], x)
    h = jax.checkpoint(lambda layer, x: jnp.tanh(dense(layer, x)))(params["second"], h)
    last = jax.jit(jax.checkpoint(lambda layer, x: jax.nn.sigmoid(dense(layer, x))))
    return {"out": last(params["third"], h), "sum": h.sum()}


NAMES = ["first/relu", "second/tanh", "third/sigmoid"]


def activations(params, x):
    """Output, what is active and what passes a gradient at each site, by hand, in float64."""
    x, params = np.float64(x), jax.tree.map(np.float64, params)
    a = x @ params["first"]["kernel"] + params["first"]["bias"]
    b = np.maximum(a, 0) @ params["second"]["kernel"]
    c = np.tanh(b) @ params["third"]["kernel"]
    s = 1 / (1 + np.exp(-c))
    return {
        "first/relu": (np.maximum(a, 0), a > 0, a > 0),
        "second/tanh": (np.tanh(b), 1 - np.tanh(b) ** 2 >= SLOPE_FLOOR, 1 - np.tanh(b) ** 2 >= SLOPE_FLOOR),
        "third/sigmoid": (s, s * (1 - s) >= SLOPE_FLOOR * 0.25, s * (1 - s) >= SLOPE_FLOOR * 0.25),
    }


def histogram(active):
    """Examples by share of active elements, the share 1 in the last bin."""
    flat = active.reshape(len(active), -1)
    bins = np.minimum(flat.sum(1) * ACTIVE_BINS // flat.shape[1], ACTIVE_BINS - 1)
    return np.bincount(bins, minlength=ACTIVE_BINS)


def assert_statistics(stats, y, active, passing):
    units = tuple(range(y.ndim - 1))
    assert stats.examples == len(y)
    assert stats.count == y[..., 0].size
    np.testing.assert_array_equal(stats.active, active.sum(units))
    np.testing.assert_array_equal(stats.passing, passing.sum(units))
    np.testing.assert_array_equal(stats.histogram, histogram(active))
    np.testing.assert_array_equal(stats.nonfinite, np.zeros(y.shape[-1]))
    np.testing.assert_allclose(stats.total, y.sum(units), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(stats.square, (y**2).sum(units), rtol=1e-5)
    np.testing.assert_allclose(stats.largest, np.abs(y).max(units), rtol=1e-5)
    assert stats.signal is None


@pytest.mark.parametrize("model", [plain_model, wrapped_model])
def test_outputs_and_statistics(model):
    out, stats = jax.jit(rx.probe(model))(PARAMS, X)
    chex.assert_trees_all_close(out, jax.jit(model)(PARAMS, X), rtol=1e-6)
    assert list(stats) == NAMES
    for name, (y, active, passing) in activations(PARAMS, X).items():
        assert 0 < passing.mean() < 1, name  # or the case would be no test
        assert_statistics(stats[name], y, active, passing)


def test_without_jit():
    out, stats = rx.probe(lambda x: rx.relu(x) + 1)(X[0])
    y = np.maximum(X[:1], 0)
    np.testing.assert_array_equal(out, y[0] + 1)
    assert_statistics(stats["relu"], y, y > 0, y > 0)


def test_capture_gives_the_activations_themselves():
    captured = jax.jit(capture(wrapped_model))(PARAMS, X)
    assert set(captured) == set(NAMES)
    for name, (y, _, _) in activations(PARAMS, X).items():
        np.testing.assert_allclose(captured[name], y, rtol=1e-5, atol=1e-6)


# Where each saturates: a slope at least 1/1000 of the steepest passes, which is 1/4 for the sigmoid.
@pytest.mark.parametrize(
    ("act", "x", "active", "passing"),
    [
        pytest.param(rx.relu, [-1, 0, 1e-6, 3], [0, 0, 1, 1], [0, 0, 1, 1], id="relu"),
        pytest.param(rx.leaky_relu, [-1, 0, 1e-6, 3], [0, 0, 1, 1], [1, 1, 1, 1], id="leaky_relu"),
        pytest.param(
            lambda x: rx.leaky_relu(x, 1e-4), [-1, -9, 1, 3], [0, 0, 1, 1], [0, 0, 1, 1], id="flat leaky_relu"
        ),
        pytest.param(rx.elu, [-9, -6, 0, 3], [0, 0, 0, 1], [0, 1, 1, 1], id="elu"),
        pytest.param(rx.tanh, [-5, -4, 4, 5], [0, 1, 1, 0], [0, 1, 1, 0], id="tanh"),
        pytest.param(jnp.tanh, [-5, -4, 4, 5], [0, 1, 1, 0], [0, 1, 1, 0], id="jnp.tanh"),
        pytest.param(rx.sigmoid, [-9, -8, 8, 9], [0, 1, 1, 0], [0, 1, 1, 0], id="sigmoid"),
        pytest.param(jax.nn.sigmoid, [-9, -8, 8, 9], [0, 1, 1, 0], [0, 1, 1, 0], id="jax.nn.sigmoid"),
        # Keywords reach a jitted function sorted: the parameter before x.
        pytest.param(lambda x: rx.elu(alpha=1.0, x=x), [-9, -6, 0, 3], [0, 0, 0, 1], [0, 1, 1, 1], id="elu by keyword"),
        pytest.param(
            lambda x: rx.prelu(slope=0.0, x=x), [-9, -6, 0, 3], [0, 0, 0, 1], [0, 0, 1, 1], id="prelu by keyword"
        ),
        pytest.param(
            lambda x: rx.leaky_relu(negative_slope=0.0, x=x), [-9, 3], [0, 1], [0, 1], id="leaky_relu by keyword"
        ),
    ],
)
def test_what_is_active_and_what_passes_a_gradient(act, x, active, passing):
    @jax.jit
    def counts(x):
        [stats] = rx.probe(act)(x)[1].values()
        return stats.active, stats.passing

    np.testing.assert_array_equal(counts(np.array([x], np.float32)), [active, passing])


@pytest.mark.parametrize("shape", [(6,), (2, 3, 4, 5)], ids=str)
def test_the_first_axis_is_examples_and_the_last_is_units(shape):
    x = normal(*shape)
    stats = statistics(rx.relu, x)
    y = np.maximum(x, 0) if x.ndim > 1 else np.maximum(x, 0)[None]  # a bare vector is one example
    assert_statistics(stats, y, y > 0, y > 0)


def test_histogram_bins_are_shares_with_exact_edges():
    # Example i of 21 has exactly i of 20 elements active: the share i/20 opens bin i, and 1 belongs to the last.
    x = np.where(np.arange(20)[None] < np.arange(21)[:, None], 1, -1).astype(np.float32)
    stats = statistics(rx.relu, x)
    np.testing.assert_array_equal(stats.histogram, [*[1] * 19, 2])
    # 7 elements: shares i/7 are no edges.
    x = np.where(np.arange(7)[None] < np.arange(8)[:, None], 1, -1).astype(np.float32)
    stats = statistics(rx.relu, x)
    np.testing.assert_array_equal(np.flatnonzero(stats.histogram), [0, 2, 5, 8, 11, 14, 17, 19])


def test_nonfinite_outputs_are_counted_and_kept_out_of_the_sums():
    x = np.array([[np.nan, 1], [np.inf, -2], [3, -np.inf], [4, 5]], np.float32)
    stats = statistics(lambda x: rx.leaky_relu(x, 0.5), x)
    np.testing.assert_array_equal(stats.nonfinite, [2, 1])
    np.testing.assert_array_equal(stats.total, [7.0, 5.0])
    np.testing.assert_array_equal(stats.square, [25.0, 27.0])
    np.testing.assert_array_equal(stats.largest, [4.0, 5.0])


@pytest.mark.parametrize("act", [jnp.tanh, jax.nn.sigmoid], ids=["tanh", "sigmoid"])
def test_no_gradient_passes_where_half_precision_rounds_the_output_to_its_limit(act):
    x = jnp.asarray([[-1.0, 1.0, 3.0, 7.0]], jnp.bfloat16)  # tanh(7) and sigmoid(7) are 1 - 2e-6 and 1 - 9e-4
    x = x if act is jax.nn.sigmoid else x.at[0, 3].set(3.75)  # 1 - 1e-3, of slope 2e-3
    slopes = jax.jit(jax.grad(lambda x: act(x).sum()))(x)
    assert (slopes != 0).tolist() == [[True, True, True, False]]
    assert statistics(act, x).passing.tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float64])
def test_sums_are_of_float32_at_least(dtype):
    wide = jnp.float64 if dtype == jnp.float64 else jnp.float32
    with jax.enable_x64(jax.config.jax_enable_x64 or dtype == jnp.float64):
        stats = statistics(rx.relu, jnp.full((5000, 2), 100, dtype))
    np.testing.assert_array_equal(stats.total, [500_000.0] * 2)
    np.testing.assert_array_equal(stats.square, [5e7] * 2)
    np.testing.assert_array_equal(stats.active, [5000] * 2)
    assert stats.total.dtype == stats.square.dtype == stats.largest.dtype == wide


def test_a_probed_function_is_still_differentiable():
    def loss(params, x):
        return (wrapped_model(params, x)["out"] ** 2).sum()

    (value, stats), grads = jax.jit(jax.value_and_grad(rx.probe(loss), has_aux=True))(PARAMS, X)
    want = jax.jit(jax.value_and_grad(loss))(PARAMS, X)
    chex.assert_trees_all_close((value, grads), want, rtol=1e-5, atol=1e-6)
    assert stats["first/relu"].examples == 16


def test_a_probed_function_is_differentiable_in_forward_mode():
    def fun(x):
        return jnp.tanh(rx.relu(x)).sum(1)

    @jax.jit
    def probed_and_plain(x):
        return [jax.jvp(f, (x,), (x,)) for f in (lambda x: rx.probe(fun)(x)[0], fun)]

    chex.assert_trees_all_close(*probed_and_plain(X), rtol=1e-5)


@pytest.mark.parametrize("policy", ["nothing_saveable", "dots_saveable"])
def test_checkpoints_keep_their_policy(policy):
    @functools.partial(jax.checkpoint, policy=getattr(jax.checkpoint_policies, policy))
    def block(w, x):
        return rx.tanh(rx.tanh(x @ w) @ w)

    def probed(w, x):
        return rx.probe(block)(w, x)[0]

    square = np.eye(5, dtype=np.float32)
    kept = rx.residual_bytes(block, square, X)
    assert rx.residual_bytes(probed, square, X) == kept
    assert kept == 4 * (5 * 5 + 16 * 5 * (1 if policy == "nothing_saveable" else 3))


def test_learnt_slopes_keep_their_gradient():
    def fun(slope, x):
        return rx.prelu(x, slope).sum()

    slope = np.full((5,), 0.25, np.float32)
    got = jax.jit(jax.grad(lambda slope: rx.probe(fun)(slope, X)[0]))(slope)
    np.testing.assert_allclose(got, np.minimum(X, 0).sum(0), rtol=1e-5)


def test_same_shapes_compile_once():
    @chex.assert_max_traces(n=1)
    def model(x):
        return rx.relu(x * 2)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def consume(stats):
        return jax.tree.map(lambda leaf: leaf * 2, stats)

    probed = jax.jit(rx.probe(model))
    for scale in (1, 2, 3):
        _, stats = probed(np.float32(scale) * X)
        consume(stats)
    # A fresh probe of the same function has equal static parts: what takes its statistics does not retrace.
    traced = jax.eval_shape(rx.probe(model.__wrapped__), X)[1]
    assert jax.tree.structure(traced) == jax.tree.structure(stats)


def test_statistics_come_back_in_execution_order():
    _, stats = jax.jit(rx.probe(lambda x: rx.elu(rx.relu(jnp.tanh(x)))))(X)  # jit returns a dict sorted by key
    assert list(stats) == ["tanh", "relu", "elu"]


def test_under_vmap_statistics_are_per_example():
    batch = np.stack([X, -X])
    _, stats = jax.jit(jax.vmap(rx.probe(rx.relu)))(batch)
    np.testing.assert_array_equal(stats["relu"].active, (batch > 0).sum(1))


def test_with_a_mask_shares_are_of_what_counts_and_an_example_of_nothing_is_none():
    x = np.array([[[1, -1], [1, 1], [-1, -1]], [[1, 1], [1, 1], [1, 1]], [[1, 1], [-1, -1], [1, -1]]], np.float32)
    mask = np.array([[True, True, False], [False, False, False], [False, True, False]])
    stats = rx.probe(rx.relu, mask=mask)(x)[1]["relu"]
    assert stats.examples == 2
    # 3 of 4 elements, and 0 of 2.
    want = np.zeros(20, int)
    want[[15, 0]] = 1
    np.testing.assert_array_equal(stats.histogram, want)
    assert rx.summarize(rx.probe(rx.relu, mask=np.zeros((3, 3), bool))(x)[1]).rows == ()


@pytest.mark.parametrize("edges", [(), (1.0, 0.0), (0.0, np.inf), (0.0, 0.0)])
def test_edges_that_do_not_ascend(edges):
    for transform in (rx.probe, rx.probe_grad):
        with pytest.raises(ValueError, match=r"got edges=.*: expected at least one finite number, in ascending order"):
            transform(rx.relu, edges=edges)


def test_edges_are_kept_with_the_counts():
    [row] = rx.summarize(rx.probe(rx.relu, edges=np.linspace(0, 1, 3))(X)[1])
    assert row.output_edges == (0.0, 0.5, 1.0)
    assert sum(row.output_histogram) == X.size


def test_a_batch_whose_length_is_not_known_can_be_exported():
    (batch,) = jax.export.symbolic_shape("batch")

    def numbers(x):
        return jax.tree.leaves(rx.probe_grad(lambda x: jnp.sum(rx.elu(x) ** 2))(x)[1])

    exported = jax.export.export(jax.jit(numbers))(jax.ShapeDtypeStruct((batch, 3), jnp.float32))
    for x in (X[:2, :3], X[:7, :3]):
        chex.assert_trees_all_close(exported.call(x), jax.jit(numbers)(x), rtol=1e-6)
