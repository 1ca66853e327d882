"""Few-bit derivatives: no better step function exists, and the gradient is that step function's value."""

import contextlib
import functools
import itertools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, ndtr
from test_memory import ON_CPU, bytes_per_element

import relujax as rx

exact_gelu = functools.partial(jax.nn.gelu, approximate=False)
FUNCTIONS = {
    "gelu": exact_gelu,
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
}


def normal(x):
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


# Written out, so that the tables are judged by another derivative and another quadrature than their own.
DERIVATIVES = {
    "gelu": lambda x: ndtr(x) + x * normal(x),
    "silu": lambda x: expit(x) * (1 + x * (1 - expit(x))),
    "elu": lambda x: np.exp(np.minimum(x, 0)),
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
    "softplus": expit,
}
DENSITIES = {"uniform": np.ones_like, "gaussian": normal}
LO, HI = -12.0, 12.0

# Integral of (f' - q)^2 over [-12, 12] at 1, 2, 3, 4 bits: the optimum, by an exact dynamic programme of our own, to
# the digits it was noted in, and the tables of fewbit (Novikov et al. 2022, arXiv:2202.00441), local optima.
OPTIMUM = {
    "gelu": (0.1411, 0.0414, 0.0119, 0.0031),
    "silu": (0.2150, 0.0502, 0.0172, 0.0046),
    "elu": (0.1677, 0.0255, 0.0052, 0.0012),
    "tanh": (1.058, 0.115, 0.0260, 0.0065),
    "softplus": (0.306, 0.0556, 0.0123, 0.0029),
}
PUBLISHED = {
    "gelu": (0.1411, 0.0444, 0.0120, 0.0041),
    "silu": (0.2150, 0.0584, 0.0273, 0.0054),
    "elu": (0.1877, 0.0268, 0.0072, 0.0016),
    "tanh": (1.262, 0.119, 0.0265, 0.0088),
    "softplus": (0.368, 0.0605, 0.0129, 0.0030),
}
# Square root of the mean of (f' - q)^2 under N(0, 1) at 2, 3, 4 bits, likewise.
RMS = {"gelu": (0.0894, 0.0437, 0.0242), "silu": (0.0889, 0.0440, 0.0218)}


@functools.cache
def running(name, weight, count=48_000):
    """Edges, and integrals of w, w f', w f'^2 from the left end to each: Simpson's rule on a fine grid."""
    edges = np.linspace(LO, HI, count + 1)
    x = np.stack([edges[:-1], (edges[:-1] + edges[1:]) / 2, edges[1:]])
    w, f = DENSITIES[weight](x), DERIVATIVES[name](x)
    simpson = np.array([1, 4, 1])[:, None] / 6 * (HI - LO) / count
    return edges, np.stack([np.r_[0, np.cumsum((simpson * w * f**k).sum(0))] for k in range(3)])


def cost(name, weight, boundaries):
    """Error of the best levels for given boundaries, over the last axis."""
    edges, sums = running(name, weight)
    ends = np.ones((*boundaries.shape[:-1], 1))
    at = np.concatenate([LO * ends, np.sort(np.clip(boundaries, LO, HI)), HI * ends], axis=-1)
    mass, first, second = (np.diff(np.interp(at, edges, s), axis=-1) for s in sums)
    return np.sum(second - np.where(mass > 1e-12, first**2 / np.maximum(mass, 1e-12), 0), axis=-1)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_error_at_most_the_optimum_and_the_published_one(name, bits):
    table = rx.few_bit_table(FUNCTIONS[name], bits)
    digits = 4 if OPTIMUM[name][bits - 1] < 0.1 or name in ("gelu", "silu", "elu") else 3
    assert table.error <= OPTIMUM[name][bits - 1] + 0.5 * 10.0**-digits
    assert round(table.error, digits) <= PUBLISHED[name][bits - 1]
    assert table.error == pytest.approx(cost(name, "uniform", table.boundaries), abs=1e-7)


@pytest.mark.parametrize("name", RMS)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_rms_under_a_normal_input(name, bits):
    table = rx.few_bit_table(FUNCTIONS[name], bits, weight="gaussian")
    assert np.sqrt(table.error) <= RMS[name][bits - 2] + 1e-4
    assert table.error == pytest.approx(cost(name, "gaussian", table.boundaries), abs=1e-7)


