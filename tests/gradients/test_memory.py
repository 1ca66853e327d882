"""The residual that a rule declares is the one XLA keeps: bytes per element of a compiled training step."""

import functools

import jax
import jax.numpy as jnp
import pytest

import relujax as rx

LAYERS, BATCH, WIDTH = 16, 1024, 128
ROWS = {row.name: row for row in rx.ACTIVATIONS.values() if row.elementwise}
# Matmuls alone keep 4.56 in a scan and 4.25 unrolled. Limits in a scan, unrolled, and in a scan whose body applies
# the activation before the matmul, where an output that is also the next layer's input costs nothing more.
BY_RESIDUAL = {"bits": (4.95, 4.45, 5.2), "output": (8.8, 4.55, 4.8), "input": (8.9, 8.3, 9.05)}
LIMITS = {name: BY_RESIDUAL[row.residual] for name, row in ROWS.items()} | {"sparse_sigmoid": (5.2, 4.6, 5.6)}
FORMS = ("scan", "unrolled", "scan, activation first")


def loss(act, form, weights, x):
    if form == "unrolled":
        for w in weights:
            x = act(x @ w)
        return jnp.sum(x**2)

    def body(h, w):
        return (act(h @ w) if form == "scan" else act(h) @ w), None

    return jnp.sum(jax.lax.scan(body, x, weights)[0] ** 2)


@functools.cache
def bytes_per_element(act, form):
    one = jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32)
    stacked = jax.ShapeDtypeStruct((LAYERS, WIDTH, WIDTH), jnp.float32)
    weights = [one] * LAYERS if form == "unrolled" else stacked
    step = jax.jit(jax.grad(functools.partial(loss, act, form)))
    compiled = step.lower(weights, jax.ShapeDtypeStruct((BATCH, WIDTH), jnp.float32)).compile()
    return compiled.memory_analysis().temp_size_in_bytes / (LAYERS * BATCH * WIDTH)


@functools.cache
def ours(name):
    row = ROWS[name]
    return functools.partial(row.fun, **row.example) if row.example else row.fun


@pytest.mark.parametrize(
    ("name", "form", "limit"),
    [(name, form, limit) for name in LIMITS for form, limit in zip(FORMS, LIMITS[name], strict=True)],
)
def test_at_most(name, form, limit):
    assert bytes_per_element(ours(name), form) <= limit


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [name for name in ROWS if hasattr(jax.nn, name) and name != "swish"])
def test_never_more_than_jax_nn(name, form):
    assert bytes_per_element(ours(name), form) <= bytes_per_element(getattr(jax.nn, name), form)


@pytest.mark.parametrize("form", ["scan", "unrolled"])
def test_a_fixed_slope_of_prelu_costs_what_a_leaky_relu_does(form):
    def fixed(x):
        return rx.prelu(x, 0.25)

    assert bytes_per_element(fixed, form) <= bytes_per_element(rx.leaky_relu, form)
