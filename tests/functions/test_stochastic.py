"""Drawing members: what they draw follows the stated law, and the gradient is that of what was drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import relujax as rx

KEY = jax.random.key(11)
N = 40_000
DRAWING = {
    "rrelu": (rx.rrelu, {}),
    "rrelu with limits": (rx.rrelu, {"lower": 0.0, "upper": 0.5}),
    "noisy_relu": (rx.noisy_relu, {}),
    "probact": (rx.probact, {}),
    "probact with sigma": (rx.probact, {"sigma": 2.0}),
}
CASES = pytest.mark.parametrize("case", DRAWING)


def pvalue(sample, law):
    return stats.kstest(np.asarray(sample, np.float64), law.cdf).pvalue


def test_rrelu_draws_slopes_uniformly():
    slopes = rx.rrelu(-jnp.ones(N), KEY, 0.25, 0.75) * -1
    assert pvalue(slopes, stats.uniform(0.25, 0.5)) > 1e-3
    np.testing.assert_array_equal(rx.rrelu(jnp.ones(9), KEY), jnp.ones(9))


@pytest.mark.parametrize("x", [-1.0, 0.5, 4.0])
def test_noisy_relu_has_noise_of_variance_sigmoid(x):
    y = np.asarray(rx.noisy_relu(jnp.full(N, x), KEY))
    law = stats.norm(x, np.sqrt(1 / (1 + np.exp(-x))))
    off = (y == 0).mean()
    assert abs(off - law.cdf(0)) < 5 * np.sqrt(law.cdf(0) / N)
    # What is above 0 is the law's part above 0.
    assert pvalue(law.cdf(y[y > 0]), stats.uniform(law.cdf(0), 1 - law.cdf(0))) > 1e-3


@pytest.mark.parametrize("x", [-3.0, 3.0])
def test_probact_is_normal_around_the_rectified_input(x):
    assert pvalue(rx.probact(jnp.full(N, x), KEY, 0.25), stats.norm(max(0, x), 0.25)) > 1e-3


@CASES
def test_the_same_key_draws_the_same_and_another_draws_another(case):
    fun, given = DRAWING[case]
    x = jnp.linspace(-2, 2, 64)
    np.testing.assert_array_equal(fun(x, KEY, **given), fun(x, KEY, **given))
    assert (fun(x, KEY, **given) != fun(x, jax.random.key(12), **given)).any()


@CASES
def test_the_gradient_is_that_of_what_was_drawn(case):
    fun, given = DRAWING[case]
    x = np.random.default_rng(2).normal(size=200) * 3
    with jax.enable_x64(True):
        slopes = jax.grad(lambda x: fun(x, KEY, **given).sum())(x)
        h = 1e-6
        differences = (fun(x + h, KEY, **given) - fun(x - h, KEY, **given)) / (2 * h)
        tangent = jax.jvp(lambda x: fun(x, KEY, **given), (x,), (np.ones_like(x),))[1]
    np.testing.assert_allclose(slopes, differences, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(slopes, tangent)


@pytest.mark.parametrize(("fun", "argnums", "at"), [(rx.rrelu, (2, 3), (0.1, 0.4)), (rx.probact, 2, (0.3,))])
def test_the_gradient_of_what_is_learnt(fun, argnums, at):
    x = np.linspace(-3, 3, 50)
    with jax.enable_x64(True):
        loss = lambda *at: (fun(x, KEY, *at) ** 2).sum()  # noqa: E731
        got = jax.grad(lambda x, key, *at: (fun(x, key, *at) ** 2).sum(), argnums)(x, KEY, *at)
        h = 1e-6
        for i, g in enumerate(got if isinstance(got, tuple) else (got,)):
            up, down = ([a + s * h * (i == j) for j, a in enumerate(at)] for s in (1, -1))
            np.testing.assert_allclose(g, (loss(*up) - loss(*down)) / (2 * h), rtol=1e-5)


@CASES
def test_half_precision_draws_what_float32_does(case):
    fun, given = DRAWING[case]
    x = jnp.linspace(-4, 4, 128, dtype=jnp.bfloat16)
    y = fun(x, KEY, **given)
    assert y.dtype == jnp.bfloat16
    wide = fun(x.astype(jnp.float32), KEY, **given)
    np.testing.assert_array_equal(y.astype(jnp.float32), wide.astype(jnp.bfloat16).astype(jnp.float32))


@CASES
def test_the_key_is_kept_and_not_the_noise(case):
    fun, given = DRAWING[case]
    x = jax.ShapeDtypeStruct((64, 128), jnp.float32)
    size = 64 * 128
    kept = rx.residual_bytes(lambda x: fun(x, KEY, **given), x)
    assert kept <= (4 * size if fun is rx.noisy_relu else size // 8) + 64


def test_vmap_over_keys_and_old_keys_work():
    x = jnp.linspace(-2, 2, 5)
    keys = jax.random.split(KEY, 3)
    rows = jax.vmap(rx.rrelu, in_axes=(None, 0))(x, keys)
    np.testing.assert_array_equal(rows, np.stack([rx.rrelu(x, key) for key in keys]))
    assert rx.probact(x, jax.random.PRNGKey(0)).shape == (5,)


def test_a_key_is_asked_for():
    for fun in (rx.rrelu, rx.noisy_relu, rx.probact):
        with pytest.raises(TypeError, match="key"):
            fun(jnp.ones(3))


def test_second_derivatives_are_finite_far_out():
    for x in (-1e4, -100.0, 100.0):
        for fun in (rx.rrelu, rx.noisy_relu, rx.probact):
            assert abs(jax.grad(jax.grad(fun))(x, KEY)) < 1e-30
