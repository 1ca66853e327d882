"""Spectral density: whole spectra in float64, known atoms, breakdown of Lanczos."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

RNG = np.random.default_rng(2)


def density(matrix, **options):
    matrix = np.float32(matrix)
    run = jax.jit(rx.spectral_density(lambda x: matrix @ x, **options))
    return run(np.ones(matrix.shape[1], np.float32), jax.random.key(0))


def test_shares_and_moments_are_within_their_errors():
    matrix = RNG.standard_normal((150, 100)) / 10  # 50 of the 150 eigenvalues of J J^T are 0
    squares = np.concatenate([np.linalg.svd(matrix, compute_uv=False) ** 2, np.zeros(50)])
    found = density(matrix, steps=40, probes=16)
    zero, error = found.zero
    assert abs(zero - 1 / 3) < 4 * error
    edges = np.float32([0, 1, 2, 6])
    shares, errors = found.histogram(edges)
    want = np.histogram(squares[:100], edges)[0] / 150
    assert (np.abs(np.asarray(shares) - want) < 4 * np.asarray(errors)).all()
    mean, error = found.moment(1)
    assert abs(float(mean) - squares.mean()) < 4 * float(error)


@pytest.mark.parametrize("matrix", [np.eye(30), np.zeros((30, 30)), np.outer(np.ones(30), np.ones(30)) / 30])
def test_few_distinct_values_end_the_krylov_space_without_nan(matrix):
    found = density(matrix, steps=20, probes=4)
    np.testing.assert_allclose(found.weights.sum(axis=-1), 1, rtol=1e-5)
    assert np.isfinite(found.nodes).all()
    want = np.linalg.svd(matrix, compute_uv=False)[0] ** 2
    np.testing.assert_allclose(found.nodes.max(axis=-1), want, atol=1e-5)


def test_errors_say_what_was_got_and_what_to_do():
    x = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"got steps=0: expected a whole number, 1 or more"):
        rx.spectral_density(rx.relu, steps=0)
    with pytest.raises(TypeError, match=r"got no key: expected a random key"):
        rx.spectral_density(rx.relu)(x)
    with pytest.raises(TypeError, match=r"got a point with int32 numbers"):
        rx.spectral_density(rx.relu)(np.ones(3, np.int32), jax.random.key(0))
    with pytest.raises(ValueError, match=r"got a function without outputs: expected at least one number"):
        rx.spectral_density(lambda x: x[:0])(x, jax.random.key(0))


def test_examples_stay_apart_under_vmap():
    density = rx.spectral_density(lambda x: x**2, steps=4, probes=4)  # all six steps would make rounding grow
    xs = jnp.arange(1, 13, dtype=jnp.float32).reshape(2, 6)
    together = jax.vmap(density, in_axes=(0, None))(xs, jax.random.key(0))
    edges = np.array([0, 100, 1000])
    for i, x in enumerate(xs):
        alone = density(x, jax.random.key(0))
        for of in (lambda d: d.moment(1), lambda d: d.zero, lambda d: d.histogram(edges)):
            for a, b in zip(of(together), of(alone), strict=True):
                np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [1e-17, 1e-12, 1e12, 1e17])
def test_the_density_of_gradients_that_vanished_or_exploded(size):
    """Squares of eigenvalues are beyond float32; eigenvalues are not."""
    values = np.float32([*np.linspace(1, 0.1, 40), *np.zeros(40)])
    of_ones, found = (density(np.diag(scale * values), steps=30, probes=4) for scale in (1, size))
    np.testing.assert_allclose(found.nodes.max(axis=-1), size**2 * of_ones.nodes.max(axis=-1), rtol=1e-5)
    np.testing.assert_allclose(found.zero, of_ones.zero, atol=1e-3)
    edges = np.array([0, 0.3, 1.1])
    np.testing.assert_allclose(found.histogram(edges * size**2), of_ones.histogram(edges), atol=5e-3)


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_a_density_whose_eigenvalues_are_no_floats_is_nan(size):
    found = density(size * np.eye(8), steps=4, probes=2)
    assert np.isnan(found.nodes).all()
