"""Initialisers: the variance of the weights is what holds the signal through each activation."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import relujax as rx

#: E f(z)^2 for z ~ N(0, 1), in closed form or by 30-digit quadrature.
KNOWN = {
    "relu": 0.5,
    "relu6": 0.499999998075270477,
    "leaky_relu": 0.50005,
    "prelu": (1 + 0.25**2) / 2,
    "elu": 0.644945417492924,
    "celu": 0.644945417492924,
    "selu": 1.0,
    "silu": 0.355775519817352,
    "relu_squared": 1.5,
    "relu_power": 7.5,
    "sigmoid": 0.293379035858093,
    "tanh": 0.394294490397841,
}


def second_moment(row):
    """By adaptive quadrature of the plain formula in float64."""

    def integrand(z):
        return float(row.plain(np.float64(z), **row.example)) ** 2 * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

    edges = [-12, *(k for k in (*row.kinks, 0.0)), 12]
    with jax.enable_x64(True):
        return sum(scipy.integrate.quad(integrand, a, b)[0] for a, b in itertools.pairwise(sorted(set(edges))))


SECOND_MOMENTS = {row.name: row for row in rx.ACTIVATIONS.values() if row.elementwise}


@functools.cache
def moment(name):
    return KNOWN.get(name) or second_moment(SECOND_MOMENTS[name])


def test_quadrature_finds_what_is_known():
    for name in ("relu", "elu", "silu", "relu_power"):
        assert second_moment(SECOND_MOMENTS[name]) == pytest.approx(KNOWN[name], rel=1e-8)


def draw(f, shape, dtype=jnp.float32):
    return np.float64(rx.init.gain_normal(f)(jax.random.key(0), shape, dtype))


@pytest.mark.parametrize("name", SECOND_MOMENTS)
def test_the_variance_is_one_over_fan_in_and_second_moment(name):
    weights = draw(name, (1600, 100))
    # 160,000 draws: the variance of a normal sample is known to 0.35 %.
    assert weights.var() * 1600 * moment(name) == pytest.approx(1, rel=0.015)
    assert abs(weights.mean()) < 5 * weights.std() / 400
    assert weights.std() * 4 < np.abs(weights).max() < weights.std() * 6  # normal, not truncated or uniform


def test_a_convolution_counts_its_window_into_the_fan_in():
    weights = draw("relu", (5, 5, 16, 200))
    assert weights.var() * 5 * 5 * 16 / 2 == pytest.approx(1, rel=0.025)


def test_functions_are_taken_like_names():
    shape = (64, 64)
    np.testing.assert_array_equal(draw(rx.relu, shape), draw("relu", shape))
    np.testing.assert_allclose(draw(jax.nn.tanh, shape), draw("tanh", shape), rtol=1e-6)
    steep = rx.activation("leaky_relu", negative_slope=1.0)  # the identity: LeCun's rule
    assert draw(steep, (1000, 100)).var() * 1000 == pytest.approx(1, rel=0.02)


def test_the_dtype_that_is_asked_for():
    assert rx.init.gain_normal("relu")(jax.random.key(0), (4, 4), jnp.bfloat16).dtype == jnp.bfloat16


@pytest.mark.parametrize("name", SECOND_MOMENTS)
def test_the_signal_holds_through_one_wide_layer(name):
    inputs = np.random.default_rng(1).standard_normal((256, 512)).astype(np.float32)
    hidden = rx.ACTIVATIONS[name].fun(inputs, **rx.ACTIVATIONS[name].example)
    # A function without a bound on its slope has heavy tails, whose second moment takes more draws than these.
    rel = 0.03 if np.isfinite(rx.ACTIVATIONS[name].steepest) else 0.15
    assert jnp.var(hidden @ draw(name, (512, 512)).astype(np.float32)) == pytest.approx(1, rel=rel)


def test_unknown_names_are_refused_when_the_initialiser_is_made():
    with pytest.raises(ValueError, match="unknown activation 'rellu'"):
        rx.init.gain_normal("rellu")
