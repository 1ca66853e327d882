"""Merging: batches, devices and runs add up to what one big batch would have shown."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

RNG = np.random.default_rng(2)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


PARAMS = {"a": normal(4, 6), "b": normal(6, 3)}
A, B = normal(10, 4), normal(10, 4)
COUNTS = ("examples", "count", "active", "passing", "nonfinite", "histogram")


def model(params, x):
    return jnp.tanh(3 * rx.relu(x @ params["a"]) @ params["b"])


def loss(params, x):
    return (model(params, x) ** 2).sum()  # a sum over examples: each gets the same signal in any batch


BATCHES = {"a": A, "b": B, "both": np.concatenate([A, B])}


STEP = jax.jit(rx.probe_grad(loss))


@functools.cache
def probed(batch):
    return STEP(PARAMS, BATCHES[batch])[1]


def merged_and_whole():
    return rx.merge(probed("a"), probed("b")), probed("both")


def nothing_seen(fun, *args):
    """The statistics of ``fun``, all zero: for what depends on the sites alone, and no compilation."""
    shapes = jax.eval_shape(fun, *args)[1]
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def test_two_batches_are_one_big_batch():
    merged, whole = merged_and_whole()
    assert list(merged) == list(whole) == ["a/relu", "b/tanh"]
    for name in whole:
        for field in COUNTS:
            np.testing.assert_array_equal(getattr(merged[name], field), getattr(whole[name], field), err_msg=field)
        for field in ("total", "square", "largest"):  # a matmul rounds by the size of the batch
            np.testing.assert_allclose(
                getattr(merged[name], field), getattr(whole[name], field), rtol=1e-6, atol=1e-6, err_msg=field
            )
    assert merged.opaque == whole.opaque


def test_signals_merge():
    merged, whole = merged_and_whole()
    for name in whole:
        np.testing.assert_allclose(merged[name].signal.norm, whole[name].signal.norm, rtol=1e-6)
        np.testing.assert_array_equal(merged[name].signal.zeros, whole[name].signal.zeros)
    assert merged["a/relu"].signal.norm.shape == (6,)


def test_order_and_grouping_do_not_matter():
    a, b, c = (probed(batch) for batch in BATCHES)
    left, right = rx.merge(rx.merge(a, b), c), rx.merge(c, rx.merge(b, a))
    for name in left:
        for field in (*COUNTS, "largest"):
            np.testing.assert_array_equal(getattr(left[name], field), getattr(right[name], field))
        np.testing.assert_allclose(left[name].total, right[name].total, rtol=1e-12)
        np.testing.assert_allclose(left[name].signal.norm, right[name].signal.norm, rtol=1e-12)


def test_signals_too_small_to_square_do_not_vanish():
    def tiny(x):
        return (jnp.float32(1e-30) * rx.relu(x)).sum()

    nine, four = (jax.jit(rx.probe_grad(tiny))(np.ones((n, 1), np.float32))[1] for n in (9, 4))
    np.testing.assert_allclose(rx.merge(nine, four)["relu"].signal.norm, [np.sqrt(13) * 1e-30], rtol=1e-6, atol=0)


def test_what_a_gradient_reaches_in_one_batch_it_reaches_in_both():
    """As in a GAN, whose generator is cut off in the critic's step."""

    def loss(w, x, train):
        y = rx.relu(x @ w)
        return jnp.sum((y if train else jax.lax.stop_gradient(y)) ** 2) + jnp.sum(w**2)

    x, w = np.ones((2, 3), np.float32), np.ones((3, 3), np.float32)
    cut, reached = (rx.probe_grad(functools.partial(loss, train=train))(w, x)[1] for train in (False, True))
    assert [stats["relu"].site.reached for stats in (cut, reached)] == [False, True]
    for pair in ((cut, reached), (reached, cut)):
        assert rx.merge(*pair)["relu"].site.reached


def test_counts_beyond_32_bits_are_exact():
    x = np.array([[-1, 2, np.nan], [3, 4, 5], [-1, -1, -1]], np.float32)
    _, once = jax.jit(rx.probe(rx.relu))(x)
    stats = once
    for _ in range(40):
        stats = rx.merge(stats, stats)
    stats = rx.merge(stats, once)  # an odd number: float32 could not tell it from its neighbours
    times = 2**40 + 1
    merged = stats["relu"]
    assert (int(merged.examples), int(merged.count)) == (3 * times, 3 * times)
    assert merged.active.tolist() == [times, 2 * times, times]
    assert merged.passing.tolist() == [times, 2 * times, times]
    assert merged.nonfinite.tolist() == [0, 0, times]
    assert merged.histogram.sum() == 3 * times
    assert merged.total.tolist() == [3.0 * times, 6.0 * times, 5.0 * times]
    assert merged.largest.tolist() == [3.0, 4.0, 5.0]


def test_zero_counts_of_signals_stay_exact():
    def fun(x):
        return (rx.relu(x) * np.array([[0.0, 1.0]], np.float32)).sum()

    _, once = jax.jit(rx.probe_grad(fun))(np.ones((3, 2), np.float32))
    stats = once
    for _ in range(40):
        stats = rx.merge(stats, stats)
    assert rx.merge(stats, once)["relu"].signal.zeros.tolist() == [3.0 * (2**40 + 1), 0.0]


@pytest.mark.parametrize(
    "other",
    [
        lambda x: rx.relu(rx.relu(x)),
        lambda x: jnp.tanh(x),
        lambda x: x,
        lambda x: rx.relu(x[:, :2]),
        lambda x: rx.relu(x[:, :1]),  # one unit would broadcast against four
    ],
    ids=["more sites", "another kind", "no sites", "fewer units", "one unit"],
)
def test_statistics_of_different_functions_are_refused(other):
    one, another = (nothing_seen(rx.probe(fun), A) for fun in (rx.relu, other))
    with pytest.raises(ValueError, match="cannot merge statistics of"):
        rx.merge(one, another)


def test_the_refusal_names_the_sites():
    one, two = (nothing_seen(rx.probe(fun), A) for fun in (rx.relu, lambda x: rx.relu(rx.relu(x))))
    with pytest.raises(ValueError, match=r"different functions: got 1 and 2 sites that differ in relu_1; expected"):
        rx.merge(one, two)


@pytest.mark.parametrize("swap", [False, True])
def test_with_and_without_a_signal_are_refused(swap):
    pair = [nothing_seen(transform(loss), PARAMS, A) for transform in (rx.probe, rx.probe_grad)]
    with pytest.raises(ValueError, match=r"a/relu.*backward signal.*expected both from probe, or both from probe_grad"):
        rx.merge(*(pair[::-1] if swap else pair))


def test_gains_in_one_only():
    both = [nothing_seen(rx.probe_grad(loss, gains=gains), PARAMS, A) for gains in (True, False)]
    with pytest.raises(ValueError, match=r"a/relu: got gains in one and none in the other; expected both with"):
        rx.merge(*both)


@pytest.mark.parametrize("other", [None, (0.0, 2.0), (0.0,)])
def test_histograms_with_other_edges(other):
    a, b = (nothing_seen(rx.probe(model, edges=edges), PARAMS, A) for edges in ((0.0, 1.0), other))
    with pytest.raises(
        ValueError, match=r"a/relu: got histograms with edges \(0.0, 1.0\) and .*expected the same edges"
    ):
        rx.merge(a, b)
    assert rx.summarize(rx.merge(a, a)).opaque[0].kinds == ("relu",)  # nothing ran
