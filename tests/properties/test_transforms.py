"""jit, vmap, scan and checkpoint change nothing, neither in values nor in gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import HYPERPARAMETERS, ROWS, by_hyperparameter, by_row, by_row64

pytestmark = pytest.mark.own_precision

# No member has a dot: the policies that save some are one with saving nothing. tests/gradients/test_rectifier.py has
# them too, for each kind of residual.
POLICIES = ("everything_saveable", "nothing_saveable")
TRANSFORMS = {
    "vmap of the last axis": lambda f: jax.vmap(f, in_axes=-1, out_axes=-1),
    "scan": lambda f: lambda x: jax.lax.scan(lambda _, row: (None, f(row)), None, x)[1],
    **{name: functools.partial(jax.checkpoint, policy=getattr(jax.checkpoint_policies, name)) for name in POLICIES},
}
# Three rows of 2 x 5: a last axis that is no multiple of 8, kinks included.
X = np.linspace(-3.5, 4, 30, dtype=np.float32).reshape(3, 2, 5)
X[1, 0, 2] = 0


# A product and a sum that XLA rounds at once in the program without a gradient, and not in the one with it.
FUSED_ULPS = {"clamped_swiglu": 2}


@functools.cache
def plain_and_transformed():
    def of(row, x):
        def fun(x):
            return row.fun(x, **row.example)

        def value_and_slope(f):
            y, pull = jax.vjp(f, x)
            return y, *pull(jnp.cos(y))

        return (fun(x), *value_and_slope(fun)), {
            name: value_and_slope(transform(fun)) for name, transform in TRANSFORMS.items()
        }

    return by_row(of, X)


@ROWS
def test_same_values_and_gradients(row):
    (undifferentiated, *want), transformed = plain_and_transformed()[row.name]
    np.testing.assert_array_max_ulp(undifferentiated, want[0], maxulp=FUSED_ULPS.get(row.name, 0))
    for name, found in transformed.items():
        for got, expected in zip(found, want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6, err_msg=name)


@functools.cache
def mapped_and_broadcast():
    """``vmap`` over three numbers, of ``x`` with and without an axis for it; and the numbers as an array."""

    def of(call, _, x, values):
        def grads(x, value):
            return jax.grad(lambda x, value: call(x, value).sum(), argnums=(0, 1))(x, value)

        return [
            jax.vmap(grads)(x, values),
            jax.vmap(grads, in_axes=(None, 0))(x[0], values),
            grads(jnp.concatenate([x, x[:1], x[:1], x[:1]]), jnp.tile(values, 2).reshape(6, 1, 1)),
        ]

    return by_hyperparameter(of, X, np.array([0.1, 0.5, 0.9], np.float32))


@HYPERPARAMETERS
def test_vmap_over_a_hyperparameter(row, name):
    *mapped, (of_x, of_value) = mapped_and_broadcast()[row.name, name]
    for found, part in zip(mapped, (slice(0, 3), slice(3, 6)), strict=True):
        for got, want in zip(found, (of_x[part], of_value[part, 0, 0]), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_linearize_and_hessian():
    def of(row, x, step):
        if not row.forward_mode:
            return []

        def fun(x):
            return row.fun(x, **row.example)

        def slope(x):
            return jax.grad(lambda x: fun(x).sum())(x)

        _, linear = jax.linearize(fun, x)
        at, above, below = jnp.split(slope(jnp.concatenate([x, x + step, x - step])), 3)
        hessian = jax.hessian(lambda x: fun(x).sum())(x)
        return [(linear(jnp.cos(x)), at * jnp.cos(x)), (hessian, jnp.diag((above - below) / 2 / step))]

    x = np.array([-3.6, -2.4, -1.4, -0.7, 0.25, 0.75, 1.6, 2.4, 4.2])  # no kinks
    for name, pairs in by_row64(of, x, 1e-5).items():
        for got, want in pairs:
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7, err_msg=name)
