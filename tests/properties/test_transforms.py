"""jit, vmap, scan and checkpoint change nothing, neither in values nor in gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import HYPERPARAMETERS, ROWS, by_row, by_row64

TRANSFORMS = {
    "vmap of the last axis": lambda f: jax.vmap(f, in_axes=-1, out_axes=-1),
    "scan": lambda f: lambda x: jax.lax.scan(lambda _, row: (None, f(row)), None, x)[1],
    "checkpoint": jax.checkpoint,
}
# Three rows of 2 x 5: a last axis that is no multiple of 8, kinks included.
X = np.linspace(-3.5, 4, 30, dtype=np.float32).reshape(3, 2, 5)
X[1, 0, 2] = 0


@functools.cache
def plain_and_transformed():
    def of(row, x):
        def fun(x):
            return row.fun(x, **row.example)

        def value_and_grad(f):
            return f(x), jax.grad(lambda x: (f(x) ** 2).sum())(x)

        return value_and_grad(fun), {name: value_and_grad(transform(fun)) for name, transform in TRANSFORMS.items()}

    return by_row(of, X)


@ROWS
def test_same_values_and_gradients(row):
    (want_value, want_grad), transformed = plain_and_transformed()[row.name]
    for name, (value, grad) in transformed.items():
        np.testing.assert_allclose(value, want_value, rtol=1e-6, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(grad, want_grad, rtol=1e-6, atol=1e-6, err_msg=name)


@HYPERPARAMETERS
def test_vmap_over_a_hyperparameter(row, name):
    rest = {k: v for k, v in row.example.items() if k != name}
    values = np.array([0.1, 0.5, 0.9], np.float32)

    def grads(x, value):
        return jax.grad(lambda x, value: row.fun(x, **rest, **{name: value}).sum(), argnums=(0, 1))(x, value)

    @jax.jit
    def mapped_and_each(x, values):
        mapped = [jax.vmap(grads, in_axes=(in_axes, 0))(x, values) for in_axes, x in ((0, x), (None, x[0]))]
        each = [[grads(x[i * rows], value) for i, value in enumerate(values)] for rows in (1, 0)]
        return mapped, each

    for got, rows in zip(*mapped_and_each(X, values), strict=True):
        for leaf, want in zip(got, zip(*rows, strict=True), strict=True):
            np.testing.assert_allclose(leaf, np.stack(want), rtol=1e-5, atol=1e-6)


def value_and_slope(fun, x):
    y, pull = jax.vjp(fun, x)
    return y, *pull(jnp.ones_like(y))


POLICIES = ("everything_saveable", "nothing_saveable", "dots_saveable", "dots_with_no_batch_dims_saveable")


def test_checkpoint_with_every_policy_that_takes_no_argument():
    def plain_and_checkpointed(row, x):
        def fun(x):
            return row.fun(x, **row.example)

        policies = {name: getattr(jax.checkpoint_policies, name) for name in POLICIES}
        under = {name: value_and_slope(jax.checkpoint(fun, policy=policy), x) for name, policy in policies.items()}
        return value_and_slope(fun, x), under

    for name, (plain, under) in by_row(plain_and_checkpointed, X).items():
        for policy, checkpointed in under.items():
            for got, want in zip(checkpointed, plain, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6, err_msg=f"{name}, {policy}")


@pytest.mark.own_precision
def test_linearize_and_hessian():
    def of(row, x, step):
        if not row.forward_mode:
            return []

        def fun(x):
            return row.fun(x, **row.example)

        def slope(x):
            return jax.grad(lambda x: fun(x).sum())(x)

        _, linear = jax.linearize(fun, x)
        hessian = jax.hessian(lambda x: fun(x).sum())(x)
        near = jax.vmap(slope)(jnp.stack([x + step, x - step]))
        return [(linear(jnp.cos(x)), slope(x) * jnp.cos(x)), (hessian, jnp.diag((near[0] - near[1]) / 2 / step))]

    x = np.array([-3.6, -2.4, -1.4, -0.7, 0.25, 0.75, 1.6, 2.4, 4.2])  # no kinks
    for name, pairs in by_row64(of, x, 1e-5).items():
        for got, want in pairs:
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7, err_msg=name)
