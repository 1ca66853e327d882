"""Members that see the channel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

X = np.random.default_rng(1).normal(size=(7, 6)).astype(np.float32)


def test_crelu_loses_nothing():
    positive, negative = np.split(np.asarray(rx.crelu(X)), 2, axis=-1)
    np.testing.assert_array_equal(positive - negative, X)
    assert rx.crelu(X, axis=0).shape == (14, 6)


def test_bipolar_relu_halves_the_mean_shift():
    x = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32)
    y = np.asarray(rx.bipolar_relu(x))
    np.testing.assert_array_equal(y[:, ::2], np.maximum(x[:, ::2], 0))
    np.testing.assert_array_equal(y[:, 1::2], np.minimum(x[:, 1::2], 0))
    assert abs(y.mean()) < 0.02 < 0.39 < np.asarray(rx.relu(x)).mean()


def test_apl_has_hinges_for_each_channel():
    slopes, hinges = (np.random.default_rng(i).normal(size=(3, 6)).astype(np.float32) for i in (2, 3))
    want = np.maximum(X, 0) + sum(a * np.maximum(b - X, 0) for a, b in zip(slopes, hinges, strict=True))
    np.testing.assert_allclose(rx.apl(X, slopes, hinges), want, rtol=1e-5, atol=1e-6)
    of_slopes, of_hinges = jax.grad(lambda a, b: rx.apl(X, a, b).sum(), argnums=(0, 1))(slopes, hinges)
    np.testing.assert_allclose(of_slopes, np.maximum(hinges[:, None] - X, 0).sum(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(of_hinges, slopes * (hinges[:, None] > X).sum(1), rtol=1e-5, atol=1e-5)


def test_apl_refuses_slopes_and_hinges_that_differ():
    with pytest.raises(
        ValueError, match=r"apl got slopes of shape \(2,\) and hinges of shape \(3,\): expected the same"
    ):
        rx.apl(X, jnp.ones(2), jnp.ones(3))
    with pytest.raises(ValueError, match=r"apl got slopes of shape \(\)"):
        rx.apl(X, 1.0, 1.0)
    for x, shape in ((X, (2, 7)), (X[:, :1], (2, 6)), (X, (7, 2)), (1.0, (2, 1))):
        message = rf"apl got slopes and hinges of shape \({shape[0]}, {shape[1]}\) for x of shape \(.*\): expected one"
        with pytest.raises(ValueError, match=message):
            rx.apl(x, jnp.ones(shape), jnp.ones(shape))
    assert rx.apl(X, jnp.ones((2, 1)), jnp.ones((2, 1))).shape == rx.apl(X, jnp.ones(2), jnp.ones(2)).shape


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.bool_, jnp.int8])
def test_crelu_of_integers_does_not_wrap_around(dtype):
    assert rx.crelu(jnp.array([0, 1], dtype)).tolist() == [0, 1, 0, 0]
