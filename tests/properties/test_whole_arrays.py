"""The members that are not elementwise: their rows are held to what the elementwise ones are, on whole arrays."""

import functools
import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import HALVES, ulps
from jax.test_util import check_grads

import relujax as rx

WHOLE = {row.name: row for row in rx.ACTIVATIONS.values() if not row.elementwise}
ROWS = pytest.mark.parametrize("row", WHOLE.values(), ids=lambda row: row.name)
WITH_AXIS = pytest.mark.parametrize(
    "row", [row for row in WHOLE.values() if "axis" in inspect.signature(row.fun).parameters], ids=lambda row: row.name
)
# No two equal, none at a kink: a derivative exists everywhere.
X = np.random.default_rng(7).permutation(np.linspace(-3.05, 3.1, 48)).reshape(4, 2, 6)


def ours(row, **more):
    return functools.partial(row.fun, **row.example, **more)


def plain(row, **more):
    # By keyword without the arrays of an example, which are of float32.
    example = {k: v.astype(np.float64) if isinstance(v, np.ndarray) else v for k, v in row.example.items()}
    return functools.partial(row.plain, **example, **more)


def value_and_pullback(fun, x):
    @jax.jit  # one compilation instead of one for each operation
    def of(x):
        y, pull = jax.vjp(fun, x)
        weights = jnp.asarray(np.cos(np.arange(y.size)).reshape(y.shape), y.dtype)
        return y, pull(weights)[0]

    return of(x)


def expected(row, x, **more):
    with jax.enable_x64(True):
        return [np.asarray(a) for a in value_and_pullback(plain(row, **more), np.asarray(x, np.float64))]


def test_there_are_some():
    assert {"crelu", "maxout", "apl", "glu", "top_k", "batch_top_k", "gaussian_top_k", "bipolar_relu"} == set(WHOLE)


@ROWS
def test_values_and_gradients_are_the_formula_s(row):
    x = X.astype(np.float32)
    for got, want in zip(value_and_pullback(ours(row), x), expected(row, x), strict=True):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6)


@WITH_AXIS
@pytest.mark.parametrize("axis", [0, 1, -1, -3])
def test_along_any_axis(row, axis):
    x = X.astype(np.float32)
    if row.name == "gaussian_top_k" and X.shape[axis] <= 2:
        with pytest.raises(ValueError, match="expected 1 to 1, below the length"):
            ours(row, axis=axis)(x)
        return
    for got, want in zip(value_and_pullback(ours(row, axis=axis), x), expected(row, x, axis=axis), strict=True):
        np.testing.assert_allclose(got, want, rtol=3e-6, atol=3e-6)


@WITH_AXIS
def test_an_axis_that_is_not_there_is_refused(row):
    with pytest.raises(ValueError, match="axis 3"):
        ours(row, axis=3)(X.astype(np.float32))


@pytest.mark.parametrize("dtype", HALVES)
@ROWS
def test_half_precision_is_rounded_once(row, dtype):
    x = jnp.asarray(X, dtype)
    y, g = value_and_pullback(ours(row), x)
    weights = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype).astype(np.float64)
    with jax.enable_x64(True):
        wide = np.asarray(x).astype(np.float64)
        want, of_x = jax.jit(lambda x: (plain(row)(x), jax.vjp(plain(row), x)[1](jnp.asarray(weights))[0]))(wide)
    assert y.dtype == g.dtype == dtype
    assert ulps(np.asarray(y), np.asarray(want), dtype).max() <= 1
    # A sum along an axis cancels: in ulp of its largest term.
    assert np.abs(np.asarray(g, np.float64) - np.asarray(of_x)).max() <= 2 * float(jnp.finfo(dtype).eps)


@pytest.mark.own_precision
def test_derivatives_up_to_order_two_in_both_modes():
    @jax.jit
    def family(x):
        return {name: ours(row)(x) for name, row in WHOLE.items()}

    with jax.enable_x64(True):
        check_grads(family, (X,), order=2, eps=1e-5)


@ROWS
def test_transforms_change_nothing(row):
    x = X.astype(np.float32)
    fun = (lambda a: row.fun(a[None], **row.example)[0]) if row.name == "batch_top_k" else ours(row)
    each = [value_and_pullback(fun, a) for a in x]
    want = [np.stack(column) for column in zip(*each, strict=True)]
    transformed = {
        "vmap": jax.vmap(lambda a: value_and_pullback(fun, a)),
        "scan": lambda x: jax.lax.scan(lambda _, a: (None, value_and_pullback(fun, a)), None, x)[1],
        "checkpoint": jax.vmap(lambda a: value_and_pullback(jax.checkpoint(fun), a)),
    }
    for name, got in jax.jit(lambda x: {key: f(x) for key, f in transformed.items()})(x).items():
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=name)


@ROWS
def test_it_keeps_what_the_registry_says(row):
    shape = jax.ShapeDtypeStruct((64, 128), jnp.float32)
    size = math.prod(shape.shape)
    of_output = {"crelu": 2}.get(row.name, 1)
    bits = size * of_output // 8
    small = 64  # hyperparameters
    kept = rx.residual_bytes(ours(row), shape)
    assert kept <= {"bits": bits, "input": 4 * size}[row.residual] + small


@ROWS
def test_integers(row):
    x = np.arange(-24, 24).reshape(4, 2, 6) * 5 % 37 - 18
    y = ours(row)(x)
    keeps = row.residual == "bits"
    assert jnp.issubdtype(y.dtype, jnp.integer if keeps else jnp.floating)
    np.testing.assert_allclose(y, ours(row)(x.astype(np.float32)), rtol=1e-6)


@ROWS
def test_nan_and_infinities(row):
    x = X.astype(np.float32).copy()
    x[1, 0, 3] = np.nan
    assert np.isnan(ours(row)(x)[1]).any()
    x[1, 0, 3] = -x[1, 0, 3]  # sorts below every number, where one sorts by sign first
    assert np.isnan(ours(row)(x)[1]).any()
    x[1, 0, 3] = -np.inf
    if row.name not in ("gaussian_top_k", "apl", "bipolar_relu", "glu", "crelu"):  # which depend on it, or have it
        assert np.isfinite(ours(row)(x)).all()


@ROWS
def test_complex_numbers_are_refused_or_have_jax_nn_s_answer(row):
    x = X.astype(np.complex64)
    if row.name == "glu":
        np.testing.assert_allclose(rx.glu(x), jax.nn.glu(x), rtol=1e-6)
    else:
        with pytest.raises(TypeError, match="got complex64: expected a real dtype"):
            ours(row)(x)


@ROWS
def test_an_empty_batch_has_a_gradient(row):
    x = jnp.zeros((0, 2, 6), jnp.float32)
    if row.name == "batch_top_k":  # 2 of each of no examples
        x = jnp.zeros((1, 0, 6), jnp.float32)
    y, g = value_and_pullback(ours(row), x)
    assert (y.size, g.shape) == (0, x.shape)


@ROWS
def test_it_lowers_for_every_platform(row):
    x = jax.ShapeDtypeStruct(X.shape, jnp.float32)
    exported = jax.export.export(jax.jit(lambda x: value_and_pullback(ours(row), x)), platforms=("cpu", "cuda", "tpu"))(
        x
    )
    y, g = exported.call(X.astype(np.float32))
    for got, want in zip((y, g), value_and_pullback(ours(row), X.astype(np.float32)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)
