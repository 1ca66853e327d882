"""Fixed points and depth scales against 30-digit values, and against iterating the maps."""

import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

#: tanh, by 30-digit quadrature: weight and bias variance, then what depth_scales finds.
TANH = {
    "chaotic": (
        (2.25, 0.0025000000000000005),
        {
            "q": 0.7983871143080956,
            "chi1": 1.1367077840956152,
            "c": 0.05208623637174879,
            "chi": 0.9401404969243243,
            "xi_c": 16.200641688067115,
            "dq": 0.5018975809030369,
            "xi_q": 1.4506225445200507,
        },
    ),
    "ordered": (
        (1.5, 0.05),
        {
            "q": 0.4180372005334778,
            "chi1": 0.9386362681988514,
            "c": 1.0,
            "chi": 0.9386362681988514,
            "xi_c": 15.790994034122939,
            "dq": 0.5519832056635092,
            "xi_q": 1.6828283887064368,
        },
    ),
}


@pytest.mark.parametrize("phase", TANH)
def test_tanh(phase):
    variances, want = TANH[phase]
    found = rx.theory.depth_scales("tanh", *variances)
    np.testing.assert_allclose([getattr(found, name) for name in want], list(want.values()), rtol=2e-14)


@pytest.mark.parametrize(("name", "weight", "bias"), [("elu", 1.6, 0.0), ("selu", 0.6, 0.1), ("gelu", 1.8, 0.3)])
def test_iterating_the_maps_comes_to_the_same_point_at_the_same_rate(name, weight, bias):
    scales = rx.theory.depth_scales(name, weight, bias)
    length = rx.theory.length_map(name, weight, bias)
    q = [1.0]
    for _ in range(60):
        q.append(length(q[-1]))
    assert abs(q[-1] - scales.q) < abs(q[0] - scales.q) * scales.dq**40
    shared = rx.theory.correlation_map(name, scales.q)
    c = [0.2]
    for _ in range(25):
        c.append((weight * shared.second * shared(c[-1]) + bias) / scales.q)
    rate = (c[-1] - scales.c) / (c[-2] - scales.c)
    assert abs(rate - scales.chi) < 0.02
    at = (weight * shared.second * shared(scales.c) + bias) / scales.q
    np.testing.assert_allclose(at, scales.c, rtol=1e-14)


def test_relu_holds_every_length_where_it_is_critical():
    found = rx.theory.depth_scales("relu", 2.0)
    np.testing.assert_allclose((found.q, found.c, found.chi1, found.chi), 1, rtol=4e-16)
    assert found.xi_c == found.xi_q == np.inf


def test_relu_with_a_bias_in_closed_form():
    found = rx.theory.depth_scales("relu", 1.0, 0.5)
    np.testing.assert_allclose((found.q, found.chi1, found.dq, found.xi_q), (1, 0.5, 0.5, 1 / np.log(2)), rtol=1e-14)


def test_the_length_map_takes_arrays_and_numbers():
    length = rx.theory.length_map("relu", 1.5, 0.25)
    np.testing.assert_allclose(length(np.array([[1.0, 4.0]])), [[1.0, 3.25]], rtol=1e-14)
    assert isinstance(length(2.0), float)


@pytest.mark.parametrize(
    ("name", "weight", "bias", "fate"),
    [
        ("relu", 2.1, 0.0, "grow without bound.*lower the weight variance"),
        ("relu", 2.0, 0.1, "grow without bound"),
        ("elu", 3.0, 0.0, "grow without bound"),
        ("relu", 1.9, 0.0, "vanish.*raise either variance"),
        ("tanh", 0.9, 0.0, "vanish"),
    ],
)
def test_signals_that_settle_nowhere_are_an_error(name, weight, bias, fate):
    with pytest.raises(ValueError, match=rf"got weight_variance={weight}, bias_variance={bias} for '{name}'.*{fate}"):
        rx.theory.depth_scales(name, weight, bias)


@pytest.mark.parametrize("function", [rx.theory.depth_scales, rx.theory.length_map, rx.theory.nngp])
@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        (-1.0, 0.0, "got weight_variance=-1.0: expected a positive variance"),
        (float("nan"), 0.0, "got weight_variance=nan"),
        (1.0, -0.5, "got bias_variance=-0.5: expected a variance; pass 0"),
        (1.0, float("inf"), "got bias_variance=inf"),
    ],
)
def test_variances_must_be_variances(function, weight, bias, message):
    args = ("tanh", 3) if function is rx.theory.nngp else ("tanh",)
    with pytest.raises(ValueError, match=message):
        function(*args, weight, bias)


def test_a_length_that_falls_back_and_forth_is_forgotten_too():
    """Of the cosine E f^2 is (1 + exp(-2 q)) / 2: the length map falls, and deviations change sign."""
    found = rx.theory.depth_scales(jnp.cos, 4.0)
    want = -4 * np.exp(-2 * found.q)
    np.testing.assert_allclose((found.dq, found.xi_q), (want, -1 / np.log(-want)), rtol=1e-12)


def test_a_slope_with_a_pole_is_refused():
    with pytest.raises(ValueError, match="whose slope has a pole: expected"):
        rx.theory.depth_scales(rx.activation("relu_power", power=0.5), 1.5, 0.1)


@pytest.mark.parametrize("name", ["hard_shrink", "straight_through", "sugar", "leaky_backward_relu"])
def test_depth_scales_need_a_function_whose_slope_is_its_derivative(name):
    """A jump parts near inputs at any depth; by the slope alone, their correlation would be 1."""
    with pytest.raises(ValueError, match=rf"got '{name}', which jumps or declares another slope than its own: expec"):
        rx.theory.depth_scales(name, 0.5, 0.2)
