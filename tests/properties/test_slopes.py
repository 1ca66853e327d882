"""Slopes: autodiff of the formula in float64 away from the kinks, and the declared numbers at them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import (
    ELEMENTWISE,
    FLOATS,
    FLUSHED,
    HALVES,
    HYPERPARAMETERS,
    ROWS,
    by_row,
    by_row64,
    flushed_gate,
    grid,
    jax_twin,
    ulps,
)


def slope(row, x):
    """The gradient of the sum, with a cotangent of 1 in the dtype of ``x``."""
    y, pull = jax.vjp(lambda x: row.fun(x, **row.example), x)
    [g] = pull(jnp.ones_like(y))
    assert g.dtype == x.dtype
    return g


def plain_slope(row, x):
    if row.slope:
        return row.slope(x)
    # Beyond 300 a slope that has a limit has reached it, and exp would overflow in the reference.
    x = jnp.clip(x, -300, 300) if np.isfinite(row.steepest) else x
    return jax.grad(lambda x: row.plain(x, **row.example).sum())(x)


@functools.cache
def slopes(dtype):
    """Of the library, and of the formula in float64."""
    return by_row(slope, grid(dtype)), by_row64(plain_slope, grid(dtype))


def away_from_kinks(row, dtype):
    """The grid and both slopes on it, without the points that are a kink or flushed to one."""
    x = grid(dtype)
    wide = x.astype(np.float64)
    away = np.all([np.isfinite(wide), *(np.abs(wide - kink) >= FLUSHED for kink in row.kinks)], axis=0)
    return x[away], *(of[row.name][away] for of in slopes(dtype))


@pytest.mark.parametrize("dtype", HALVES)
@ROWS
def test_every_half_precision_slope_is_the_float64_slope_rounded(row, dtype):
    x, got, want = away_from_kinks(row, dtype)
    flushed = (np.abs(x.astype(np.float64)) < FLUSHED) & (got == 0)  # x was, before anything was computed
    distance = np.where(flushed | flushed_gate(row, got, want), 0, ulps(got, want, dtype))
    wrong = ~(distance <= 1)
    assert not wrong.any(), (x[wrong], distance[wrong])


# XLA's own float32 tanh is off by up to 4.3 ulp, and the slope that follows from it by as much (in ulp of 1).
SLOPE_ULPS = {"tanh": 4.5}


@ROWS
def test_float32_slopes_are_right_to_two_ulp_of_one(row):
    x, got, want = away_from_kinks(row, jnp.float32)
    with np.errstate(over="ignore"):
        finite = np.isfinite(want.astype(np.float32))
        # A slope that is told by the output is infinite with it (relu_squared's, beyond 1e19).
        finite &= np.isfinite(row.fun(x, **row.example)) | (row.residual != "output")
    x, got, want = x[finite], got[finite].astype(np.float64), want[finite]
    error = np.abs(got - want) / np.maximum(np.abs(want), 1) / np.finfo(np.float32).eps
    wrong = ~(error <= SLOPE_ULPS.get(row.name, 2))
    assert not wrong.any(), (x[wrong], error[wrong])


@functools.cache
def slopes_of_jax_nn():
    def theirs(row, x):
        return jax_twin(row) and jax.grad(lambda x: jax_twin(row)(x).sum())(x)

    return by_row(theirs, grid(jnp.float32))


@pytest.mark.parametrize("name", [name for name, row in ELEMENTWISE.items() if jax_twin(row)])
def test_float32_slopes_are_never_worse_than_those_of_jax_nn(name):
    row, x = ELEMENTWISE[name], grid(jnp.float32)
    ours, exact = (of[name] for of in slopes(jnp.float32))
    normal = np.all([np.abs(x.astype(np.float64) - kink) >= FLUSHED for kink in row.kinks], axis=0)
    normal &= (np.abs(exact) >= FLUSHED) & (np.abs(x) < 1e30)
    both = ours, slopes_of_jax_nn()[name]
    if row.residual == "output":  # which tells the slope to ulp of 1, and not of itself
        errors = [np.abs(np.asarray(of, np.float64) - exact)[normal] / np.finfo(np.float32).eps for of in both]
    else:
        errors = [ulps(of, exact, jnp.float32)[normal] for of in both]
    got, theirs = (np.where(np.isnan(error), np.inf, error) for error in errors)
    for quantile in (0.5, 0.99, 1):
        assert np.quantile(got, quantile) <= max(4, np.quantile(theirs, quantile)), quantile


@ROWS
def test_float32_slopes_from_the_input_keep_their_digits_in_the_left_tail(row):
    x = np.linspace(-10, -6, 501, dtype=np.float32)
    if row.residual != "input":
        pytest.skip("the slope is one of two numbers, or told by the output to 2 ulp of 1")
    got, want = left_tails()[row.name]
    error = np.abs(got - want) / np.maximum(np.abs(want), 1e-36)
    assert error.max() < 3e-5, (x[error.argmax()], error.max())


@functools.cache
def left_tails():
    x = np.linspace(-10, -6, 501, dtype=np.float32)
    ours, plain = by_row(slope, x), by_row64(plain_slope, x)
    return {name: (ours[name].astype(np.float64), plain[name]) for name in ours}


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_slope_at_nan_is_the_declared_one(dtype):
    got = by_row(slope, np.array([np.nan, 1], dtype))
    for name, row in ELEMENTWISE.items():
        want = np.array(row.nan_slope, dtype).astype(np.float64)
        np.testing.assert_array_equal(got[name][0].astype(np.float64), want, err_msg=name)


@functools.cache
def slopes_at_infinity(dtype):
    return by_row(slope, np.array([-np.inf, np.inf], dtype)), by_row64(plain_slope, np.array([-1e30, 1e30]))


@pytest.mark.parametrize("dtype", FLOATS)
@ROWS
def test_infinities_have_the_limit_of_the_slope(row, dtype):
    got, want = (of[row.name].astype(np.float64) for of in slopes_at_infinity(dtype))
    # What has shrunk or grown so far by 1e30 goes on to 0 or to infinity.
    want = np.where(np.abs(want) < 1e-20, 0, np.where(np.abs(want) > 1e20, np.inf, want))
    np.testing.assert_allclose(got, want, rtol=float(jnp.finfo(dtype).eps))


def test_where_jax_nn_swallows_nan_so_do_we_and_nowhere_else():
    def theirs(row, x):
        return None if jax_twin(row) is None else jax.grad(lambda x: jax_twin(row)(x).sum())(x)

    for name, slopes in by_row(theirs, np.array([np.nan], np.float32)).items():
        row = ELEMENTWISE[name]
        if slopes is not None:
            np.testing.assert_array_equal(slopes, np.float32([row.nan_slope]), err_msg=name)
        else:
            # One bit has no room for NaN: it counts as active, so that a loss of NaN has gradients of NaN.
            assert np.isnan(row.nan_slope) or row.residual in ("bits", "nothing") or name == "bilinear", name


@pytest.mark.parametrize("dtype", FLOATS)
def test_kinks_have_the_declared_slopes(dtype):
    # Each kink twice, so that one at 0 is met with both signs.
    kinks = {
        name: np.array([*row.kinks, *(-0.0 if k == 0 else k for k in row.kinks)], dtype)
        for name, row in ELEMENTWISE.items()
    }
    got = by_row(lambda row, kinks: slope(row, kinks[row.name]), kinks)
    for name, row in ELEMENTWISE.items():
        want = np.array([*row.kink_slopes] * 2, dtype)
        np.testing.assert_array_equal(got[name].astype(np.float64), want.astype(np.float64), err_msg=name)


def test_kinks_and_slopes_of_jax_nn():
    def ours_and_theirs(row, x):
        twin = jax_twin(row)
        return twin and (slope(row, x), jax.grad(lambda x: twin(x).sum())(x))

    kinks = {kink for row in ELEMENTWISE.values() for kink in row.kinks}
    pairs = by_row(ours_and_theirs, jnp.array([*kinks, -3.0, -0.5, 0.5, 3.0], jnp.float32))
    assert {"relu", "leaky_relu", "elu"} <= {name for name, pair in pairs.items() if pair}
    for name, pair in pairs.items():
        np.testing.assert_allclose(*(pair or (0, 0)), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("per_channel", [False, True], ids=["scalar", "per channel"])
@HYPERPARAMETERS
def test_gradient_with_respect_to_a_hyperparameter(row, name, per_channel):
    x = np.linspace(-4, 4, 42, dtype=np.float32).reshape(7, 6)
    value = np.linspace(0.3, 0.9, 6, dtype=np.float32) if per_channel else np.float32(0.3)
    weight = np.cos(np.arange(42, dtype=np.float32)).reshape(7, 6)
    rest = {k: v for k, v in row.example.items() if k != name}

    def loss(x, value):
        return (weight * row.fun(x, **rest, **{name: value})).sum()

    def plain(x, value):
        aligned = value.reshape(1, -1) if per_channel else value
        return (weight * row.plain(x, **rest, **{name: aligned})).sum()

    @jax.jit
    def gradients(x, value):
        apart = (jax.grad(loss)(x, value), jax.grad(loss, argnums=1)(x, value))
        return [apart, *(jax.grad(f, argnums=(0, 1))(x, value) for f in (loss, plain))]

    # What is differentiated decides what is kept, and so which formula gives the slope.
    for got in zip(*gradients(x, value), strict=True):
        assert got[0].shape == got[2].shape
        np.testing.assert_allclose(got[:2], [got[2]] * 2, rtol=1e-5, atol=1e-6)


@HYPERPARAMETERS
def test_gradient_with_respect_to_a_hyperparameter_of_integer_input(row, name):
    x, rest = jnp.array([-3, -1, 0, 2]), {k: v for k, v in row.example.items() if k != name}

    @jax.jit
    def ours_and_plain(value):
        pairs = ((row.fun, x), (row.plain, x.astype(float)))
        return [jax.grad(lambda v, fun=fun, x=x: fun(x, **rest, **{name: v}).sum())(value) for fun, x in pairs]

    np.testing.assert_allclose(*ours_and_plain(0.5), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", HALVES)
@HYPERPARAMETERS
def test_a_float32_hyperparameter_of_half_precision_input_has_a_float32_gradient(row, name, dtype):
    # 100,000 equal terms: a sum that was rounded to half precision on its way is infinite, or 0.1 % off.
    count, rest = 100_000, {k: v for k, v in row.example.items() if k != name}

    @jax.jit
    def ours_and_one_term(value):
        x = jnp.full((count,), -1, dtype)
        ours = jax.grad(lambda v: row.fun(x, **rest, **{name: v}).astype(jnp.float32).sum())(value)
        return ours, jax.grad(lambda v: row.plain(jnp.float32(-1), **rest, **{name: v}))(value)

    got, one = ours_and_one_term(np.float32(0.5))
    assert got.dtype == jnp.float32
    # Each term may be rounded to half precision, their sum not.
    np.testing.assert_allclose(got, count * one, rtol=float(jnp.finfo(dtype).eps) / 2)
