"""Kernels of infinite width against closed forms, and against wide networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import erf

import relujax as rx

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 7)) * np.array([1.0, 1.0, 0.3, 2.0, 1.0])[:, None]
X = np.concatenate([X, X[:1]])  # two equal inputs
WEIGHT, BIAS, DEPTH = 1.7, 0.2, 3


def erf_layer(kernel):
    """E erf erf and E erf' erf' of Gaussians with this covariance (Williams, 1997)."""
    q = 1 + 2 * np.diag(kernel)
    s = 2 * kernel / np.sqrt(np.outer(q, q))
    slopes = 4 / np.pi / np.sqrt(np.outer(q, q) - 4 * kernel**2)
    return 2 / np.pi * np.arcsin(s), slopes


def relu_layer(kernel):
    """Likewise of ReLU (Cho and Saul, 2009)."""
    root = np.sqrt(np.diag(kernel))
    c = np.clip(kernel / np.outer(root, root), -1, 1)
    theta = np.arccos(c)
    return np.outer(root, root) * (np.sqrt(1 - c**2) + (np.pi - theta) * c) / (2 * np.pi), (np.pi - theta) / (2 * np.pi)


def stack(layer, x):
    kernel = WEIGHT * x @ x.T / x.shape[1] + BIAS
    tangent = kernel
    for _ in range(DEPTH):
        values, slopes = layer(kernel)
        kernel = WEIGHT * values + BIAS
        tangent = kernel + WEIGHT * slopes * tangent
    return kernel, tangent


@pytest.mark.parametrize(("f", "layer"), [(erf, erf_layer), ("relu", relu_layer)], ids=["erf", "relu"])
def test_closed_forms(f, layer):
    kernel, tangent = stack(layer, X)
    for found in (rx.theory.nngp(f, DEPTH, WEIGHT, BIAS)(X), rx.theory.nngp(f, DEPTH, WEIGHT, BIAS)(gram=X @ X.T / 7)):
        np.testing.assert_allclose(found, kernel, rtol=1e-12)
    # acos(1 - 1e-16) is 1e-8: what the closed form makes of equal inputs.
    np.testing.assert_allclose(rx.theory.ntk(f, DEPTH, WEIGHT, BIAS)(X), tangent, rtol=1e-7)


def test_kinks_and_equal_inputs_by_the_general_route():
    """Max(x, 0) + 0 max(x - 1, 0) is not known to be ReLU: another kink."""
    kinky = rx.theory.nngp("relu", DEPTH, WEIGHT, BIAS)(X)
    general = rx.theory.nngp(lambda x: jnp.maximum(x, 0) + 1e-13 * jnp.abs(x - 1), DEPTH, WEIGHT, BIAS)(X)
    np.testing.assert_allclose(general, kinky, rtol=1e-11)
    assert general[0, -1] == general[0, 0]


def test_a_wide_network_s_outputs_and_gradients():
    """One hidden layer of 8,000 units in the NTK parametrisation: within the 3 % that this width leaves."""
    x, width = jnp.asarray(X, "float32"), 8_000
    shapes = (7, width), (width,), (width, 1), (1,)
    params = [np.float32(RNG.standard_normal(shape)) for shape in shapes]

    def network(params, x):
        w0, b0, w1, b1 = params
        h = x @ w0 * (WEIGHT / 7) ** 0.5 + b0 * BIAS**0.5
        return (rx.tanh(h) @ w1 * (WEIGHT / width) ** 0.5 + b1 * BIAS**0.5)[0]

    rows = jax.jit(jax.vmap(jax.grad(network), in_axes=(None, 0)))(params, x)
    gradients = np.concatenate([np.reshape(leaf, (len(X), -1)) for leaf in rows], axis=1)
    tangent = rx.theory.ntk("tanh", 1, WEIGHT, BIAS)(X)
    np.testing.assert_allclose(gradients @ gradients.T, tangent, rtol=0.05, atol=0.03 * np.abs(tangent).max())
    hidden = np.tanh(X @ params[0] * (WEIGHT / 7) ** 0.5 + params[1] * BIAS**0.5)
    kernel = rx.theory.nngp("tanh", 1, WEIGHT, BIAS)(X)
    np.testing.assert_allclose(WEIGHT * hidden @ hidden.T / width + BIAS, kernel, rtol=0.05, atol=0.03)


def test_no_activation_is_a_linear_model():
    np.testing.assert_allclose(rx.theory.nngp("tanh", 0, 2.0, 0.5)(X), 2 * X @ X.T / 7 + 0.5, rtol=1e-15)


@pytest.mark.parametrize("kernel", [rx.theory.nngp, rx.theory.ntk])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "got both or neither of x and gram: expected one"),
        ({"x": X, "gram": X @ X.T}, "got both or neither"),
        ({"x": X[0]}, r"got x of shape \(7,\): expected finite numbers of shape \(examples, features\)"),
        ({"x": X * np.nan}, "got x of shape .*: expected finite numbers"),
        ({"gram": X}, "got gram of shape .*symmetric"),
        ({"gram": np.array([[1.0, 5.0], [5.0, 1.0]])}, "got a gram with a correlation of 5 between two inputs: expec"),
        ({"gram": -np.eye(2)}, "got a gram with negative squared lengths: expected"),
        ({"x": 0 * X}, "got an input of length 0: expected a positive variance; drop it or add a bias"),
    ],
)
def test_bad_input(kernel, given, message):
    with pytest.raises(ValueError, match=message):
        kernel("relu", 2, 2.0)(**given)


def test_a_depth_is_a_count():
    with pytest.raises(ValueError, match="got depth=-1: expected a whole number, 0 or more"):
        rx.theory.nngp("relu", -1, 2.0)
