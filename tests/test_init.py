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


def arguments(row):
    """What the members need, and initial values of what they learn."""
    return {name: row.example[name] for name in row.needs} | dict(row.learnt)


def bound(name):
    """By name where that is enough."""
    row = rx.ACTIVATIONS[name]
    return rx.activation(name, **arguments(row)) if {*row.needs} - {"key"} else name


def second_moment(row):
    """By adaptive quadrature of the plain formula in float64."""

    def integrand(z):
        return float(row.plain(np.float64(z), **arguments(row))) ** 2 * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)

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
    weights = draw(bound(name), (1600, 100))
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
    hidden = rx.ACTIVATIONS[name].fun(inputs, **arguments(rx.ACTIVATIONS[name]))
    # A function without a bound on its slope has heavy tails, whose second moment takes more draws than these.
    rel = 0.03 if np.isfinite(rx.ACTIVATIONS[name].steepest) else 0.15
    assert jnp.var(hidden @ draw(bound(name), (512, 512)).astype(np.float32)) == pytest.approx(1, rel=rel)


def test_unknown_names_are_refused_when_the_initialiser_is_made():
    with pytest.raises(ValueError, match="unknown activation 'rellu'"):
        rx.init.gain_normal("rellu")


def weight_variance(name):
    return rx.theory.moments(name).gain ** 2


@pytest.mark.parametrize("name", SECOND_MOMENTS)
def test_critical_weights_are_normal_by_default(name):
    shape, f = (64, 32), bound(name)
    np.testing.assert_allclose(
        rx.init.critical(f)(jax.random.key(0), shape), rx.init.gain_normal(f)(jax.random.key(0), shape), rtol=1e-6
    )


