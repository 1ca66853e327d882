"""The study: the same seed gives the same numbers, every option does what it says, and known laws come out."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from sklearn.datasets import load_digits

import relujax as rx
from relujax import study
from relujax.study import INITIALIZERS, OPTIMIZERS, Settings, Stack

pytestmark = pytest.mark.own_precision


@pytest.fixture(autouse=True)
def lax_promotion():
    """Optax and Flax mix dtypes and ranks themselves."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


digits = functools.cache(study.digits)
SMALL = {"depth": 3, "width": 8, "steps": 5}


def few_digits():
    """Enough to run on: 60 and 20 images of their 8 middle pixels."""
    data = digits()
    return study.Digits(*((x[:n, 24:32], y[:n]) for (x, y), n in ((data.train, 60), (data.test, 20))))


@pytest.fixture
def no_spectra(monkeypatch):
    """Runs that take half the time; test_cli has some with singular values."""
    monkeypatch.setattr(study, "diagnose", functools.partial(rx.diagnose, spectrum_examples=0))


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(no_spectra):
    first, again, other = (
        study.run(Settings("relu", seed=seed, **SMALL), few_digits()).to_dict() for seed in (0, 0, 1)
    )
    assert again == first
    for name in ("history", "init_signal"):
        assert other[name] != first[name], name
    weights = [one["stages"]["at initialisation"]["sites"][0]["weight_gradient_norm"] for one in (first, other)]
    assert weights[0] != weights[1]


def test_a_run_tells_what_was_done_and_how_far_it_is(no_spectra):
    told = []
    settings = Settings("relu", batch_norm=True, dropout=0.5, clip_norm=5.0, **SMALL)
    found = study.run(settings, few_digits(), lambda what, share: told.append((what, share)))
    assert (found.name, list(found.stages)) == ("relu", ["at initialisation", "after training"])
    assert found.facts["init"] == "he_normal"  # "auto", resolved
    assert found.facts.items() >= {"depth": 3, "width": 8, "steps": 5, "optimizer": "adam", "seed": 0}.items()
    assert found.history.step == (1, 2, 3, 4, 5)
    assert all(0 <= share <= 1 for share in found.history.accuracy)
    assert list(found.init_signal) == ["lecun_normal", "he_normal"]
    assert all(len(values) == 3 for values in found.init_signal.values())
    before, after = found.stages.values()
    assert (before.title, before.examples) == ("relu at initialisation", 60)
    assert [row.name for row in before.summary] == [f"layers/{i}/relu" for i in range(3)]
    assert all(row.weight_gradient_norm > 0 for row in before.summary)
    assert before.loss != after.loss
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert (told[0][1], told[-1]) == (0, ("done", 1))
    assert {what for what, _ in told} >= {"training", "diagnosing after training"}


def test_the_diagnosis_sees_no_dropout():
    """Of the same weights, the forward numbers with and without dropout are the same."""
    x = few_digits().train[0]
    found = []
    for rate in (0.0, 0.5):
        model = Stack(Settings("relu", dropout=rate, **SMALL), 8, 10, rngs=nnx.Rngs(0))
        found.append(rx.diagnose(study.in_mode(model, training=True, dropout=False), x, spectrum_examples=0))
    assert found[0].summary == found[1].summary


@pytest.mark.parametrize("batch_norm", [False, True])
def test_training_learns_the_digits(batch_norm):
    settings = Settings("relu", depth=2, width=32, steps=100, learning_rate=0.01, batch_norm=batch_norm)
    model = Stack(settings, 64, 10, rngs=nnx.Rngs(0))
    history, _ = study._train(settings, model, digits(), lambda share: None)
    assert history.accuracy[-1] > 0.85
    assert history.loss[-1] < history.loss[0] / 3
    assert history.step == tuple(range(1, 101))


def test_dropout_drops_in_training_only():
    model = Stack(Settings("tanh", dropout=0.5, **SMALL), 8, 10, rngs=nnx.Rngs(0))
    x = few_digits().train[0]
    training = study.in_mode(model, training=True, dropout=True)
    quiet = study.in_mode(model, training=True, dropout=False)
    assert np.any(training(x) != training(x))
    np.testing.assert_array_equal(quiet(x), quiet(x))


