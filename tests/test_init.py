"""Initialisers: the variance of the weights is what holds the signal through each activation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

#: E f(z)^2 for z ~ N(0, 1), by 30-digit quadrature or in closed form.
SECOND_MOMENTS = {
    "relu": 0.5,
    "relu6": 0.499999998075270477,
    "leaky_relu": 0.50005,
    "prelu": (1 + 0.25**2) / 2,
    "elu": 0.644945417492924,
    "celu": 0.644945417492924,
    "selu": 1.0,
    "silu": 0.355775519817352,
    "sigmoid": 0.293379035858093,
    "tanh": 0.394294490397841,
}


def draw(f, shape, dtype=jnp.float32):
    return np.float64(rx.init.gain_normal(f)(jax.random.key(0), shape, dtype))


def test_every_row_of_the_registry_is_checked_here():
    assert SECOND_MOMENTS.keys() == rx.ACTIVATIONS.keys()


@pytest.mark.parametrize("name", SECOND_MOMENTS)
def test_the_variance_is_one_over_fan_in_and_second_moment(name):
    weights = draw(name, (1600, 100))
    # 160,000 draws: the variance of a normal sample is known to 0.35 %.
    assert weights.var() * 1600 * SECOND_MOMENTS[name] == pytest.approx(1, rel=0.015)
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
    assert jnp.var(hidden @ draw(name, (512, 512)).astype(np.float32)) == pytest.approx(1, rel=0.03)


def test_unknown_names_are_refused_when_the_initialiser_is_made():
    with pytest.raises(ValueError, match="unknown activation 'rellu'"):
        rx.init.gain_normal("rellu")
