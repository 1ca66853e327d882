"""Measures of singular values: closed forms, zeros, sizes at the ends of float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relujax import spectra


@pytest.mark.parametrize("scale", [1e-37, 1e-30, 1.0, 1e30, 1e38])
def test_measures_of_three_values_at_any_size(scale):
    values = np.float32([2, 2, 1]) * np.float32(scale)
    np.testing.assert_allclose(spectra.effective_rank(values), 81 / 33, rtol=1e-6)
    np.testing.assert_allclose(spectra.stable_rank(values), 9 / 4, rtol=1e-6)
    np.testing.assert_allclose(spectra.condition_number(values), 2, rtol=1e-6)
    np.testing.assert_allclose(spectra.log_volume(values), np.log(4) + 3 * np.log(scale), atol=1e-4)


def test_measures_of_singular_matrices_and_of_rows():
    values = np.float32([[3, 0], [0, 0], [1, 1]])
    assert spectra.effective_rank(values).tolist() == [1, 0, 2]
    assert spectra.stable_rank(values).tolist() == [1, 0, 2]
    assert spectra.log_volume(values).tolist() == [-np.inf, -np.inf, 0]
    condition = spectra.condition_number(values)
    assert condition[0] == np.inf
    assert np.isnan(condition[1])


def test_gradients_of_ranks_are_finite_on_zeros():
    for measure in (spectra.effective_rank, spectra.stable_rank):
        assert np.isfinite(jax.grad(measure)(jnp.array([2.0, 0.0], "float32"))).all()
        assert np.isfinite(jax.grad(measure)(jnp.zeros(2))).all()


def test_ranks_do_not_depend_on_the_order():
    values = jnp.array([0.0, 1.0, 1.0], jnp.float32)
    assert spectra.effective_rank(values).item() == spectra.stable_rank(values).item() == 2


def test_lists_and_whole_numbers_have_a_rank():
    assert int(spectra.numerical_rank([4, 2, 0], 3)) == 2
    assert int(spectra.effective_rank([2, 2, 0])) == 2
