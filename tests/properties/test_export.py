"""Every member lowers for CPU, CUDA and TPU, and comes back from its bytes as the same function."""

import importlib.util

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from float_grids import ELEMENTWISE

pytestmark = pytest.mark.own_precision

PLATFORMS = ("cpu", "cuda", "tpu")
X = np.linspace(-4, 4, 39, dtype=np.float32).reshape(3, 13)


def value_and_slope(row, x):
    y, pull = jax.vjp(lambda x: row.fun(x, **row.example), x)
    return y, *pull(jnp.ones_like(y))


# One program for the whole family: what these tests spend their time on is lowering and compilation.
@jax.jit
def family(x):
    return {name: value_and_slope(row, x) for name, row in ELEMENTWISE.items()}


def test_every_member_is_the_same_after_export():
    exported = jax.export.export(family, platforms=PLATFORMS)(X)
    assert exported.platforms == PLATFORMS
    if importlib.util.find_spec("flatbuffers"):  # what JAX needs to write it to bytes, and does not bring
        exported = jax.export.deserialize(exported.serialize())
    want = family(X)
    for name, got in exported.call(X).items():
        for ours, direct in zip(got, want[name], strict=True):
            np.testing.assert_allclose(ours, direct, rtol=1e-6, atol=1e-6, err_msg=name)


def test_every_member_lowers_in_half_precision():
    exported = jax.export.export(family, platforms=PLATFORMS)(X.astype(jnp.bfloat16))
    assert {aval.dtype for aval in exported.out_avals} == {jnp.dtype(jnp.bfloat16)}
