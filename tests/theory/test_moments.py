"""Gaussian moments against 30-digit quadrature and closed forms."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import relujax as rx

NAMES = ("mean", "second", "slope_mean", "slope_second", "slope_fourth", "gain", "chi1")
RELU = (0.398942280401433, 0.5, 0.5, 0.5, 0.5, 1.4142135623731, 1.0)
LEAKY_02 = (0.319153824321146, 0.52, 0.6, 0.52, 0.5008, 1.38675049056307, 1.0)
SILU = (
    0.206620964141907,
    0.355775519817352,
    0.5,
    0.379482351632829,
    0.286580576879615,
    1.67653247033109,
    1.06663424124191,
)
#: At q = 1, by 30-digit quadrature split at the kinks, in the order of NAMES.
REFERENCE = {
    "relu": (rx.relu, RELU),
    "relu by name": ("relu", RELU),
    "leaky_relu": (
        "leaky_relu",
        (0.394952857597418, 0.50005, 0.505, 0.50005, 0.500000005, 1.41414285699784, 1.0),
    ),
    "leaky_relu 0.2, bound": (rx.activation("leaky_relu", negative_slope=0.2), LEAKY_02),
    "leaky_relu 0.2, a function": (lambda x: jnp.where(x > 0, x, 0.2 * x), LEAKY_02),
    "elu": (
        "elu",
        (
            0.160520572266556,
            0.644945417492924,
            0.761578291865123,
            0.668102001223171,
            0.594410641301969,
            1.24519830070071,
            1.03590471860435,
        ),
    ),
    "tanh": (
        "tanh",
        (
            0.0,
            0.394294490397841,
            0.605705509602159,
            0.464402902448268,
            0.341509207316664,
            1.59253741972283,
            1.17780723230418,
        ),
    ),
    "sigmoid": (
        "sigmoid",
        (
            0.5,
            0.293379035858093,
            0.206620964141907,
            0.0448362413501944,
            0.00228565128667895,
            1.84622854533861,
            0.152827011715594,
        ),
    ),
    "jax.nn.silu": (jax.nn.silu, SILU),
    "silu, a function": (lambda x: x / (1 + jnp.exp(-x)), SILU),
    "jax.nn.softplus": (
        jax.nn.softplus,
        (
            0.80605918334744,
            0.9212459088593,
            0.5,
            0.293379035858093,
            0.13159431306638,
            1.0418668355353,
            0.318458983683693,
        ),
    ),
    "jax.nn.gelu, tanh form": (
        jax.nn.gelu,
        (
            0.282038588078789,
            0.425193711033099,
            0.5,
            0.455817845962951,
            0.433901338125302,
            1.53358052166615,
            1.07202396022143,
        ),
    ),
    "relu squared": (lambda x: jnp.maximum(x, 0) ** 2, (0.5, 1.5, np.sqrt(2 / np.pi), 2, 24, np.sqrt(2 / 3), 4 / 3)),
}


def assert_moments(found, want, rtol=1e-12):
    np.testing.assert_allclose([getattr(found, name) for name in NAMES], want, rtol=rtol, atol=1e-15, err_msg=NAMES)


@pytest.mark.parametrize("label", REFERENCE)
def test_moments_at_unit_variance(label):
    f, want = REFERENCE[label]
    assert_moments(rx.theory.moments(f), want)


def test_prelu_by_name_is_taken_at_he_s_initial_slope():
    second = (1 + 0.25**2) / 2
    mean, fourth = 0.75 / np.sqrt(2 * np.pi), (1 + 0.25**4) / 2
    assert_moments(rx.theory.moments("prelu"), (mean, second, 0.625, second, fourth, second**-0.5, 1))


@pytest.mark.parametrize("q", [1e-6, 0.3, 2.0, 9.0, 1e6])
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_a_leaky_relu_scales_with_the_variance(q, slope):
    share, fourth = (1 + slope**2) / 2, (1 + slope**4) / 2
    mean = (1 - slope) * np.sqrt(q / (2 * np.pi))
    want = (mean, q * share, (1 + slope) / 2, share, fourth, 1 / np.sqrt(q * share), 1 / q)
    assert_moments(rx.theory.moments(rx.activation("leaky_relu", negative_slope=slope), q), want)


def gaussian_mean(integrand):
    """E integrand(z) to 30 digits; the points crowd around 0, where a large variance squeezes the transition."""
    near = [mpmath.mpf(4) ** -k for k in range(8)]
    points = [-14, -6, *(-p for p in near), 0, *reversed(near), 6, 14]
    with mpmath.workdps(30):
        return mpmath.quad(lambda z: integrand(z) * mpmath.npdf(z), sorted(points))


@pytest.mark.parametrize("q", [0.25, 4.0, 100.0, 1e4])
def test_smooth_functions_at_any_variance(q):
    root = mpmath.sqrt(q)
    second, slope, slope_second = (
        gaussian_mean(lambda z: mpmath.tanh(root * z) ** 2),
        gaussian_mean(lambda z: mpmath.sech(root * z) ** 2),
        gaussian_mean(lambda z: mpmath.sech(root * z) ** 4),
    )
    slope_fourth = gaussian_mean(lambda z: mpmath.sech(root * z) ** 8)
    want = (0, second, slope, slope_second, slope_fourth, 1 / mpmath.sqrt(second), slope_second / second)
    assert_moments(rx.theory.moments("tanh", q), [float(v) for v in want])


def test_elu_at_another_variance_and_alpha():
    root, alpha = mpmath.sqrt(2), mpmath.mpf("0.5")

    def value(z):
        return root * z if z > 0 else alpha * mpmath.expm1(root * z)

    def slope(z):
        return mpmath.mpf(1) if z > 0 else alpha * mpmath.exp(root * z)

    found = rx.theory.moments(rx.activation("elu", alpha=0.5), 2.0)
    want = [gaussian_mean(lambda z, f=f, n=n: f(z) ** n) for f, n in ((value, 1), (value, 2), (slope, 2), (slope, 4))]
    got = (found.mean, found.second, found.slope_second, found.slope_fourth)
    np.testing.assert_allclose(got, [float(v) for v in want], rtol=1e-12)


def shifted_relu(x):
    return jnp.maximum(x - 0.3, 0)


def shifted_relu_moments(q):
    """Of max(u - 0.3, 0) under N(0, q), in closed form."""
    with mpmath.workdps(30):
        s, a = mpmath.sqrt(q), mpmath.mpf("0.3")
        above, density = mpmath.ncdf(-a / s), mpmath.npdf(a / s)
        return float(s * density - a * above), float((q + a**2) * above - a * s * density), float(above)


@pytest.mark.parametrize("q", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("kinks", [None, (0.3,)], ids=["found", "stated"])
def test_the_kink_of_a_function_is_split_at(q, kinks):
    found = rx.theory.moments(shifted_relu, q, kinks=kinks)
    np.testing.assert_allclose((found.mean, found.second, found.slope_second), shifted_relu_moments(q), rtol=1e-12)


def test_kinks_beyond_reach_do_no_harm():
    assert rx.theory.moments("tanh", kinks=(1e3, -1e3)) == rx.theory.moments("tanh")


def test_moments_leave_the_precision_of_jax_as_it_was():
    before = jnp.zeros(1).dtype
    rx.theory.moments("relu")
    assert jnp.zeros(1).dtype == before


@pytest.mark.parametrize("q", [0, -1.0, float("nan")])
def test_a_variance_must_be_positive(q):
    with pytest.raises(ValueError, match=rf"got q={q}: expected a positive variance"):
        rx.theory.moments("relu", q)


def test_unknown_names_come_with_near_ones():
    with pytest.raises(ValueError, match=r"unknown activation 'rellu': expected one of relu, .*did you mean relu"):
        rx.theory.moments("rellu")


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.exp(x**4),
        lambda x: jnp.exp(x**2),
        lambda x: jnp.exp(0.2 * x**2),  # E f^2 is finite, E f'^4 is not
        lambda x: 0 * x,
        lambda x: x / x - 1 / (x - x),
    ],
    ids=["overflows", "E f^2 diverges", "E f'^4 diverges", "zero", "not finite"],
)
def test_moments_that_do_not_exist_are_refused(f):
    with pytest.raises(ValueError, match=r"moments that are not finite and positive.*expected"):
        rx.theory.moments(f)


@pytest.mark.parametrize("f", ["top_k", rx.glu, lambda x: x.sum()], ids=["by name", "by shape", "a sum"])
def test_functions_that_are_not_elementwise_are_refused(f):
    with pytest.raises(ValueError, match="expected an elementwise"):
        rx.theory.moments(f)


@pytest.mark.parametrize("q", [0.5, 1.0, 7.0])
def test_an_activation_bound_to_other_kinks_than_the_registry_s(q):
    """max(x, 1.3) - 1.3 and x 1[x > 1.3], by closed forms; the registry states kinks of the defaults."""
    with mpmath.workdps(30):
        s, a = mpmath.sqrt(q), mpmath.mpf("1.3")
        above, density = mpmath.ncdf(-a / s), mpmath.npdf(a / s)
        second = float(q * above + a * s * density)
    bound = rx.activation("threshold", threshold=1.3, value=0.0)
    np.testing.assert_allclose(rx.theory.moments(bound, q).second, second, rtol=1e-12)


def test_a_callable_that_cannot_be_hashed():
    class Scaled(dict):
        def __call__(self, x):
            return self["by"] * jax.nn.relu(x)

    assert rx.theory.moments(Scaled(by=np.float64(3))).second == pytest.approx(4.5, rel=1e-12)


@pytest.mark.parametrize(
    "f", [jax.nn.softmax, jax.nn.log_softmax, jnp.cumsum, jnp.sort, lambda x: x - x.mean(), lambda x: x / x.max()]
)
def test_functions_of_a_whole_array_are_refused(f):
    with pytest.raises(ValueError, match=r"whose values depend on those beside them: expected an elementwise function"):
        rx.theory.moments(f)


def test_a_module_whose_parameter_has_changed_is_looked_at_again():
    from flax import nnx

    module = nnx.PReLU(negative_slope_init=0.0)
    assert rx.theory.moments(module).second == pytest.approx(0.5)
    module.negative_slope[...] = jnp.float32(0.5)
    assert rx.theory.moments(module).second == pytest.approx(0.625)
    assert rx.theory.moments(module.__call__).second == pytest.approx(0.625)


@pytest.mark.parametrize("q", ["1", [1.0, 2.0], None])
def test_a_variance_is_a_number(q):
    with pytest.raises(ValueError, match=r"got q=.*: expected a positive variance"):
        rx.theory.moments("relu", q)


@pytest.mark.parametrize(("name", "needs"), [("swiglu", "up"), ("relu_n", "n"), ("threshold", "threshold and value")])
def test_members_that_need_arguments_are_not_known_by_name(name, needs):
    with pytest.raises(ValueError, match=rf"got '{name}', which needs {needs}: .*rx.activation\('{name}', {needs[:2]}"):
        rx.theory.moments(name)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("pelu", lambda x: jnp.where(x > 0, x, jnp.expm1(jnp.minimum(x, 0)))),
        ("srelu", lambda x: jnp.where(x > 0, x, 0.2 * x)),
        ("flexible_relu", lambda x: jnp.maximum(x, 0)),
    ],
)
def test_members_with_learnt_parameters_are_taken_at_their_initial_values(name, plain):
    assert_moments(rx.theory.moments(name), [getattr(rx.theory.moments(plain), one) for one in NAMES])


@pytest.mark.parametrize("steepness", [300, 3e3, 3e4, 1e5])
@pytest.mark.parametrize("at", [0.0, 0.5, 0.777])
def test_a_steep_transition_is_not_lost_between_nodes(steepness, at):
    """To leading order E f' = 2 phi(at) and E f'^2 = 4/3 steepness phi(at)."""
    found = rx.theory.moments(lambda x: jnp.tanh(steepness * (x - at)))
    density = np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi)
    want = 2 * density, 4 / 3 * steepness * density
    np.testing.assert_allclose((found.slope_mean, found.slope_second), want, rtol=1 / steepness**2 + 1e-8)


@pytest.mark.parametrize(("frequency", "q"), [(30, 1.0), (30, 9.0), (150, 1.0)])
def test_waves_are_resolved(frequency, q):
    found = rx.theory.moments(lambda x: jnp.sin(frequency * x), q)
    np.testing.assert_allclose((found.second, found.slope_second), (0.5, frequency**2 / 2), rtol=1e-12)


def test_waves_that_are_not_resolved_are_refused():
    with pytest.raises(ValueError, match=r"got sin, which changes too fast for quadrature at a standard"):
        rx.theory.moments(jnp.sin, 1e8)


@pytest.mark.parametrize("power", [0.5, 0.7])
def test_a_pole_of_the_slope_leaves_its_moments_unknown(power):
    """E f'^4 diverges, E f'^2 does so at 0.5; E f^2 is a moment of the half normal distribution."""
    f = rx.activation("relu_power", power=power)
    found = rx.theory.moments(f)
    want = 2**power * math.gamma(power + 0.5) / (2 * math.sqrt(math.pi))
    np.testing.assert_allclose(found.second, want, rtol=1e-12)
    assert np.isnan([found.slope_second, found.slope_fourth, found.chi1]).all()
    with pytest.raises(ValueError, match="expected slopes of finite sixth moment"):
        rx.theory.jacobian_moments(f, 3)
    with pytest.raises(ValueError, match="whose slope has a pole"):
        rx.theory.log_norm_law(f, 3)


def test_a_pole_has_no_second_moment():
    with pytest.raises(ValueError, match=r"got moments that are not finite|changes too fast for quadrature"):
        rx.theory.moments(lambda x: 1 / x)
