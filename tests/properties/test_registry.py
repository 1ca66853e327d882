"""What a registry row says is true of its function, and names that are not in it are answered helpfully."""

import dataclasses
import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import by_row, by_row64

import relujax as rx

ROWS = pytest.mark.parametrize("row", rx.ACTIVATIONS.values(), ids=lambda row: row.name)
README = Path(__file__).parents[2] / "README.md"
GRID = np.linspace(-12, 12, 24_001, dtype=np.float32)


@ROWS
def test_the_row_describes_its_function(row):
    assert rx.ACTIVATIONS[row.name] is row
    assert row.fun.__name__ == row.name
    assert getattr(rx, row.name) is row.fun
    assert row.formula.strip()
    assert row.reference.strip()
    assert row.residual in ("nothing", "output", "bits", "input")
    assert row.active in ("positive", "unsaturated")
    assert len(row.kinks) == len(row.kink_slopes)


@ROWS
def test_the_plain_formula_takes_the_same_hyperparameters(row):
    hyperparameters = list(inspect.signature(row.fun).parameters.values())[1:]
    assert {p.name for p in hyperparameters if p.default is p.empty} == set(row.example)
    given = {p.name: p.default for p in hyperparameters} | dict(row.example)
    jax.eval_shape(lambda x: row.plain(x, **given), GRID)


@ROWS
def test_docstring_tells_formula_cost_and_reference(row):
    doc = inspect.getdoc(row.fun)
    for part in (".. math::", "Args:", "Returns:", "Cost:", "Reference:", ">>>"):
        assert part in doc, part


def test_monotone():
    # In float64: in float32 XLA's tanh wobbles by 5 ulp.
    for name, y in by_row64(lambda row, x: row.fun(x, **row.example), GRID).items():
        assert (np.diff(y).min() >= -1e-14) == rx.ACTIVATIONS[name].monotone, name


def test_steepest():
    assert 0 in GRID  # where sigmoid and tanh are steepest
    slopes = by_row(lambda row, x: jax.grad(lambda x: row.fun(x, **row.example).sum())(x), GRID)
    for name, slope in slopes.items():
        np.testing.assert_allclose(slope.max(), rx.ACTIVATIONS[name].steepest, rtol=1e-5, err_msg=name)


def test_the_registry_is_read_only():
    with pytest.raises(TypeError, match="does not support item assignment"):
        rx.ACTIVATIONS["mine"] = rx.ACTIVATIONS["relu"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        rx.ACTIVATIONS["relu"].steepest = 2.0


def test_activation_binds_hyperparameters():
    assert rx.activation("relu") is rx.relu
    assert rx.activation("leaky_relu", negative_slope=0.5)(-2.0).item() == -1.0
    np.testing.assert_array_equal(rx.activation("prelu")(jnp.array([-2.0]), jnp.array([0.25])), [-0.5])
    grads = jax.grad(lambda a: rx.activation("elu", alpha=a)(jnp.float32(-1)))(jnp.float32(1))
    np.testing.assert_allclose(grads, np.expm1(-1), rtol=1e-6)


@pytest.mark.parametrize(("name", "nearest"), [("leeky_relu", "leaky_relu"), ("sigmod", "sigmoid"), ("tan", "tanh")])
def test_an_unknown_name_lists_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=rf"unknown activation '{name}': expected one of .* mean .*\b{nearest}\b"):
        rx.activation(name)


def test_a_name_that_is_near_to_nothing_lists_them_all():
    with pytest.raises(ValueError, match="expected one of") as caught:
        rx.activation("xyzzy")
    assert all(name in str(caught.value) for name in rx.ACTIVATIONS)


def test_an_unknown_hyperparameter_is_named_with_the_known_ones():
    with pytest.raises(TypeError, match="leaky_relu got the hyperparameter 'slope': expected one of negative_slope"):
        rx.activation("leaky_relu", slope=0.2)
    with pytest.raises(TypeError, match="relu got the hyperparameter 'alpha': expected none"):
        rx.activation("relu", alpha=1.0)


def test_the_readme_lists_the_family_as_the_registry_has_it():
    listed = re.findall(r"^\| `rx\.(\w+)` \| (.+?) \| .+ \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [(row.name, row.formula) for row in rx.ACTIVATIONS.values()]
