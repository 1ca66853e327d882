"""Which way every effect points: experiments on made-up measurements, whose answers are known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from relujax import claims
from relujax.claims import (
    _cost,
    _deep,
    _depth,
    _dying,
    _explosion,
    _generalisation,
    _sensitivity,
    _separation,
    _sparsity,
)
from relujax.claims._lab import Training
from relujax.health import EXPLODING_RATIO, travel

pytestmark = pytest.mark.own_precision


def effects(name, lab):
    """Mean effect by condition."""
    return {condition: float(np.mean(values)) for condition, values in claims.CLAIMS[name].experiment(lab).items()}


def constant(value):
    return np.full(2, value)


class MadeUp:
    """Networks whose errors and outputs are given."""

    def __init__(self, test=0.0, train=0.0, moves=0.0, flips=0):
        self.test, self.train, self.moves, self.flips = test, train, moves, flips

    def errors(self, x, y):
        return constant(self.test if x is LAB_TEST else self.train)

    def outputs(self, x):
        features = np.tile(np.array([[0.0], [2.0]]), (2, 1, 1))
        return [features if x is LAB_TEST else features + self.moves]

    def logits(self, x):
        found = np.zeros((2, 9, 2))
        if x is not LAB_TEST:
            found[:, : self.flips, 1] = 1
        return found


LAB_TEST = np.zeros((2, 9, 64), np.float32)
_WHOLE = Training()


class MadeUpLab:
    """Networks by activation and dropout rate."""

    seeds = 2
    images = SimpleNamespace(x=np.ones((2, 9, 64)), y=np.zeros((2, 9), int), test_x=LAB_TEST, test_y=np.zeros((2, 9)))

    def __init__(self, **networks):
        self.networks = networks

    def pick(self, whole, quick):
        return whole

    def labels(self, wrong):
        return self.images.y, self.images.test_y

    def stack(self, act, dropout=0.0, **options):
        return act, dropout

    def trained(self, settings):
        return self.fitted(*settings[:1], dropout=settings[1])

    def fitted(self, act, training=_WHOLE, dropout=0.0):
        return self.networks[f"{act}_dropped" if dropout else act]


def test_cheap_is_the_other_s_time_over_relu_s(monkeypatch, lab):
    seconds = {"relu": 1.0, "sigmoid": 2.0, "tanh": 3.0, "relujax.relu": 0.5}
    monkeypatch.setattr(_cost, "interleaved", lambda calls, rounds: {name: [seconds[name]] * rounds for name in calls})
    found = effects("cheap", lab)
    assert len(found) == 14
    for condition, effect in found.items():
        other = seconds[condition.rsplit(" ", 1)[1]]
        assert effect == pytest.approx(other / (0.5 if "relujax.relu" in condition else 1.0)), condition


def test_the_functions_that_are_timed_are_those_that_are_named():
    x = np.array([-2.0, 0.5], np.float32)
    expected = {"relu": [0, 0.5], "sigmoid": 1 / (1 + np.exp(-x)), "tanh": np.tanh(x), "relujax.relu": [0, 0.5]}
    assert list(_cost._FUNCTIONS) == list(expected)
    for name, f in _cost._FUNCTIONS.items():
        np.testing.assert_allclose(f(x), expected[name], rtol=1e-6, err_msg=name)


def test_gradients_are_compared_first_over_last_and_shrink_by_a_sigmoid_s_slope_per_layer(lab):
    # A slope is at most 1/4, and LeCun's weights hold the gradient's size: three layers between first and last.
    [one, _] = _deep.travelled(lab, "sigmoid", "LeCun's weights")
    assert travel(one).quantity == "backpropagated signal"
    for ratio in claims.CLAIMS["saturating_vanish"].experiment(lab)["sigmoid, LeCun's weights"]:
        assert 4**-3 / 3 < ratio < 4**-3 * 1.5
    # He's weights undo that ReLU's slopes halve the squared gradient; LeCun's do not.
    found = effects("relu_keeps", lab)
    assert found["LeCun's weights"] / found["He's weights"] == pytest.approx(2**-1.5, rel=0.05)


def test_the_weights_part_is_in_the_numerator(monkeypatch, lab):
    way = SimpleNamespace(by_weights=math.exp(-3), by_activations=math.exp(2))
    monkeypatch.setattr(_depth, "travel", lambda summary: way)
    assert list(effects("weights_set_size", lab).values()) == pytest.approx([1.5] * 11)


def test_sparse_counts_zeros_and_off_centre_the_mean():
    rows = [SimpleNamespace(active_fraction=0.2, mean=-3.0, std=2.0)]
    assert _sparsity._zeros(rows).tolist() == [0.8]
    assert _sparsity._shift(rows).tolist() == [1.5]


def test_insensitive_is_the_dense_network_s_change_over_relu_s():
    networks = {"relu": MadeUp(moves=0.1, flips=1), "tanh": MadeUp(moves=0.4, flips=7)}
    networks |= {"leaky_relu": MadeUp(moves=0.2, flips=1), "sigmoid": MadeUp(moves=0.05, flips=0)}
    found = effects("insensitive", MadeUpLab(**networks))
    for what in ("noise", "a shift by one pixel"):
        assert found[f"features under {what}, against tanh"] == pytest.approx(4)
        assert found[f"features under {what}, against leaky_relu"] == pytest.approx(2)
        assert found[f"features under {what}, against sigmoid"] == pytest.approx(0.5)
        assert found[f"predictions under {what}, against tanh"] == pytest.approx(7.5 / 1.5)  # half an image added


def test_a_push_far_below_zero_is_over_one_across_it(lab):
    # From -11 to -10 a leaky unit goes by 0.01, from -1/2 to 1/2 by 0.505.
    assert _sensitivity._pushed(lab.blank(lab.stack("relu"))) == [0, 0]
    for share in _sensitivity._pushed(lab.blank(lab.stack("leaky_relu"))):
        assert 0.01 / 0.505 / 4 < share < 0.01 / 0.505 * 4


def test_separable_is_the_other_s_error_over_that_of_the_sparse_ones(monkeypatch, lab):
    errors = {"wide and sparse": 0.1, "narrow and dense": 0.4, "wide and dense": 0.2, "narrow and sparse": 0.8}
    monkeypatch.setattr(_separation, "_error", lambda lab, seed, name: errors[name])
    assert list(effects("separable", lab).values()) == pytest.approx([4, 2, 0.5])


def grown(factor):
    """A summary of two layers over which the signal grows so far, and the gradient ten times that."""
    first = SimpleNamespace(root_mean_square=5.0, signal=10.0 * factor)
    return [first, SimpleNamespace(root_mean_square=5.0 * factor, signal=1.0)]


@pytest.fixture
def stacks(monkeypatch):
    """ReLU stacks that grow by 40,000, or by 2 with batch normalisation, tanh ones by 4, sigmoid ones by 1/2."""
    growth = {"relu": 4e4, "tanh": 4.0, "sigmoid": 0.5}

    def travelled(lab, act, start, *, batch_norm=False):
        return [grown(2.0 if batch_norm else growth[act])] * lab.seeds

    monkeypatch.setattr(_explosion, "travelled", travelled)
    monkeypatch.setattr(_explosion, "first_over_last", lambda rows: rows[0].signal / rows[-1].signal)


def test_explodes_asks_relu_to_be_above_and_the_other_below(stacks, lab):
    found = effects("explodes", lab)
    assert found["signal, He's weights, against tanh"] == pytest.approx(min(4e4 / EXPLODING_RATIO, EXPLODING_RATIO / 4))
    gradient = min(4e5 / EXPLODING_RATIO, EXPLODING_RATIO / 5)
    assert found["gradient, He's weights, against sigmoid"] == pytest.approx(gradient)


def test_batch_norm_and_clipping_are_without_over_with(stacks, monkeypatch, lab):
    def errors(lab, scale=1.0, batch_norm=False, clip_norm=None, **options):
        return constant(0.1 if batch_norm or clip_norm else 0.3)

    monkeypatch.setattr(_explosion, "_errors", errors)
    found = effects("batch_norm", lab)
    assert {condition.rsplit(", ", 1)[1] for condition in found} == set(_explosion._STARTS)
    assert [effect for name, effect in found.items() if "error" not in name] == pytest.approx([2e4] * 6)
    assert [effect for name, effect in found.items() if "error" in name] == pytest.approx([3] * 3)
    assert list(effects("clipping", lab).values()) == pytest.approx([3] * 5)


def test_a_dead_unit_s_gradient_is_over_that_of_the_others():
    kernel, bias = np.array([[[0.0, 3.0, 0.0]]]), np.array([[1.0, 4.0, 3.0]])  # norms of 1, 5 and 3
    layer = {"kernel": kernel, "bias": bias}
    networks = SimpleNamespace(lab=MadeUpLab(), gradients=lambda x, y: {"layers": [layer]})
    assert _dying._gradient_of(networks, 0, np.array([[True, False, False]])) == [0.25]
    assert np.isnan(_dying._gradient_of(networks, 0, np.array([[False, False, False]]))).all()


def test_units_that_were_shut_get_nothing_and_come_back_where_training_opens_them(monkeypatch, lab):
    found = effects("dead_no_gradient", lab)
    assert found["shut before training, first layer"] == found["shut before training, third layer"] == 0

    def never_returned(train):
        monkeypatch.setattr(lab, "train", train)
        return [v for name, v in effects("dead_never_return", lab).items() if name.startswith("shut")]

    lab.trained(lab.stack("relu", depth=4, width=64, learning_rate=0.03))  # before there is no training
    assert never_returned(lambda networks: networks) == [0] * 4
    assert all(effect > 0.7 for effect in never_returned(lambda networks: lab.blank(networks.settings)))


def test_of_these_units_those_count_that_fire(lab):
    networks = lab.blank(lab.stack("relu"))
    units = np.ones((2, 16), bool)
    assert _dying._fire(networks, 0, units) == (~_dying._below(networks, 0)).mean(axis=1).tolist()
    assert np.isnan(_dying._fire(networks, 0, ~units)).all()


def test_units_below_zero_on_every_image_are_stuck_whatever_their_slope(lab):
    networks = lab.blank(lab.stack("leaky_relu"))
    for value, share in ((-1000.0, 1.0), (1000.0, 0.0)):

        def push(params, value=value):
            bias = params["layers"][0]["bias"]
            params["layers"][0]["bias"] = bias.replace(bias[...] + np.float32(value))

        assert _dying._below(networks.with_parameters(push), 0).mean() == share


def test_cures_are_compared_with_relu_s_share_and_error(monkeypatch, lab):
    given = {"relu": 0.5, "leaky_relu": 0.1, "prelu": 0.0, "elu": 1.0}
    monkeypatch.setattr(_dying, "_stuck_share", lambda lab, act, rate: constant(given[act]))
    assert list(effects("cures", lab).values()) == pytest.approx([0.2, 0, 2] * 2)
    monkeypatch.setattr(_dying, "_error", lambda lab, act, rate: constant(0.5 if act == "relu" else 0.1))
    assert list(effects("cures_pay", lab).values()) == pytest.approx([5] * 6)


def test_more_dead_units_let_less_of_the_gradient_through(lab):
    found = effects("dying_is_vanishing", lab)
    shares = [found[f"{name} of every layer dead"] for name in ("a quarter", "half", "three quarters")]
    assert 1 > shares[0] > shares[1] > shares[2]
    assert found["one layer wholly dead"] == 0 < found["half of one layer dead"] < 1


def test_overfitting_is_relu_s_gap_less_the_other_s_and_dropout_without_over_with():
    networks = {"relu": MadeUp(test=0.3, train=0.05), "sigmoid": MadeUp(test=0.2, train=0.1)}
    networks |= {"tanh": MadeUp(test=0.9, train=0.1), "relu_dropped": MadeUp(test=0.1)}
    lab = MadeUpLab(**networks)
    found = effects("overfits", lab)
    for name in _generalisation._SETS:
        assert found[f"{name}, against sigmoid"] == pytest.approx(0.15)
        assert found[f"{name}, against tanh"] == pytest.approx(-0.55)
    assert list(effects("dropout", lab).values()) == pytest.approx([3] * 7)
