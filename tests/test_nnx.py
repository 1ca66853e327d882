"""Flax NNX modules: each is its function, and a learnt slope learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import relujax as rx
from relujax.nnx import MODULES

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
PLAIN = [row for row in rx.ACTIVATIONS.values() if row.elementwise]
BY_ARGUMENTS = {
    "ReLU()": lambda x: rx.relu(x),
    "LeakyReLU()": lambda x: rx.leaky_relu(x, 0.01),
    "LeakyReLU(0.3)": lambda x: rx.leaky_relu(x, 0.3),
    "PReLU()": lambda x: rx.prelu(x, 0.25),
    "PReLU(slope=-0.5)": lambda x: rx.prelu(x, -0.5),
    "PReLU(0.75, channels=4)": lambda x: rx.prelu(x, 0.75),
    "ELU()": lambda x: rx.elu(x, 1.0),
    "ELU(0.5)": lambda x: rx.elu(x, 0.5),
    "ReLUN(2.0)": lambda x: rx.relu_n(x, 2.0),
    "Threshold(0.5, value=-1.0)": lambda x: rx.threshold(x, 0.5, -1.0),
    "HardTanh(max=0.5)": lambda x: rx.hard_tanh(x, -1.0, 0.5),
    "GELU(approximate=False)": lambda x: rx.gelu(x, approximate=False),
    "Swish(beta=2.0)": lambda x: rx.swish(x, 2.0),
    "SReLU(1.0, 0.5, -1.0, 0.1, channels=4)": lambda x: rx.srelu(x, 1.0, 0.5, -1.0, 0.1),
    "CELU(0.5)": lambda x: rx.celu(x, 0.5),
}


def parameters(module):
    return jax.tree.leaves(nnx.state(module, nnx.Param))


@pytest.mark.parametrize("call", BY_ARGUMENTS)
def test_a_module_is_its_function(call):
    module = eval(f"rx.nnx.{call}")
    want = jax.jit(lambda x: (BY_ARGUMENTS[call](x), jax.grad(lambda x: BY_ARGUMENTS[call](x).sum())(x)))(X)
    found = jax.jit(lambda x: (module(x), jax.grad(lambda x: module(x).sum())(x)))(X)
    np.testing.assert_allclose(found[0], want[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], want[1], rtol=1e-6)


def test_every_activation_has_its_module_by_its_name():
    assert MODULES.keys() == rx.ACTIVATIONS.keys()
    for name, module in MODULES.items():
        assert getattr(rx.nnx, rx.ACTIVATIONS[name].module) is module
        assert module.__module__ == "relujax.nnx"


def complete(row):
    """A module with the arguments that it cannot do without."""
    return MODULES[row.name](**{name: row.example[name] for name in row.needs})


@pytest.mark.parametrize("row", PLAIN, ids=lambda row: row.name)
def test_a_module_is_its_function_and_learns_what_the_registry_says(row):
    given = {name: row.example[name] for name in row.needs} | dict(row.learnt)
    module = complete(row)
    np.testing.assert_allclose(module(X), row.fun(X, **given), rtol=1e-6)
    state = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    assert {name: value.tolist() for name, value in state.items()} == {
        name: pytest.approx([value]) for name, value in row.learnt.items()
    }
    if row.learnt and row.forward_mode:
        grads = nnx.to_pure_dict(nnx.grad(lambda module: jnp.sum(module(X) ** 2))(module))
        want = jax.grad(lambda given: jnp.sum(row.fun(X, **given) ** 2))(given)
        for name, grad in grads.items():
            np.testing.assert_allclose(grad, [want[name]], rtol=1e-4, err_msg=name)


def test_an_unknown_module_lists_the_known_ones():
    for modules in (rx.nnx, rx.linen):
        with pytest.raises(AttributeError, match=r"no attribute 'RELU': expected one of ReLU, .*"):
            modules.RELU  # noqa: B018


def test_prelu_s_gradient_is_the_sum_of_what_is_negative():
    module = rx.nnx.PReLU()
    weights = np.random.default_rng(1).standard_normal(X.shape).astype(np.float32)
    grad = nnx.grad(lambda module: jnp.sum(module(X) * weights))(module)
    np.testing.assert_allclose(grad.slope[...], [np.sum(np.minimum(X, 0) * weights)], rtol=1e-5)


def test_prelu_per_channel_has_a_slope_and_a_gradient_for_each():
    module = rx.nnx.PReLU(channels=4)
    module.slope[...] = jnp.array([0.1, 0.2, 0.3, 0.4], "float32")
    np.testing.assert_allclose(module(X), np.where(X >= 0, X, X * np.float32([0.1, 0.2, 0.3, 0.4])), rtol=1e-6)
    grad = nnx.grad(lambda module: module(X).sum())(module)
    np.testing.assert_allclose(grad.slope[...], np.minimum(X, 0).sum(axis=0), rtol=1e-5)


def test_prelu_s_slope_learns_the_slope_of_the_data():
    module, target = rx.nnx.PReLU(), np.where(X >= 0, X, 0.6 * X)

    @nnx.jit
    def step(module):
        grad = nnx.grad(lambda module: jnp.mean((module(X) - target) ** 2))(module)
        module.slope[...] -= 0.5 * grad.slope[...]

    for _ in range(60):
        step(module)
    np.testing.assert_allclose(module.slope[...], [0.6], atol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_prelu_s_slope_has_the_dtype_asked_for(dtype):
    assert rx.nnx.PReLU(param_dtype=dtype).slope[...].dtype == dtype


@pytest.mark.parametrize("channels", [0, -3])
def test_prelu_refuses_no_channels(channels):
    with pytest.raises(ValueError, match=rf"got channels={channels}: expected 1 \(shared\) or the length"):
        rx.nnx.PReLU(channels=channels)


def test_modules_keep_what_their_functions_keep():
    x = jax.ShapeDtypeStruct((64, 128), jnp.float32)
    bits, output = 64 * 128 // 8, 64 * 128 * 4
    assert rx.residual_bytes(rx.nnx.ReLU(), x) == bits
    assert rx.residual_bytes(rx.nnx.Tanh(), x) == output
    assert rx.residual_bytes(rx.nnx.ELU(), x) == rx.residual_bytes(rx.elu, x)


@pytest.mark.parametrize(("alpha", "kept"), [(1.0, "output"), (0.5, "input")])
def test_an_elu_with_the_default_keeps_its_output(alpha, kept):
    module = rx.nnx.ELU(alpha)
    leaves = [leaf for leaf in jax.tree.leaves(jax.vjp(module, X)[1]) if leaf.shape == X.shape]
    [residual] = leaves
    np.testing.assert_array_equal(residual, module(X) if kept == "output" else X)


def test_the_probe_finds_modules_by_their_activation():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in PLAIN])
            self.activations = nnx.List([complete(row) for row in PLAIN])

        def __call__(self, x):
            for layer, activation in zip(self.layers, self.activations, strict=True):
                x = activation(layer(x))
            return x

    graphdef, params = nnx.split(Net(nnx.Rngs(0)))
    found = rx.sites(lambda params, x: nnx.merge(graphdef, params)(x), params, X)
    assert [site.kind for site in found] == [row.name for row in PLAIN]
    assert [site.name for site in found] == [f"layers/{i}/{name}" for i, name in enumerate(row.name for row in PLAIN)]
