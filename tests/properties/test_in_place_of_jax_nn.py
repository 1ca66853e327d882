"""Put in place of ``jax.nn``'s, every shared name does what people rely on ``jax.nn`` for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from float_grids import ELEMENTWISE
from jax.test_util import check_grads

import relujax as rx

SHARED = [name for name in rx.ACTIVATIONS if hasattr(jax.nn, name) and name in ELEMENTWISE]
THEIRS = {name: getattr(jax.nn, name) for name in SHARED}
X = np.array([-7.5, -2.4, -0.4, 1e-8, 0.3, 1.7, 4.5, 30.0])


@pytest.fixture(autouse=True)
def patched(monkeypatch):
    for name in SHARED:
        monkeypatch.setattr(jax.nn, name, getattr(rx, name))


def each(compute):
    """``{name: compute(function)}`` of the patched functions, in one compilation."""
    return jax.jit(lambda *args: {name: compute(getattr(jax.nn, name), *args) for name in SHARED})


def test_the_names_are_the_ones_that_count():
    assert {"relu", "gelu", "silu", "softplus", "elu", "squareplus", "mish", "tanh"} <= set(SHARED)


@pytest.mark.own_precision
def test_derivatives_near_zero():
    smooth = ("softplus", "squareplus", "mish", "silu", "gelu", "sigmoid", "tanh", "log_sigmoid")
    with jax.enable_x64(True):  # tests/gradients/test_rectifier.py goes on to order 3, for every member
        check_grads(jax.jit(lambda x: sum(getattr(jax.nn, name)(x) for name in smooth)), (1e-8,), order=2)


def test_slopes_far_out_are_finite_and_slopes_at_nan_are_those_of_jax_nn():
    def slopes(fun, x):
        return jax.vmap(jax.grad(fun))(x)

    x = np.array([-np.inf, -1e30, 1e30, np.inf, np.nan], np.float32)
    theirs = jax.jit(lambda x: {name: slopes(fun, x) for name, fun in THEIRS.items()})(x)
    for name, ours in each(slopes)(x).items():
        assert np.isfinite(ours[:4]).all(), name
        np.testing.assert_array_equal(ours[4], theirs[name][4], err_msg=name)


def test_values_and_dtypes_are_those_of_jax_nn():
    for dtype in (jnp.float32, jnp.bfloat16):
        x = X.astype(dtype)
        theirs = jax.jit(lambda x: {name: fun(x) for name, fun in THEIRS.items()})(x)
        for name, ours in each(lambda fun, x: fun(x))(x).items():
            assert ours.dtype == dtype
            # In half precision jax.nn's rounds at every step.
            tolerance = 2e-5 if dtype == jnp.float32 else 4 * float(jnp.finfo(dtype).eps)
            np.testing.assert_allclose(
                np.asarray(ours, float), np.asarray(theirs[name], float), rtol=tolerance, atol=tolerance, err_msg=name
            )


def test_integers_count_as_the_floats_of_their_value():
    for name in SHARED:
        fun = getattr(jax.nn, name)
        np.testing.assert_allclose(fun(jnp.array(-1)), fun(jnp.array(-1.0)), rtol=1e-6, err_msg=name)


def test_tracing_makes_no_array():
    for name in SHARED:
        jax.eval_shape(getattr(jax.nn, name), jax.ShapeDtypeStruct((10**12,), jnp.float32))


def test_no_tracer_leaks_out_of_a_scan():
    def body(x, _):
        return sum(getattr(jax.nn, name)(x) for name in SHARED), None

    with jax.checking_leaks():
        jax.jit(lambda x: jax.lax.scan(body, x, None, length=2))(jnp.float32(0.5))


def test_a_flax_model_that_names_jax_nn_gets_ours():
    @functools.partial(jax.make_jaxpr, static_argnums=0)
    def traced(model, x):
        return jax.grad(lambda x: model(x).sum())(x)

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(5, 5, rngs=rngs)

        def __call__(self, x):
            return jax.nn.relu(self.linear(x))

    # Only ours packs its residual into bytes.
    assert "u8[" in str(traced(Net(nnx.Rngs(0)), jnp.ones((2, 5), jnp.float32)))
