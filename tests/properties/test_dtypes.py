"""Shapes and dtypes come out as they went in; integers become floats, except where the docstring says otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import ELEMENTWISE, ROWS, by_row, by_row64

KEEP_INTEGERS = {"relu"}


def default_float():
    return jnp.zeros(()).dtype


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("shape", [(), (3, 0), (2, 3, 5)], ids=str)
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
        vjps = [jax.vjp(lambda x, fun=fun: fun(x, **row.example), x) for fun in (row.fun, row.plain)]
        return [(y, *pull(jnp.ones_like(y))) for y, pull in vjps]

    x = np.linspace(-3.1, 3.2, 24)
    assert not set(x) & {kink for row in ELEMENTWISE.values() for kink in row.kinks}
    for name, (ours, plain) in by_row64(ours_and_plain, x).items():
        np.testing.assert_allclose(ours, plain, rtol=1e-13, err_msg=name)


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.int32, jnp.uint8])
@ROWS
def test_integers(row, dtype):
    y = jax.eval_shape(lambda x: row.fun(x, **row.example), jax.ShapeDtypeStruct((2, 3), dtype))
    assert y.dtype == (dtype if row.name in KEEP_INTEGERS else default_float())
    assert y.shape == (2, 3)


def test_integers_have_the_values_of_floats():
    def both(row, x):
        return [row.fun(x, **row.example) for x in (x, x.astype(float))]

    for name, (got, want) in by_row(both, np.array([-3, -1, 0, 2, 100])).items():
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=name)


@ROWS
def test_python_scalars(row):
    y = row.fun(-0.5, **row.example)
    assert isinstance(y, jax.Array)
    assert (y.shape, y.dtype) == ((), default_float())
    np.testing.assert_allclose(y, row.plain(-0.5, **row.example), rtol=1e-6)
    slope = jax.eval_shape(jax.grad(lambda x: row.fun(x, **row.example)), -0.5)
    assert (slope.shape, slope.dtype) == ((), default_float())
    whole = jax.eval_shape(lambda: row.fun(2, **row.example))
    assert whole.dtype == (jnp.zeros((), int).dtype if row.name in KEEP_INTEGERS else default_float())


@ROWS
def test_the_value_of_a_python_scalar_adapts_to_an_array_as_the_scalar_does(row):
    # As in jax.nn: a weakly typed number does not turn a bfloat16 network into a float32 one.
    assert jax.eval_shape(lambda: row.fun(2.0, **row.example)).weak_type
    scaled = jax.eval_shape(lambda: row.fun(2.0, **row.example) * jnp.ones(3, jnp.bfloat16))
    assert scaled.dtype == jnp.bfloat16


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
        example = {name: jax.ShapeDtypeStruct((), of) for name in row.example if name in row.hyperparameters}
        assert jax.eval_shape(lambda x, example: row.fun(x, **example), x, example).dtype == dtype