@pytest.mark.parametrize("weight", DENSITIES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_boundaries_on_a_coarse_grid_do_better(name, weight):
    grid = np.linspace(-6, 6, 41)
    every = np.array(list(itertools.combinations(grid, 3)))
    assert rx.few_bit_table(FUNCTIONS[name], 2, weight=weight).error <= cost(name, weight, every).min()


@pytest.mark.parametrize("weight", DENSITIES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_descent_from_anywhere_does_better(name, weight):
    random = np.random.default_rng(0)
    for bits in (2, 3):
        table = rx.few_bit_table(FUNCTIONS[name], bits, weight=weight)
        starts = [table.boundaries, *np.sort(random.normal(0, 2, (3, 2**bits - 1)))]
        found = [minimize(lambda b: cost(name, weight, b), s, method="Powell", tol=1e-7).fun for s in starts]
        assert table.error <= min(found) + 1e-6


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gaussian_levels_are_right_on_average(name, bits):
    table = rx.few_bit_table(FUNCTIONS[name], bits, weight="gaussian")
    chances = np.diff(ndtr(np.r_[-np.inf, table.boundaries, np.inf]))
    x = np.linspace(LO, HI, 200_001)  # the trapezoidal rule is all but exact for what decays like this
    mean = np.sum(DERIVATIVES[name](x) * normal(x)) * (x[1] - x[0])
    assert chances @ table.levels == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize(
    ("fun", "jumps"),
    [
        (jax.nn.relu, [0.0]),
        (rx.leaky_relu, [0.0]),
        (rx.relu6, [0.0, 6.0]),
        (lambda x: jax.nn.relu(x - 0.303), [0.303]),
        (lambda x: jnp.abs(x - 1 / 3) + 2 * jnp.abs(x + jnp.pi), [-np.pi, 1 / 3]),
    ],
    ids=["relu", "leaky_relu", "relu6", "shifted relu", "sum of absolute values"],
)
def test_jumps_are_found_where_they_are(fun, jumps):
    table = rx.few_bit_table(fun, 2 if len(jumps) > 1 else 1)
    assert table.error < 1e-12
    for jump in jumps:
        assert np.abs(table.boundaries - jump).min() < 1e-15


def test_more_bits_are_closer_up_to_eight():
    errors = [rx.few_bit_table(jax.nn.gelu, bits).error for bits in range(1, 9)]
    # With n pieces the error is about c / n^2.
    assert all(3.4 < coarse / fine < 4 for coarse, fine in itertools.pairwise(errors[1:]))


def test_records_are_shared_and_stay_as_they_are():
    table = rx.few_bit_table(jax.nn.silu, 3, interval=(-12, 12))
    assert table is rx.few_bit_table(jax.nn.silu, np.int64(3))
    assert (table.boundaries.shape, table.levels.shape) == ((7,), (8,))
    assert (np.diff(table.boundaries) > 0).all()
    with pytest.raises(ValueError, match="read-only"):
        table.levels[0] = 1


def test_equal_arguments_give_the_same_function():
    assert rx.few_bit(jax.nn.silu, 3) is rx.few_bit(jax.nn.silu, 3, interval=(-12, 12))
    assert rx.few_bit(jax.nn.silu, 3) is not rx.few_bit(jax.nn.silu, 3, weight="gaussian")


def test_an_interval_is_where_the_steps_are():
    table = rx.few_bit_table(jax.nn.gelu, 3, interval=(0.5, 2.0))
    assert ((table.boundaries > 0.5) & (table.boundaries < 2)).all()
    assert table.error < rx.few_bit_table(jax.nn.gelu, 3).error / 10


def lookup(table, x, wide=np.float32):
    """Slopes of half-precision and float32 numbers, in NumPy; a boundary belongs to its left."""
    return table.levels.astype(wide)[np.searchsorted(table.boundaries.astype(wide), x.astype(wide), "left")]


def points(table, dtype):
    """Both sides of the boundaries and the boundaries, far outside, zeros, and many between."""
    at = table.boundaries.astype(np.float32)
    sides = [at, np.nextafter(at, np.float32(-np.inf)), np.nextafter(at, np.float32(np.inf))]
    sides = [np.where(np.abs(side) < 1e-37, 0, side) for side in sides]  # XLA flushes subnormals
    return np.concatenate([*sides, [0.0, -0.0, -1e4, 1e4, np.inf, -np.inf], np.linspace(-13, 13, 302)]).astype(dtype)


def slopes(fun, x, g=1.0):
    return jax.vjp(fun, x)[1](jnp.full(x.shape, g, x.dtype))[0]


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
def test_the_gradient_is_looked_up(bits):
    table = rx.few_bit_table(jax.nn.gelu, bits)
    x = points(table, np.float32)
    np.testing.assert_array_equal(slopes(rx.few_bit(jax.nn.gelu, bits), x, 3.0), np.float32(3) * lookup(table, x))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    table = rx.few_bit_table(jax.nn.silu, 4)
    x = points(table, dtype)
    got = slopes(rx.few_bit(jax.nn.silu, 4), x, 1.7)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, (np.asarray(1.7, dtype).astype(np.float32) * lookup(table, x)).astype(dtype))


def test_in_double_precision():
    table = rx.few_bit_table(jax.nn.silu, 2)
    with jax.enable_x64(True):
        at = table.boundaries
        x = np.concatenate([at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf), np.linspace(-3, 3, 7)])
        np.testing.assert_array_equal(slopes(rx.few_bit(jax.nn.silu, 2), x), lookup(table, x, np.float64))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
