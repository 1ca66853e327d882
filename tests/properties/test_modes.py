"""Forward and reverse mode are one rule: the same slopes, bit for bit, on both sides of every kink and at it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import FLOATS

import relujax as rx

ROWS = pytest.mark.parametrize("row", rx.ACTIVATIONS.values(), ids=lambda row: row.name)


def points(row, dtype):
    return jnp.array([-9.0, -2.5, -1e-3, -0.0, 1e-3, 0.7, 3.0, 11.0, *row.kinks], dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@ROWS
def test_forward_is_reverse(row, dtype):
    if not row.forward_mode:
        pytest.skip("reverse mode only")

    @jax.jit
    def both(x):
        y, pull = jax.vjp(lambda x: row.fun(x, **row.example), x)
        ones = jnp.ones_like(y)
        return y, *pull(ones), *jax.jvp(lambda x: row.fun(x, **row.example), (x,), (ones,))

    y, reverse, value, forward = both(points(row, dtype))
    np.testing.assert_array_equal(forward, reverse)
    np.testing.assert_array_equal(value, y)
    assert forward.dtype == dtype


@ROWS
def test_the_registry_says_whether_forward_mode_works(row):
    x = points(row, jnp.float32)

    def forward():
        return jax.jvp(lambda x: row.fun(x, **row.example), (x,), (x,))

    if row.forward_mode:
        assert jnp.isfinite(forward()[1]).all()
    else:
        with pytest.raises(TypeError, match="forward-mode"):
            forward()


@ROWS
def test_the_jacobian_is_diagonal(row):
    transforms = (jax.jacrev, jax.jacfwd) if row.forward_mode else (jax.jacrev,)

    @jax.jit
    def slope_and_jacobians(x):
        slope = jax.grad(lambda x: row.fun(x, **row.example).sum())(x)
        return slope, [jacobian(lambda x: row.fun(x, **row.example))(x) for jacobian in transforms]

    slope, jacobians = slope_and_jacobians(points(row, jnp.float32))
    for jacobian in jacobians:
        np.testing.assert_array_equal(jacobian, np.diag(slope))
