"""Forward and reverse mode are one rule: the same slopes, bit for bit, on both sides of every kink and at it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import ELEMENTWISE, FLOATS, ROWS, by_row

KINKS = {kink for row in ELEMENTWISE.values() for kink in row.kinks}
POINTS = np.array([-9.0, -2.5, -1e-3, -0.0, 1e-3, 0.7, 3.0, 11.0, *sorted(KINKS)], np.float32)


def both_modes(row, x):
    def fun(x):
        return row.fun(x, **row.example)

    y, pull = jax.vjp(fun, x)
    ones = jnp.ones_like(y)
    reverse = (y, *pull(ones))
    return reverse, jax.jvp(fun, (x,), (ones,)) if row.forward_mode else reverse


@functools.cache
def every_row(dtype):
    return by_row(both_modes, POINTS.astype(dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@ROWS
def test_forward_is_reverse(row, dtype):
    reverse, forward = every_row(dtype)[row.name]
    assert forward[1].dtype == dtype
    np.testing.assert_array_equal(forward, reverse)


@ROWS
def test_the_registry_says_whether_forward_mode_works(row):
    def forward(x):
        return jax.jvp(lambda x: row.fun(x, **row.example), (x,), (x,))

    if row.forward_mode:
        jax.eval_shape(forward, POINTS)
    else:
        with pytest.raises(TypeError, match="custom_vjp"):
            forward(POINTS)


def test_the_jacobian_is_diagonal():
    def slope_and_jacobians(row, x):
        def fun(x):
            return row.fun(x, **row.example)

        modes = (jax.jacrev, jax.jacfwd) if row.forward_mode else (jax.jacrev,)
        return jax.grad(lambda x: fun(x).sum())(x), [mode(fun)(x) for mode in modes]

    for name, (slope, jacobians) in by_row(slope_and_jacobians, POINTS).items():
        for jacobian in jacobians:
            np.testing.assert_allclose(jacobian, np.diag(slope), rtol=3e-7, err_msg=name)
