"""The largest singular values without the matrix: NumPy's in float64, of matrices on which Lanczos methods break."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

RNG = np.random.default_rng(1)
ROTATION = np.linalg.qr(RNG.standard_normal((48, 48)))[0]
MATRICES = {
    "gaussian": RNG.standard_normal((60, 60)),
    "wide": RNG.standard_normal((40, 90)),
    "tall": RNG.standard_normal((90, 40)),
    "identity": np.eye(48),
    "zero": np.zeros((48, 48)),
    "rank 1": np.outer(RNG.standard_normal(48), RNG.standard_normal(48)),
    "masked orthogonal": ROTATION * (RNG.random(48) > 0.5)[:, None],
    "graded": ROTATION * 10.0 ** -np.arange(48),
    "small": RNG.standard_normal((5, 4)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_the_largest_are_those_of_the_matrix(name):
    matrix = MATRICES[name].astype(np.float32)
    want = np.linalg.svd(np.float64(matrix), compute_uv=False)[:3]
    found = rx.spectrum(lambda x: matrix @ x, num=3)(np.ones(matrix.shape[1], np.float32), jax.random.key(0))
    np.testing.assert_allclose(found, want, atol=5e-6 * want[0], rtol=0)


def test_more_than_the_rank_of_a_relu_jacobian():
    """Rank 26, asked for 40 values: matfree 0.6.3 is wrong here by 4.5e8 without a NaN."""
    weights = RNG.standard_normal((2, 160, 160)).astype(np.float32) / 9
    weights[0, 26:] = 0

    def net(x):
        return weights[1] @ rx.relu(jnp.abs(weights[0] @ x))

    x = RNG.standard_normal(160).astype(np.float32)
    found = np.asarray(jax.jit(rx.spectrum(net, num=40))(x, jax.random.key(0)))
    want = np.linalg.svd(np.float64(jax.jacrev(net)(x)), compute_uv=False)
    np.testing.assert_allclose(found, want[:40], atol=5e-6 * want[0])
    assert (found[26:] < 1e-5 * want[0]).all()
    assert found[25] > 1e-2 * want[0]


def test_examples_at_once_are_those_alone():
    weight, xs = RNG.standard_normal((64, 64)).astype(np.float32) / 8, RNG.standard_normal((3, 64)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 3)
    run = rx.spectrum(lambda x: rx.tanh(weight @ x), num=2)
    found = jax.jit(jax.vmap(run))(xs, keys)
    slopes = 1 - np.tanh(xs @ np.float64(weight).T) ** 2
    for values, slope in zip(found, slopes, strict=True):
        want = np.linalg.svd(slope[:, None] * weight, compute_uv=False)[:2]
        np.testing.assert_allclose(values, want, rtol=5e-6)


def test_gradients_are_those_of_the_dense_values_and_finite_on_rank_one():
    weight, x = RNG.standard_normal((60, 60)).astype(np.float32) / 8, RNG.standard_normal(60).astype(np.float32)

    def top(weight):
        return rx.spectrum(lambda x: rx.tanh(weight @ x), num=2)(x, jax.random.key(0)).sum()

    def dense(weight):
        return jnp.linalg.svd(jax.jacrev(lambda x: rx.tanh(weight @ x))(x), compute_uv=False)[:2].sum()

    np.testing.assert_allclose(jax.jit(jax.grad(top))(weight), jax.grad(dense)(weight), atol=2e-3)
    assert np.isfinite(jax.grad(top)(np.outer(x, x) / 100)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_has_no_values(bad):
    matrix = np.full((50, 50), bad, np.float32)
    found = rx.spectrum(lambda x: matrix @ x, num=2)(np.ones(50, np.float32), jax.random.key(0))
    assert np.isnan(found).all()


def test_errors_say_what_was_got_and_what_to_do():
    x, key = np.ones(4, np.float32), jax.random.key(0)
    with pytest.raises(ValueError, match=r"got num=0: expected a whole number, 1 or more"):
        rx.spectrum(rx.relu, num=0)
    with pytest.raises(ValueError, match=r"got num=5: expected a whole number from 1 to 4"):
        rx.spectrum(rx.relu, num=5)(x, key)
    with pytest.raises(ValueError, match=r"got chunk=2 with num=1: expected one of them"):
        rx.spectrum(rx.relu, num=1, chunk=2)
    with pytest.raises(TypeError, match=r"got no key: expected a random key"):
        rx.spectrum(rx.relu, num=1)(x)
    with pytest.raises(TypeError, match=r"got a point with int32 numbers"):
        rx.spectrum(rx.relu, num=1)(np.ones(4, np.int32), key)
    with pytest.raises(ValueError, match=r"got a point without numbers"):
        rx.spectrum(rx.relu)(np.ones(0, np.float32))


@pytest.mark.parametrize("tail", [np.linspace(1, 0.5, 299), np.linspace(1, 0.1, 299) ** 2])
@pytest.mark.parametrize("below", [1e-2, 1e-3])
def test_values_far_below_the_largest_are_right_too(tail, below):
    values = np.float32([1, *(below * tail)])
    found = jax.jit(rx.spectrum(lambda x: values * x, num=5))(jnp.ones(300, jnp.float32), jax.random.key(0))
    np.testing.assert_allclose(found, values[:5], rtol=2e-3)


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e12, 1e30])
def test_values_of_gradients_that_vanished_or_exploded(size):
    """Their squares are beyond float32, or lose digits there."""
    values = np.float32(size) * np.float32([1, 0.9, *np.linspace(0.5, 0.1, 98)])
    found = jax.jit(rx.spectrum(lambda x: values * x, num=2))(jnp.ones(100, jnp.float32), jax.random.key(0))
    np.testing.assert_allclose(found, values[:2], rtol=1e-5)
