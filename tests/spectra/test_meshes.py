"""Batches that a mesh of devices divides, and `shard_map`: the spectra of one device, divided as the examples are."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.own_precision

# Devices are counted when jax starts, which it has by now: another process has four of them.
PROGRAM = """
import json
import jax, jax.numpy as jnp, numpy as np, relujax as rx
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

weights = jax.random.normal(jax.random.key(0), (4, 6, 6)) / 2
wide = jax.random.normal(jax.random.key(3), (4, 36, 36)) / 5
points = np.asarray(jax.random.normal(jax.random.key(1), (8, 6)))
key = jax.random.key(2)


def layer(h, w):
    return rx.leaky_relu(w @ h, 0.2)


def net(x):
    return jax.lax.scan(lambda h, w: (layer(h, w), None), x, weights)[0]


def density(x):
    found = rx.spectral_density(net, steps=3)(x, key)
    return found.nodes, jnp.sum(found.weights * found.nodes, axis=-1)


CASES = {
    "spectrum": rx.spectrum(net),
    "chunk": rx.spectrum(net, chunk=2),
    "num": lambda x: rx.spectrum(net, num=2)(x, key),
    "layer_spectra": rx.layer_spectra(net),
    "stack_spectrum": rx.stack_spectrum(rx.Scan(layer, weights)),
    "wide": lambda x: rx.stack_spectrum(rx.Scan(layer, wide))(jnp.tile(x, 6)),
    "closed over": lambda x: rx.stack_spectrum(rx.Scan(lambda h, w: jnp.tanh(w @ h + x[0]), weights))(jnp.ones(6)),
    "list of layers": rx.stack_spectrum([lambda h: weights[0, :4] @ h, lambda h: layer(h, weights[1, :, :4])]),
    "spectral_density": density,
}
# What these carry through their loops is not divided at first.
LOOPS = [name for name in CASES if name not in ("spectrum", "chunk", "num", "layer_spectra")]
faults = {name: [] for name in CASES}
one = {name: jax.jit(jax.vmap(fun))(points) for name, fun in CASES.items()}
for kind in (AxisType.Auto, AxisType.Explicit):
    with jax.set_mesh(jax.make_mesh((4,), ("a",), axis_types=(kind,))):
        x = jax.device_put(points, P("a", None))
        for name, fun in CASES.items():
            run = jax.vmap(fun)
            if kind == AxisType.Explicit and name in LOOPS:
                run = jax.sharding.auto_axes(run, out_sharding=P("a"))
            runs = {kind.name: run}
            if kind == AxisType.Auto:
                runs["shard_map"] = jax.shard_map(jax.vmap(fun), in_specs=P("a"), out_specs=P("a"))
            for how, run in runs.items():
                try:
                    found = jax.jit(run)(x)
                except Exception as error:
                    faults[name].append(f"{how}: {type(error).__name__}: {str(error)[:400]}")
                    continue
                for array, want in zip(jax.tree.leaves(found), jax.tree.leaves(one[name]), strict=True):
                    if not np.allclose(array, want, rtol=1e-4, atol=1e-4):
                        faults[name].append(f"{how}: got {array}, expected {want}")
                    if array.sharding.spec[:1] != ("a",):
                        faults[name].append(f"{how}: divided as {array.sharding}")


def two_layers(h, w, join=lambda y: y):
    return join(jnp.tanh(h @ w["up"]) @ w["down"])


def of_stack(body):
    return lambda x, w: jax.vmap(rx.stack_spectrum(rx.Scan(body, w)))(x)


# A layer that a mesh divides too: each device has a part of the units in between.
pairs = {"up": jax.random.normal(key, (3, 6, 8)) / 2, "down": jax.random.normal(key, (3, 8, 6)) / 2}
parts = {"up": P(None, None, "b"), "down": P(None, "b")}
with jax.set_mesh(jax.make_mesh((2, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)):
    body = lambda h, w: two_layers(h, w, lambda y: jax.lax.psum(y, "b"))
    run = jax.jit(jax.shard_map(of_stack(body), in_specs=(P("a"), parts), out_specs=P("a")))
    found, want = run(points, pairs), of_stack(two_layers)(points, pairs)
    faults["divided layers"] = [] if np.allclose(found, want, atol=1e-4) else [f"got {found}, expected {want}"]
print(json.dumps(faults))
"""
NAMES = (
    *("spectrum", "chunk", "num", "layer_spectra", "spectral_density"),
    *("stack_spectrum", "wide", "closed over", "list of layers", "divided layers"),
)


@pytest.fixture(scope="module")
def faults():
    four = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    environment = os.environ | four | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_a_divided_batch_has_the_spectra_of_one_device(name, faults):
    assert not faults[name]
