"""Gradients that are on purpose not derivatives: against the papers' formulas, in reverse mode, under transforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

X = np.linspace(-4, 4, 41).astype(np.float32)
G = np.cos(np.arange(41)).astype(np.float32)


def pullback(fun, x, g):
    return jax.vjp(fun, x)[1](g)[0]


def test_guided_relu_rectifies_the_gradient():
    np.testing.assert_array_equal(pullback(rx.guided_relu, X, G), np.where(X > 0, np.maximum(G, 0), 0))


def test_leaky_backward_relu_leaks_only_backward():
    y, pull = jax.vjp(lambda x: rx.leaky_backward_relu(x, 0.25), X)
    np.testing.assert_array_equal(y, np.maximum(X, 0))
    np.testing.assert_array_equal(pull(G)[0], np.where(X > 0, G, 0.25 * G))
    assert jax.grad(lambda a: rx.leaky_backward_relu(X, a).sum())(0.1) == 0


def test_straight_through_is_a_step_forward_and_the_identity_backward():
    y, pull = jax.vjp(rx.straight_through, X)
    np.testing.assert_array_equal(y, X > 0)
    np.testing.assert_array_equal(pull(G)[0], G)
    assert rx.residual_bytes(rx.straight_through, X) == 0


def slope_of(formula):
    with jax.enable_x64(True):
        return np.asarray(jax.vmap(jax.grad(formula))(X.astype(np.float64)))


@pytest.mark.parametrize("alpha", [None, 1.0])
def test_sugar_has_the_slope_of_b_silu(alpha):
    a = 1.67 if alpha is None else alpha
    want = slope_of(lambda x: (x + a) / (1 + jnp.exp(-x)) - a / 2)
    given = {} if alpha is None else {"alpha": alpha}
    np.testing.assert_allclose(pullback(lambda x: rx.sugar(x, **given), X, G), want * G, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rx.sugar(X), np.maximum(X, 0))


def test_sugar_has_the_slope_of_nelu():
    want = slope_of(lambda x: jnp.where(x > 0, x, -0.05 / (1 + x * x)))
    np.testing.assert_allclose(pullback(lambda x: rx.sugar(x, "nelu"), X, G), want * G, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match="sugar got surrogate='silu': expected 'b_silu' or 'nelu'"):
        rx.sugar(X, "silu")


def test_jump_relu_estimates_the_gradient_of_its_threshold_with_a_kernel():
    theta, width = np.float32([0.5, 1.0, 2.0]), 0.2
    x = np.random.default_rng(0).uniform(0, 3, (4000, 3)).astype(np.float32)
    of_x, of_theta = jax.grad(lambda x, t: rx.jump_relu(x, t, width).sum(), argnums=(0, 1))(x, theta)
    np.testing.assert_array_equal(of_x, x > theta)
    near = np.abs(x - theta) < width / 2
    np.testing.assert_allclose(of_theta, -(theta / width) * near.sum(0), rtol=1e-5)
    # It estimates the derivative of the expectation: minus theta times the density, which is 1/3.
    np.testing.assert_allclose(of_theta / 4000, -theta / 3, rtol=0.15)


def test_jump_relu_keeps_one_bit_or_two():
    x, theta = jax.ShapeDtypeStruct((64, 128), jnp.float32), jax.ShapeDtypeStruct((128,), jnp.float32)
    bits = 64 * 128 // 8
    assert rx.residual_bytes(lambda x: rx.jump_relu(x, 0.5), x) <= bits + 8
    assert 2 * bits <= rx.residual_bytes(rx.jump_relu, x, theta) <= 2 * bits + 128 * 4


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_the_threshold_s_gradient_is_summed_in_float32(dtype):
    x = jnp.full((100_000,), 0.5, dtype)
    of_theta = jax.grad(lambda t: rx.jump_relu(x, t, 1.0).astype(jnp.float32).sum())(np.float32(0.25))
    np.testing.assert_allclose(of_theta, -0.25 * 100_000, rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (3,), (1, 3)])
def test_a_broadcast_threshold_gets_a_gradient_of_its_own_shape(shape):
    x = jnp.linspace(-1, 1, 12).reshape(4, 3)
    theta = jnp.full(shape, 0.1)
    got = jax.grad(lambda t: rx.jump_relu(x, t, 1.0).sum())(theta)
    assert got.shape == shape
    np.testing.assert_allclose(got.sum(), -0.1 * (np.abs(x - 0.1) < 0.5).sum(), rtol=1e-5)
