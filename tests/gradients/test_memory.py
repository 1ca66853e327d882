"""The residual that a rule declares is the one XLA keeps: bytes per element of a compiled training step.

A sample of each kind; `python -m benchmarks.memory` asserts every member of the registry.
"""

import jax
import pytest

import relujax as rx
from benchmarks.memory import FORMS, bytes_per_element, limits

ON_CPU = pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="limits of the CPU's compiler; python -m benchmarks.accelerator has others"
)
pytestmark = [pytest.mark.own_precision, ON_CPU]

SAMPLE = ("relu", "leaky_relu", "sparse_sigmoid", "elu", "tanh", "relu_squared", "gelu", "silu", "hard_silu")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SAMPLE)
def test_at_most_the_limit_and_never_more_than_jax_nn(name, form):
    ours = bytes_per_element(rx.ACTIVATIONS[name].fun, form)
    assert ours <= limits(name)[FORMS.index(form)]
    if hasattr(jax.nn, name):
        assert ours <= bytes_per_element(getattr(jax.nn, name), form)


@pytest.mark.parametrize("form", ["scan", "unrolled"])
def test_a_fixed_slope_of_prelu_costs_what_a_leaky_relu_does(form):
    def fixed(x):
        return rx.prelu(x, 0.25)

    assert bytes_per_element(fixed, form) <= bytes_per_element(rx.leaky_relu, form)
