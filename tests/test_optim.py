"""Units that went dormant are drawn anew: which, when, and that nothing else changes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import relujax as rx
from relujax.optim import recycle_dormant

RNG = np.random.default_rng(0)
X = RNG.standard_normal((32, 3)).astype(np.float32)
Y = (X[:, :1] - X[:, 1:2]).astype(np.float32)
KEY = jax.random.key(1)
OUTGOING = {"hidden/relu": "out/kernel"}
DEAD = np.array([False, True, False, False, True, False, False, False])


@pytest.fixture(autouse=True)
def promotion():
    with jax.numpy_dtype_promotion("standard"):  # optax mixes dtypes itself
        yield


def params(dead=DEAD):
    rng = np.random.default_rng(3)
    return {
        "hidden": {
            "kernel": jnp.asarray(rng.standard_normal((3, 8)).astype(np.float32)),
            "bias": jnp.asarray(np.where(dead, -100, 0.5).astype(np.float32)),
        },
        "out": {"kernel": jnp.asarray(rng.standard_normal((8, 1)).astype(np.float32)), "bias": jnp.zeros(1)},
    }


def apply(params, x):
    h = rx.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"][None])
    return h @ params["out"]["kernel"] + params["out"]["bias"][None]


def loss(params, x, y):
    return jnp.mean((apply(params, x) - y) ** 2)


def trained(optimizer, start, steps):
    @jax.jit
    def step(params, state):
        (value, grads), stats = rx.probe_grad(loss)(params, X, Y)
        updates, state = optimizer.update(grads, state, params, stats=stats)
        return optax.apply_updates(params, updates), state, value

    state, values = optimizer.init(start), []
    for _ in range(steps):
        start, state, value = step(start, state)
        values.append(float(value))
    return start, state, values


def assert_close(found, want):
    """To rounding, since the two steps are compiled apart; and exact where something is 0."""
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_what_is_dormant_is_replaced_and_the_rest_is_updated_as_ever():
    recycled, state, _ = trained(recycle_dormant(optax.adam(1e-2), OUTGOING, key=KEY, every=3), params(), 4)
    plain, plain_state, _ = trained(optax.with_extra_args_support(optax.adam(1e-2)), params(), 4)
    assert state.recycled == DEAD.sum()
    new, old = recycled["hidden"]["kernel"], plain["hidden"]["kernel"]
    assert_close(new[:, ~DEAD], old[:, ~DEAD])
    assert not np.any(np.asarray(new[:, DEAD]) == np.asarray(old[:, DEAD]))
    assert_close(recycled["hidden"]["bias"], np.where(DEAD, 0, plain["hidden"]["bias"]))
    kernel = np.where(DEAD[:, None], 0, plain["out"]["kernel"])
    assert_close(recycled["out"]["kernel"], kernel)
    assert_close(recycled["out"]["bias"], plain["out"]["bias"])
    for moments, before in ((state.inner[0].mu, plain_state[0].mu), (state.inner[0].nu, plain_state[0].nu)):
        assert_close(moments["out"]["kernel"], np.where(DEAD[:, None], 0, before["out"]["kernel"]))
        assert_close(moments["hidden"]["bias"], np.where(DEAD, 0, before["hidden"]["bias"]))


def test_the_function_stays_as_it_was():
    recycled, state, _ = trained(recycle_dormant(optax.sgd(0.0), OUTGOING, key=KEY, every=1), params(), 2)
    assert state.recycled == 2
    np.testing.assert_array_equal(apply(recycled, X), apply(params(), X))


def test_it_looks_at_every_so_many_updates_and_not_at_the_first():
    for steps, looks in ((1, 0), (5, 0), (6, 1), (10, 1), (11, 2)):
        # A share of 1 takes the units below the mean of their layer, of which there are always some.
        optimizer = recycle_dormant(optax.sgd(0.0), OUTGOING, key=KEY, every=5, share=1.0)
        state = trained(optimizer, params(), steps)[1]
        assert (int(state.count), int(state.recycled) > 0) == (steps, looks > 0)


def test_a_network_whose_units_are_all_dead_learns_again():
    dead = np.ones(8, bool)
    _, state, values = trained(
        recycle_dormant(optax.adam(3e-2), OUTGOING, key=KEY, every=20, share=0.1), params(dead), 300
    )
    _, _, without = trained(optax.with_extra_args_support(optax.adam(3e-2)), params(dead), 300)
    assert state.recycled >= 8
    assert without[-1] == pytest.approx(np.var(Y), rel=1e-3)  # a constant is all that it can give
    assert values[-1] < 0.05 * without[-1]


def test_nnx_optimizers_hand_the_statistics_on():
    class Net(nnx.Module):
        def __init__(self):
            self.hidden, self.out = nnx.Linear(3, 8, rngs=nnx.Rngs(0)), nnx.Linear(8, 1, rngs=nnx.Rngs(1))
            self.hidden.bias[...] = jnp.where(DEAD, -100.0, 0.5)

        def __call__(self, x):
            return self.out(rx.relu(self.hidden(x)))

    with jax.numpy_rank_promotion("allow"):
        model = Net()
        tx = recycle_dormant(optax.sgd(0.0), OUTGOING, key=KEY, every=1)
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
        for _ in range(2):
            (_, grads), stats = rx.nnx.probe_grad(lambda model, x, y: jnp.mean((model(x) - y) ** 2))(model, X, Y)
            optimizer.update(model, grads, stats=stats)
    np.testing.assert_array_equal(model.hidden.bias[...], np.where(DEAD, 0, 0.5).astype(np.float32))
    assert optimizer.opt_state.recycled[...] == 2


def updated(outgoing, with_params=True, with_stats=True, fun=loss, start=None):
    start = params() if start is None else start
    optimizer = recycle_dormant(optax.sgd(0.1), outgoing, key=KEY)
    (_, grads), stats = rx.probe_grad(fun)(start, X, Y)
    return optimizer.update(
        grads, optimizer.init(start), start if with_params else None, stats=stats if with_stats else None
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"outgoing": {"hiden/relu": "out/kernel"}}, r"got 'hiden/relu', which is no site .* such as hidden/relu"),
        ({"outgoing": {"hidden/relu": "out/kernal"}}, r"got 'out/kernal', which is no parameter: .* out/kernel"),
        ({"outgoing": {"hidden/relu": "out/bias"}}, r"'out/bias' of shape \(1,\) behind 'hidden/relu': .* 8 units"),
        ({"outgoing": {"hidden/relu": "hidden/kernel"}}, r"'hidden/kernel' of shape \(3, 8\) .* last axis but one"),
        ({"outgoing": OUTGOING, "with_params": False}, r"got an update without params: .*stats=stats"),
        ({"outgoing": OUTGOING, "with_stats": False}, r"got an update without stats: .*rx.probe_grad"),
        ({"outgoing": {}}, r"got no layers: expected at least one"),
    ],
    ids=["site", "parameter", "bias", "axis", "no params", "no stats", "no layers"],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        updated(**arguments)


def test_layers_of_a_scan_are_refused():
    def scanned(params, x, y):
        h, _ = jax.lax.scan(lambda h, w: (rx.relu(h @ w), None), x, params["stack"])
        return jnp.mean((h @ params["out"] - y) ** 2)

    with pytest.raises(ValueError, match=r"got 'stack/relu', which is in a scan"):
        updated(
            {"stack/relu": "out"}, fun=scanned, start={"stack": jnp.ones((2, 3, 3), "float32"), "out": jnp.ones((3, 1))}
        )


@pytest.mark.parametrize(("name", "value"), [("every", 0), ("every", 2.5), ("share", -1), ("share", float("nan"))])
def test_bad_numbers(name, value):
    with pytest.raises((ValueError, TypeError), match=f"got {name}={value}"):
        recycle_dormant(optax.sgd(0.1), OUTGOING, key=KEY, **{name: value})
