"""A function forward, another slope backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

X = np.linspace(-3, 3, 25).astype(np.float32)


def step(x):
    return jnp.where(x > 0, jnp.ones_like(x), jnp.zeros_like(x))


def window(x):
    return jnp.where(jnp.abs(x) <= 1, jnp.ones_like(x), jnp.zeros_like(x))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_value_is_one_s_and_the_gradient_the_other_s(dtype):
    x = jnp.asarray(X, dtype)
    y, pull = jax.vjp(rx.surrogate(step, window), x)
    np.testing.assert_array_equal(y, step(x))
    [g] = pull(jnp.full_like(y, 3))
    assert g.dtype == dtype
    np.testing.assert_array_equal(g, 3 * window(x))


def test_it_keeps_its_input_and_has_the_name_of_the_function():
    spike = rx.surrogate(step, window)
    assert spike.__name__ == "step"
    assert spike is rx.surrogate(step, window)
    assert rx.residual_bytes(spike, X) == X.nbytes


def test_the_slope_is_computed_in_float32_and_has_derivatives_itself():
    fun = rx.surrogate(rx.relu, jax.nn.sigmoid)
    x = jnp.linspace(-4, 4, 33, dtype=jnp.float16)
    want = jax.nn.sigmoid(x.astype(jnp.float32)).astype(jnp.float16)
    np.testing.assert_array_equal(jax.grad(lambda x: fun(x).sum())(x), want)
    second = jax.grad(jax.grad(fun))(0.5)
    np.testing.assert_allclose(second, jax.grad(jax.nn.sigmoid)(0.5), rtol=1e-6)


def test_it_has_no_forward_mode():
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(rx.surrogate(step, window), (1.0,), (1.0,))


def test_vmap_scan_and_checkpoint():
    fun = rx.surrogate(step, window)
    slopes = jax.grad(lambda x: fun(x).sum())(X)
    np.testing.assert_array_equal(jax.vmap(jax.grad(fun))(X), slopes)
    total = lambda x: jax.lax.scan(lambda c, x: (c + jax.checkpoint(fun)(x), None), jnp.zeros((), x.dtype), x)[0]  # noqa: E731
    np.testing.assert_array_equal(jax.grad(total)(X), slopes)


@pytest.mark.parametrize("fun", [rx.gelu, jax.nn.gelu, rx.activation("leaky_relu", negative_slope=0.3)])
def test_functions_with_further_arguments_may_be_given(fun):
    spike = rx.surrogate(fun, window)
    np.testing.assert_array_equal(spike(X), jax.jit(fun)(X))
    np.testing.assert_array_equal(jax.grad(lambda x: spike(x).sum())(X), window(X))
