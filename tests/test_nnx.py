"""Flax NNX modules: each is its function, and a learnt slope learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import relujax as rx
from relujax.nnx import MODULES

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
PLAIN = [row for row in rx.ACTIVATIONS.values() if row.elementwise and row.module]
#: Made by hand, with state or more than one number of a name.
OWN = {"apl", "batch_top_k"}
GENERATED = [row for row in rx.ACTIVATIONS.values() if row.module and row.name not in OWN]
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
    two_arrays = {"bilinear", "reglu", "geglu", "swiglu", "clamped_swiglu", "drelu"}
    assert MODULES.keys() == rx.ACTIVATIONS.keys() - two_arrays
    for name, module in MODULES.items():
        assert getattr(rx.nnx, rx.ACTIVATIONS[name].module) is module
        assert module.__module__ == "relujax.nnx"


def complete(row):
    """A module with the arguments that it cannot do without; those that draw are set to draw nothing."""
    given = {name: row.example[name] for name in row.needs if name != "key"}
    return MODULES[row.name](**given, **({"deterministic": True} if row.draws else {}))


@pytest.mark.parametrize("row", GENERATED, ids=lambda row: row.name)
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


def test_modules_of_whole_arrays_take_their_static_arguments():
    x = X[:, :4]
    np.testing.assert_array_equal(rx.nnx.TopK(2, axis=0)(x), rx.top_k(x, 2, axis=0))
    np.testing.assert_array_equal(rx.nnx.Maxout(pieces=4)(x), rx.maxout(x, 4))
    np.testing.assert_array_equal(rx.nnx.CReLU(axis=0)(x), rx.crelu(x, axis=0))
    np.testing.assert_array_equal(rx.nnx.GLU(axis=0)(x), rx.glu(x, axis=0))
    np.testing.assert_array_equal(rx.nnx.SUGAR("nelu")(x), rx.relu(x))


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


DRAWING = [row for row in GENERATED if row.draws]


@pytest.mark.parametrize("row", DRAWING, ids=lambda row: row.name)
def test_a_module_that_draws_draws_anew_each_time_and_not_in_evaluation(row):
    module = MODULES[row.name](rngs=nnx.Rngs(activation=3))
    first, second = module(X), module(X)
    assert (first != second).any()
    again = MODULES[row.name](rngs=nnx.Rngs(activation=3))
    np.testing.assert_array_equal(first, again(X))
    module.eval()
    np.testing.assert_allclose(module(X), row.fun(X, None), rtol=1e-6)
    module.train()
    assert (module(X) != module(X)).any()


@pytest.mark.parametrize("row", DRAWING, ids=lambda row: row.name)
def test_a_module_that_draws_says_what_it_needs(row):
    with pytest.raises(ValueError, match=rf"{row.module} has nothing to draw from: expected rngs=nnx.Rngs"):
        MODULES[row.name]()(X)


def test_modules_that_draw_work_under_nnx_jit_and_grad():
    module = rx.nnx.ProbAct(channels=4, rngs=nnx.Rngs(0))

    @nnx.jit
    def step(module):
        return nnx.grad(lambda module: jnp.sum(module(X) ** 2))(module)

    one, two = (nnx.to_pure_dict(step(module))["sigma"] for _ in range(2))
    assert one.shape == (4,)
    assert (one != two).all()


def test_apl_starts_near_relu_and_learns_slopes_and_hinges():
    module = rx.nnx.APL(3, channels=4, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(module(X), np.maximum(X, 0), atol=0.2)
    np.testing.assert_allclose(module.hinges[...][:, 0], [-0.5, 0, 0.5], atol=1e-6)
    target = np.abs(X)

    @nnx.jit
    def step(module):
        loss, grad = nnx.value_and_grad(lambda module: jnp.mean((module(X) - target) ** 2))(module)
        module.slopes[...] -= 0.5 * grad["slopes"][...]
        return loss

    losses = [step(module) for _ in range(300)]
    assert losses[-1] < 0.1 * losses[0]
    assert rx.nnx.APL(2, rngs=nnx.Rngs(0)).slopes[...].shape == (2,)
    with pytest.raises(ValueError, match="got hinges=0: expected at least 1"):
        rx.nnx.APL(0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="got channels=0: expected the length of the last axis, or None"):
        rx.nnx.APL(2, channels=0, rngs=nnx.Rngs(0))


def test_batch_top_k_learns_a_threshold_that_takes_its_place():
    rng = np.random.default_rng(0)
    module = rx.nnx.BatchTopK(4, momentum=0.9)
    step = nnx.jit(lambda module, x: module(x))
    for _ in range(60):
        x = np.abs(rng.normal(size=(64, 32))).astype(np.float32)
        np.testing.assert_array_equal(step(module, x), rx.batch_top_k(x, 4))
    # The threshold passes 4 of 32 of a half-normal law: its quantile at 7/8.
    assert module.threshold[...].item() == pytest.approx(1.534, abs=0.03)
    module.eval()
    x = np.abs(rng.normal(size=(2000, 32))).astype(np.float32)
    alone = module(x[:1])
    np.testing.assert_array_equal(alone, module(x)[:1])  # whatever the batch
    assert (np.asarray(module(x)) > 0).sum(1).mean() == pytest.approx(4, abs=0.4)


def test_the_first_batch_sets_the_threshold_of_batch_top_k():
    module = rx.nnx.BatchTopK(1, momentum=0.99)
    module(jnp.array([[3.0, 2.0], [1.0, 0.0]]))
    assert module.threshold[...].item() == 2


def test_a_batch_without_a_positive_entry_sets_no_threshold():
    module = rx.nnx.BatchTopK(1)
    module(jnp.zeros((2, 2)))
    module(jnp.array([[3.0, 2.0], [1.0, 0.0]]))
    assert module.threshold[...].item() == 2
    for wrong in ({"k": 0}, {"k": 1, "momentum": 1.5}):
        with pytest.raises(ValueError, match="expected k of at least 1, momentum in"):
            rx.nnx.BatchTopK(**wrong)


def test_a_hyperparameter_may_be_an_array():
    slopes = jnp.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(rx.nnx.LeakyReLU(slopes)(X), rx.leaky_relu(X, slopes))
