"""The verb: the same numbers for every form of a model and of its data, and the numbers are those of plain JAX."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn, nnx
from small_models import PARAMS, LinenNet, NnxNet, X, Y, apply, closed, dense, forms, mean_loss, normal

import relujax as rx
from relujax.report import _diagnose, _spectra

EXACT = ("kind", "units", "examples", "active_fraction", "dead", "dead_bound", "nonfinite", "active_histogram")
CLOSE = ("mean", "std", "largest", "signal_norm", "signal_zero_fraction", "rank", "singular_values")


@pytest.fixture(scope="module")
def reference():
    return rx.diagnose(apply, (X, Y), params=PARAMS, loss="cross_entropy")


def assert_same(found, want, also=("weight_gradient_norm",)):
    """Counts are identical; sums differ by the order of addition."""
    assert len(found.summary) == len(want.summary) == 2
    assert found.examples == want.examples
    assert found.accuracy == want.accuracy
    assert found.loss == pytest.approx(want.loss, rel=1e-6)
    for row, expected in zip(found.summary, want.summary, strict=True):
        for name in EXACT:
            assert getattr(row, name) == getattr(expected, name), name
        for name in (*CLOSE, *also):
            if getattr(expected, name) is None:
                assert getattr(row, name) is None, name
                continue
            np.testing.assert_allclose(getattr(row, name), getattr(expected, name), rtol=2e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("form", ["nnx", "linen"])
def test_flax_models_give_the_numbers_of_the_function(form, reference):
    found = rx.diagnose(**forms()[form], batches=(X, Y), loss="cross_entropy")
    assert_same(found, reference)
    assert [row.name for row in found.summary] == ["first/relu", "second/relu"]
    assert found.notes == ()


def test_a_function_that_shows_no_parameters_gives_all_but_their_gradients(reference):
    found = rx.diagnose(closed, (X, Y), loss="cross_entropy")
    assert_same(found, reference, also=())
    assert [row.weight_gradient_norm for row in found.summary] == [None, None]
    assert [row.name for row in found.summary] == ["relu", "relu_1"]


def pairs(*sizes):
    stops = np.cumsum(sizes)
    return [(X[stop - size : stop], Y[stop - size : stop]) for size, stop in zip(sizes, stops, strict=True)]


DATA = {
    "arrays on the device": lambda: {"batches": (jnp.asarray(X), jnp.asarray(Y))},
    "batches of 16": lambda: {"batches": (X, Y), "batch_size": 16},
    "a dict": lambda: {"batches": {"x": X, "y": Y}},
    "a list of pairs": lambda: {"batches": pairs(16, 16, 5)},
    "a generator of pairs of other sizes": lambda: {"batches": (pair for pair in pairs(16, 5, 16))},
    "a generator of dicts": lambda: {"batches": ({"image": x, "label": y} for x, y in pairs(16, 5, 16))},
    "a list of lists": lambda: {"batches": [list(pair) for pair in pairs(16, 5, 16)]},
    "an iterator": lambda: {"batches": iter(pairs(16, 16, 5))},
}


@pytest.mark.parametrize("data", DATA)
def test_the_form_of_the_data_changes_nothing(data, reference):
    found = rx.diagnose(apply, params=PARAMS, loss="cross_entropy", **DATA[data]())
    assert_same(found, reference)


def test_weight_gradients_are_those_of_the_mean_loss_over_all_data(reference):
    grads = jax.jit(jax.grad(mean_loss))(PARAMS)
    for row, name in zip(reference.summary, ("first", "second"), strict=True):
        want = math.hypot(*(np.linalg.norm(grads[name][leaf]) for leaf in ("kernel", "bias")))
        assert row.weight_gradient_norm == pytest.approx(want, rel=1e-5)
        entries = np.concatenate([np.ravel(grads[name][leaf]) for leaf in ("kernel", "bias")])
        assert row.weight_gradient_mean == pytest.approx(np.abs(entries).mean(), rel=1e-5)


def perturbed_loss(zeros, x, y):
    """The loss of one example, with something added to the output of each layer."""
    x = jnp.maximum(dense(PARAMS["first"], x), 0) + zeros[0]
    x = jnp.maximum(dense(PARAMS["second"], x), 0) + zeros[1]
    logits = dense(PARAMS["third"], x)
    return jax.scipy.special.logsumexp(logits) - logits[y]


def test_the_signal_is_each_example_s_own_gradient(reference):
    zeros = [jnp.zeros(6, "float32")] * 2
    per_example = jax.jit(jax.vmap(jax.grad(perturbed_loss), in_axes=(None, 0, 0)))(zeros, X, Y)
    for row, signal in zip(reference.summary, np.float64(per_example), strict=True):
        want = np.sqrt(np.mean(np.sum(signal**2, axis=1)))
        assert row.signal_norm == pytest.approx(want, rel=1e-5)
        assert row.signal_zero_fraction == np.mean(signal == 0)


def pre_activations(x):
    """Of both layers, in float64."""
    first = np.float64(x) @ PARAMS["first"]["kernel"] + PARAMS["first"]["bias"]
    return first, np.maximum(first, 0) @ PARAMS["second"]["kernel"] + PARAMS["second"]["bias"]


def test_forward_numbers_are_those_of_the_layers(reference):
    for row, z in zip(reference.summary, pre_activations(X), strict=True):
        h = np.maximum(z, 0)
        assert row.active_fraction == np.mean(h > 0)
        assert row.dead == np.sum(~(h > 0).any(axis=0))
        assert row.mean == pytest.approx(h.mean(), rel=1e-5)
        assert row.std == pytest.approx(h.std(), rel=1e-5)
        assert row.largest == pytest.approx(h.max(), rel=1e-6)
        assert row.examples == 37
        assert sum(row.active_histogram) == 37


def test_singular_values_are_medians_over_the_first_examples(reference):
    def jacobians(x):
        masks = [np.diag(z > 0) for z in pre_activations(x)]
        first = masks[0] @ PARAMS["first"]["kernel"].T
        return first, masks[1] @ PARAMS["second"]["kernel"].T @ first

    layers = zip(*(jacobians(x) for x in X[:8]), strict=True)
    for row, layer in zip(reference.summary, layers, strict=True):
        values = np.linalg.svd(np.float64(layer), compute_uv=False)
        ranks = [np.linalg.matrix_rank(jacobian, tol=1e-5) for jacobian in layer]
        assert row.rank == np.median(ranks)
        assert len(row.singular_values) == int(row.rank)
        np.testing.assert_allclose(row.singular_values, np.median(values, axis=0)[: int(row.rank)], rtol=1e-4)
        squares = np.square(values, dtype=np.float64)
        kept = [one[:rank] for one, rank in zip(values, ranks, strict=True)]
        want = {
            "effective_rank": squares.sum(1) ** 2 / np.square(squares).sum(1),
            "stable_rank": squares.sum(1) / squares[:, 0],
            "condition_number": [one[0] / one[-1] for one in kept],
            "log_volume": [np.log(one).sum() for one in kept],
        }
        for name, of_examples in want.items():
            np.testing.assert_allclose(getattr(row, name), np.median(of_examples), rtol=1e-4, err_msg=name)


def test_an_example_that_passes_nothing_has_no_condition_number():
    x = np.float32([[1, 2], [-1, -1], [2, 1], [3, 1]])
    row = rx.diagnose(rx.relu, x).summary[0]
    assert (row.rank, row.condition_number, row.log_volume) == (2, 1, 0)
    row = rx.diagnose(rx.relu, -np.abs(x)).summary[0]
    assert (row.rank, row.condition_number, row.log_volume) == (0, None, None)


def test_loss_and_accuracy_are_means_over_all_data(reference):
    assert reference.loss == pytest.approx(float(mean_loss(PARAMS)), rel=1e-6)
    assert reference.accuracy == np.mean(np.argmax(np.asarray(apply(PARAMS, X)), axis=1) == Y)
    assert reference.examples == 37


def test_a_unit_that_is_alive_in_one_batch_only_is_not_dead():
    x = -np.ones((20, 3), np.float32)
    x[17, 0] = 1  # once, in the last batch
    x[:, 2] = 1
    found = rx.diagnose(rx.relu, x, batch_size=4)
    [row] = found.summary
    assert (row.dead, row.units, row.examples) == (1, 3, 20)
    assert row.dead_bound == 3 / 20
    assert "1 of 3 units are dead: no gradient passed on any of 20 examples" in found.alarms[0].message


def test_without_a_loss_nothing_is_measured_backward():
    found = rx.diagnose(apply, X, params=PARAMS)
    for row in found.summary:
        assert (row.signal_norm, row.signal_zero_fraction, row.weight_gradient_norm) == (None, None, None)
        assert row.singular_values
    assert (found.loss, found.accuracy) == (None, None)
    assert found.notes == ("no loss was given: nothing was measured backward",)


def test_targets_do_no_harm_without_a_loss():
    assert rx.diagnose(apply, (X, Y), params=PARAMS).summary == rx.diagnose(apply, X, params=PARAMS).summary


def test_mse():
    targets = (3 * np.sin(np.arange(37 * 3))).reshape(37, 3).astype(np.int32)
    found = rx.diagnose(apply, (X, targets), params=PARAMS, loss="mse", batch_size=16, spectrum_examples=0)

    def mean_squares(params):
        return jnp.mean((apply(params, X) - targets.astype(np.float32)) ** 2)

    grads = jax.jit(jax.grad(mean_squares))(PARAMS)
    assert found.loss == pytest.approx(float(mean_squares(PARAMS)), rel=1e-5)
    assert found.accuracy is None
    want = math.hypot(*(np.linalg.norm(leaf) for leaf in grads["first"].values()))
    assert found.summary[0].weight_gradient_norm == pytest.approx(want, rel=1e-5)


def per_example(outputs, y):
    return jnp.abs(outputs[:, 0] - y.astype(outputs.dtype))


def test_a_loss_of_your_own_is_per_example_or_their_mean():
    found = [
        rx.diagnose(apply, (X, Y), params=PARAMS, loss=loss, batch_size=16, spectrum_examples=0)
        for loss in (per_example, lambda outputs, y: jnp.mean(per_example(outputs, y)))
    ]
    assert found[0].accuracy is None
    assert found[0].loss == pytest.approx(np.mean(np.abs(np.asarray(apply(PARAMS, X))[:, 0] - Y)), rel=1e-5)
    assert_same(found[1], found[0])


def test_a_loss_of_your_own_takes_outputs_of_any_structure():
    def model(params, x):
        return {"logits": apply(params, x), "name": (x,)}

    def loss(outputs, y):
        return per_example(outputs["logits"], y)

    found = rx.diagnose(model, (X, Y), params=PARAMS, loss=loss, batch_size=16, spectrum_examples=0)
    want = rx.diagnose(apply, (X, Y), params=PARAMS, loss=per_example, batch_size=16, spectrum_examples=0)
    assert_same(found, want)


def test_a_model_may_return_one_number():
    """It has no examples axis; forward statistics and singular values are of its sites all the same."""
    found = rx.diagnose(lambda x: rx.relu(x).sum(), X)
    assert found.summary[0].active_fraction == np.mean(X > 0)
    np.testing.assert_allclose(found.summary[0].singular_values, np.ones(int(found.summary[0].rank)), rtol=1e-6)


def test_labels_per_position_count_each_position():
    x = np.random.default_rng(1).standard_normal((7, 4, 5)).astype(np.float32)
    y = np.array(jnp.argmax(apply(PARAMS, x), axis=-1), np.int32)
    y[0, :3] = (y[0, :3] + 1) % 3  # 3 of 28 are wrong
    found = rx.diagnose(apply, (x, y), params=PARAMS, loss="cross_entropy", spectrum_examples=0)
    assert found.accuracy == pytest.approx(25 / 28, rel=1e-6)


class BatchNormNet(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0, dropout=1)
        self.layer, self.norm = nnx.Linear(5, 6, rngs=rngs), nnx.BatchNorm(6, rngs=rngs)
        self.drop, self.out = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(6, 3, rngs=rngs)

    def __call__(self, x):
        return self.out(self.drop(rx.relu(self.norm(self.layer(x)))))


def without_dropout(model):
    return nnx.view(model, raise_if_not_found=False, deterministic=True)


def in_batch_values(model, x, examples=8):
    """Medians of the singular values of d h_i / d x_i, the other examples of the batch held fixed."""

    def hidden(x):
        z = x @ model.layer.kernel[...]
        centred = z - jnp.mean(z, axis=0, keepdims=True)
        return jnp.maximum(centred / jnp.sqrt(jnp.mean(centred**2, axis=0, keepdims=True) + 1e-5), 0)

    full = np.float64(jax.jacrev(hidden)(x))
    return np.median([np.linalg.svd(full[i, :, i], compute_uv=False) for i in range(examples)], axis=0)


def test_batch_norm_in_training_is_differentiated_within_its_batch():
    model = without_dropout(BatchNormNet())
    found = rx.diagnose(model, (X, Y), loss="cross_entropy", predict=False)
    [row] = found.summary
    assert found.notes == (
        "singular values: examples depend on each other (BatchNorm), so each is taken within its batch",
    )
    want = in_batch_values(model, X)[: int(row.rank)]
    assert row.rank >= 2
    np.testing.assert_allclose(row.singular_values, want, rtol=1e-3, atol=1e-5)


def test_batch_norm_in_evaluation_leaves_examples_alone():
    model = nnx.view(BatchNormNet(), deterministic=True, use_running_average=True)
    found = rx.diagnose(model, (X, Y), loss="cross_entropy")
    assert found.notes == ()
    kernel = np.float64(model.layer.kernel[...]) / np.sqrt(1 + 1e-5)
    masks = X[:8] @ kernel > 0
    values = [np.linalg.svd(mask[:, None] * kernel.T, compute_uv=False) for mask in masks]
    row = found.summary[0]
    np.testing.assert_allclose(row.singular_values, np.median(values, axis=0)[: int(row.rank)], rtol=1e-4)


def test_linen_batch_statistics_stay_fixed_and_are_no_parameters():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3)(rx.relu(nn.BatchNorm(use_running_average=True)(nn.Dense(6)(x))))

    variables = Net().init(jax.random.key(0), X)
    found = rx.diagnose((Net(), variables), (X, Y), loss="cross_entropy", spectrum_examples=0)
    assert found.summary[0].weight_gradient_norm > 0


def test_linen_batch_norm_in_training_is_measured_with_the_statistics_of_the_batch():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = rx.relu(nn.BatchNorm(use_running_average=False)(nn.Dense(6, name="hidden")(x)))
            return nn.Dense(3)(h)

    variables = Net().init(jax.random.key(0), X)
    before = jax.tree.map(np.array, variables)
    found = rx.diagnose((Net(), variables), (X, Y), loss="cross_entropy")
    assert any("BatchNorm" in note for note in found.notes)
    z = np.float64(X) @ np.float64(variables["params"]["hidden"]["kernel"])
    assert found.summary[0].active_fraction == np.mean(z > z.mean(axis=0))
    jax.tree.map(np.testing.assert_array_equal, variables, before)


def everything(model):
    """Weights, running statistics, random keys and how often they were used, as NumPy arrays."""
    return [
        np.array(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
        for leaf in jax.tree.leaves(nnx.state(model))
    ]


def test_the_model_stays_as_it_is():
    model = BatchNormNet()
    before = everything(model)
    rx.diagnose(model, (X, Y), loss="cross_entropy", spectrum_examples=0)
    for now, then in zip(everything(model), before, strict=True):
        np.testing.assert_array_equal(now, then)
    model(X)  # calling it does change it: what stayed is not constant
    assert any(np.any(now != then) for now, then in zip(everything(model), before, strict=True))


def test_equal_models_are_compiled_once():
    """Other weights of the same network cost no new compilation, and the cache does not grow with them."""
    rx.diagnose(NnxNet(), (X, Y), loss="cross_entropy")
    sizes = [fun._cache_size() for fun in (_diagnose._forward_backward, _spectra._to_sites)]
    model = NnxNet()
    model.first.kernel[...] *= 2
    found = rx.diagnose(model, (X, Y), loss="cross_entropy")
    assert [fun._cache_size() for fun in (_diagnose._forward_backward, _spectra._to_sites)] == sizes
    # And no stale weights with it.
    h = np.maximum(np.float64(X) @ (2 * PARAMS["first"]["kernel"]) + PARAMS["first"]["bias"], 0)
    assert found.summary[0].largest == pytest.approx(h.max(), rel=1e-6)


def test_a_function_and_its_parameters_may_come_as_a_pair(reference):
    assert_same(rx.diagnose((apply, PARAMS), (X, Y), loss="cross_entropy"), reference)


def test_an_activation_inside_the_loss_is_no_layer():
    def loss(outputs, y):
        return jax.nn.softplus(outputs).mean(axis=1)

    found = rx.diagnose(apply, (X, Y), params=PARAMS, loss=loss, spectrum_examples=0)
    assert [row.name for row in found.summary] == ["first/relu", "second/relu"]


@pytest.mark.parametrize("batch_size", [37, 12, 6])
def test_an_activation_of_parameters_is_no_layer_whatever_the_batch_size(batch_size):
    """Its first axis may well be as long as a batch is."""

    def model(params, x):
        return rx.relu(x @ params["kernel"]) * jnp.broadcast_to(jax.nn.softplus(params["scale"]), (len(x), 12))

    params = {"kernel": np.sin(np.arange(60, dtype=np.float32)).reshape(5, 12), "scale": np.ones(12, np.float32)}
    found = rx.diagnose(model, X, params=params, batch_size=batch_size, spectrum_examples=0)
    assert [row.name for row in found.summary] == ["kernel/relu"]
    assert any("softplus" in note for note in found.notes)


def test_one_number_per_example_is_one_unit():
    found = rx.diagnose(lambda x: rx.leaky_relu(x.sum(axis=1), 0.5), X, batch_size=16)
    [row] = found.summary
    total = X.sum(axis=1)
    assert (row.units, row.examples, row.rank) == (1, 37, 1)
    assert row.active_fraction == np.mean(total > 0)
    # The gradient is the slope in each of five directions.
    np.testing.assert_allclose(row.singular_values, [np.median(np.where(total[:8] > 0, 1, 0.5)) * 5**0.5], rtol=1e-6)


HALVES = pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])


@HALVES
def test_half_precision_is_measured_like_single(dtype, reference):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), PARAMS)
    found = rx.diagnose(apply, (jnp.asarray(X, dtype), Y), params=params, loss="cross_entropy", spectrum_examples=0)
    assert found.loss == pytest.approx(reference.loss, rel=0.02)
    for row, expected in zip(found.summary, reference.summary, strict=True):
        for name in ("mean", "std", "largest", "signal_norm", "weight_gradient_norm"):
            assert getattr(row, name) == pytest.approx(getattr(expected, name), rel=0.05), name
        assert row.nonfinite == 0


@HALVES
def test_rounding_in_half_precision_adds_no_rank(dtype):
    """Every unit of the first layer is the same one, so no layer after it sees more than one direction."""
    kernel = np.linspace(0.3, 1.7, 5)[:, None] * np.ones((1, 6))
    params = {"first": jnp.asarray(kernel, dtype), "second": jnp.asarray(PARAMS["second"]["kernel"], dtype)}
    found = rx.diagnose(
        lambda params, x: rx.relu(rx.relu(x @ params["first"]) @ params["second"]),
        jnp.asarray(np.abs(X), dtype),
        params=params,
    )
    assert [row.rank for row in found.summary] == [1, 1]


def test_a_half_precision_gradient_of_many_examples_does_not_overflow():
    """The sum over the examples has no place in float16, their mean has."""
    x = np.full((300, 4), 30, np.float16)
    params = {"kernel": np.eye(4, dtype=np.float16)}
    found = rx.diagnose(
        lambda params, x: rx.relu(x @ params["kernel"]), (x, -x), params=params, loss="mse", batch_size=300
    )
    # d/dh of the mean over 4 units of (h + 30)^2 is 30 for each; d/dw of that is 30 times 30, in each of 16 entries.
    assert found.summary[0].signal_norm == pytest.approx(60, rel=1e-3)
    assert found.summary[0].weight_gradient_norm == pytest.approx(30 * 30 * 4, rel=1e-3)


def test_a_scan_over_layers_is_a_row_per_layer_with_its_own_weight_gradient():
    def model(params, x):
        x, _ = jax.lax.scan(lambda h, w: (jax.nn.relu(h @ w), None), x, params["stack"])
        return x @ params["out"]

    def loss(params):
        return jnp.mean((model(params, X) - X[:, :2]) ** 2)

    params = {"stack": normal(3, 5, 5), "out": normal(5, 2)}
    found = rx.diagnose(model, (X, X[:, :2]), params=params, loss="mse", batch_size=16, spectrum_examples=0)
    grads = np.asarray(jax.grad(loss)(params)["stack"])
    assert [row.name for row in found.summary] == ["stack/relu[0]", "stack/relu[1]", "stack/relu[2]"]
    for row, grad in zip(found.summary, grads, strict=True):
        assert row.weight_gradient_norm == pytest.approx(np.linalg.norm(grad), rel=1e-4)
        assert row.weight_gradient_mean == pytest.approx(np.abs(grad).mean(), rel=1e-4)
        assert row.examples == 37


def test_an_input_of_integers_has_no_singular_values():
    tokens = np.arange(12, dtype=np.int32) % 5

    def model(params, x):
        return rx.relu(params["table"][x]) @ params["out"]

    params = {"table": np.eye(5, dtype=np.float32) - 0.5, "out": np.ones((5, 3), np.float32)}
    found = rx.diagnose(model, (tokens, tokens % 3), params=params, loss="cross_entropy", predict=False)
    assert found.summary[0].singular_values is None
    assert found.summary[0].active_fraction == 0.2
    assert found.notes == ("no singular values: the input is int32, and only floats have a Jacobian",)


def test_a_jacobian_beyond_the_limit_is_not_built(monkeypatch):
    monkeypatch.setattr(_spectra, "JACOBIAN_LIMIT", 59)
    found = rx.diagnose(apply, X, params=PARAMS)
    assert found.summary[0].singular_values is None
    assert found.notes[1].startswith("no singular values: their Jacobians hold 6e+01 numbers per example, over 6e+01")
    monkeypatch.setattr(_spectra, "JACOBIAN_LIMIT", 60)  # 5 inputs times 12 units
    assert rx.diagnose(apply, X, params=PARAMS).summary[0].singular_values


def test_singular_values_are_taken_over_as_many_examples_as_asked_for():
    found = rx.diagnose(apply, X, params=PARAMS, spectrum_examples=1)
    mask = pre_activations(X[0])[0] > 0
    want = np.linalg.svd(mask[:, None] * PARAMS["first"]["kernel"].T, compute_uv=False)
    np.testing.assert_allclose(found.summary[0].singular_values, want[: mask.sum()], rtol=1e-4)
    none = rx.diagnose(apply, X, params=PARAMS, spectrum_examples=0)
    assert none.summary[0].singular_values is None
    assert none.notes[1] == "singular values were not asked for"


def test_a_function_that_refuses_forward_mode_is_measured_without_singular_values():
    @jax.custom_vjp
    def reverse_only(x):
        return 2 * x

    reverse_only.defvjp(lambda x: (2 * x, None), lambda _, g: (2 * g,))
    found = rx.diagnose(lambda x: rx.relu(reverse_only(x)), (X, X), loss="mse")
    assert found.summary[0].singular_values is None
    assert found.summary[0].signal_norm > 0
    assert any("no singular values: forward mode is refused" in note for note in found.notes)


def test_a_gradient_that_is_not_finite_is_neither_hidden_nor_fatal():
    """The slope of a norm at 0 is NaN; every output is finite."""

    def model(params, x):
        h = rx.tanh(rx.tanh(x @ params["a"]) @ params["b"])
        return jnp.sqrt(h**2)

    params = {"a": np.eye(5, dtype=np.float32), "b": np.zeros((5, 5), np.float32)}
    found = rx.diagnose(model, (X, X), params=params, loss="mse")
    assert not any(math.isfinite(row.signal_norm) for row in found.summary)
    assert any(alarm.severity == "critical" and "gradient" in alarm.message for alarm in found.alarms)
    assert "<html" in found.to_html()


def test_outputs_that_overflow_are_reported_and_drawn():
    params = {"a": np.full((5, 5), 1e30, np.float32), "b": np.full((5, 5), 1e30, np.float32)}

    def model(params, x):
        return rx.relu(rx.relu(x @ params["a"]) @ params["b"])

    found = rx.diagnose(model, (X, X), params=params, loss="mse")
    assert found.alarms[0].rule == "non-finite"
    assert found.alarms[0].site == "b/relu"
    assert "<html" in found.to_html()


@pytest.mark.parametrize("loss", [None, "cross_entropy"])
def test_outputs_are_counted_between_edges_over_all_batches(loss):
    found = rx.diagnose(apply, (X, Y), params=PARAMS, loss=loss, batch_size=8, edges=[0.25, 1.0], spectrum_examples=0)
    first = np.asarray(rx.relu(dense(PARAMS["first"], X)))
    counts = [(first < 0.25).sum(), ((first >= 0.25) & (first < 1)).sum(), (first >= 1).sum()]
    assert found.summary[0].output_histogram == tuple(counts)
    assert found.summary[0].output_edges == (0.25, 1.0)


def test_progress_counts_examples():
    seen = []
    rx.diagnose(rx.relu, X, batch_size=16, progress=seen.append, spectrum_examples=0)
    assert seen == [16, 32, 37]


def test_any_name_of_a_parameter_is_the_name_of_its_layer():
    name = "</script>[red]$x_{$\n"
    params = {name: {"kernel": np.ones((5, 4), np.float32)}}
    found = rx.diagnose(lambda params, x: rx.relu(x @ params[name]["kernel"]), X, params=params, spectrum_examples=0)
    assert [row.name for row in found.summary] == [f"{name}/relu"]


def test_the_title_is_the_model_s_name_or_the_one_given():
    assert rx.diagnose(apply, X, params=PARAMS).title == "apply"
    assert rx.diagnose(NnxNet(), X, spectrum_examples=0).title == "NnxNet"
    assert rx.diagnose((LinenNet(), {"params": PARAMS}), X, spectrum_examples=0).title == "LinenNet"
    assert rx.diagnose(apply, X, params=PARAMS, title="mine").title == "mine"


def test_alarms_are_those_of_the_summary(reference):
    assert reference.alarms == rx.alarms(reference.summary)
    rows = tuple(replace(row, dead=row.units) for row in reference.summary)
    assert rx.alarms(rx.Summary(rows))[0].rule == "dead units"


def test_accuracy_does_not_count_classes_in_the_labels_dtype():
    w = np.zeros((5, 400), np.float32)
    w[:, 300] = 1  # all examples are of class 300, which is 44 in eight bits
    x, y = np.ones((10, 5), np.float32), np.full(10, 44, np.uint8)
    assert rx.diagnose(lambda w, x: rx.relu(x @ w), (x, y), params=w, loss="cross_entropy").accuracy == 0


def test_a_callable_that_cannot_be_hashed():
    class Net(dict):
        def __call__(self, x):
            return rx.relu(x @ self["w"])

    net = Net(w=np.eye(X.shape[1], dtype=np.float32))
    assert len(rx.diagnose(net, X).summary) == 1
    assert len(rx.diagnose((lambda net, w, x: net(x), None)[0].__get__(net), X, params=net["w"]).summary) == 1


def test_a_branch_that_was_not_taken_is_a_note():
    def model(x):
        return jax.lax.cond(x[0, 0] > 1e9, rx.tanh, rx.relu, x)

    found = rx.diagnose(model, X)
    assert [row.kind for row in found.summary] == ["relu"]
    assert any("tanh did not run" in note for note in found.notes)