def test_batch_norm_is_diagnosed_with_the_statistics_of_the_batch():
    model = Stack(Settings("tanh", batch_norm=True, depth=1, width=8), 8, 10, rngs=nnx.Rngs(0))
    x = few_digits().train[0]

    def moved(training):
        """By how much the output moves where the whole batch is scaled: statistics of the batch divide that out."""
        measured = study.in_mode(model, training=training, dropout=False)
        return np.max(np.abs(measured(x) - measured(3 * x)))

    assert moved(training=True) < 0.01 < moved(training=False)


def distance(before, after):
    leaves = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return np.linalg.norm(np.concatenate([np.ravel(np.float64(a) - np.float64(b)) for a, b in leaves]))


@pytest.mark.parametrize(("clip_norm", "steps"), [(1e-3, 1), (1e-3, 3), (None, 1)])
def test_a_clipped_step_is_no_longer_than_rate_times_norm(clip_norm, steps):
    settings = Settings("relu", depth=2, width=8, steps=steps, optimizer="sgd", learning_rate=0.5, clip_norm=clip_norm)
    model = Stack(settings, 8, 10, rngs=nnx.Rngs(0))
    before = nnx.state(model, nnx.Param)
    history, after = study._train(settings, model, few_digits(), lambda share: None)
    assert min(history.gradient_norm) > 0.1  # as it was before clipping
    limit = 0.5 * steps * (clip_norm or history.gradient_norm[0])
    assert 0.9 * limit < distance(before, nnx.state(after, nnx.Param)) < 1.001 * limit


def step_of(**options):
    """The first step from 0 along the gradient (3, -4)."""
    optimizer = study.optimizer_of(Settings("relu", **options))
    params, grads = jnp.zeros(2, "float32"), jnp.array([3.0, -4.0], "float32")
    return np.asarray(optimizer.update(grads, optimizer.init(params), params)[0])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_down_at_its_own_rate_or_the_one_given(name):
    rate = {"adam": 1e-3, "adamw": 1e-3, "sgd": 0.05, "momentum": 0.01, "rmsprop": 1e-3}[name]
    first = step_of(optimizer=name)
    assert np.all(np.sign(first) == [-1, 1])
    np.testing.assert_allclose(step_of(optimizer=name, learning_rate=10 * rate), 10 * first, rtol=1e-5)
    if name in ("sgd", "momentum"):
        np.testing.assert_allclose(first, [-3 * rate, 4 * rate], rtol=1e-6)
    elif name != "rmsprop":
        np.testing.assert_allclose(first, [-rate, rate], rtol=1e-4)


def test_momentum_builds_up():
    optimizer = study.optimizer_of(Settings("relu", optimizer="momentum", learning_rate=1.0))
    params = grads = jnp.ones(1, "float32")
    state = optimizer.init(params)
    steps = []
    for _ in range(3):
        updates, state = optimizer.update(grads, state, params)
        steps.append(-updates.item())
    assert steps == pytest.approx([1, 1.9, 2.71])


@pytest.mark.parametrize("name", [*INITIALIZERS, "auto"])
def test_every_initializer_has_its_variance(name):
    stack = Stack(Settings("tanh", init=name, depth=12), 64, 10, rngs=nnx.Rngs(0))
    kernels = np.float64([layer.kernel[...] for layer in stack.layers])
    expected = {
        "lecun_normal": 1,
        "auto": 1,
        "he_normal": 2,
        "glorot_normal": 1,
        "orthogonal": 1,
        "gain_normal": 1 / 0.394294490397841,
    }
    # 12 x 64 x 64 draws: known to 0.6 %.
    assert kernels.var() * 64 == pytest.approx(expected[name], rel=0.03)
    orthogonal = np.abs(kernels[0] @ kernels[0].T - np.eye(64)).max() < 1e-5
    assert orthogonal == (name == "orthogonal")


@pytest.mark.parametrize("name", rx.STACKABLE)
def test_a_stack_is_as_deep_and_wide_as_asked_for_with_its_activation(name):
    stack = Stack(Settings(name, depth=3, width=5), 8, 10, rngs=nnx.Rngs(0))
    kinds = [(site.kind, site.shape) for site in rx.sites(stack, few_digits().train[0])]
    assert kinds == [(name, (60, 5))] * 3
    assert stack(few_digits().train[0]).shape == (60, 10)


