"""Values: the formula in float64, rounded once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import FLOATS, HALVES, by_row, float64, grid, ulps

import relujax as rx

ROWS = pytest.mark.parametrize("row", rx.ACTIVATIONS.values(), ids=lambda row: row.name)


def value(row, x):
    return row.fun(x, **row.example)


def plain64(row, x):
    return float64(lambda x: row.plain(x, **row.example), x)


@functools.cache
def values(dtype):
    return by_row(value, grid(dtype))


@functools.cache
def special_values(dtype):
    return by_row(value, np.array([1, np.nan, -np.inf, np.inf], dtype))


@pytest.mark.parametrize("dtype", HALVES)
@ROWS
def test_every_half_precision_value_is_the_float64_value_rounded_once(row, dtype):
    x = grid(dtype)
    distance = ulps(values(dtype)[row.name], plain64(row, x), dtype)
    assert np.all(distance <= 1), (x[~(distance <= 1)], distance[~(distance <= 1)])
    # Rounded once from float32: arithmetic in half precision misses the nearest value far more often than this.
    assert np.mean(distance == 1) < 1e-3


@ROWS
def test_float32_values(row):
    x = grid(jnp.float32)
    want = plain64(row, x)
    distance = ulps(values(jnp.float32)[row.name], want, jnp.float32)
    # Where jax.nn has the function, XLA's expm1, logistic and tanh set the limit: up to 5 ulp on a CPU.
    twin = getattr(jax.nn, row.name, None)
    limit = max(1, ulps(jax.jit(twin)(x), want, jnp.float32).max() if twin else 1)
    assert np.all(distance <= limit), (x[~(distance <= limit)], distance.max(), limit)


@pytest.mark.parametrize("row", [r for r in rx.ACTIVATIONS.values() if hasattr(jax.nn, r.name)], ids=lambda r: r.name)
def test_jax_nn_agrees_with_the_same_defaults(row):
    x = np.linspace(-6, 6, 241, dtype=np.float32)
    np.testing.assert_allclose(*jax.jit(lambda x: (row.fun(x), getattr(jax.nn, row.name)(x)))(x), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", FLOATS)
@ROWS
def test_nan_propagates(row, dtype):
    y = special_values(dtype)[row.name].astype(np.float64)
    np.testing.assert_array_equal(np.isnan(y), [False, True, False, False])


@pytest.mark.parametrize("dtype", FLOATS)
@ROWS
def test_infinities_give_the_limit(row, dtype):
    far = plain64(row, np.array([-1e30, 1e30]))
    limit = np.where(np.abs(far) > 1e20, np.copysign(np.inf, far), far)
    np.testing.assert_array_equal(special_values(dtype)[row.name][2:].astype(np.float64), limit)
