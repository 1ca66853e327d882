"""Bad input to diagnose: what was got, what was expected, and which example, batch or name it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import PARAMS, LinenNet, X, Y, apply, closed

import relujax as rx


def with_bad_row(number, value):
    x = np.array(X)
    x[number, 1] = value
    return x


#: Nothing here gets as far as running the model.
DATA = {
    "no batch": ([], ValueError, r"got no batch: expected at least one"),
    "an exhausted generator": (iter(()), ValueError, r"got no batch: expected at least one"),
    "no examples": (X[:0], ValueError, r"the data, x: got shape \(0, 5\): expected at least one example"),
    "an empty batch": ([np.float32([])], ValueError, r"batch 0, x: got shape \(0,\): expected at least one example"),
    "a number": (np.float32(3), ValueError, r"the data, x: got shape \(\): expected at least one example"),
    "fewer targets": ((X, Y[:30]), ValueError, r"the data: got 37 inputs and 30 targets: expected as many of each"),
    "fewer targets in a batch": ([(X, Y[:1])], ValueError, r"batch 0: got 37 inputs and 1 targets"),
    "NaN": (with_bad_row(12, np.nan), ValueError, r"NaN or infinity in example 12:"),
    "infinity": (with_bad_row(31, -np.inf), ValueError, r"NaN or infinity in example 31:"),
    "NaN in a target": ((X, np.where(Y == 0, np.nan, 1.0)), ValueError, r"the data, y: got NaN or infinity in example"),
    "objects": (np.array([[1], [2, 3]], object), ValueError, r"the data, x: got dtype object: expected numbers"),
    "strings": (np.array(["a", "b"]), ValueError, r"the data, x: got dtype <U1: expected numbers"),
    "dates": (np.array(["2020-01-01"], "datetime64[D]"), ValueError, r"got dtype datetime64\[D\]: expected numbers"),
    "no x in a dict": ({"pixels": X}, ValueError, r"the data: got the keys pixels: expected x, and y for a loss"),
    "no x in a batch": ([{"a": X, "b": Y}], ValueError, r"batch 0: got the keys a, b: expected x"),
    "a number for data": (3, TypeError, r"got batches of type int: expected arrays, or an iterable of batches"),
    "nothing for data": (None, TypeError, r"got batches of type NoneType: expected arrays"),
    "a string for a batch": (["x"], TypeError, r"batch 0: got str: expected an array, a pair \(x, y\) or a dict"),
    "three arrays": ([(X, Y, Y)], TypeError, r"batch 0: got tuple: expected an array, a pair \(x, y\) or a dict"),
    "a model's wrong width": (X[:, :3], ValueError, r"called on a batch of shape \(37, 3\) and dtype float32"),
}


@pytest.mark.parametrize("case", DATA)
def test_bad_data(case):
    data, error, message = DATA[case]
    with pytest.raises(error, match=message):
        rx.diagnose(apply, data, params=PARAMS)


def test_a_later_batch_is_named_by_its_number():
    message = r"batch 1, x: got NaN or infinity in example 3: expected finite numbers; clean the data"
    with pytest.raises(ValueError, match=message):
        rx.diagnose(rx.relu, [X, with_bad_row(3, np.nan)])


def test_batches_of_different_shapes():
    message = r"got a batch of shape \(9, 4\) after \(37, 5\): expected the same shape per example"
    with pytest.raises(ValueError, match=message):
        rx.diagnose(rx.relu, [X, X[:9, :4]])


@pytest.mark.parametrize("size", [0, -5])
def test_a_batch_has_at_least_one_example(size):
    with pytest.raises(ValueError, match=rf"got batch_size={size}: expected at least 1"):
        rx.diagnose(rx.relu, X, batch_size=size)


@pytest.mark.parametrize("edges", [3, ["a"], [1.0, 0.0], []], ids=["number", "words", "descending", "none"])
def test_edges_are_ascending_numbers(edges):
    with pytest.raises(ValueError, match=r"got edges=.*expected .*in ascending order"):
        rx.diagnose(rx.relu, X, edges=edges)


OUTPUTS = np.zeros((37, 3), np.float32)
TARGETS = {
    "missing": ("cross_entropy", None, r"got a loss but no targets: expected batches of \(x, y\)"),
    "missing for a loss of one's own": (lambda outputs, y: outputs, None, r"got a loss but no targets"),
    "unknown loss": ("crossentropy", Y, r"unknown loss 'crossentropy': expected one of cross_entropy, mse, or a funct"),
    "too large": ("cross_entropy", Y + 1, r"got labels from 1 to 3: expected 0 to 2 for 3 outputs"),
    "negative": ("cross_entropy", Y - 1, r"got labels from -1 to 1: expected 0 to 2 for 3 outputs"),
    "floats": ("cross_entropy", np.float32(Y), r"got labels of dtype float32: expected integers for cross_entropy"),
    "one-hot": ("cross_entropy", np.eye(3, dtype=np.int32)[Y], r"got labels of shape \(37, 3\): expected \(37,\) for"),
    "a column": ("cross_entropy", Y[:, None], r"got labels of shape \(37, 1\): expected \(37,\) for outputs of shape"),
    "labels for mse": ("mse", Y, r"got targets of shape \(37,\): expected the outputs' shape \(37, 3\) for mse"),
    "one column for mse": ("mse", OUTPUTS[:, :1], r"got targets of shape \(37, 1\): expected the outputs' shape"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_bad_targets(case):
    loss, y, message = TARGETS[case]
    with pytest.raises(ValueError, match=message):
        rx.diagnose(apply, X if y is None else (X, y), params=PARAMS, loss=loss)


def test_a_named_loss_needs_one_output():
    with pytest.raises(ValueError, match=r"got a model with several outputs: expected one array, or a loss function"):
        rx.diagnose(lambda x: (closed(x), x), (X, Y), loss="cross_entropy")


def test_cross_entropy_needs_an_axis_of_classes():
    with pytest.raises(ValueError, match=r"outputs of shape \(\)"):
        rx.diagnose(lambda x: rx.relu(x).sum(), (X, Y), loss="cross_entropy")


def test_a_loss_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"loss.*shape \(37, 3\).*expected"):
        rx.diagnose(apply, (X, Y), params=PARAMS, loss=lambda outputs, y: outputs**2)


MODELS = {
    "a function among the parameters": ((apply, {"act": jax.nn.relu}), TypeError, r"params\['act'\]: .*partition"),
    "Linen without variables": (LinenNet(), TypeError, r"LinenNet without its variables: expected a pair"),
    "a number": (3, TypeError, r"got a model of type int: expected an NNX module, a Linen \(module, variables\) pair"),
    "a path": ("model.pkl", TypeError, r"got a model of type str: expected an NNX module"),
    "a pair of something": ((3, PARAMS), TypeError, r"got a model of type int: expected an NNX module"),
    "Linen with other variables": (
        (LinenNet(), {"params": {"first": PARAMS["first"]}}),
        ValueError,
        r"the model cannot be called on a batch of shape \(37, 5\)",
    ),
    "a call that fails": (lambda x: x.no_such_thing, ValueError, r"cannot be called on a batch.*no_such_thing"),
    "a call of two": (lambda params, x: x, ValueError, r"cannot be called on a batch.*missing 1 required positional"),
}


@pytest.mark.parametrize("case", MODELS)
def test_bad_models(case):
    model, error, message = MODELS[case]
    with pytest.raises(error, match=message):
        rx.diagnose(model, X)


def test_a_model_without_an_activation():
    with pytest.raises(ValueError, match=r"no activation was found: expected calls of relujax or jax.nn activations"):
        rx.diagnose(lambda x: 2 * x, X)


def test_a_model_that_folds_examples_into_positions_is_told_why_nothing_is_measured():
    message = r"no activation was found; not measured: relu.*its first axis is 185 long, not the 37 of the examples"
    with pytest.raises(ValueError, match=message):
        rx.diagnose(lambda x: rx.relu(x.reshape(-1, 1)), X)


def test_activations_that_stand_where_the_probe_cannot_look_are_named():
    def model(x):
        return jax.lax.while_loop(lambda h: jnp.sum(jax.nn.selu(h)) > 1e3, lambda h: h / 2, x)

    message = r"no activation was found; not measured: selu in while.*test of a while loop.*: expected"
    with pytest.raises(ValueError, match=message):
        rx.diagnose(model, X)