@pytest.mark.parametrize(
    ("name", "init"),
    [("relu", "he_normal"), ("elu", "he_normal"), ("tanh", "lecun_normal"), ("sigmoid", "lecun_normal")],
)
def test_auto_is_he_for_rectifiers_and_flax_s_default_for_the_rest(name, init):
    assert Settings(name).init_name == init
    assert Settings(name, init="orthogonal").init_name == "orthogonal"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "rellu"}, r"unknown activation 'rellu': expected one of relu, .*; did you mean relu"),
        ({"depth": 0}, r"got depth 0: expected at least 1"),
        ({"width": -3}, r"got width -3: expected at least 1"),
        ({"steps": 0}, r"got steps 0: expected at least 1"),
        ({"optimizer": "lion"}, r"unknown optimizer 'lion': expected one of adam, adamw, sgd, momentum, rmsprop"),
        ({"init": "zeros"}, r"unknown init 'zeros': expected one of auto, lecun_normal, he_normal, glorot_normal, ort"),
        ({"learning_rate": 0.0}, r"got learning rate 0.0: expected a positive number"),
        ({"learning_rate": float("nan")}, r"got learning rate nan: expected a positive number"),
        ({"clip_norm": -1.0}, r"got clip norm -1.0: expected a positive number"),
        ({"clip_norm": float("inf")}, r"got clip norm inf: expected a positive number"),
        ({"dropout": 1.0}, r"got dropout 1.0: expected a rate from 0 up to, not including, 1"),
        ({"dropout": -0.1}, r"got dropout -0.1: expected a rate"),
        ({"dropout": float("nan")}, r"got dropout nan: expected a rate"),
        ({"seed": -1}, r"got seed -1: expected"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Settings(**({"activation": "relu"} | options))


def raw(data):
    """The images in their own numbers, from 0 to 16, and the labels."""
    x = np.concatenate([data.train[0], data.test[0]])
    scale = 16 / (data.train[0].max() - data.train[0].min())
    return (x - data.train[0].min()) * scale, np.concatenate([data.train[1], data.test[1]])


def sorted_rows(images, labels):
    rows = np.column_stack([np.rint(images), labels]).astype(int)
    return rows[np.lexsort(rows.T)]


def test_every_digit_is_in_one_part_of_the_split():
    data = digits()
    assert (len(data.train[0]), len(data.test[0])) == (1437, 360)
    assert (data.train[0].dtype, data.train[1].dtype) == (np.float32, np.int32)
    images, labels = raw(data)
    np.testing.assert_allclose(images, np.rint(images), atol=1e-4)
    # All 1,797, each as often as it was: what is in one part is not in the other.
    np.testing.assert_array_equal(sorted_rows(images, labels), sorted_rows(*load_digits(return_X_y=True)))


def test_the_split_is_stratified_by_label():
    data = digits()
    counts = [np.bincount(y, minlength=10) for _, y in (data.train, data.test)]
    np.testing.assert_allclose(counts[1], (counts[0] + counts[1]) / 5, atol=1)


def test_images_are_standardised_by_the_training_images():
    data = digits()
    assert np.float64(data.train[0]).mean() == pytest.approx(0, abs=1e-5)
    assert np.float64(data.train[0]).std() == pytest.approx(1, abs=1e-5)
    assert np.float64(data.test[0]).mean() != pytest.approx(0, abs=1e-5)
    assert (data.test[0].min(), data.test[0].max()) == (data.train[0].min(), data.train[0].max())


def test_the_split_follows_the_seed():
    np.testing.assert_array_equal(study.digits(0).train[0], digits().train[0])
    assert np.any(study.digits(1).train[1] != digits().train[1])


def test_batches_cover_an_epoch_and_follow_the_seed():
    def batches(seed, count):
        return list(itertools.islice(study._shuffled(10, 3, seed), count))

    epochs = np.array(batches(0, 6)).reshape(2, 9)
    for epoch in epochs:
        assert len(set(epoch)) == 9
    assert list(epochs[0]) != list(epochs[1])
    np.testing.assert_array_equal(batches(0, 4), batches(0, 4))
    assert np.any(np.array(batches(0, 3)) != np.array(batches(1, 3)))


@functools.cache
def deep(activation):
    """A 20-layer stack of width 64 as a function of its parameters, and parameters for any initialiser and seed."""

    def stack(init, seed):
        return Stack(Settings(activation, init=init), 64, 10, rngs=nnx.Rngs(seed))

    graphdef, _, rest = nnx.split(stack("auto", 0), nnx.Param, ...)

    def apply(params, x):
        return nnx.merge(graphdef, params, rest, copy=True)(x)

    return apply, lambda init, seed: nnx.state(stack(init, seed), nnx.Param)


@functools.cache
def at_initialisation(activation, init):
    """Geometric mean of the signal per layer over three seeds, last layer 1; and the mean active fraction."""
    apply, params = deep(activation)
    x, y = (array[:500] for array in digits().train)
    found = [
        rx.diagnose(apply, (x, y), params=params(init, seed), loss="cross_entropy", spectrum_examples=0, batch_size=500)
        for seed in range(3)
    ]
    norms = np.exp(np.mean([[np.log(row.signal_norm) for row in one.summary] for one in found], axis=0))
    return norms / norms[-1], np.mean([[row.active_fraction for row in one.summary] for one in found])


def test_the_sigmoid_s_signal_does_not_reach_the_first_of_twenty_layers():
    signal, _ = at_initialisation("sigmoid", "lecun_normal")
    assert 0 < signal[0] < 1e-9
    # A slope of at most 1/4: each layer takes a factor of four or more.
    assert np.all(signal[:-1] / signal[1:] < 0.27)


def test_a_plain_tanh_s_signal_shrinks_going_back():
    signal, _ = at_initialisation("tanh", "lecun_normal")
    assert signal[0] < 0.6
    assert np.all(signal[:-1] < 1.1 * signal[1:])
    assert np.all(np.diff(signal[::5]) > 0)


def test_half_of_the_relus_are_active_on_average():
    assert 0.4 < at_initialisation("relu", "he_normal")[1] < 0.6


def test_relu_s_signal_holds_under_he_s_initialisation():
    signal, _ = at_initialisation("relu", "he_normal")
    assert 1 / 3 < signal[0] < 3


def test_relu_s_squared_signal_halves_per_layer_under_flax_s_default():
    signal, _ = at_initialisation("relu", "lecun_normal")
    assert 0.6 < signal[0] ** (1 / 19) < 0.8
    assert signal[0] < 1e-2


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({}, 1.0),  # He: 2 E relu'(z)^2
        ({"init": "lecun_normal"}, 0.5),
        ({"init": "orthogonal"}, 0.5),
        ({"batch_norm": True}, np.pi / (np.pi - 1)),  # Yang et al. 2019
    ],
)
def test_what_theory_predicts_of_relu(options, factor, no_spectra):
    found = study.run(Settings("relu", **SMALL | options), few_digits())
    before = found.stages["at initialisation"]
    last = before.summary[-1].signal_norm
    want = [last * factor ** (k / 2) for k in (2, 1, 0)]
    np.testing.assert_allclose(before.predicted["signal_norm"], want, rtol=1e-6)
    # Forward: half of the pre-activation's variance is left by ReLU, and the weights multiply it by twice the factor.
    inputs = float(np.mean(few_digits().train[0] ** 2))
    lengths = [0.5] * 3 if "batch_norm" in options else [inputs * factor**k for k in (1, 2, 3)]
    np.testing.assert_allclose(before.predicted["output_rms"], np.sqrt(lengths), rtol=1e-6)
    # As many inputs as units, and the same law in every layer: the edge of the spectrum is known too.
    assert ("largest_singular_value" in before.predicted) == ("batch_norm" not in options)
    if "largest_singular_value" in before.predicted and not options:
        edges = [rx.theory.jacobian_moments("relu", depth).largest for depth in (1, 2, 3)]
        np.testing.assert_allclose(before.predicted["largest_singular_value"], np.sqrt(edges), rtol=1e-6)
    assert before.to_dict()["predicted"]["signal_norm"] == list(before.predicted["signal_norm"])


def test_what_theory_predicts_of_the_sigmoid_is_what_is_measured():
    found = study.run(Settings("sigmoid", depth=12, width=64, steps=1), digits())
    before = found.stages["at initialisation"]
    measured = [row.signal_norm for row in before.summary]
    assert measured[0] < 1e-6 * measured[-1]
    # Over six orders of magnitude, within what a width of 64 adds per layer.
    np.testing.assert_allclose(np.log(before.predicted["signal_norm"]), np.log(measured), atol=0.1 * 12)
    assert "largest_singular_value" not in before.predicted
    forward = [row.root_mean_square for row in before.summary]
    np.testing.assert_allclose(before.predicted["output_rms"], forward, rtol=0.1)
