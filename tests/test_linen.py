"""Linen twins: the same values, gradients and variables as the NNX modules they are made from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import relujax as rx

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
KEY = jax.random.key(0)
CALLS = [
    "ReLU()",
    "LeakyReLU()",
    "LeakyReLU(0.3)",
    "LeakyReLU(negative_slope=0.3)",
    "PReLU()",
    "PReLU(channels=4, slope=0.5)",
    "ELU()",
    "ELU(alpha=0.5)",
    "GELU(approximate=False)",
    "SReLU(channels=4)",
    "Tanh()",
    "JumpReLU(threshold=0.5)",
    "RReLU(deterministic=True)",
    "ProbAct(deterministic=True, channels=4)",
    "TopK(2)",
    "CReLU()",
]


@pytest.mark.parametrize("call", CALLS)
def test_a_twin_has_the_values_and_the_variables_of_its_module(call):
    twin, module = eval(f"rx.linen.{call}"), eval(f"rx.nnx.{call}")
    variables = twin.init(KEY, X)
    np.testing.assert_allclose(twin.apply(variables, X), module(X), rtol=1e-6)
    np.testing.assert_allclose(
        jax.grad(lambda x: twin.apply(variables, x).sum())(X), jax.grad(lambda x: module(x).sum())(X), rtol=1e-6
    )
    shapes = jax.tree.map(jnp.shape, dict(variables.get("params", {})))
    assert shapes == {name: getattr(module, name)[...].shape for name in module.row.learnt}


def test_every_module_has_a_twin():
    for module in rx.nnx.MODULES.values():
        assert getattr(rx.linen, module.__name__).args == (module,)


def test_prelu_s_gradient_is_the_sum_of_what_is_negative():
    twin = rx.linen.PReLU(channels=4)
    variables = twin.init(KEY, X)
    grad = jax.grad(lambda variables: twin.apply(variables, X).sum())(variables)
    np.testing.assert_allclose(grad["params"]["slope"], np.minimum(X, 0).sum(axis=0), rtol=1e-5)


class Net(nn.Module):
    """Compact, with two slopes of its own."""

    @nn.compact
    def __call__(self, x):
        x = rx.linen.PReLU()(nn.Dense(5)(x))
        return rx.linen.PReLU(channels=3)(nn.Dense(3)(x))


def test_twins_stand_inside_a_linen_module():
    variables = Net().init(KEY, X)
    slopes = [leaf for path, leaf in jax.tree.leaves_with_path(variables) if "slope" in jax.tree_util.keystr(path)]
    assert [slope.shape for slope in slopes] == [(1,), (3,)]
    found = rx.sites(lambda variables, x: Net().apply(variables, x), variables, X)
    assert [(site.name, site.kind) for site in found] == [("Dense_0/prelu", "prelu"), ("Dense_1/prelu", "prelu")]


def test_a_twin_needs_no_random_key_to_run():
    twin = rx.linen.PReLU()
    variables = twin.init(KEY, X)
    assert twin.apply(variables, X, rngs=None).shape == X.shape


@pytest.mark.parametrize("name", ["RReLU", "NoisyReLU", "ProbAct"])
def test_a_twin_that_draws_takes_its_keys_from_apply(name):
    twin = getattr(rx.linen, name)()
    variables = twin.init({"params": KEY, "activation": KEY}, X)
    one, two, again = (twin.apply(variables, X, rngs={"activation": jax.random.key(i)}) for i in (1, 2, 1))
    assert (one != two).any()
    np.testing.assert_array_equal(one, again)


def test_the_twin_of_batch_top_k_has_its_threshold_in_batch_stats():
    twin = rx.linen.BatchTopK(2)
    variables = twin.init(KEY, X)
    y, changed = twin.apply(variables, X, mutable=["batch_stats"])
    np.testing.assert_array_equal(y, rx.batch_top_k(X, 2))
    smallest = np.min(np.asarray(y)[np.asarray(y) != 0])
    assert changed["batch_stats"]["threshold"] == pytest.approx(smallest)


def test_the_twin_of_apl_draws_its_slopes_at_init():
    variables = rx.linen.APL(3, channels=4).init(KEY, X)
    assert jax.tree.map(jnp.shape, dict(variables["params"])) == {"slopes": (3, 4), "hinges": (3, 4)}