@pytest.mark.parametrize("shape", [(48, 48), (64, 16), (16, 64), (3, 3, 8, 40), (3, 3, 8, 100)])
@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_orthogonal_weights_are_isometries_of_the_smaller_side_with_the_variance_of_the_fan_in(name, shape):
    weights = rx.init.critical(name, distribution="orthogonal")(jax.random.key(1), shape, jnp.float32)
    matrix = np.float64(weights).reshape(-1, shape[-1])
    singular_values = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(singular_values, singular_values[0], rtol=1e-5)
    assert np.mean(matrix**2) * matrix.shape[0] == pytest.approx(weight_variance(name), rel=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("distribution", ["normal", "orthogonal"])
def test_critical_weights_come_in_the_dtype_that_is_asked_for(dtype, distribution):
    weights = rx.init.critical("relu", distribution=distribution)(jax.random.key(0), (64, 64), dtype)
    assert weights.dtype == dtype
    assert np.float64(weights).var() * 64 == pytest.approx(2, rel=0.1)


def test_critical_weights_without_a_dtype_are_of_the_default_one():
    assert rx.init.critical("relu", distribution="orthogonal")(jax.random.key(0), (4, 4)).dtype == jnp.zeros(1).dtype


@pytest.mark.parametrize("distribution", ["normal", "orthogonal"])
def test_biases_or_another_variance_of_the_signal(distribution):
    given = rx.init.critical("gelu", distribution=distribution, bias_variance=0.3)(jax.random.key(0), (200, 200))
    want = rx.theory.critical("gelu", 0.3).weight_variance
    assert float(jnp.mean(given**2)) * 200 == pytest.approx(want, rel=0.02)
    steep = rx.init.critical("tanh", distribution=distribution, q=4.0)(jax.random.key(0), (200, 200))
    assert float(jnp.mean(steep**2)) * 200 == pytest.approx(4 / rx.theory.moments("tanh", 4.0).second, rel=0.02)


def travel(fun, initializer, width, networks, depth=100, seed=0, q=1.0, bias_variance=0.0):
    """Log squared lengths of signals and of tangents, after each layer of that many networks; both start at 0."""
    keys = jax.random.split(jax.random.key(seed), (depth, networks))
    # Outside of the jit, so that drawing is compiled once for all members.
    weights = jax.vmap(jax.vmap(lambda key: initializer(key, (width, width), jnp.float32)))(keys)
    x, u = np.random.default_rng(seed).standard_normal((2, networks, 1, width))
    # A signal under which the first pre-activations have variance q.
    x *= np.sqrt(rx.theory.moments(fun, q).second / np.mean(x**2, axis=-1, keepdims=True))
    biases = np.random.default_rng(seed + 1).standard_normal((depth, networks, 1, width)) * bias_variance**0.5

    def layer(carry, given):
        w, b = given
        x, u = jax.jvp(lambda x: fun(x @ w + b), carry[:1], carry[1:])
        return (x, u), [jnp.log(jnp.mean(leaf**2, axis=(1, 2))) for leaf in (x, u)]

    _, logs = jax.lax.scan(layer, (jnp.float32(x), jnp.float32(u)), (weights, jnp.float32(biases)))
    return [np.float64(log) - np.log(np.mean(start**2, axis=(1, 2))) for log, start in zip(logs, (x, u), strict=True)]


@pytest.mark.parametrize("slope", [0.0, 0.2, 0.9])
def test_gradients_and_signals_stay_in_the_finite_width_band_over_100_layers(slope):
    fun = rx.activation("leaky_relu", negative_slope=slope)
    law = rx.theory.log_norm_law(fun, 32)
    for logs in travel(fun, rx.init.critical(fun), 32, networks=64):
        for depth in (1, 10, 100):
            low, high = law.band(depth)
            end = logs[depth - 1]
            # Of 64 draws more than 4 lie outside of a 99 % band with chance 5e-4.
            assert np.count_nonzero((end < low) | (end > high)) <= 4
            assert abs(end.mean() - depth * law.mean) < 4 * np.sqrt(depth * law.variance / 64)


def length_map_slope(name):
    """Of q -> E f(u)^2 / E f(z)^2 at its fixed point 1."""
    second = [rx.theory.moments(name, q).second for q in (1 - 1e-4, 1, 1 + 1e-4)]
    return (second[2] - second[0]) / 2e-4 / second[1]


STABLE = [
    *("relu", "leaky_relu", "prelu", "relu_n", "shifted_relu", "hard_tanh", "hard_sigmoid", "flexible_relu", "srelu"),
    *(
        "elu",
        "celu",
        "selu",
        "pelu",
        "softplus",
        "squareplus",
        "sparse_plus",
        "hard_mish",
        "sigmoid",
        "tanh",
        "soft_sign",
    ),
]


@pytest.mark.parametrize(
    ("name", "distribution"),
    [*((name, "normal") for name in STABLE), *((name, "orthogonal") for name in ("relu", "elu", "tanh", "softplus"))],
)
def test_the_signal_of_every_stable_member_stays_in_the_band_over_100_layers(name, distribution):
    fun, width, networks = rx.ACTIVATIONS[name].fun, 64, 4
    fun = functools.partial(fun, **arguments(rx.ACTIVATIONS[name]))
    assert length_map_slope(bound(name)) <= 1 + 1e-7
    law = rx.theory.log_norm_law(fun, width, "signal")
    logs, _ = travel(fun, rx.init.critical(bound(name), distribution=distribution), width, networks)
    for depth in (10, 30, 100):
        low, high = law.band(depth)
        end = logs[depth - 1]
        assert np.count_nonzero((end < low) | (end > high)) <= 1


@pytest.mark.parametrize(("name", "bias_variance"), [("gelu", 0.3), ("mish", 0.3), ("quick_gelu", 0.4), ("silu", 1.0)])
def test_with_biases_the_unstable_members_hold_over_100_layers_too(name, bias_variance):
    point, width = rx.theory.critical(name, bias_variance), 64
    fun = rx.activation(name)
    init = rx.init.critical(name, bias_variance=bias_variance)
    signals, tangents = travel(fun, init, width, 16, q=point.q, bias_variance=bias_variance)
    law = rx.theory.log_norm_law(fun, width, q=point.q, weight_variance=point.weight_variance)
    # So long signals see nearly a ReLU, whose lengths walk freely; here something pulls them back.
    for logs, of in ((tangents, law), (signals, rx.theory.log_norm_law("relu", width))):
        for depth in (10, 30, 100):
            low, high = of.band(depth)
            assert np.count_nonzero((logs[depth - 1] < low) | (logs[depth - 1] > high)) <= 2


def test_a_bias_variance_that_is_not_stable():
    with pytest.raises(ValueError, match=r"got bias_variance=0.05 for 'gelu', at which the critical length .* is not"):
        rx.init.critical("gelu", bias_variance=0.05)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "relu_squared"])
def test_what_the_docstring_says_of_members_whose_fixed_point_is_not_stable(name):
    assert length_map_slope(name) > 1.05


def test_a_flax_layer_takes_them():
    nnx = pytest.importorskip("flax.nnx")
    for distribution in ("normal", "orthogonal"):
        init = rx.init.critical("relu", distribution=distribution)
        layer = nnx.Linear(256, 128, kernel_init=init, rngs=nnx.Rngs(0))
        assert float(jnp.mean(layer.kernel[...] ** 2)) * 256 == pytest.approx(2, rel=0.05)


def test_what_critical_refuses():
    with pytest.raises(ValueError, match=r"got distribution='uniform': expected \"normal\" or \"orthogonal\""):
        rx.init.critical("relu", distribution="uniform")
    with pytest.raises(ValueError, match=r"got bias_variance=-1: expected a variance"):
        rx.init.critical("tanh", bias_variance=-1)
    with pytest.raises(ValueError, match="unknown activation 'rellu'"):
        rx.init.critical("rellu")


@pytest.mark.parametrize("make", [lambda: rx.init.critical("gelu"), lambda: rx.init.gain_normal(lambda x: jnp.sin(x))])
def test_made_while_jax_traces(make):
    def draw(key):
        return make()(key, (8, 8), jnp.float32)

    key = jax.random.key(0)
    np.testing.assert_allclose(jax.jit(draw)(key), draw(key), rtol=1e-6)
    assert jax.eval_shape(draw, key).shape == (8, 8)
