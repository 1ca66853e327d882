"""Statistics in training loops: of NNX with its optimizer, of optax, and of a plain function."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import relujax as rx

RNG = np.random.default_rng(3)
X = RNG.standard_normal((12, 4)).astype(np.float32)
Y = RNG.standard_normal((12, 2)).astype(np.float32)
PARAMS = {
    "hidden": RNG.standard_normal((4, 8)).astype(np.float32),
    "out": RNG.standard_normal((8, 2)).astype(np.float32),
}
close = functools.partial(chex.assert_trees_all_close, rtol=1e-5, atol=1e-6)


class Model(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.hidden, self.out = nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 2, rngs=rngs)
        self.norm, self.dropout = nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.dropout(nnx.relu(self.norm(self.hidden(x)))))


def nnx_loss(model, x, y):
    return jnp.mean((model(x) - y) ** 2)


def nnx_loss_and_output(model, x, y):
    out = model(x)
    return jnp.mean((out - y) ** 2), out


def loss(params, x, y):
    return jnp.mean((jax.nn.relu(x @ params["hidden"]) @ params["out"] - y) ** 2)


def trained(gradients, steps=3):
    """An NNX model and its optimizer after some steps, and all that the steps returned."""
    model = Model()
    optimizer = nnx.Optimizer(model, optax.sgd(0.05, momentum=0.9), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer, number):
        value, grads, *stats = gradients(model, number)
        optimizer.update(model, grads)
        return value, *stats

    return [step(model, optimizer, jnp.int32(i)) for i in range(steps)], nnx.state(
        model, (nnx.Param, nnx.BatchStat, nnx.RngCount)
    )


def flat(found):
    (value, grads), *rest = found
    return value, grads, *rest


@pytest.mark.parametrize("fun", [nnx_loss, nnx_loss_and_output])
@pytest.mark.parametrize("every", [None, 2])
def test_nnx_trains_as_with_its_own_gradients(fun, every):
    aux = fun is nnx_loss_and_output
    own = nnx.value_and_grad(fun, has_aux=aux)
    if every is None:
        ours = rx.nnx.probe_grad(fun, has_aux=aux)
        got, state = trained(lambda model, _: flat(ours(model, X, Y)))
    else:
        ours = rx.nnx.watch(fun, has_aux=aux, every=every)
        got, state = trained(lambda model, step: flat(ours(step, model, X, Y)))
    want, wanted_state = trained(lambda model, _: own(model, X, Y))
    # Weights, running statistics of BatchNorm and the counts of Dropout's random numbers.
    close(nnx.to_pure_dict(state), nnx.to_pure_dict(wanted_state))
    close([value for value, _ in got], [value for (value,) in want])
    measured = [rx.summarize(stats).scalars().get("hidden/relu/active_fraction") for _, stats in got]
    assert [value is not None for value in measured] == ([True] * 3 if every is None else [True, False, True])
    assert all(0.2 < value < 0.8 for value in measured if value is not None)


def test_what_is_not_trained_gets_no_gradient():
    class OnlyOut(nnx.Param):
        pass

    model = Model()
    model.out.kernel = OnlyOut(model.out.kernel[...])
    (_, grads), stats = nnx.jit(rx.nnx.probe_grad(nnx_loss, wrt=OnlyOut))(model, X, Y)
    assert list(nnx.to_pure_dict(grads)) == ["out"]
    assert [site.kind for site in rx.summarize(stats)] == ["relu"]


class Noisy(nnx.Module):
    """Counts its calls, and takes its noise from where it is given."""

    def __init__(self):
        self.linear, self.calls = nnx.Linear(X.shape[1], 3, rngs=nnx.Rngs(0)), nnx.Variable(jnp.zeros((), "int32"))

    def __call__(self, x, rngs):
        self.calls[...] += 1
        return nnx.relu(self.linear(x)) * nnx.Dropout(0.5)(jnp.ones((len(x), 3), "float32"), rngs=rngs)


@pytest.mark.parametrize("measure", [rx.nnx.probe_grad, lambda loss: functools.partial(rx.nnx.watch(loss, every=2), 0)])
def test_what_modules_and_rngs_beside_the_model_write_is_written(measure):
    def loss(model, x, others):
        others["teacher"](x, others["rngs"])
        return (model(x, others["rngs"]) ** 2).mean() * others["weight"]

    def run(call):
        model, others = Noisy(), {"rngs": nnx.Rngs(7), "teacher": Noisy(), "weight": jnp.float32(2)}
        out = call(model, X, others)
        state = nnx.to_pure_dict(nnx.state((model, others["teacher"])))
        return out, others["rngs"].default.count[...], state

    (want, grads), count, state = run(nnx.value_and_grad(loss))
    ((value, found), stats), found_count, found_state = run(measure(loss))
    chex.assert_trees_all_close((value, nnx.to_pure_dict(found)), (want, nnx.to_pure_dict(grads)), rtol=1e-6)
    chex.assert_trees_all_close((found_count, found_state), (count, state))
    assert int(count) == 2
    assert list(stats) == ["relu", "linear/relu"]


def test_an_object_that_is_also_a_part_of_the_model_is_written_once():
    model = Model()
    model.rngs = nnx.Rngs(3)

    def draw(rngs):
        return 0 * jax.random.normal(rngs.noise(), (), "float32")

    def loss(model, rngs, x, y):
        return nnx_loss(model, x, y) + draw(rngs) + draw(model.rngs)

    rx.nnx.probe_grad(loss)(model, model.rngs, X, Y)
    assert int(model.rngs.default.count[...]) == 2


def test_a_plain_loop_with_optax_compiles_once():
    optimizer, traces = optax.sgd(0.05, momentum=0.9), []

    @jax.jit
    def step(params, state, number):
        traces.append(number)
        (value, grads), stats = rx.watch(loss, every=4)(number, params, X, Y)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value, stats

    params, state, values = PARAMS, optimizer.init(PARAMS), []
    for i in range(9):
        want = jax.jit(jax.value_and_grad(loss))(params, X, Y)[0]
        params, state, value, stats = step(params, state, i)
        close(value, want)
        values.append(value.item())
        assert int(stats["hidden/relu"].examples) == (0 if i % 4 else 12)
    assert values[-1] < values[0]
    assert len(traces) == 1


def test_at_its_steps_it_measures_what_probe_grad_measures():
    options = {"gains": True, "edges": np.linspace(-1, 1, 5)}
    got = jax.jit(rx.watch(loss, every=3, **options))(6, PARAMS, X, Y)
    close(got, jax.jit(rx.probe_grad(loss, **options))(PARAMS, X, Y))


def test_between_them_it_measures_nothing_and_merges_as_nothing():
    watched = jax.jit(rx.watch(loss, every=3))
    (first, at), (second, between) = (watched(i, PARAMS, X, Y) for i in (3, 4))
    close(first, second)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(between))
    assert rx.summarize(between).scalars() == {}
    found = rx.alarms(rx.summarize(between))
    assert found == ()
    assert {rule.reason for rule in found.skipped} >= {"no activation was measured"}
    assert rx.summarize(rx.merge(at, between)) == rx.summarize(rx.merge(between, at)) == rx.summarize(at)


def test_steps_in_a_scan():
    def step(params, number):
        (value, grads), stats = rx.watch(loss, every=2)(number, params, X, Y)
        return jax.tree.map(lambda p, g: p - np.float32(0.01) * g, params, grads), (value, stats)

    _, (values, stats) = jax.jit(lambda params: jax.lax.scan(step, params, jnp.arange(4)))(PARAMS)
    assert values[-1] < values[0]
    np.testing.assert_array_equal(stats["hidden/relu"].examples, [12, 0, 12, 0])


def test_head_and_several_arguments():
    def model(params, x):
        return jax.nn.relu(x @ params["hidden"]) @ params["out"]

    def head(out):
        return jnp.mean(jax.nn.relu(out))

    watched = jax.jit(rx.watch(model, argnums=(0, 1), every=2, head=head))
    for number in (0, 1):
        got, stats = watched(number, PARAMS, X)
        close(got, jax.jit(jax.value_and_grad(lambda *args: head(model(*args)), argnums=(0, 1)))(PARAMS, X))
        assert list(stats) == ["hidden/relu"]


@pytest.mark.parametrize("every", [0, -3])
def test_no_number_of_steps(every):
    with pytest.raises(ValueError, match=f"got every={every}: expected a number of steps"):
        rx.watch(loss, every=every)
    with pytest.raises(ValueError, match=f"got every={every}: expected a number of steps"):
        rx.nnx.watch(nnx_loss, every=every)(0, Model(), X, Y)


def test_scalars_by_hand():
    def fun(w, x):
        return jax.nn.relu(x @ w["a"]).sum()

    w, x = np.float32([[1, -1, 1]]), np.float32([[1], [2], [-1], [3]])
    _, stats = jax.jit(rx.probe_grad(fun, gains=True))({"a": w}, x)
    found = rx.summarize(stats).scalars()
    # Outputs: 1 0 1, 2 0 2, 0 1 0, 3 0 3; the signal is 1 everywhere.
    assert found["a/relu/active_fraction"] == pytest.approx(7 / 12)
    assert found["a/relu/mean"] == pytest.approx(13 / 12)
    assert found["a/relu/dead_fraction"] == 0
    assert found["a/relu/largest"] == 3
    assert found["a/relu/signal_norm"] == pytest.approx(np.sqrt(3))
    assert found["a/relu/activation_gain"] == pytest.approx(np.sqrt(7 / 12))
    assert {type(value) for value in found.values()} == {float}
    assert "a/relu/weight_gain" not in found  # there is no site before


@pytest.mark.parametrize("watch", [rx.watch, rx.nnx.watch])
def test_every_must_be_a_whole_number(watch):
    with pytest.raises(TypeError):
        watch(lambda model, x: x.sum(), every=2.5)
    with pytest.raises(ValueError, match=r"got every=0: expected"):
        watch(lambda model, x: x.sum(), every=0)
