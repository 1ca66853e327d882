"""The law of a gradient's length per layer: closed forms for ReLU and the identity, Monte Carlo for the rest."""

import numpy as np
import pytest
import scipy.special
import scipy.stats

import relujax as rx

log_norm_law = rx.theory.log_norm_law
psi, trigamma = scipy.special.psi, lambda x: scipy.special.polygamma(1, x)


@pytest.mark.parametrize(
    ("width", "mean", "variance"),
    [(32, -0.082540208096227, 0.17749778722596), (100, -0.025420885622757, 0.051939992148725)],
)
def test_relu_at_reference_widths(width, mean, variance):
    # A product of (2 / n) chi^2 with Bin(n, 1/2) degrees of freedom, by 30-digit sums.
    law = log_norm_law("relu", width)
    np.testing.assert_allclose((law.mean, law.variance), (mean, variance), rtol=1e-11)
    assert law.exact


@pytest.mark.parametrize("width", [1, 2, 7, 1000])
def test_relu_is_a_mixture_of_chi_squares(width):
    active = np.arange(1, width + 1)
    chance = scipy.stats.binom.pmf(active, width, 0.5)
    chance /= chance.sum()
    mean = chance @ psi(active / 2)
    variance = chance @ (trigamma(active / 2) + psi(active / 2) ** 2) - mean**2
    law = log_norm_law("relu", width)
    np.testing.assert_allclose((law.mean, law.variance), (mean + np.log(4 / width), variance), rtol=1e-9, atol=1e-11)
    assert law.death == pytest.approx(0.5**width, abs=1e-300)


@pytest.mark.parametrize("width", [1, 8, 500])
def test_the_identity_is_a_chi_square(width):
    law = log_norm_law(lambda x: 3 * x, width)
    want = psi(width / 2) + np.log(2 / width), trigamma(width / 2)
    np.testing.assert_allclose((law.mean, law.variance), want, rtol=1e-9)
    assert law.death == 0


def test_wide_layers_follow_hanin_and_nica():
    law = log_norm_law("relu", 10_000)
    np.testing.assert_allclose((law.mean, law.variance), (-2.5e-4, 5e-4), rtol=1e-3)


def assert_law(law, logs):
    """Mean and variance of samples within 4 standard errors."""
    error = logs.std() / np.sqrt(logs.size)
    squares = (logs - logs.mean()) ** 2
    assert abs(logs.mean() - law.mean) < 4 * error
    assert abs(squares.mean() - law.variance) < 4 * squares.std() / np.sqrt(logs.size)


@pytest.mark.parametrize("width", [3, 16])
def test_leaky_relu_along_its_own_path(width):
    """The second layer of a network, in the direction that the first layer made of one at random."""
    rng, slope, count = np.random.default_rng(1), 0.3, 40_000
    gain = np.sqrt(2 / (1 + slope**2) / width)
    x, u = rng.standard_normal((2, count, width))
    for _ in range(2):
        before = np.sum(u**2, axis=1)
        w = gain * rng.standard_normal((count, width, width))
        h = np.einsum("nij,nj->ni", w, x)
        d = np.where(h > 0, 1, slope)
        x, u = d * h, d * np.einsum("nij,nj->ni", w, u)
    logs = np.log(np.sum(u**2, axis=1) / before)
    assert_law(log_norm_law(rx.activation("leaky_relu", negative_slope=slope), width), logs)


@pytest.mark.parametrize("name", ["tanh", "gelu", "elu"])
@pytest.mark.parametrize("of", ["jacobian", "signal"])
@pytest.mark.parametrize("q", [1.0, 3.0])
def test_one_layer_of_a_smooth_function(name, of, q):
    rng, width, count = np.random.default_rng(2), 12, 50_000
    u, g = rng.standard_normal((2, count, width))
    u = np.float64(np.sqrt(q)) * u
    plain, step = rx.ACTIVATIONS[name].plain, 1e-5
    slope = (plain(u + step) - plain(u - step)) / (2 * step)
    terms = slope**2 * g**2 if of == "jacobian" else plain(u) ** 2 / q
    held = q / rx.theory.moments(name, q).second
    law = log_norm_law(name, width, of, q=q)
    assert_law(law, np.log(held * terms.mean(axis=1)))
    assert not law.exact


def test_the_signal_of_a_homogeneous_function_walks_as_its_gradient():
    assert log_norm_law("leaky_relu", 20, "signal") == log_norm_law("leaky_relu", 20)


def test_other_weights_shift_the_mean_alone():
    plain, doubled = log_norm_law("tanh", 20), log_norm_law("tanh", 20, weight_variance=2 / 0.394294490397841)
    assert doubled.mean - plain.mean == pytest.approx(np.log(2), rel=1e-10)
    assert doubled.variance == pytest.approx(plain.variance, rel=1e-10)


def test_the_band_is_normal():
    law = log_norm_law("relu", 32)
    low, high = law.band(100, confidence=0.95)
    reach = 1.959963984540054 * np.sqrt(100 * law.variance)
    np.testing.assert_allclose((low, high), (100 * law.mean - reach, 100 * law.mean + reach), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: log_norm_law("relu", 0), "got width=0: expected a whole number, 1 or more"),
        (lambda: log_norm_law("relu", 8, "norm"), 'got of=\'norm\': expected "jacobian" or "signal"'),
        (lambda: log_norm_law("relu", 8, weight_variance=0), "got weight_variance=0: expected a positive variance"),
        (lambda: log_norm_law(lambda x: 0 * x, 8), "moments that are not finite and positive"),
        (lambda: log_norm_law("relu", 8).band(0), "got depth=0: expected a whole number"),
        (lambda: log_norm_law("relu", 8).band(3, 99), "got confidence=99: expected a number between 0 and 1"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("width", [10**7, 10**10])
def test_wide_layers_keep_their_digits(width):
    """To leading order mean -5/(2 n) and variance 5/n."""
    found = rx.theory.log_norm_law("relu", width)
    np.testing.assert_allclose((found.mean * width, found.variance * width), (-2.5, 5), rtol=1e-4)
