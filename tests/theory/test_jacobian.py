"""Moments of Jacobians against reference values, free probability by another route, and networks that are drawn."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize

import relujax as rx

jacobian_moments = rx.theory.jacobian_moments


def identity(x):
    return x


#: Mean, second, third, largest, zero mass and effective rank at infinite width, in closed form or from the S-transform
#: by 30-digit arithmetic (Pennington, Schoenholz, Ganguli 2018).
INFINITE = {
    ("relu", "gaussian", 1): (1, 3, 11, 5.82842712475, 0.5, 1 / 3),
    ("relu", "gaussian", 10): (1, 21, 641, 54.4108585309, 0.5, 1 / 21),
    ("relu", "gaussian", 100): (1, 201, 60401, 543.660896078, 0.5, 1 / 201),
    ("relu", "orthogonal", 1): (1, 2, 4, 2, 0.5, 1 / 2),
    ("relu", "orthogonal", 10): (1, 11, 166, 25.8117479171, 0.5, 1 / 11),
    ("relu", "orthogonal", 100): (1, 101, 15151, 270.467903616, 0.5, 1 / 101),
    ("identity", "gaussian", 1): (1, 2, 5, 4, 0, 1 / 2),
    ("identity", "gaussian", 10): (1, 11, 176, 28.5311670611, 0, 1 / 11),
    ("identity", "gaussian", 100): (1, 101, 15251, 273.186196772, 0, 1 / 101),
    ("identity", "orthogonal", 100): (1, 1, 1, 1, 0, 1),
}


def numbers(law):
    return law.mean, law.second, law.third, law.largest, law.zero_mass, law.effective_rank


@pytest.mark.parametrize(("name", "weights", "depth"), INFINITE)
def test_infinite_width(name, weights, depth):
    found = jacobian_moments(identity if name == "identity" else name, depth, weights=weights)
    np.testing.assert_allclose(numbers(found), INFINITE[name, weights, depth], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("depth", [2, 3, 1000])
def test_the_edge_of_orthogonal_relu_in_closed_form(depth):
    log_edge = depth * np.log(depth) - (depth - 1) * np.log(depth - 1)
    assert np.log(jacobian_moments("relu", depth, weights="orthogonal").largest) == pytest.approx(log_edge, rel=1e-10)


#: f, E f^2, E f'^2, E f'^4 at q = 1 by 30-digit quadrature, E f'^6 below.
TANH = (0.394294490397841, 0.464402902448268, 0.341509207316664)


def gaussian_mean(integrand):
    return scipy.integrate.quad(
        lambda u: integrand(u) * np.exp(-u * u / 2) / np.sqrt(2 * np.pi), -12, 12, epsabs=1e-13
    )[0]


def tanh_slope_squared(u):
    return np.cosh(u) ** -4.0


def test_a_smooth_function_with_one_orthogonal_layer_has_the_moments_of_its_slopes():
    second, *slopes = TANH
    want = [slopes[0] / second, slopes[1] / second**2, gaussian_mean(lambda u: np.cosh(u) ** -12.0) / second**3]
    found = jacobian_moments("tanh", 1, weights="orthogonal")
    np.testing.assert_allclose(numbers(found)[:3], want, rtol=1e-10)
    assert found.largest == pytest.approx(1 / second, rel=1e-10)  # the slope at 0 is 1


def test_a_smooth_function_with_one_gaussian_layer_is_a_free_compound_poisson_law():
    one, two, three = numbers(jacobian_moments("tanh", 1, weights="orthogonal"))[:3]  # its free cumulants
    found = jacobian_moments("tanh", 1)
    np.testing.assert_allclose(numbers(found)[:3], (one, two + one**2, three + 3 * two * one + one**3), rtol=1e-10)


def test_two_orthogonal_layers_multiply_freely():
    a, b, c = numbers(jacobian_moments("tanh", 1, weights="orthogonal"))[:3]
    # Nica and Speicher's formulas for the moments of a product of two free variables, both with moments a, b, c.
    want = (a**2, 2 * b * a**2 - a**4, 2 * c * a**3 + 3 * a**2 * b**2 - 6 * a**4 * b + 2 * a**6)
    np.testing.assert_allclose(numbers(jacobian_moments("tanh", 2, weights="orthogonal"))[:3], want, rtol=1e-10)


def test_the_edge_of_one_gaussian_layer_is_that_of_silverstein_and_choi():
    scale = 1 / TANH[0]

    def inverse(m):  # of the Stieltjes transform, outside of the spectrum
        return -1 / m + gaussian_mean(lambda u: scale * tanh_slope_squared(u) / (1 + m * scale * tanh_slope_squared(u)))

    best = scipy.optimize.minimize_scalar(inverse, bounds=(-0.95 / scale, -1e-2 / scale), method="bounded")
    assert jacobian_moments("tanh", 1).largest == pytest.approx(best.fun, rel=1e-7)


def test_another_variance_and_kinks_are_passed_on():
    steep = rx.theory.moments("tanh", 2.0)
    assert jacobian_moments("tanh", 1, q=2.0).mean == pytest.approx(2 * steep.slope_second / steep.second, rel=1e-12)

    def shifted(x):
        return jnp.maximum(x - 0.3, 0)

    exact = rx.theory.moments(shifted, kinks=(0.3,))
    found = jacobian_moments(shifted, 1, weights="orthogonal", kinks=(0.3,))
    assert found.zero_mass == pytest.approx(1 - exact.slope_second, rel=1e-12)


@pytest.mark.parametrize("name", ["relu_squared", "xielu"])
def test_slopes_without_a_bound_have_no_edge(name):
    assert jacobian_moments(name, 3).largest == np.inf


@pytest.mark.parametrize("name", ["gelu", "softplus", "elu", "silu", "hard_silu"])
@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_the_edge_lies_above_what_the_moments_ask_for_and_below_the_norms(name, weights):
    law = jacobian_moments(name, 4, weights=weights)
    per_layer = rx.ACTIVATIONS[name].steepest ** 2 * rx.theory.moments(name).gain ** 2
    assert law.third / law.second < law.largest <= (per_layer * (4 if weights == "gaussian" else 1)) ** 4


@pytest.mark.parametrize(("width", "want"), [(32, 40.880896228461), (128, 24.428114389553)])
def test_finite_width_second_moment_of_relu(width, want):
    # ((N + 2) / 3) (1 + 5 / N)^L - ((N - 1) / 3) (1 - 1 / N)^L at L = 10.
    found = jacobian_moments("relu", 10, width)
    assert found.second == pytest.approx(want, rel=1e-12)
    assert (found.mean, found.largest, found.effective_rank) == (1, None, pytest.approx(1 / want))


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("f", ["relu", "leaky_relu", identity], ids=lambda f: getattr(f, "__name__", str(f)))
def test_a_very_wide_network_is_an_infinite_one(f, weights):
    wide, infinite = jacobian_moments(f, 10, 10**5, weights), jacobian_moments(f, 10, weights=weights)
    np.testing.assert_allclose((wide.second, wide.third), (infinite.second, infinite.third), rtol=2e-3)


def slopes_of_networks(rng, slope, depth, width, count, orthogonal):
    """Squared singular values of ``count`` networks at one input each, slopes taken from what truly flows."""
    x = np.broadcast_to(np.ones(width), (count, width))
    jacobian = np.broadcast_to(np.eye(width), (count, width, width))
    for _ in range(depth):
        w = rng.standard_normal((count, width, width)) / np.sqrt(width)
        if orthogonal:
            q, r = np.linalg.qr(w)
            w = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
        h = np.einsum("nij,nj->ni", w, x) * np.sqrt(2 / (1 + slope**2))
        d = np.where(h > 0, 1, slope) * np.sqrt(2 / (1 + slope**2))
        x, jacobian = np.where(h > 0, h, slope * h), d[:, :, None] * (w @ jacobian)
    return jacobian


@pytest.mark.parametrize("orthogonal", [False, True], ids=["gaussian", "orthogonal"])
@pytest.mark.parametrize("slope", [0.0, 0.3, -1.0])
def test_finite_width_moments_by_monte_carlo(slope, orthogonal):
    depth, width, count = 3, 5, 40_000
    jacobian = slopes_of_networks(np.random.default_rng(0), slope, depth, width, count, orthogonal)
    gram = jacobian @ np.swapaxes(jacobian, 1, 2)
    square = gram @ gram
    law = jacobian_moments(
        rx.activation("leaky_relu", negative_slope=slope), depth, width, "orthogonal" if orthogonal else "gaussian"
    )
    for k, power in ((1, gram), (2, square), (3, square @ gram)):
        trace = np.trace(power, axis1=1, axis2=2) / width
        error = trace.std() / np.sqrt(count)
        assert abs(trace.mean() - (law.mean, law.second, law.third)[k - 1]) < 4 * error + 1e-12
    rank = np.linalg.matrix_rank(jacobian[:4000], tol=1e-9)
    assert law.zero_mass == pytest.approx(1 - rank.mean() / width, abs=4 * rank.std() / width / np.sqrt(4000))


def test_a_width_of_one_or_two_is_taken():
    # E (2 g^2 b)^2 = 4 * 3 / 2 for a fair coin b.
    assert jacobian_moments("relu", 1, 1).second == pytest.approx(6)
    assert jacobian_moments("relu", 1, 1, "orthogonal").second == pytest.approx(2)
    assert jacobian_moments("relu", 3, 2).second == pytest.approx(4 / 3 * 3.5**3 - 1 / 3 * 0.5**3)


@pytest.mark.parametrize("depth", [0, -1, 2.5, "3"])
def test_a_depth_is_a_whole_number(depth):
    with pytest.raises(ValueError, match=rf"got depth={depth!r}: expected a whole number, 1 or more"):
        jacobian_moments("relu", depth)


def test_a_width_is_a_whole_number():
    with pytest.raises(ValueError, match="got width=0: expected a whole number, 1 or more"):
        jacobian_moments("relu", 3, 0)


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match=r"got weights='uniform': expected \"gaussian\" or \"orthogonal\""):
        jacobian_moments("relu", 3, weights="uniform")


@pytest.mark.parametrize("f", ["tanh", "gelu", "relu6", "soft_shrink", lambda x: jnp.maximum(x, 0) + 1e-3])
def test_a_finite_width_takes_a_homogeneous_function(f):
    with pytest.raises(ValueError, match=r"expected a positively homogeneous function.*take relu, leaky_relu"):
        jacobian_moments(f, 3, 64)


def test_moments_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="moments that are not finite"):
        jacobian_moments(lambda x: jnp.exp(x**2), 3)
    with pytest.raises(ValueError, match=r"got E f'\^6 that is not finite"):  # 6 * 0.085 > 1 / 2 > 4 * 0.085
        jacobian_moments(lambda x: jnp.exp(0.085 * x**2), 3)


@pytest.mark.parametrize(
    ("name", "steepest"), [("gelu", 1.1289930), ("silu", 1.0998393), ("elu", 1.0), ("softplus", 1.0)]
)
def test_the_edge_of_one_orthogonal_layer_is_the_steepest_slope_even_between_nodes(name, steepest):
    law = jacobian_moments(name, 1, weights="orthogonal")
    # Softplus comes near to its slope of 1 only where the quadrature ends, at 14.
    assert law.largest == pytest.approx(steepest**2 * rx.theory.moments(name).gain ** 2, rel=2e-6)


def test_an_orthogonal_layer_of_one_unit_has_the_moments_of_its_slope():
    law = jacobian_moments(rx.activation("leaky_relu", negative_slope=0.3), 1, 1, "orthogonal")
    want = [(1 + 0.09**k) / 2 / ((1 + 0.09) / 2) ** k for k in (2, 3)]
    np.testing.assert_allclose((law.second, law.third), want, rtol=1e-12)


@pytest.mark.parametrize("weights", ["gaussian", "orthogonal"])
def test_moments_beyond_float64_are_infinite(weights):
    found = rx.theory.jacobian_moments("tanh", 100_000, weights=weights)
    assert found.mean == found.second == found.third == found.largest == np.inf
    assert 0 < found.effective_rank < 1e-4
    assert rx.theory.jacobian_moments("relu", 10**6, 64, weights).second == np.inf


def test_a_function_without_slope_is_refused():
    for law in (rx.theory.jacobian_moments, rx.theory.log_norm_law):
        with pytest.raises(ValueError, match=r"whose slope is 0: expected an activation that passes a gradient"):
            law(jnp.sign, 3)
