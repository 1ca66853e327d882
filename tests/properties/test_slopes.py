"""Slopes: autodiff of the formula in float64 away from the kinks, and the declared numbers at them."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import (
    ELEMENTWISE,
    FAR,
    FLOATS,
    FLUSHED,
    HALVES,
    HYPERPARAMETERS,
    ROWS,
    SPECIAL,
    by_hyperparameter,
    by_row,
    exact,
    flushed_gate,
    grid,
    jax_twin,
    special,
    ulps,
    with_special,
    without_special,
)

import relujax as rx


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
def ours(dtype):
    return by_row(slope, with_special(dtype))


@functools.cache
def formulas():
    return exact(plain_slope)


@functools.cache
def twins():
    """Of ``jax.nn``, where it has the function, in float32."""

    def theirs(row, x):
        return jax_twin(row) and jax.grad(lambda x: jax_twin(row)(x).sum())(x)

    return by_row(theirs, with_special(jnp.float32))


def away_from_kinks(row, dtype):
    """The grid and both slopes on it, without the points that are a kink or flushed to one."""
    x, got, want = grid(dtype), without_special(ours(dtype)[row.name]), formulas()[dtype][row.name]
    wide = x.astype(np.float64)
    away = np.all([np.isfinite(wide), *(np.abs(wide - kink) >= FLUSHED for kink in row.kinks)], axis=0)
    return x[away], got[away], want[away]


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


@pytest.mark.parametrize("name", [name for name, row in ELEMENTWISE.items() if jax_twin(row)])
def test_float32_slopes_are_never_worse_than_those_of_jax_nn(name):
    row, x = ELEMENTWISE[name], grid(jnp.float32)
    wanted = formulas()[jnp.float32][name]
    normal = np.all([np.abs(x.astype(np.float64) - kink) >= FLUSHED for kink in row.kinks], axis=0)
    normal &= (np.abs(wanted) >= FLUSHED) & (np.abs(x) < 1e30)
    both = [without_special(of[name]) for of in (ours(jnp.float32), twins())]
    if row.residual == "output":  # which tells the slope to ulp of 1, and not of itself
        errors = [np.abs(np.asarray(of, np.float64) - wanted)[normal] / np.finfo(np.float32).eps for of in both]
    else:
        errors = [ulps(of, wanted, jnp.float32)[normal] for of in both]
    got, theirs = (np.where(np.isnan(error), np.inf, error) for error in errors)
    for quantile in (0.5, 0.99, 1):
        assert np.quantile(got, quantile) <= max(4, np.quantile(theirs, quantile)), quantile


@pytest.mark.parametrize("row", [row for row in ELEMENTWISE.values() if row.residual == "input"], ids=lambda r: r.name)
def test_float32_slopes_from_the_input_keep_their_digits_in_the_left_tail(row):
    x, got, want = away_from_kinks(row, jnp.float32)
    tail = (x >= -10) & (x <= -6)
    assert tail.sum() > 500
    error = np.abs(got[tail].astype(np.float64) - want[tail]) / np.maximum(np.abs(want[tail]), 1e-36)
    assert error.max() < 3e-5, (x[tail][error.argmax()], error.max())


@pytest.mark.parametrize("dtype", FLOATS)
@ROWS
def test_the_slope_at_nan_is_the_declared_one(row, dtype):
    [got] = special(ours(dtype)[row.name], np.nan)
    np.testing.assert_array_equal(got.astype(np.float64), np.array(row.nan_slope, dtype).astype(np.float64))


@pytest.mark.parametrize("dtype", FLOATS)
@ROWS
def test_infinities_have_the_limit_of_the_slope(row, dtype):
    got, want = special(ours(dtype)[row.name], -np.inf, np.inf), formulas()["far"][row.name]
    # What has shrunk or grown so far by 1e30 goes on to 0 or to infinity.
    want = np.where(np.abs(want) < 1e-20, 0, np.where(np.abs(want) > 1e20, np.inf, want))
    info = jnp.finfo(dtype)
    # GPUs keep the subnormal numbers that are 0 here.
    np.testing.assert_allclose(got.astype(np.float64), want, rtol=float(info.eps), atol=float(info.tiny))


@ROWS
def test_where_jax_nn_swallows_nan_so_do_we_and_nowhere_else(row):
    theirs = twins()[row.name]
    if theirs is not None:
        np.testing.assert_array_equal(special(theirs, np.nan), np.float32([row.nan_slope]))
    else:
        # One bit has no room for NaN: it counts as active, so that a loss of NaN has gradients of NaN.
        assert np.isnan(row.nan_slope) or row.residual in ("bits", "nothing") or row.name == "bilinear"


@pytest.mark.parametrize("dtype", FLOATS)
@ROWS
def test_kinks_have_the_declared_slopes(row, dtype):
    # A kink at 0 is met with both signs.
    for signed in (row.kinks, [-0.0 if kink == 0 else kink for kink in row.kinks]):
        got = special(ours(dtype)[row.name], *signed).astype(np.float64)
        np.testing.assert_array_equal(got, np.array(row.kink_slopes, dtype).astype(np.float64))


@pytest.mark.parametrize("name", [name for name, row in ELEMENTWISE.items() if jax_twin(row)])
def test_kinks_and_slopes_of_jax_nn(name):
    numbers = [number for number in SPECIAL if np.isfinite(number)]
    got, want = (special(of[name], *numbers) for of in (ours(jnp.float32), twins()))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_some_of_them_are_compared_with_jax_nn():
    assert {"relu", "leaky_relu", "elu"} <= {name for name, theirs in twins().items() if theirs is not None}


X = np.linspace(-4, 4, 42, dtype=np.float32).reshape(7, 6)
WEIGHT = np.cos(np.arange(42, dtype=np.float32)).reshape(7, 6)
VALUES = {"scalar": np.float32(0.3), "per channel": np.linspace(0.3, 0.9, 6, dtype=np.float32)}


@functools.cache
def gradients():
    """Of ``x`` and the hyperparameter: together, apart, and of the plain formula."""

    def of(call, plain, x, values):
        def loss(x, value):
            return (WEIGHT * call(x, value)).sum()

        def plain_loss(x, value):
            return (WEIGHT * plain(x, value.reshape(1, -1) if value.ndim else value)).sum()

        each = {
            shape: {
                "together": jax.grad(loss, argnums=(0, 1))(x, value),
                "plain": jax.grad(plain_loss, argnums=(0, 1))(x, value),
            }
            for shape, value in values.items()
        }
        value = values["per channel"]
        each["per channel"]["apart"] = jax.grad(loss)(x, value), jax.grad(loss, argnums=1)(x, value)
        return each

    return by_hyperparameter(of, X, VALUES)


@pytest.mark.parametrize("shape", VALUES)
@HYPERPARAMETERS
def test_gradient_with_respect_to_a_hyperparameter(row, name, shape):
    found = dict(gradients()[row.name, name][shape])
    want = found.pop("plain")
    # What is differentiated decides what is kept, and so which formula gives the slope.
    for got in found.values():
        assert [g.shape for g in got] == [X.shape, VALUES[shape].shape]
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), got, want)


@functools.cache
def gradients_at_special_numbers():
    """Of ``x`` and the hyperparameter together, of ``x`` alone, and of the hyperparameter by the formula."""

    def of(call, plain, x, value):
        return [
            jax.vmap(jax.grad(fun, argnums), (0, None))(x, value)
            for fun, argnums in ((call, (0, 1)), (call, 0), (plain, 1))
        ]

    return by_hyperparameter(of, np.array([-np.inf, *FAR, *SPECIAL], np.float32), np.float32(0.5))


@HYPERPARAMETERS
def test_the_slope_does_not_depend_on_what_else_is_differentiated(row, name):
    (slopes, _), alone, _ = gradients_at_special_numbers()[row.name, name]
    np.testing.assert_allclose(slopes, alone, rtol=1e-6, atol=1e-6)


@HYPERPARAMETERS
def test_the_gradient_of_a_hyperparameter_has_a_limit_at_minus_infinity(row, name):
    # At plus infinity the output is infinite for nearly all.
    (_, found), _, formula = gradients_at_special_numbers()[row.name, name]
    want = np.nan_to_num(formula[1])  # exp overflows in the formula of swish, whose limit is 0
    want = np.where(np.abs(want) < 1e-20, 0, np.where(np.abs(want) > 1e20, np.copysign(np.inf, want), want))
    np.testing.assert_allclose(found[0], want, rtol=1e-6)


@functools.cache
def gradients_of_integer_input():
    def of(call, plain, value):
        x = jnp.array([-3, -1, 0, 2])
        return [jax.grad(lambda v, f=f, x=x: f(x, v).sum())(value) for f, x in ((call, x), (plain, x.astype(float)))]

    return by_hyperparameter(of, 0.5)


@HYPERPARAMETERS
def test_gradient_with_respect_to_a_hyperparameter_of_integer_input(row, name):
    np.testing.assert_allclose(*gradients_of_integer_input()[row.name, name], rtol=1e-6, atol=1e-6)


COUNT = 100_000


@functools.cache
def gradients_of_many(dtype):
    def of(call, plain, value):
        x = jnp.full((COUNT,), -1, dtype)
        ours = jax.grad(lambda v: call(x, v).astype(jnp.float32).sum())(value)
        return ours, jax.grad(lambda v: plain(jnp.float32(-1), v))(value)

    return by_hyperparameter(of, np.float32(0.5))


@pytest.mark.parametrize("dtype", HALVES)
@HYPERPARAMETERS
def test_a_float32_hyperparameter_of_half_precision_input_has_a_float32_gradient(row, name, dtype):
    # 100,000 equal terms: a sum that was rounded to half precision on its way is infinite, or 0.1 % off.
    got, one = gradients_of_many(dtype)[row.name, name]
    assert got.dtype == jnp.float32
    # Each term may be rounded to half precision, their sum not.
    np.testing.assert_allclose(got, COUNT * one, rtol=float(jnp.finfo(dtype).eps) / 2)


def test_celu_of_alpha_0_is_its_limit():
    """As jax.nn.celu: relu, below 0 too."""
    x = np.float32([-3, -1, 0, 2])
    np.testing.assert_array_equal(rx.celu(x, 0.0), np.maximum(x, 0))
    np.testing.assert_array_equal(jax.vmap(jax.grad(lambda x: rx.celu(x, 0.0)))(x[[0, 1, 3]]), [0, 0, 1])


@pytest.mark.parametrize("x", [-np.inf, -3e38, -1e20, 1e20, 3e38, np.inf])
@pytest.mark.parametrize("approximate", [True, False])
def test_second_and_third_derivatives_of_gelu_vanish_far_out(approximate, x):
    second = jax.grad(jax.grad(lambda x: rx.gelu(x, approximate)))
    assert second(np.float32(x)) == jax.grad(second)(np.float32(x)) == 0


@pytest.mark.parametrize(
    ("fun", "want"),
    [
        (rx.silu, 1 / 2),
        (rx.quick_gelu, 1.702 / 2),
        (functools.partial(rx.swish, beta=2.0), 1.0),
        (rx.gelu, math.sqrt(2 / math.pi)),
        (functools.partial(rx.gelu, approximate=False), math.sqrt(2 / math.pi)),
        (rx.mish, 0.64),  # twice the slope of tanh at log(2), which is 1 - 0.6^2, times that of softplus at 0
        (rx.softplus, 1 / 4),
        (rx.log_sigmoid, -1 / 4),
    ],
)
def test_second_derivatives_at_0_where_branches_may_meet(fun, want):
    np.testing.assert_allclose(jax.grad(jax.grad(fun))(np.float32(0)), want, rtol=1e-6)
    np.testing.assert_allclose(jax.hessian(fun)(np.float32(0)), want, rtol=1e-6)
