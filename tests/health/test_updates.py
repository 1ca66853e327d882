"""The rule about updates: how far one step moves the weights, on both sides of each threshold."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from test_alarms import ROW, stack

import relujax as rx
from relujax.health import Skipped

RULE = "update/weight ratio"


def tree(**sizes):
    """A kernel of this mean absolute size per layer, and a bias that no rule looks at."""
    return {name: {"kernel": jnp.array([[size, -size]]), "bias": jnp.ones(2)} for name, size in sizes.items()}


def told(first=1e-3, second=1e-3, summary=None, weights=(2.0, 2.0)):
    """Alarms of two layers of weights of size 2, whose updates are these shares of it."""
    summary = summary or stack({"weights": ("a/kernel", "a/bias")}, {"weights": ("b/kernel", "b/bias")})
    params = tree(a=weights[0], b=weights[1])
    found = rx.alarms(summary, params=params, updates=tree(a=2.0 * first, b=2.0 * second))
    assert RULE not in {one.rule for one in found.skipped}
    return [alarm for alarm in found if alarm.rule == RULE]


@pytest.mark.parametrize(
    ("ratio", "severity"),
    [
        (0.9e-8, "critical"),
        (1.1e-8, "warning"),
        (0.9e-4, "warning"),
        (1.1e-4, None),
        (0.09, None),
        (0.11, "warning"),
        (9.0, "warning"),
        (11.0, "critical"),
        (math.inf, "critical"),
        (math.nan, "critical"),
        (0.0, "critical"),
    ],
)
def test_each_threshold(ratio, severity):
    found = told(second=ratio)
    assert [alarm.severity for alarm in found] == ([severity] if severity else [])
    for alarm in found:
        assert (alarm.site, alarm.source) == ("1/relu", "model.py:11")
        assert alarm.message.startswith("b/kernel: one step changes the weights by ")
        assert "TheDeepChecker" in alarm.reference
        assert "SageMaker" in alarm.reference


def test_the_words():
    [fast] = told(0.2, 0.5)
    assert fast.message == (
        "a/kernel: one step changes the weights by 0.2 of their size, above 0.1; most so in b/kernel with 0.5; 2 "
        "weights in all"
    )
    assert "a lower learning rate" in fast.remedy
    [slow] = told(1e-5)
    assert slow.message == "a/kernel: one step changes the weights by 1e-05 of their size, below 1e-4"
    assert "a higher learning rate" in slow.remedy
    [still] = told(0.0)
    assert still.message == "a/kernel: one step changes the weights by nothing, below 1e-4"
    assert "frozen on purpose" in still.remedy
    assert [alarm.remedy.split()[1] for alarm in told(0.5, 1e-5)] == ["lower", "higher"]


def test_the_ratio_is_of_means_of_absolute_values():
    """Mean |update| is 0.3 (of 0.6 and 0), mean |weight| is 2 (of -1 and 3): 0.15."""
    params, updates = {"w": jnp.array([[-1.0, 3.0]])}, {"w": jnp.array([[-0.6, 0.0]])}
    [alarm] = [a for a in rx.alarms(rx.Summary((ROW,)), params=params, updates=updates) if a.rule == RULE]
    assert "by 0.15 of their size" in alarm.message
    assert (alarm.site, alarm.source) == (None, None)  # no activation comes after these weights


def test_weights_that_are_all_zero_and_biases_have_no_size_to_compare_with():
    assert told(first=5.0, weights=(0.0, 2.0)) == []
    params = {"kernel": jnp.zeros((2, 2)), "bias": jnp.ones(2), "steps": jnp.ones((2, 2), jnp.int32)}
    found = rx.alarms(stack({}), params=params, updates=params)
    assert Skipped(RULE, "params holds no weight matrix that is not all 0") in found.skipped


def test_each_layer_of_a_stack_is_compared_by_itself():
    """Shares 1e-3, 0.5 and 1e-3: the mean over all is 0.17, and only layer 1 is beyond the bound."""
    rows = [{"weights": ("stack/kernel",), "step": (i,), "steps": (3,)} for i in range(3)]
    kernel, share = np.ones((3, 2, 2), np.float32), np.float32([1e-3, 0.5, 1e-3])
    updates = {"stack": {"kernel": kernel * share[:, None, None]}}
    [alarm] = [
        a for a in rx.alarms(stack(*rows), params={"stack": {"kernel": kernel}}, updates=updates) if a.rule == RULE
    ]
    assert alarm.message == "stack/kernel[1]: one step changes the weights by 0.5 of their size, above 0.1"
    assert alarm.site == "1/relu"


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, np.float64])
def test_any_precision(dtype):
    """A sum of a million float16 numbers would overflow."""
    params, updates = {"w": np.ones((1000, 1000), dtype)}, {"w": np.full((1000, 1000), 0.25, dtype)}
    [alarm] = [a for a in rx.alarms(stack({}), params=params, updates=updates) if a.rule == RULE]
    assert "by 0.25 of their size" in alarm.message


def test_a_mean_that_half_precision_cannot_hold():
    """One of 2 entries is the least float16, 2^-24, and so the mean is 2^-25."""
    params, updates = {"w": np.full((1, 2), 2.0**-14, np.float16)}, {"w": np.float16([[2.0**-24, 0]])}
    assert not [a for a in rx.alarms(stack({}), params=params, updates=updates) if a.rule == RULE]  # 2^-11


def test_an_array_alone_is_a_tree():
    found = rx.alarms(stack({}), params=jnp.ones((2, 2)), updates=jnp.ones((2, 2)))
    assert "params: one step changes the weights by 1 of their size" in found[0].message


GOOD = tree(a=1.0)


@pytest.mark.parametrize(
    ("params", "updates", "words"),
    [
        (GOOD, None, "got params and no updates: expected both"),
        (None, GOOD, "got updates and no params: expected both"),
        (
            GOOD,
            tree(b=1.0),
            r"got params with 2 arrays and updates with 2, which differ in 'a/bias', 'a/kernel', 'b/bias'",
        ),
        (GOOD, {"a": {"kernel": GOOD["a"]["kernel"]}}, "differ in 'a/bias': expected trees of the same structure"),
        (
            GOOD,
            {"a": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}},
            r"got 'a/kernel' of shape \(1, 2\) in params and \(3, 2\) in updates: expected the same shapes",
        ),
        ({"w": "text"}, {"w": "text"}, "got params with a leaf of type str: expected a tree of arrays"),
    ],
)
def test_bad_trees(params, updates, words):
    with pytest.raises(ValueError, match=words):
        rx.alarms(stack({}), params=params, updates=updates)


def test_a_real_step_of_a_probed_model():
    """Gradient descent at a rate that moves the second layer by half its size, and the first by a thousandth."""

    def model(params, x):
        return rx.relu(rx.relu(x @ params["first"]["kernel"]) @ params["second"]["kernel"])

    params = {"first": {"kernel": jnp.eye(3)}, "second": {"kernel": 2 * jnp.eye(3)}}
    _, stats = rx.probe(model)(params, jnp.ones((8, 3)))
    updates = {"first": {"kernel": jnp.eye(3) * 1e-3}, "second": {"kernel": jnp.eye(3)}}
    [alarm] = [a for a in rx.alarms(rx.summarize(stats), params=params, updates=updates) if a.rule == RULE]
    assert (alarm.site, alarm.severity) == ("second/relu", "warning")
    assert "test_updates.py:" in alarm.source
