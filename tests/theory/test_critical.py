"""The edge of chaos: reference values, stability, and where there is none."""

import functools

import jax
import numpy as np
import pytest

import relujax as rx

EXACT_GELU = functools.partial(jax.nn.gelu, approximate=False)


def test_tanh():
    found = rx.theory.critical("tanh", 0.05)
    np.testing.assert_allclose(found.weight_variance, 1.7609546396067401, rtol=1e-14)
    np.testing.assert_allclose(found.q, 0.5700478816407643, rtol=1e-13)
    np.testing.assert_allclose(-1 / np.log(found.dq), 1.521097407348814, rtol=1e-13)
    assert found.stable


@pytest.mark.parametrize(
    ("name", "bias", "stable"),
    [
        ("gelu", 0.05, False),
        ("gelu", 0.3, True),
        ("silu", 0.3, False),
        ("mish", 0.05, False),
        ("mish", 0.3, True),
        ("elu", 0.05, True),
        ("sigmoid", 0.1, True),
    ],
)
def test_the_point_is_a_fixed_point_and_its_stability_is_that_of_the_length_map(name, bias, stable):
    found = rx.theory.critical(name, bias)
    length = rx.theory.length_map(name, found.weight_variance, bias)
    np.testing.assert_allclose(length(found.q), found.q, rtol=1e-13)
    np.testing.assert_allclose(rx.theory.moments(name, found.q).slope_second * found.weight_variance, 1, rtol=1e-13)
    step = 1e-4 * found.q
    drift = (length(found.q + step) - length(found.q - step)) / (2 * step)
    np.testing.assert_allclose(found.dq, drift, rtol=1e-7)
    assert found.stable is stable is bool(drift < 1)


def test_gelu_is_half_stable_where_roberts_et_al_say():
    found = rx.theory.half_stable(EXACT_GELU)
    np.testing.assert_allclose(found.weight_variance, 1.983058257437547, rtol=1e-14)
    np.testing.assert_allclose(found.bias_variance, 0.1729223907560673, rtol=1e-13)
    np.testing.assert_allclose(found.q, (3 + np.sqrt(17)) / 2, rtol=1e-12)
    assert not found.stable
    below, above = (rx.theory.critical(EXACT_GELU, found.bias_variance * s) for s in (0.99, 1.01))
    assert (below.stable, above.stable) == (False, True)


def test_without_bias_relu_and_its_kin_hold_every_length():
    found = rx.theory.critical(rx.activation("leaky_relu", negative_slope=0.5))
    assert (found.weight_variance, found.q, found.dq, found.stable) == (1.6, 1, 1, True)


@pytest.mark.parametrize(
    ("name", "variance", "stable"), [("tanh", 1.0, True), ("gelu", 4.0, False), ("elu", 1.0, True)]
)
def test_without_bias_smooth_functions_are_critical_in_the_limit_of_no_length(name, variance, stable):
    found = rx.theory.critical(name, 0.0)
    np.testing.assert_allclose(found.weight_variance, variance, rtol=1e-15)
    assert (found.q, found.stable) == (0, stable)


@pytest.mark.parametrize(("name", "bias"), [("relu", 0.05), ("softplus", 0.1), ("selu", 0.0)])
def test_where_nothing_is_critical(name, bias):
    with pytest.raises(ValueError, match=rf"got bias_variance={bias} for '{name}', at which no weight variance.*try"):
        rx.theory.critical(name, bias)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_where_nothing_is_half_stable(name):
    with pytest.raises(ValueError, match=rf"got '{name}', whose critical lengths are never half-stable: expected"):
        rx.theory.half_stable(name)


def test_a_slope_with_a_pole_is_refused():
    with pytest.raises(ValueError, match="whose slope has a pole: expected"):
        rx.theory.critical(rx.activation("relu_power", power=0.5))


def test_a_function_without_slope_is_refused():
    with pytest.raises(ValueError, match="whose slope is 0: expected an activation that passes a gradient"):
        rx.theory.critical(lambda x: 0 * x + 1, 0.1)


@pytest.mark.parametrize("bias", [-1.0, float("nan")])
def test_a_bias_variance_must_be_one(bias):
    with pytest.raises(ValueError, match=r"got bias_variance=.*: expected a variance"):
        rx.theory.critical("tanh", bias)


def test_a_function_without_slope_at_zero_has_no_limit_there():
    with pytest.raises(ValueError, match="at which no weight variance is critical"):
        rx.theory.critical(lambda x: x**3)


@pytest.mark.parametrize("name", ["straight_through", "sugar"])
def test_the_length_s_slope_is_that_of_lengths_whatever_slope_is_declared(name):
    found = rx.theory.critical(name, 0.3)
    length = rx.theory.length_map(name, found.weight_variance, 0.3)
    step = 1e-4 * found.q
    drift = (length(found.q + step) - length(found.q - step)) / (2 * step)
    np.testing.assert_allclose(found.dq, drift, atol=1e-6)
