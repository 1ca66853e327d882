"""Twice the precision: products and eliminations of float32 matrices against float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relujax.spectra._doubled import doubled, factored, multiplied

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def exact(matrix):
    return np.float64(matrix.high) + np.float64(matrix.low)


@pytest.mark.parametrize("compiled", [False, True])
def test_products_are_right_beyond_the_digits_of_their_factors(compiled):
    run = (lambda f: f) if not compiled else jax.jit
    left, middle, right = normal(3, 7, 9), normal(3, 9, 5), normal(3, 5, 4)
    product = run(jax.vmap(lambda a, b, c: multiplied(a, multiplied(b, doubled(c)))))(left, middle, right)
    want = np.float64(left) @ (np.float64(middle) @ np.float64(right))
    assert np.abs(np.float64(product.high) - want).max() > 1e-8  # one float32 cannot hold it
    np.testing.assert_allclose(exact(product), want, atol=2e-9, rtol=0)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (1, 1)])
def test_elimination_gives_triangles_whose_product_is_the_matrix(shape):
    matrix = normal(*shape)
    lower, upper = jax.jit(factored)(doubled(matrix))
    np.testing.assert_array_equal(upper, np.triu(upper))
    assert np.abs(lower.high).max() == 1
    high = np.asarray(lower.high)
    lasts = [np.flatnonzero(row)[-1] for row in high]  # of the row taken in step i it is entry i, which is 1
    ordered = high[np.lexsort((high[:, -1] != 1, lasts))]
    np.testing.assert_array_equal(ordered, np.tril(ordered))
    np.testing.assert_array_equal(np.diagonal(ordered), np.ones(min(shape)))
    # The upper triangle is rounded once, each of its entries to its own size.
    np.testing.assert_allclose(exact(lower) @ np.float64(upper), matrix, atol=1e-6, rtol=0)


def test_pivots_of_a_nearly_singular_matrix_keep_their_digits():
    matrix = normal(5, 5)
    matrix[4] = matrix[:4].sum(axis=0)  # in float32: what is left of the last row is its rounding
    _, upper = factored(doubled(jnp.asarray(matrix)))
    want = np.abs(np.linalg.det(np.float64(matrix)))
    np.testing.assert_allclose(np.abs(np.prod(np.diagonal(np.float64(upper)))), want, rtol=2e-3)
    assert want < 1e-6


def test_a_singular_matrix_has_pivots_of_zero():
    lower, upper = factored(doubled(jnp.outer(jnp.arange(1.0, 4.0), jnp.arange(2.0, 5.0))))
    np.testing.assert_array_equal(np.diagonal(upper), [6, 0, 0])
    assert np.isfinite(lower.high).all()
    assert np.isfinite(lower.low).all()
