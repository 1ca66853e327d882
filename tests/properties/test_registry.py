"""What a registry row says is true of its function, and names that are not in it are answered helpfully."""

import dataclasses
import functools
import inspect
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import ELEMENTWISE, ROWS, by_row, by_row64

import relujax as rx

README = Path(__file__).parents[2] / "README.md"
GRID = np.linspace(-12, 12, 24_001, dtype=np.float32)


@pytest.mark.parametrize("row", rx.ACTIVATIONS.values(), ids=lambda row: row.name)
def test_the_row_describes_its_function(row):
    assert rx.ACTIVATIONS[row.fun.__name__] is row
    assert getattr(rx, row.name) is row.fun
    assert row.formula.strip()
    assert row.reference.strip()
    assert row.residual in ("nothing", "output", "bits", "input")
    assert row.active in ("positive", "unsaturated")
    assert len(row.kinks) == len(row.kink_slopes)


@ROWS
def test_the_plain_formula_takes_the_same_hyperparameters(row):
    hyperparameters = list(inspect.signature(row.fun).parameters.values())[1:]
    assert {p.name for p in hyperparameters if p.default is p.empty} <= set(row.example)
    assert set(row.learnt) <= set(row.hyperparameters)
    given = {p.name: p.default for p in hyperparameters} | dict(row.example)
    jax.eval_shape(lambda x: row.plain(x, **given), GRID)


@pytest.mark.parametrize("row", rx.ACTIVATIONS.values(), ids=lambda row: row.name)
def test_docstring_tells_formula_cost_and_reference(row):
    doc = inspect.getdoc(row.fun)
    for part in (".. math::", "Args:", "Returns:", "Cost:", "Reference:", ">>>"):
        assert part in doc, part


def test_monotone():
    # In float64: in float32 XLA's tanh wobbles by 5 ulp.
    for name, y in by_row64(lambda row, x: row.fun(x, **row.example), GRID).items():
        assert (np.diff(y).min() >= -1e-14) == ELEMENTWISE[name].monotone, name


@functools.cache
def slopes_by_residual():
    """That of the rule, and that from the input."""

    def both(row, x):
        def slope(**choice):
            return jax.grad(lambda x: row.fun(x, **row.example, **choice).sum())(x)

        return slope(), slope(residual="input")

    return by_row(both, GRID)


def test_steepest():
    assert 0 in GRID  # where sigmoid and tanh are steepest
    for name, (slope, _) in slopes_by_residual().items():
        steepest = ELEMENTWISE[name].steepest
        if np.isinf(steepest):
            assert slope.argmax() == len(GRID) - 1, name
        else:
            assert slope.max() <= steepest * (1 + 1e-5), name
            assert slope.max() >= steepest * 0.99, name  # squareplus is still on its way


SOME = np.linspace(-4, 4, 256, dtype=np.float32)
UP = np.cos(SOME)


@functools.cache
def every_residual():
    """Of each row: what is kept by its rule, of two arrays where it takes two, and on request in two precisions."""

    def kept(fun, x):
        """The output, and the residual arrays of the size of ``x`` or packed; not the few bytes of a table."""
        y, pull = jax.vjp(fun, x)
        return y, [leaf for leaf in jax.tree.leaves(pull) if leaf.nbytes >= x.size // 8]

    def of(row, x, up, half):
        bound = functools.partial(row.fun, **row.example)
        from_input = functools.partial(bound, residual="input")
        gated = kept(lambda x: row.fun(x, up=up), x) if row.kin == "gated" else None
        return {"rule": kept(bound, x), "gated": gated, "input": kept(from_input, x), "half": kept(from_input, half)}

    return by_row(of, SOME, UP, SOME.astype(jnp.bfloat16))


@ROWS
def test_residual(row):
    """Of float32, where x alone is differentiated."""
    x, residuals = SOME, every_residual()[row.name]
    y, leaves = residuals["rule"]
    if row.kin == "gated":
        _, leaves = residuals["gated"]
        assert 1 <= len(leaves) <= 2
        assert all(any(np.array_equal(leaf, array) for array in (x, UP)) for leaf in leaves)
    elif row.residual == "bits":
        assert all(leaf.dtype == jnp.uint8 for leaf in leaves)
        assert sum(leaf.nbytes for leaf in leaves) <= 2 * 256 // 8
    elif row.residual == "nothing":
        assert not leaves
    else:
        [leaf] = leaves
        np.testing.assert_array_equal(leaf, y if row.residual == "output" else x)


@ROWS
def test_the_input_is_kept_on_request(row):
    if row.name != "bilinear":  # whose slope is the other argument
        residuals = every_residual()[row.name]
        np.testing.assert_array_equal(residuals["input"][1], [SOME])
        assert [leaf.dtype for leaf in residuals["half"][1]] == [jnp.bfloat16]


def test_the_residual_is_the_user_s_choice_and_changes_no_slope_beyond_rounding():
    for name, pair in slopes_by_residual().items():
        np.testing.assert_allclose(*pair, rtol=1e-6, atol=1e-6, err_msg=name)


def test_another_residual_is_refused():
    with pytest.raises(ValueError, match=r"relu got residual='bits': expected 'input' .* or leave it out"):
        rx.relu(1.0, residual="bits")


def test_the_registry_is_read_only():
    with pytest.raises(TypeError, match="does not support item assignment"):
        rx.ACTIVATIONS["mine"] = rx.ACTIVATIONS["relu"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        rx.ACTIVATIONS["relu"].steepest = 2.0


def test_activation_binds_hyperparameters():
    assert rx.activation("relu") is rx.relu
    assert rx.activation("leaky_relu", negative_slope=0.5)(-2.0).item() == -1.0
    assert rx.residual_bytes(rx.activation("relu", residual="input"), jax.ShapeDtypeStruct((800,), jnp.float32)) >= 3200
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


def test_the_readme_has_the_table_that_the_registry_makes():
    script = [sys.executable, "-W", "error", "-m", "benchmarks.family_table", "--check"]
    done = subprocess.run(script, cwd=README.parent, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)
