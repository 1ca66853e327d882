"""Correlation maps against closed forms, 30-digit quadrature, and their own slopes."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax.scipy.special import erf

import relujax as rx
from relujax.theory._dual import Dual
from relujax.theory._elementwise import elementwise

#: C and C' at q = 1, by 30-digit quadrature split at kinks.
REFERENCE = {
    "leaky_relu 0.1": {
        -0.5: (-0.01159583896452904, 0.46534653465346504),
        0.0: (0.25527822555333707, 0.5990099009900981),
        0.5: (0.58741406202557, 0.7326732673267322),
        0.9: (0.9076496069942412, 0.884862675807671),
    },
    "gelu": {
        -0.5: (-0.05339590286164536, 0.37094258875897723),
        0.0: (0.18714358236308462, 0.5879289035183427),
        0.5: (0.5345330006566977, 0.8049152182777087),
        0.9: (0.8959304414536057, 1.010361376034929),
    },
    "tanh": {
        -0.5: (-0.4725513993752428, 0.9757859615355777),
        0.0: (0.0, 0.9304699236152928),
        0.5: (0.4725513993752428, 0.9757859615355785),
        0.9: (0.8856409589431007, 1.1127770109594022),
    },
}
FUNCTIONS = {
    "leaky_relu 0.1": rx.activation("leaky_relu", negative_slope=0.1),
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "tanh": "tanh",
}
NEAR_ONE = [1 - 1e-3, 1 - 1e-6, 1 - 1e-9, 1 - 1e-12, 1.0]
CORRELATIONS = np.array([*(-c for c in NEAR_ONE), -0.95, -0.9, -0.3, -1e-9, 0, 1e-9, 0.5, 0.93, 0.95, 0.99, *NEAR_ONE])


@pytest.mark.parametrize("label", REFERENCE)
def test_reference_values(label):
    shared = rx.theory.correlation_map(FUNCTIONS[label])
    at = np.array(list(REFERENCE[label]))
    values, slopes = np.array(list(REFERENCE[label].values())).T
    np.testing.assert_allclose(shared(at), values, rtol=0, atol=1e-14)
    np.testing.assert_allclose(shared.slope(at), slopes, rtol=0, atol=1e-14)


def arc_cosine(c):
    """Of ReLU, and its slope, to 30 digits."""
    with mpmath.workdps(30):
        c = mpmath.mpf(float(c))
        theta = mpmath.acos(c)
        return float((mpmath.sqrt(1 - c * c) + c * (mpmath.pi - theta)) / mpmath.pi), float(1 - theta / mpmath.pi)


def test_relu_in_closed_form():
    shared = rx.theory.correlation_map("relu", 3.0)
    values, slopes = np.array([arc_cosine(c) for c in CORRELATIONS]).T
    np.testing.assert_allclose(shared(CORRELATIONS), values, rtol=0, atol=1e-15)
    np.testing.assert_allclose(shared.slope(CORRELATIONS), slopes, rtol=0, atol=1e-15)


@pytest.mark.parametrize("slope", [False, True])
def test_relu_by_the_general_route(slope):
    dual = Dual(elementwise("relu"), 1.0, slope)
    want = [arc_cosine(c)[int(slope)] / 2 for c in CORRELATIONS]
    np.testing.assert_allclose(dual(CORRELATIONS), want, rtol=0, atol=2e-15)
    np.testing.assert_allclose(
        [dual.plane(c) for c in (-0.5, 0.0, 0.7)], [arc_cosine(c)[slope] / 2 for c in (-0.5, 0, 0.7)], atol=1e-15
    )


@pytest.mark.parametrize("q", [0.01, 1.0, 50.0])
def test_erf_in_closed_form(q):
    """Williams (1997): E erf(u) erf(v) is an arc sine. At q = 50 the series does not reach 1."""
    shared = rx.theory.correlation_map(erf, q)
    with mpmath.workdps(30):
        c = [mpmath.mpf(float(c)) for c in CORRELATIONS]
        s = 2 * mpmath.mpf(q) / (1 + 2 * mpmath.mpf(q))
        values = [float(mpmath.asin(s * t) / mpmath.asin(s)) for t in c]
        slopes = [float(s / mpmath.sqrt(1 - (s * t) ** 2) / mpmath.asin(s)) for t in c]
    np.testing.assert_allclose(shared(CORRELATIONS), values, rtol=0, atol=3e-14)
    np.testing.assert_allclose(shared.slope(CORRELATIONS), slopes, rtol=1e-12)


def shifted_relu(x):
    return jnp.maximum(x - 0.3, 0)


def shifted_relu_pair(c):
    """E (u - 0.3)_+ (v - 0.3)_+ to 20 digits: the inner mean has a closed form."""
    with mpmath.workdps(25):
        c, k = mpmath.mpf(c), mpmath.mpf("0.3")
        s = mpmath.sqrt(1 - c * c)

        def outer(u):
            m = c * u - k
            return (u - k) * mpmath.npdf(u) * (s * mpmath.npdf(m / s) + m * mpmath.ncdf(m / s))

        near = [k / c + n * s / c for n in (-8, -3, 0, 3, 8)]
        return float(mpmath.quad(outer, sorted([k, *(p for p in near if p > k), 2, 5, 13])))


@pytest.mark.parametrize("c", [-0.97, 0.4, 0.97, 0.9999])
def test_a_kink_away_from_zero_that_nobody_stated(c):
    shared = rx.theory.correlation_map(shifted_relu)
    np.testing.assert_allclose(shared(c) * shared.second, shifted_relu_pair(c), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["elu", "selu", "relu6", "tanh", "hard_mish"])
@pytest.mark.parametrize("q", [1.0, 9.0])
def test_the_slope_is_the_slope(name, q):
    """C(cos t) by Gauss-Legendre over its slope, across where the series gives way to the plane."""
    shared = rx.theory.correlation_map(name, q)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for low, high in ((0.0, 0.3), (0.3, 0.6)):
        t = (low + high) / 2 + (high - low) / 2 * nodes
        drop = (high - low) / 2 * weights @ (shared.slope(np.cos(t)) * np.sin(t))
        np.testing.assert_allclose(shared(np.cos(low)) - shared(np.cos(high)), drop, rtol=0, atol=1e-12)


def test_shapes_are_kept_and_numbers_give_numbers():
    shared = rx.theory.correlation_map("elu")
    assert isinstance(shared(0.3), float)
    assert isinstance(shared.slope(0.99), float)
    found = shared(np.array([[0.1, 0.99], [-0.99, 1.0]]))
    assert found.shape == (2, 2)
    np.testing.assert_array_equal(found[0], [shared(0.1), shared(0.99)])
    assert shared(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("bad", [1.0000001, -2.0, float("nan"), [0.0, 3.0]])
def test_a_correlation_lies_between_minus_one_and_one(bad):
    shared = rx.theory.correlation_map("tanh")
    for function in (shared, shared.slope):
        with pytest.raises(ValueError, match=r"got the correlation .*: expected numbers in \[-1, 1\]; divide by"):
            function(bad)


@pytest.mark.parametrize("q", [0, -1.0, float("inf")])
def test_a_variance_must_be_positive(q):
    with pytest.raises(ValueError, match=r"got q=.*: expected a positive variance; pass a finite number"):
        rx.theory.correlation_map("tanh", q)


def test_a_function_of_infinite_variance_is_refused():
    with pytest.raises(ValueError, match=r"not finite and positive.*expected a function of finite variance"):
        rx.theory.correlation_map(lambda x: jnp.exp(x**2))(0.5)


def test_a_step_has_no_slope_and_an_arc_sine_for_a_map():
    """Sheppard (1899): E sign(u) sign(v) = 2 asin(c) / pi."""
    shared = rx.theory.correlation_map(jnp.sign)
    c = np.array([-0.999, -0.5, 0.0, 0.9, 0.999999])
    np.testing.assert_allclose(shared(c), 2 / np.pi * np.arcsin(c), rtol=0, atol=1e-12)
    assert shared.slope(0.5) == 0
