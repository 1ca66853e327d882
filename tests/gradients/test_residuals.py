"""What a backward pass keeps, to the byte."""

import jax
import jax.numpy as jnp
import pytest

import relujax as rx

SCALAR = 4  # a hyperparameter that the rule keeps, in float32


def shape(*dims, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(dims, dtype)


@pytest.mark.parametrize(
    ("fun", "per_element", "extra"),
    [
        (rx.relu, 1 / 8, 0),
        (rx.leaky_relu, 1 / 8, SCALAR),
        (lambda x: rx.prelu(x, 0.25), 1 / 8, SCALAR),
        (rx.elu, 4, SCALAR),
        (rx.sigmoid, 4, 0),
        (rx.tanh, 4, 0),
    ],
    ids=["relu", "leaky_relu", "prelu with a fixed slope", "elu", "sigmoid", "tanh"],
)
def test_float32(fun, per_element, extra):
    assert rx.residual_bytes(fun, shape(3, 16)) == 48 * per_element + extra


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize(
    ("fun", "per_element", "extra"),
    [(rx.relu, 1 / 8, 0), (rx.leaky_relu, 1 / 8, SCALAR), (rx.elu, 2, SCALAR), (rx.sigmoid, 2, 0), (rx.tanh, 2, 0)],
    ids=["relu", "leaky_relu", "elu", "sigmoid", "tanh"],
)
def test_half_precision_keeps_its_own_input_and_not_a_wide_copy(fun, per_element, extra, dtype):
    # With x64 a hyperparameter may be kept as the float64 that it was given as.
    assert 0 <= rx.residual_bytes(fun, shape(3, 16, dtype=dtype)) - 48 * per_element <= 2 * extra


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
def test_a_learnt_slope_costs_the_negative_part_of_the_input(dtype):
    kept = rx.residual_bytes(rx.prelu, shape(3, 16, dtype=dtype), shape(16))
    assert kept == 48 * jnp.dtype(dtype).itemsize + 16 * SCALAR


def test_a_slope_that_is_not_differentiated_costs_its_own_bytes_only():
    slopes = jnp.ones(16)
    assert rx.residual_bytes(lambda x: rx.prelu(x, slopes), shape(3, 16)) == 48 / 8 + 16 * SCALAR


@pytest.mark.parametrize(("dims", "expected"), [((), 1), ((1,), 1), ((8,), 1), ((9,), 2), ((3, 5), 3), ((4, 0), 0)])
def test_each_row_of_bits_ends_on_a_byte(dims, expected):
    assert rx.residual_bytes(rx.relu, shape(*dims)) == expected


@pytest.mark.parametrize("row", [r for r in rx.ACTIVATIONS.values() if r.elementwise], ids=lambda row: row.name)
def test_the_registry_tells_what_is_kept(row):
    rate = {"nothing": 0, "bits": 1 / 8, "output": 4, "input": 4}[row.residual]
    if row.name == "bilinear":  # its slope is the other argument, here one number
        rate = 0
    planes = 2 if row.name == "sparse_sigmoid" else 1  # it has three slopes
    kept = rx.residual_bytes(lambda x: row.fun(x, **row.example), shape(3, 64))
    assert 192 * rate * planes <= kept <= 192 * rate * planes + 8 * SCALAR


def test_a_chain_adds_up():
    def fun(x, w):
        return rx.tanh(rx.relu(x) @ w)

    matmul = 4 * (2 * 8 + 8 * 8)  # each operand, for the other's gradient
    assert rx.residual_bytes(fun, shape(2, 8), shape(8, 8)) == 2 * 8 // 8 + matmul + 4 * (2 * 8)


def test_less_than_jax_nn():
    x = shape(3, 16)
    assert rx.residual_bytes(rx.relu, x) * 8 <= rx.residual_bytes(jax.nn.relu, x)


def test_nothing_runs():
    # 4 TiB: only a count can afford it.
    assert rx.residual_bytes(rx.relu, shape(2**20, 2**20)) == 2**37
