"""Slopes: autodiff of the formula in float64 away from the kinks, and the declared numbers at them."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import FLOATS, FLUSHED, HALVES, by_row, by_row64, grid, ulps

import relujax as rx

ROWS = pytest.mark.parametrize("row", rx.ACTIVATIONS.values(), ids=lambda row: row.name)
HYPERPARAMETERS = pytest.mark.parametrize(
    ("row", "name"),
    [(row, name) for row in rx.ACTIVATIONS.values() for name in list(inspect.signature(row.fun).parameters)[1:]],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
# Autodiff of these cancels in the tail, in float64 too: 1 - y**2 of tanh, expm1(x) + 1 of elu.
CLOSED_FORMS = {
    "elu": lambda x: np.exp(np.minimum(x, 0)),
    "celu": lambda x: np.exp(np.minimum(x, 0)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, 1, 1.6732632423543772 * np.exp(np.minimum(x, 0))),
    "tanh": lambda x: 1 / np.cosh(x) ** 2,
}


def slope(row, x):
    """The gradient of the sum, with a cotangent of 1 in the dtype of ``x``."""
    y, pull = jax.vjp(lambda x: row.fun(x, **row.example), x)
    [g] = pull(jnp.ones_like(y))
    assert g.dtype == x.dtype
    return g


def plain_slope(row, x):
    return jax.grad(lambda x: row.plain(x, **row.example).sum())(x)


@functools.cache
def slopes(dtype):
    """Of the library, and of the formula in float64."""
    # Beyond 300 every slope has settled, and exp would overflow in the reference.
    settled = np.clip(grid(dtype).astype(np.float64), -300, 300)
    exact = {name: closed_form(settled) for name, closed_form in CLOSED_FORMS.items()}
    return by_row(slope, grid(dtype)), by_row64(plain_slope, settled) | exact


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
    distance = ulps(got, want, dtype)
    wrong = ~(distance <= 1)
    assert not wrong.any(), (x[wrong], distance[wrong])


# XLA's own float32 tanh is off by up to 4.3 ulp, and the slope that follows from it by as much (in ulp of 1).
SLOPE_ULPS = {"tanh": 4.5}


@ROWS
def test_float32_slopes_are_right_to_two_ulp_of_one(row):
    x, got, want = away_from_kinks(row, jnp.float32)
    error = np.abs(got.astype(np.float64) - want) / np.finfo(np.float32).eps
    wrong = ~(error <= SLOPE_ULPS.get(row.name, 2))
    assert not wrong.any(), (x[wrong], error[wrong])


@pytest.mark.parametrize("dtype", FLOATS)
def test_kinks_have_the_declared_slopes(dtype):
    # Each kink twice, so that one at 0 is met with both signs.
    kinks = {
        name: np.array([*row.kinks, *(-0.0 if k == 0 else k for k in row.kinks)], dtype)
        for name, row in rx.ACTIVATIONS.items()
    }
    got = by_row(lambda row, kinks: slope(row, kinks[row.name]), kinks)
    for name, row in rx.ACTIVATIONS.items():
        want = np.array([*row.kink_slopes] * 2, dtype)
        np.testing.assert_array_equal(got[name].astype(np.float64), want.astype(np.float64), err_msg=name)


def test_kinks_and_slopes_of_jax_nn():
    def ours_and_theirs(row, x):
        if hasattr(jax.nn, row.name):
            return slope(row, x), jax.grad(lambda x: getattr(jax.nn, row.name)(x).sum())(x)
        return None

    kinks = {kink for row in rx.ACTIVATIONS.values() for kink in row.kinks}
    pairs = by_row(ours_and_theirs, jnp.array([*kinks, -3.0, -0.5, 0.5, 3.0], jnp.float32))
    assert {"relu", "leaky_relu", "elu"} <= {name for name, pair in pairs.items() if pair}
    for name, pair in pairs.items():
        np.testing.assert_allclose(*(pair or (0, 0)), rtol=1e-5, atol=1e-6, err_msg=name)


def test_relu_swallows_the_gradient_of_nan():
    assert jax.grad(rx.relu)(jnp.nan).item() == 0.0


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

    np.testing.assert_allclose(*ours_and_plain(0.5), rtol=1e-6)


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