@pytest.mark.parametrize(
    "fun", [jax.nn.gelu, jax.nn.silu, rx.elu, jnp.tanh, lambda x: x * jnp.sin(x)], ids=lambda fun: fun.__name__
)
def test_values_are_those_of_the_function(fun, dtype):
    x = np.append(np.linspace(-15, 15, 1003), [np.nan, np.inf, -np.inf]).astype(dtype)
    few = rx.few_bit(fun, 2)
    want = jax.jit(fun)(x)
    np.testing.assert_array_equal(few(x), want)
    np.testing.assert_array_equal(jax.vjp(few, x)[0], want)


def test_a_nan_has_the_last_slope_and_a_nan_from_above_stays():
    few = rx.few_bit(jax.nn.gelu, 2)
    x = np.array([np.nan, 20], np.float32)
    top, at_20 = slopes(few, x)
    assert top == at_20
    assert np.isnan(jax.grad(lambda x: jnp.sum(few(x) ** 2))(x)[0])


@pytest.mark.parametrize("shape", [(), (1,), (8,), (13,), (3, 13), (2, 3, 5), (4, 0)])
def test_any_shape(shape):
    table = rx.few_bit_table(jax.nn.gelu, 3)
    few = rx.few_bit(jax.nn.gelu, 3)
    x = np.random.default_rng(1).normal(0, 2, shape).astype(np.float32)
    np.testing.assert_array_equal(slopes(few, jnp.asarray(x)), lookup(table, x))
    last = shape[-1] if shape else 1
    assert rx.residual_bytes(few, x) == (-(-last // 8) + -(-last // 4)) * int(np.prod(shape[:-1]))  # one bit and two


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_bytes_kept(bits, dtype):
    x = jax.ShapeDtypeStruct((16, 64), dtype)
    assert rx.residual_bytes(rx.few_bit(jax.nn.gelu, bits), x) == 16 * 64 * bits // 8


def test_under_every_transformation_of_reverse_mode():
    table = rx.few_bit_table(jax.nn.gelu, 2)
    few = rx.few_bit(jax.nn.gelu, 2)
    x = np.random.default_rng(2).normal(0, 2, (3, 11)).astype(np.float32)
    want = lookup(table, x)

    def scanned(x):
        return jnp.sum(jax.lax.scan(lambda total, row: (total + jnp.sum(few(row)), None), 0.0, x)[0])

    forms = {
        "jit": jax.jit(jax.grad(lambda x: jnp.sum(few(x)))),
        "vmap of grad": jax.vmap(jax.vmap(jax.grad(few))),
        "vmap over columns": jax.vmap(jax.grad(lambda x: jnp.sum(few(x))), in_axes=1, out_axes=1),
        "grad of vmap": jax.grad(lambda x: jnp.sum(jax.vmap(few)(x))),
        "scan": jax.grad(scanned),
        "remat": jax.grad(lambda x: jnp.sum(jax.checkpoint(few)(x))),
        "jit of remat": jax.jit(jax.grad(jax.checkpoint(lambda x: jnp.sum(few(x))))),
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(form(jnp.asarray(x)), want, err_msg=name)


def test_a_second_derivative_takes_the_slope_for_constant():
    few = rx.few_bit(jax.nn.gelu, 2)
    slope = float(jax.grad(few)(0.3))
    assert jax.grad(jax.grad(few))(0.3) == 0
    assert float(jax.grad(jax.grad(lambda x: few(x) ** 2))(0.3)) == pytest.approx(2 * slope**2, rel=1e-6)


@pytest.mark.parametrize("where", [jax.jit, jax.vmap])
def test_first_asked_for_while_tracing(where):
    def fun(x):
        return jax.nn.silu(x) * 0.5  # a new function each time: nothing is cached

    x = jnp.linspace(-2, 2, 9)
    got = where(lambda x: rx.few_bit(fun, 2)(x))(x)
    np.testing.assert_array_equal(got, jax.jit(fun)(x))


def test_first_asked_for_inside_a_differentiated_scan():
    def fun(x):
        return jax.nn.silu(x) * 0.5

    def total(x):
        return jax.lax.scan(lambda c, x: (c + rx.few_bit(fun, 2)(x), None), jnp.zeros((), x.dtype), x)[0]

    x = np.linspace(-2, 2, 9).astype(np.float32)
    np.testing.assert_array_equal(jax.jit(jax.grad(total))(x), lookup(rx.few_bit_table(fun, 2), x))


def test_no_tracer_leaks():
    with jax.checking_leaks():
        slope = jax.jit(jax.grad(rx.few_bit(lambda x: jnp.tanh(x) / 2, 2)))(0.25)
    assert slope == jax.grad(rx.few_bit(lambda x: jnp.tanh(x) / 2, 2))(0.25)


# Devices are counted when jax starts, which it has by now: another process has four of them.
MANY_DEVICES = """
import jax, json, numpy as np, relujax as rx
from jax.sharding import AxisType, PartitionSpec as P

for kind in (AxisType.Auto, AxisType.Explicit):
    def fun(x):
        return jax.nn.silu(x) * 0.5

    def slopes(x):
        return jax.vjp(rx.few_bit(fun, 2), x)[1](jax.numpy.ones_like(x))[0]

    with jax.set_mesh(jax.make_mesh((4,), ("data",), axis_types=(kind,))):
        x = jax.device_put(np.linspace(-2, 2, 8, dtype=np.float32), P("data"))
        print(json.dumps(jax.jit(jax.shard_map(slopes, in_specs=P("data"), out_specs=P("data")))(x).tolist()))
"""


def test_first_asked_for_inside_a_shard_map():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", MANY_DEVICES], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    want = lookup(rx.few_bit_table(lambda x: jax.nn.silu(x) * 0.5, 2), np.linspace(-2, 2, 8, dtype=np.float32))
    for line in done.stdout.splitlines()[-2:]:
        np.testing.assert_allclose(json.loads(line), want, rtol=1e-6)


@contextlib.contextmanager
def disallowed_in_all_threads():
    before = jax.config.jax_transfer_guard
    jax.config.update("jax_transfer_guard", "disallow")
    try:
        yield
    finally:
        jax.config.update("jax_transfer_guard", before)


@pytest.mark.parametrize("guard", [lambda: jax.transfer_guard("disallow"), disallowed_in_all_threads])
def test_first_asked_for_where_transfers_are_disallowed(guard):
    x = jnp.linspace(-2, 2, 9)
    few = jax.jit(lambda x: rx.few_bit(lambda x: jax.nn.silu(x) * 0.5, 2)(x))
    with guard():
        y = few(x)
    np.testing.assert_allclose(y, jax.nn.silu(x) * 0.5, rtol=1e-6)


def test_a_function_that_closes_over_a_traced_value_is_refused():
    with pytest.raises(TypeError, match="got a function that closes over a traced value"):
        jax.jit(lambda x, a: rx.few_bit(lambda x: jax.nn.silu(a * x))(x))(jnp.ones(3), jnp.float32(2))


def test_forward_mode_is_refused():
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jvp(rx.few_bit(jax.nn.gelu), (1.0,), (1.0,))


def test_a_probe_finds_it_by_name():
    def fun(x):
        return rx.few_bit(jax.nn.silu, 2)(x)

    assert [site.kind for site in rx.sites(fun, jax.ShapeDtypeStruct((4, 8), jnp.float32))] == ["silu"]
    assert rx.few_bit(exact_gelu).__name__ == "partial"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 0}, "got bits=0, expected 1 to 8"),
        ({"bits": 9}, "got bits=9, expected 1 to 8"),
        ({"weight": "normal"}, "got weight='normal', expected 'uniform' or 'gaussian'"),
        ({"interval": (1, 1)}, r"got interval=\(1, 1\), expected finite"),
        ({"interval": (-np.inf, 1)}, "expected finite"),
        ({"fun": lambda x: jnp.sqrt(x), "interval": (-1, 1)}, "got a derivative of .* choose an interval"),
    ],
)
@pytest.mark.parametrize("verb", [rx.few_bit, rx.few_bit_table])
def test_what_is_refused(verb, arguments, message):
    with pytest.raises(ValueError, match=message):
        verb(**{"fun": jax.nn.gelu} | arguments)


@ON_CPU
@pytest.mark.parametrize(
    ("bits", "form", "limit"),
    [
        (1, "scan", 4.95),
        (1, "unrolled", 4.55),
        (2, "scan", 5.1),
        (2, "unrolled", 4.55),
        (4, "scan", 5.35),
        (4, "unrolled", 4.8),
    ],
)
def test_memory_of_a_training_step(bits, form, limit):
    assert bytes_per_element(rx.few_bit(jax.nn.gelu, bits), form) <= limit
