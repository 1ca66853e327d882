"""What formulas are made of, beside numpy's functions in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from relujax.functions._elementary import exp, exp_gap, log1p_exp

pytestmark = pytest.mark.own_precision

TINY = float(np.finfo(np.float32).tiny)
X = np.concatenate([-np.linspace(0, 150, 300_001), -np.logspace(-30, 2, 10_001)]).astype(np.float32)


def ulps(got, want):
    """Distance in units in the last place of float32, where the exact number is normal."""
    normal = np.abs(want) >= TINY
    size = np.spacing(np.abs(want[normal]).astype(np.float32)).astype(np.float64)
    return np.abs(np.asarray(got, np.float64)[normal] - want[normal]) / size


@pytest.mark.parametrize(("by", "power"), [(1.0, 0), (0.5, 0), (1.702, 32), (-1.0, 32), (-0.5, 2)])
def test_exp(by, power):
    x = np.float32(np.sign(by)) * X
    got = jax.jit(lambda x: exp(x, by=by, power=power))(x)
    want = np.exp(by * x.astype(np.float64)) * 2.0**power
    assert ulps(got, want).max() <= 1.1
    vanished = np.asarray(got)[want < 0.7 * TINY]
    np.testing.assert_array_equal(vanished, np.zeros_like(vanished))


def test_exp_up_to_infinity():
    x = np.linspace(0, 94.4, 100_001, dtype=np.float32)
    got, want = np.asarray(jax.jit(lambda x: exp(x, power=-8))(x)), np.exp(x.astype(np.float64)) / 256
    finite = want < 2**127.4
    assert ulps(got[finite], want[finite]).max() <= 1.1
    assert np.isinf(got[want > 2**127.6]).all()


def test_exp_takes_what_was_rounded_away():
    rest = np.float32(0.058) * np.cos(np.arange(X.size, dtype=np.float32))
    got = jax.jit(lambda x, rest: exp(x, rest, by=0.5))(X, rest)
    assert ulps(got, np.exp((X.astype(np.float64) + rest) / 2)).max() <= 1.1


def test_log1p_exp():
    assert ulps(jax.jit(log1p_exp)(X), np.log1p(np.exp(X.astype(np.float64)))).max() <= 2


def test_exp_gap():
    assert ulps(jax.jit(exp_gap)(-X), -np.expm1(X.astype(np.float64))).max() <= 8  # XLA's tanh is off by up to 4.3


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("fun", [exp, log1p_exp, exp_gap])
def test_limits_nan_and_dtypes(fun, dtype):
    with jax.enable_x64():
        far = jnp.array([-jnp.inf, jnp.nan, 0.0], dtype) * (-1 if fun is exp_gap else 1)
        got = fun(far)
        assert got.dtype == dtype
        at_zero = {exp: 1, log1p_exp: np.log(2), exp_gap: 0}[fun]
        limit = 1 if fun is exp_gap else 0
        np.testing.assert_allclose(got, [limit, np.nan, at_zero], rtol=3e-7)


def test_float64():
    with jax.enable_x64():
        x = jnp.linspace(-700, 0, 1001)
        np.testing.assert_allclose(exp(x, 1e-9, by=0.5, power=8), 256 * np.exp(x / 2 + 5e-10), rtol=1e-13)
        np.testing.assert_allclose(log1p_exp(x), np.log1p(np.exp(x)), rtol=1e-14)


# Of 4 exp(0.55 x), log(1 + exp(x)) and 1 - exp(x), by e^x: the first three derivatives.
DERIVATIVES = [
    (lambda x: exp(x, 0.1 * x, by=0.5, power=2), [lambda e, k=k: 4 * 0.55**k * e**0.55 for k in (1, 2, 3)]),
    (log1p_exp, [lambda e: e / (1 + e), lambda e: e / (1 + e) ** 2, lambda e: e * (1 - e) / (1 + e) ** 3]),
    (lambda x: exp_gap(-x), [lambda e: -e] * 3),
]


@pytest.mark.parametrize(("fun", "wanted"), DERIVATIVES, ids=["exp", "log1p_exp", "exp_gap"])
def test_derivatives_are_those_of_the_functions_and_not_of_polynomials(fun, wanted):
    x = np.linspace(-3, -0.1, 101, dtype=np.float32)
    for want in wanted:
        fun = jax.grad(fun)
        np.testing.assert_allclose(jax.vmap(fun)(x), want(np.exp(x.astype(np.float64))), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fun", [exp, log1p_exp, exp_gap])
def test_weak_types_stay_weak(fun):
    assert jax.eval_shape(lambda: fun(jnp.asarray(-2.0))).weak_type
    assert not jax.eval_shape(lambda: fun(jnp.asarray(-2.0, jnp.float32))).weak_type
