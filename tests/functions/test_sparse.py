"""Counting members: how many pass, which of equals, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

X = np.random.default_rng(5).normal(size=(8, 40)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 7, 40])
def test_top_k_passes_k_of_each_row_and_they_are_the_largest(k):
    y = np.asarray(rx.top_k(X, k))
    for row, kept in zip(X, y, strict=True):
        np.testing.assert_array_equal(np.sort(kept[kept != 0]), np.sort(row)[-k:])


def test_of_equal_entries_the_first_pass():
    x = jnp.array([1.0, 2.0, 2.0, 2.0, 0.0])
    assert rx.top_k(x, 2).tolist() == [0, 2, 2, 0, 0]
    assert jax.grad(lambda x: rx.top_k(x, 2).sum())(x).tolist() == [0, 1, 1, 0, 0]
    assert jax.grad(lambda x: rx.maxout(x, 5).sum())(x).tolist() == [0, 1, 0, 0, 0]


def test_batch_top_k_gives_one_example_more_than_another():
    x = X * np.linspace(0.1, 2, 8, dtype=np.float32)[:, None]
    counts = (np.asarray(rx.batch_top_k(x, 5)) != 0).sum(1)
    assert counts.sum() == 8 * 5
    assert counts[-1] > counts[0]
    np.testing.assert_array_equal(rx.batch_top_k(x[None], 5)[0], rx.batch_top_k(x, 5))


def test_gaussian_top_k_passes_about_k_of_normal_numbers():
    x = np.random.default_rng(0).normal(3, 2, size=(64, 4096)).astype(np.float32)
    counts = (np.asarray(rx.gaussian_top_k(x, 256)) > 0).sum(1)
    # The count is binomial, less the spread that mean and deviation take: within 5 of its standard deviations.
    assert abs(counts.mean() - 256) < 5 * np.sqrt(256 / 64)


def test_gaussian_top_k_of_equal_entries_has_a_gradient_without_nan():
    x = jnp.ones((2, 6))
    assert rx.gaussian_top_k(x, 2).tolist() == [[0] * 6] * 2
    assert np.isfinite(jax.grad(lambda x: rx.gaussian_top_k(x, 2).sum())(x)).all()


def test_gaussian_top_k_moves_with_its_input_and_scales_with_it():
    y = rx.gaussian_top_k(X, 5)
    np.testing.assert_allclose(rx.gaussian_top_k(X + 10, 5), y, atol=2e-5)
    np.testing.assert_allclose(rx.gaussian_top_k(X * 4, 5), 4 * y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pieces", [2, 4, 5])
def test_maxout_is_the_largest_of_its_group(pieces):
    np.testing.assert_array_equal(rx.maxout(X, pieces), X.reshape(8, -1, pieces).max(-1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rx.top_k(X, 0), r"top_k got k=0: expected 1 to 40, the length of axis -1"),
        (lambda: rx.top_k(X, 9, axis=0), r"top_k got k=9: expected 1 to 8, the length of axis 0"),
        (lambda: rx.batch_top_k(X, 41), r"batch_top_k got k=41: expected 1 to 40, the number of units"),
        (lambda: rx.gaussian_top_k(X, 40), r"gaussian_top_k got k=40: expected 1 to 39, below the length"),
        (lambda: rx.maxout(X, 3), r"maxout got pieces=3 for an axis of length 40: expected a divisor"),
        (lambda: rx.maxout(X, 0), r"maxout got pieces=0"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_count_that_is_no_integer_is_refused():
    for fun in (rx.top_k, rx.batch_top_k, rx.gaussian_top_k):
        with pytest.raises(TypeError, match=rf"{fun.__name__} got k=1.5: expected an? "):
            fun(X, 1.5)
        np.testing.assert_array_equal(fun(X, np.int64(2)), fun(X, 2))
    with pytest.raises(ValueError, match=r"maxout got pieces=2\.0"):
        rx.maxout(X, 2.0)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_gaussian_top_k_has_no_scale_of_its_own(scale):
    np.testing.assert_allclose(rx.gaussian_top_k(X * np.float32(scale), 5) / scale, rx.gaussian_top_k(X, 5), atol=1e-5)


def test_zeros_of_both_signs_are_equal():
    assert jax.grad(lambda x: rx.maxout(x).sum())(jnp.array([-0.0, 0.0])).tolist() == [1, 0]
