"""Shapes and float dtypes come out as they went in; other dtypes have the answer of ``jax.nn``, where it has one."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import ELEMENTWISE, ROWS, by_row, by_row64, jax_twin

import relujax as rx

KEEP_INTEGERS = {"relu", "hard_tanh", "guided_relu", "leaky_backward_relu"}
# Half of the family's names are jax.nn's, which mixes dtypes inside: what it answers is what it answers to most people.
STANDARD = jax.numpy_dtype_promotion("standard")
FLOAT8 = [
    getattr(jnp, f"float8_{kind}")
    for kind in ("e3m4", "e4m3", "e4m3b11fnuz", "e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0fnu")
]


def default_float():
    return jnp.zeros(()).dtype


# Shapes in one half and one whole precision, dtypes in one shape: no rule asks for both at once.
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *(((2, 3, 5), dtype) for dtype in (jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64)),
        *((shape, dtype) for shape in ((), (3, 0)) for dtype in (jnp.bfloat16, jnp.float32)),
    ],
)
@ROWS
def test_floats_keep_dtype_and_shape(row, shape, dtype):
    def value_and_grad(x):
        y, pull = jax.vjp(lambda x: row.fun(x, **row.example), x)
        return y, pull(jnp.ones_like(y))[0]

    with jax.enable_x64(jax.config.jax_enable_x64 or dtype == jnp.float64):
        y, g = jax.eval_shape(value_and_grad, jax.ShapeDtypeStruct(shape, dtype))
    assert (y.dtype, y.shape, y.weak_type) == (dtype, shape, False)
    assert (g.dtype, g.shape, g.weak_type) == (dtype, shape, False)


def test_float64_is_computed_in_float64():
    def ours_and_plain(row, x):
        y, pull = jax.vjp(lambda x: row.fun(x, **row.example), x)
        plain, pull_plain = jax.vjp(lambda x: row.plain(x, **row.example), x)
        [slope] = pull_plain(jnp.ones_like(plain)) if row.slope is None else [row.slope(x)]
        return (y, *pull(jnp.ones_like(y))), (plain, slope)

    x = np.linspace(-3.1, 3.2, 24)
    assert not set(x) & {kink for row in ELEMENTWISE.values() for kink in row.kinks}
    for name, (ours, plain) in by_row64(ours_and_plain, x).items():
        np.testing.assert_allclose(ours, plain, rtol=1e-13, err_msg=name)


def answer_of_jax_nn(row, x):
    """Its result dtype, or None."""
    with STANDARD, contextlib.suppress(TypeError, ValueError):
        return jax_twin(row) and jax.eval_shape(jax_twin(row), x)


def without_jax_nn(row, dtype):
    integer = jnp.zeros((), int).dtype if dtype == jnp.bool_ else dtype
    return integer if row.name in KEEP_INTEGERS else default_float()


@pytest.mark.parametrize("dtype", [jnp.bool_, jnp.int8, jnp.int32, jnp.uint8])
@ROWS
def test_integers_and_bool(row, dtype):
    x = jax.ShapeDtypeStruct((2, 3), dtype)
    y = jax.eval_shape(lambda x: row.fun(x, **row.example), x)
    theirs = answer_of_jax_nn(row, x)
    assert y.shape == (2, 3)
    assert y.dtype == (without_jax_nn(row, dtype) if theirs is None else theirs.dtype)
    # Weak where theirs is; but nothing public makes a weak integer of a number that was not one.
    if jnp.issubdtype(y.dtype, jnp.floating):
        assert y.weak_type == (theirs is not None and theirs.weak_type)


@pytest.mark.parametrize("dtype", [jnp.bool_, jnp.int8, jnp.int32, jnp.uint8])
def test_integers_have_the_values_of_floats(dtype):
    # -128, 100 and unsigned numbers wrap around in jax.nn's squareplus, soft_sign and log_sigmoid.
    x = np.array([-128, -3, -1, 0, 2, 100]).astype(dtype)

    def both(row, x):
        return [row.fun(x, **row.example).astype(float) for x in (x, x.astype(float))]

    for name, (got, want) in by_row(both, x).items():
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-40, err_msg=name)


def test_integers_have_the_values_of_jax_nn():
    def both(row, x):
        return (
            None
            if answer_of_jax_nn(row, x) is None
            else [f(x) for f in (functools.partial(row.fun, **row.example), jax_twin(row))]
        )

    with STANDARD:
        compared = by_row(both, np.array([-8, -3, -1, 0, 2, 10], np.int8))
    for name, pair in compared.items():
        if pair is not None:
            np.testing.assert_allclose(*pair, rtol=2e-5, atol=2e-6, err_msg=name)


def test_integers_with_an_argument_that_jax_nn_does_not_have_become_floats():
    x = jnp.array([-3, -1, 5])
    assert rx.hard_tanh(x).tolist() == [-1, -1, 1]
    assert rx.hard_tanh(x, -2, 2.5).tolist() == [-2.0, -1.0, 2.5]
    assert rx.leaky_relu(x, 0.5).tolist() == [-1.5, -0.5, 5.0]


@ROWS
def test_python_scalars(row):
    y = row.fun(-0.5, **row.example)
    assert isinstance(y, jax.Array)
    assert (y.shape, y.dtype) == ((), default_float())
    np.testing.assert_allclose(y, row.plain(-0.5, **row.example), rtol=1e-6)
    slope = jax.eval_shape(jax.grad(lambda x: row.fun(x, **row.example)), -0.5)
    assert (slope.shape, slope.dtype) == ((), default_float())
    whole, theirs = jax.eval_shape(lambda x: row.fun(x, **row.example), 2), answer_of_jax_nn(row, 2)
    assert whole.dtype == (without_jax_nn(row, jnp.zeros((), int).dtype) if theirs is None else theirs.dtype)


@ROWS
def test_the_value_of_a_python_scalar_adapts_to_an_array_as_the_scalar_does(row):
    # As in jax.nn: a weakly typed number does not turn a bfloat16 network into a float32 one.
    assert jax.eval_shape(lambda: row.fun(2.0, **row.example)).weak_type
    scaled = jax.eval_shape(lambda: row.fun(2.0, **row.example) * jnp.ones(3, jnp.bfloat16))
    assert scaled.dtype == jnp.bfloat16


def value_and_slope(fun, x):
    y, pull = jax.vjp(fun, x)
    return y, *pull(jnp.ones_like(y))


def of_float32(row, x):
    return value_and_slope(lambda x: row.fun(x, **row.example), x)


@functools.cache
def float32_of_every_float8():
    return by_row(of_float32, np.stack([every_float8(dtype).astype(np.float32) for dtype in GRIDS]))


def every_float8(dtype):
    return np.arange(256, dtype=np.uint8).view(dtype)


GRIDS = [jnp.float8_e4m3fn, jnp.float8_e5m2]


@pytest.mark.parametrize("dtype", GRIDS)
def test_every_float8_is_computed_in_float32_and_rounded_once(dtype):
    got = by_row(of_float32, every_float8(dtype))
    for name, wide in float32_of_every_float8().items():
        for ours, want in zip(got[name], wide, strict=True):
            assert ours.dtype == dtype
            rounded = want[GRIDS.index(dtype)].astype(dtype)
            np.testing.assert_array_equal(ours.astype(np.float32), rounded.astype(np.float32), err_msg=name)


@pytest.mark.parametrize("fun", [rx.relu, rx.elu, rx.gelu], ids=lambda fun: fun.__name__)
def test_every_kind_of_float8(fun):
    """For one of each residual: bits, output, input."""
    for dtype in FLOAT8:
        y, slope = jax.eval_shape(lambda x: value_and_slope(fun, x), jax.ShapeDtypeStruct((3,), dtype))
        assert (y.dtype, slope.dtype) == (dtype, dtype)


# Where jax.nn's formula is analytic this is its continuation. Where it compares or takes a maximum the answer is an
# accident of lexicographic order; but it is jax.nn's, and free. The others are an error: order is what they are about.
COMPLEX = np.array([1 + 1j, -2 + 0.5j, 0.25 - 3j, -1.5 - 0.5j, 0], np.complex64)


@functools.cache
def complex_answers():
    def slope(fun, x):
        with contextlib.suppress(TypeError):  # not every one of jax.nn that has a value has a slope
            return jax.grad(lambda x: fun(x).real.sum())(x)

    def both(row, x):
        ours = functools.partial(row.fun, **row.example)
        return answer_of_jax_nn(row, x) and [(fun(x), slope(fun, x)) for fun in (ours, jax_twin(row))]

    with STANDARD:
        return by_row(both, COMPLEX)


@ROWS
def test_complex_numbers_have_the_answer_of_jax_nn_or_are_an_error(row):
    if answer_of_jax_nn(row, COMPLEX) is None:
        message = rf"{row.fun.__name__} got complex64: expected a real dtype; cast with \.real or jnp\.abs first"
        with pytest.raises(TypeError, match=message):
            row.fun(COMPLEX, **row.example)
    else:
        ours, theirs = complex_answers()[row.name]
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
        assert row.fun(COMPLEX, **row.example).dtype == jnp.complex64  # also where promotion is strict


@pytest.mark.parametrize("call", [rx.bipolar_relu, lambda x: rx.softplus(x, 2.0), lambda x: rx.top_k(x, 2)])
def test_complex_numbers_are_an_error_where_jax_nn_has_no_such_call(call):
    with pytest.raises(TypeError, match="got complex64: expected a real dtype"):
        call(COMPLEX)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@ROWS
def test_numpy_input(row, dtype):
    x = np.linspace(-2, 2, 6, dtype=dtype).reshape(2, 3)
    y = row.fun(x, **row.example)
    assert isinstance(y, jax.Array)
    assert y.dtype == jnp.asarray(x).dtype
    np.testing.assert_array_equal(y, row.fun(jnp.asarray(x), **row.example))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@ROWS
def test_a_hyperparameter_of_another_dtype_does_not_change_the_result_dtype(row, dtype):
    x = jax.ShapeDtypeStruct((3,), dtype)
    for of in (jnp.float32, dtype):
        numbers = {name: jax.ShapeDtypeStruct((), of) for name in row.example if name in row.hyperparameters}
        assert jax.eval_shape(lambda x, numbers: row.fun(x, **row.example | numbers), x, numbers).dtype == dtype
