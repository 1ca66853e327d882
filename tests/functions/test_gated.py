"""Gated units: two arrays, gradients of both, and the corners where one of them is not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

GATED = {row.name: row for row in rx.ACTIVATIONS.values() if row.kin == "gated" and row.name != "glu"}
ROWS = pytest.mark.parametrize("row", GATED.values(), ids=lambda row: row.name)
RNG = np.random.default_rng(3)
GATE, UP = (RNG.normal(size=(5, 6)).astype(np.float32) * 4 for _ in range(2))


def gradients(fun, gate, up):
    y, pull = jax.vjp(fun, gate, up)
    return [y, *pull(jnp.ones_like(y))]


@ROWS
def test_values_and_both_gradients_are_the_formula_s(row):
    with jax.enable_x64(True):
        want = gradients(row.plain, GATE.astype(np.float64), UP.astype(np.float64))
    for got, of_formula in zip(gradients(row.fun, GATE, UP), want, strict=True):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, of_formula, rtol=3e-6, atol=3e-6)


@ROWS
def test_half_precision_is_rounded_once(row):
    gate, up = (jnp.asarray(a, jnp.bfloat16) for a in (GATE, UP))
    wide = gradients(row.fun, gate.astype(jnp.float32), up.astype(jnp.float32))
    for got, want in zip(gradients(row.fun, gate, up), wide, strict=True):
        assert got.dtype == jnp.bfloat16
        np.testing.assert_allclose(got.astype(jnp.float32), want.astype(jnp.bfloat16).astype(jnp.float32), rtol=1e-6)


@ROWS
def test_it_keeps_its_two_arguments(row):
    shape = jax.ShapeDtypeStruct((64, 128), jnp.bfloat16)
    assert rx.residual_bytes(row.fun, shape, shape) <= 2 * 64 * 128 * 2 + 16


@pytest.mark.parametrize("name", ["geglu", "swiglu", "clamped_swiglu"])
def test_a_gate_at_minus_infinity_is_shut(name):
    y, of_gate, of_up = gradients(GATED[name].fun, np.float32([-np.inf]), np.float32([2.0]))
    tiny = np.finfo(np.float32).tiny  # GPUs keep the subnormal numbers that are 0 on CPUs
    assert max(abs(y.item()), abs(of_gate.item()), abs(of_up.item())) <= tiny


@ROWS
def test_nan_comes_through_from_either_side(row):
    nan, one = np.float32([np.nan]), np.float32([1.0])
    for gate, up in ((nan, one), (one, nan)):
        y, of_gate, of_up = gradients(row.fun, gate, up)
        assert np.isnan(y).all()
        assert np.isnan(of_gate).all() or np.isnan(of_up).all()


def test_the_clamp_of_clamped_swiglu():
    def of_up(up):
        return jax.grad(rx.clamped_swiglu, argnums=1)(2.0, up).item()

    open_gate = rx.swish(2.0, 1.702).item()
    assert rx.clamped_swiglu(2.0, 100.0).item() == pytest.approx(8 * open_gate, rel=1e-6)
    assert rx.clamped_swiglu(2.0, -100.0).item() == pytest.approx(-6 * open_gate, rel=1e-6)
    assert [of_up(up) for up in (-7.5, 7.5)] == [0, 0]
    assert [of_up(up) for up in (-7.0, 7.0)] == pytest.approx([open_gate] * 2, rel=1e-6)
    assert rx.clamped_swiglu(1e9, 0.0).item() == pytest.approx(7, rel=1e-5)
    assert rx.clamped_swiglu(1e9, 0.0, limit=3.0).item() == pytest.approx(3 / (1 + np.exp(-3 * 1.702)), rel=1e-6)


def test_glu_is_the_first_half_times_the_sigmoid_of_the_second():
    x = np.concatenate([GATE, UP], axis=1)
    np.testing.assert_allclose(rx.glu(x), jax.nn.glu(x), rtol=1e-6)
    np.testing.assert_allclose(rx.glu(x.T, axis=0), jax.nn.glu(x.T, axis=0), rtol=1e-6)
    with pytest.raises(ValueError, match=r"glu got an input of shape \(5, 3\) and axis -1: expected .* even length"):
        rx.glu(x[:, :3])


def test_the_probe_finds_the_gate():
    def block(w, x):
        return rx.swiglu(x @ w["gate"], x @ w["up"])

    w = {name: jax.ShapeDtypeStruct((6, 8), jnp.float32) for name in ("gate", "up")}
    kinds = [site.kind for site in rx.sites(block, w, jax.ShapeDtypeStruct((4, 6), jnp.float32))]
    assert "swiglu" not in kinds
