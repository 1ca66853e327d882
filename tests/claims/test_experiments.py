"""The experiments: finite numbers from all of them, and answers that are known."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax import claims, study
from relujax.claims import _cost, _deep, _dying, _run, _signs, _sparsity
from relujax.claims._depth import first_over_last
from relujax.claims._lab import Training
from relujax.claims._sensitivity import moved, shifted

pytestmark = pytest.mark.own_precision


@pytest.mark.parametrize("name", claims.names())
def test_an_experiment_gives_numbers_under_several_conditions(lab, name):
    effects = claims.CLAIMS[name].experiment(lab)
    assert len(effects) >= 3
    for condition, values in effects.items():
        # A network this small may have no unit that is dead, or silent.
        if name not in ("cures", "dead_no_gradient"):
            assert np.all(np.isfinite(values)), condition
        # Only a difference, which is claimed to be above 0, may be below it.
        assert np.all(np.isnan(values) | (np.asarray(values) >= 0)) or name == "overfits", condition
        assert len(values) >= 2
    assert (claims.CLAIMS[name].criterion.threshold > 0) == (name != "overfits")


def test_every_claim_of_the_list_is_there():
    assert len(claims.CLAIMS) == 21
    for name, claim in claims.CLAIMS.items():
        assert claim.name == name
        assert claim.weight > 0


def test_half_of_the_outputs_of_relu_are_zero_before_training(lab):
    effects = claims.CLAIMS["sparse"].experiment(lab)
    assert np.mean(effects["before training, He's weights"]) == pytest.approx(0.5, abs=0.07)


def test_a_sigmoid_s_slope_is_at_most_a_quarter(lab):
    for row in _deep.travelled(lab, "sigmoid", "LeCun's weights")[0]:
        assert 0 < row.activation_gain <= 0.25


def test_a_gaussian_relu_is_as_far_from_centred_as_its_moments_say(lab):
    found = rx.theory.moments("relu")
    expected = found.mean / math.sqrt(found.second - found.mean**2)
    assert np.mean(claims.CLAIMS["not_centred"].experiment(lab)["before training, He's weights"]) == pytest.approx(
        expected, abs=0.1
    )


def test_the_weights_of_a_start_have_its_variance():
    expected = {
        "LeCun's weights": 1,
        "He's weights": 2,
        "orthogonal weights": 1,
        "orthogonal weights times √2": 2,
        "weights of twice He's variance": 4,
    }
    expected |= {
        "signal-holding weights": 1 / 0.394294490397841,
        "critical weights": 1,
        "weights of four times He's variance": 8,
    }
    for start, variance in expected.items():
        weights = _deep.STARTS[start]("tanh")(jax.random.key(0), (256, 256), jnp.float32)
        assert float(weights.var() * 256) == pytest.approx(variance, rel=0.03), start


def test_a_layer_that_is_dead_lets_no_gradient_through_and_other_layers_do(lab):
    dead = np.zeros((2, _deep.depth(lab), _deep.WIDTH), bool)
    dead[0, 1] = True
    ratios = [first_over_last(one) for one in _deep.travelled(lab, "relu", "He's weights", dead=dead)]
    assert ratios[0] == 0
    assert ratios[1] > 0.1
    assert _deep.travelled(lab, "relu", "He's weights", dead=dead)[0][1].dead == _deep.WIDTH


def test_batch_norm_in_a_deep_stack_makes_a_gaussian_of_every_layer(lab):
    found = rx.theory.moments("relu")
    for row in _deep.travelled(lab, "relu", "weights of four times He's variance", batch_norm=True)[0]:
        assert math.hypot(row.mean, row.std) == pytest.approx(math.sqrt(found.second), rel=0.05)


def test_networks_of_all_seeds_are_those_that_study_builds_and_they_learn(lab):
    settings = dataclasses.replace(lab.stack("relu"), steps=150, width=32)
    x, y = lab.images.x, lab.images.y
    before, after = lab.blank(settings), lab.trained(settings)
    alone = study.Stack(settings, 64, 10, rngs=study.nnx.Rngs(1))
    np.testing.assert_allclose(
        before.logits(x)[1], study.in_mode(alone, training=False, dropout=False)(x[1]), atol=1e-5
    )
    assert np.all(before.errors(x, y) > 0.6)
    assert np.all(after.errors(x, y) < 0.05)
    assert lab.trained(settings) is after


def test_pre_activations_and_outputs_are_of_the_same_layer(lab):
    networks = lab.blank(lab.stack("relu", width=8))
    for number, outputs in enumerate(networks.outputs(lab.images.x)):
        np.testing.assert_allclose(np.maximum(networks.before(number, lab.images.x), 0), outputs, atol=1e-5)


def test_wrong_labels_are_wrong_and_as_many_as_asked_for(lab):
    assert np.all(np.asarray(lab.labels(0.0)[0]) == np.asarray(lab.images.y))
    assert np.mean(np.asarray(lab.labels(0.2)[0]) != np.asarray(lab.images.y)) == pytest.approx(0.2, abs=0.08)
    for labels, right in zip(lab.labels(1.0), (lab.images.y, lab.images.test_y), strict=True):
        assert np.all(np.asarray(labels) != np.asarray(right))


def test_few_images_are_few(lab):
    assert np.asarray(lab._batches(4, Training(images=40))).max() < 40
    assert np.asarray(lab._batches(40, Training())).max() == 99


def test_killed_units_are_dead_on_all_images_by_little_and_the_others_live(lab):
    networks, dead = _dying._killed(lab, lab.blank(lab.stack("relu")), 1)
    highest = networks.before(1, lab.images.x).max(axis=1)
    assert dead.mean() == 0.25
    assert np.all(highest[dead] < 0)
    assert np.all(highest[dead] > -0.5)
    assert np.mean(highest[~dead] > 0) > 0.9


def test_the_number_of_active_units_ranges_over_images_in_parts_of_what_chance_gives():
    counts = np.arange(101)  # variance 850; unit j fires on (100 - j) of 101 images: by chance 171,700 / 101^2
    adapting = np.arange(200) < counts[:, None]
    always_as_many = np.stack([np.roll(np.arange(200) < 50, image) for image in counts])
    by_chance = np.random.default_rng(0).random((101, 200)) < 0.3
    found = _sparsity.spread(np.stack([adapting, always_as_many, by_chance]))
    assert found[:2] == pytest.approx([math.sqrt(50.5), 0])
    assert found[2] == pytest.approx(1, abs=0.2)


def test_the_backward_pass_is_timed_without_the_forward_one():
    for x, *weights in ((jnp.ones(8),), (jnp.ones((2, 4)), jnp.eye(4))):
        timed = _cost._backward(jnp.tanh, 2, x, *weights)
        assert "tanh" not in timed.func.lower(*timed.args).as_text()
        forward = _cost._forward(jnp.tanh, 2, x, *weights)
        assert "tanh" in forward.func.lower(*forward.args).as_text()


def test_the_backward_pass_that_is_timed_is_the_pullback():
    y = np.tanh(np.float32(1))  # the first cotangent is the output; 1 is added each time
    slope = 1 - y**2
    assert _cost._backward(jnp.tanh, 2, jnp.ones(1, jnp.float32))()[0] == pytest.approx((y * slope + 1) * slope + 1)


def test_one_sign_is_counted_per_unit_without_those_that_get_nothing():
    gradients = np.array([[[1, -1, 1, 0], [2, 0, -1, 0]]], float)  # one seed, two inputs, four units
    assert _signs.one_signed(gradients).tolist() == [2 / 3]


def test_features_that_move_as_far_as_two_images_are_apart_have_moved_by_one():
    before = np.random.default_rng(0).normal(size=(1, 4000, 10))
    assert moved(before, before[:, ::-1]) == pytest.approx(1, rel=0.02)
    assert moved(before, before) == 0
    # Nor does it matter how far from 0 they are.
    assert moved(before + 9, before + 9.5) == pytest.approx(moved(before, before + 0.5))


def test_an_image_is_shifted_right_by_a_pixel_over_the_background_of_its_own_seed():
    x = jnp.arange(64, dtype=jnp.float32)[None, None] + jnp.array([0.0, 100.0], jnp.float32)[:, None, None]
    first, second = np.asarray(shifted(x)).reshape(2, 8, 8)
    assert first[0].tolist() == [0, 0, 1, 2, 3, 4, 5, 6]
    assert first[7].tolist() == [0, 56, 57, 58, 59, 60, 61, 62]
    np.testing.assert_array_equal(second, first + 100)


def with_experiment(name, experiment):
    return dict(claims.CLAIMS) | {name: dataclasses.replace(claims.CLAIMS[name], experiment=experiment)}


def test_a_sabotaged_experiment_changes_its_verdict(monkeypatch, lab):
    """Sigmoids in place of the ReLUs: their outputs are never 0, and their gradients do not arrive."""
    [honest] = claims.run(["relu_keeps"], seeds=2, quick=True)
    assert honest.conditions[1].outcome == "holds"
    real = _deep.activation
    monkeypatch.setattr(_deep, "activation", lambda name: real("sigmoid"))
    [sabotaged] = claims.run(["relu_keeps"], seeds=2, quick=True)
    assert sabotaged.verdict == "does not hold"


def test_a_verdict_follows_from_what_the_experiment_returns(monkeypatch):
    for values, verdict in (((2.0, 2.1), "holds"), ((0.1, 0.11), "does not hold"), ((0.1, 9.0), "undecided")):
        monkeypatch.setattr(_run, "CLAIMS", with_experiment("clipping", lambda lab, values=values: {"any": values}))
        [found] = claims.run(["clipping"], seeds=2, quick=True)
        assert found.verdict == verdict
