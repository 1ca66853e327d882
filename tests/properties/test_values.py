"""Values: the formula in float64, rounded once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import FLOATS, HALVES, float64, grid, ulps

import relujax as rx

ROWS = pytest.mark.parametrize("row", rx.ACTIVATIONS.values(), ids=lambda row: row.name)
TWINS = pytest.mark.parametrize(
    "row", [row for row in rx.ACTIVATIONS.values() if hasattr(jax.nn, row.name)], ids=lambda row: row.name
)


def plain64(row, x):
    return float64(lambda x: row.plain(x, **row.example), x)


@pytest.mark.parametrize("dtype", HALVES)
@ROWS
def test_every_half_precision_value_is_the_float64_value_rounded_once(row, dtype):
    x = grid(dtype)
    distance = ulps(row.fun(x, **row.example), plain64(row, x), dtype)
    assert np.all(distance <= 1), (x[~(distance <= 1)], distance[~(distance <= 1)])
    # Rounded once from float32: arithmetic in half precision misses the nearest value far more often than this.
    assert np.mean(distance == 1) < 1e-3


@ROWS
def test_float32_values(row):
    x = grid(jnp.float32)
    want = plain64(row, x)
    distance = ulps(row.fun(x, **row.example), want, jnp.float32)
    # Where jax.nn has the function, XLA's expm1, logistic and tanh set the limit: up to 5 ulp on a CPU.
    twin = getattr(jax.nn, row.name, None)
    limit = max(1, ulps(twin(x), want, jnp.float32).max() if twin else 1)
    assert np.all(distance <= limit), (x[~(distance <= limit)], distance.max(), limit)


@TWINS
def test_jax_nn_agrees_with_the_same_defaults(row):
    x = np.linspace(-6, 6, 241, dtype=np.float32)
    np.testing.assert_allclose(row.fun(x), getattr(jax.nn, row.name)(x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", FLOATS)
@ROWS
def test_nan_propagates(row, dtype):
    x = jnp.array([1, jnp.nan, -1], dtype)
    y = np.asarray(row.fun(x, **row.example)).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(y), [False, True, False])


@pytest.mark.parametrize("dtype", FLOATS)
@ROWS
def test_infinities_give_the_limit(row, dtype):
    far = plain64(row, np.array([-1e30, 1e30]))
    limit = np.where(np.abs(far) > 1e20, np.copysign(np.inf, far), far)
    y = row.fun(jnp.array([-jnp.inf, jnp.inf], dtype), **row.example)
    np.testing.assert_array_equal(np.asarray(y).astype(np.float64), limit)
