"""Lyapunov exponents: closed forms, and layers that are drawn."""

import numpy as np
import pytest
import scipy.special

import relujax as rx

lyapunov = rx.theory.lyapunov


def leaky(slope):
    return rx.activation("leaky_relu", negative_slope=slope)


@pytest.mark.parametrize("f", [lambda x: -2 * x, leaky(-1.0), leaky(1.0)], ids=["linear", "absolute value", "identity"])
def test_slopes_of_one_size(f):
    # (log(2 sw2 / N) + psi((N - i + 1) / 2)) / 2 at N = 4, by 30-digit arithmetic.
    want = [-0.135181422731, -0.328328603291, -0.635181422731, -1.32832860329]
    found = lyapunov(f, 4)
    np.testing.assert_allclose(found.exponents, want, rtol=1e-11)
    assert not found.standard_error.any()


def test_the_first_exponent_of_relu():
    assert lyapunov("relu", 64).exponents[0] == pytest.approx(-0.020054299417873, rel=1e-12)


@pytest.mark.parametrize("width", [1, 2, 1500])
def test_the_last_exponent_of_relu_is_that_of_a_layer_all_active(width):
    want = (np.log(4 / width) + scipy.special.psi(0.5)) / 2
    assert lyapunov("relu", width).exponents[-1] == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("width", [2, 300])
def test_exponents_fall_for_relu_until_layers_lack_active_units(width):
    exponents = lyapunov("relu", width).exponents[: max(1, width // 3)]
    assert np.isfinite(exponents).all()
    assert (np.diff(exponents) < 0).all()


def growth_along_a_network(slope, width, keep, layers, seed):
    """Log growth of orthonormal frames, per layer, in a real network with its own signal, scaled to stay in range."""
    rng = np.random.default_rng(seed)
    x, frame = rng.standard_normal(width), np.eye(width)[:, :keep]
    logs = []
    while len(logs) < layers:
        w = rng.standard_normal((width, width)) * np.sqrt(2 / (1 + slope**2) / width)
        h = w @ x
        d = np.where(h > 0, 1, slope)
        if np.count_nonzero(d) < keep:
            continue
        frame, r = np.linalg.qr(d[:, None] * (w @ frame))
        x = d * h / np.linalg.norm(d * h)
        logs.append(np.log(np.abs(np.diag(r))))
    return np.array(logs)


def assert_exponents(found, logs):
    error = np.hypot(logs.std(axis=0) / np.sqrt(len(logs)), found.standard_error[: logs.shape[1]])
    assert (np.abs(logs.mean(axis=0) - found.exponents[: logs.shape[1]]) < 4 * error).all()


def test_relu_along_a_real_network():
    # Of 20 units fewer than 3 are active with chance 2e-4, which shifts no exponent by a standard error.
    assert_exponents(lyapunov("relu", 20), growth_along_a_network(0.0, 20, 3, 4000, seed=3))


@pytest.mark.parametrize("slope", [0.2, -0.5])
def test_leaky_relu_along_a_real_network(slope):
    found = lyapunov(leaky(slope), 6, samples=4000)
    assert found.standard_error[0] == 0
    assert (found.standard_error[1:] > 0).all()
    assert_exponents(found, growth_along_a_network(slope, 6, 6, 4000, seed=4))


def test_all_volume_of_leaky_relu_is_that_of_its_slopes_and_of_a_linear_network():
    slope, width = 0.2, 6
    found = lyapunov(leaky(slope), width, samples=4000)
    scale = np.sqrt(2 / (1 + slope**2))
    want = lyapunov(lambda x: x, width).exponents.sum() + width * (np.log(scale) + np.log(slope) / 2)
    assert abs(found.exponents.sum() - want) < 4 * np.linalg.norm(found.standard_error)


def test_a_seed_draws_the_same():
    one, two = (lyapunov("leaky_relu", 5, samples=10, seed=s).exponents for s in (0, 1))
    np.testing.assert_array_equal(one, lyapunov("leaky_relu", 5, samples=10).exponents)
    assert (one[1:] != two[1:]).all()


def test_what_is_refused():
    with pytest.raises(
        ValueError, match=r"got 'tanh': expected a positively homogeneous .* as the spectrum of exponents"
    ):
        lyapunov("tanh", 8)
    with pytest.raises(ValueError, match="got width=0: expected a whole number, 1 or more"):
        lyapunov("relu", 0)
    with pytest.raises(ValueError, match="got samples=1: expected a whole number, 2 or more"):
        lyapunov("leaky_relu", 8, samples=1)
