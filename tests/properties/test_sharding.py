"""On a mesh of devices members are local: no collective, the values of one device, and the input's sharding.

Those that look along an axis are so where other axes are divided.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from float_grids import ELEMENTWISE

import relujax as rx

pytestmark = pytest.mark.own_precision

# Devices are counted when jax starts, which it has by now: another process has eight of them.
PROGRAM = """
import functools, json, re, sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np, relujax as rx
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from float_grids import ELEMENTWISE

COLLECTIVE = re.compile(r"all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast")
# Shards whose last axis is a whole number of bytes of bits; and shards that cut a byte.
WHOLE, CUT, CUT_SPEC = (8, 64), (8, 10), P("a", "b")
PACKED = [name for name, row in ELEMENTWISE.items() if row.residual == "bits"]
OTHERS = [name for name in ELEMENTWISE if name not in PACKED]
ALONG_AN_AXIS = [name for name in rx.ACTIVATIONS if name not in ELEMENTWISE]
SORTED = ["top_k", "batch_top_k"]  # by jax.lax.top_k, which XLA for CPU computes on one device
WHOLE_CASES = {"both axes": ([*PACKED, *OTHERS], P("a", "b")), "the last axis": (PACKED, P(None, ("a", "b")))}
MEMBERS = ELEMENTWISE | rx.ACTIVATIONS
faults = {name: [] for name in MEMBERS}


def value_and_slope(name):
    def of(x):
        y, pull = jax.vjp(lambda x: MEMBERS[name].fun(x, **MEMBERS[name].example), x)
        return y, *pull(y)

    return of


def faults_of(names, run, x, want, local):
    compiled = jax.jit(lambda x: {name: run(name)(x) for name in names}).lower(x).compile()
    if local and (found := COLLECTIVE.search(compiled.as_text())):
        yield names[0], found.group()
    for name, arrays in compiled(x).items():
        for what, array, plain in zip(("value", "slope"), arrays, want[name], strict=True):
            if not array.sharding.is_equivalent_to(x.sharding, x.ndim):
                yield name, f"{what} has {array.sharding}"
            if not np.allclose(array, plain, rtol=1e-5, atol=1e-6):
                yield name, f"another {what}"


@functools.cache
def on_one_device(shape):
    return jax.jit(lambda x: {name: value_and_slope(name)(x) for name in MEMBERS})(array(shape))


def check(case, names, run, shape, sharding, local=True):
    want = on_one_device(shape)
    x = jax.device_put(array(shape), sharding)
    try:
        found = list(faults_of(names, run, x, want, local))
    except Exception:
        found = [True]
    if found:  # one compilation told that there is a fault; one each tells whose
        for name in names:
            try:
                faults[name] += [f"{case}: {fault}" for _, fault in faults_of([name], run, x, want, local)]
            except Exception as error:
                faults[name].append(f"{case}: {error}")


PARAMETERS = [(name, p) for name, row in ELEMENTWISE.items() for p, v in row.example.items() if isinstance(v, float)]


def parameter_gradients(x, ones):
    # Of what a layer learns per channel, while its channels are divided.

    def gradient(name, parameter):
        row = ELEMENTWISE[name]
        learnt = ones * np.float32(row.example[parameter])
        return jax.grad(lambda p: row.fun(x, **dict(row.example) | {parameter: p}).sum())(learnt)

    return {f"{name} {parameter}": gradient(name, parameter) for name, parameter in PARAMETERS}


def mesh_of(kind):
    return jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind, kind))


def array(shape):
    return np.linspace(-4, 4, int(np.prod(shape)), dtype=np.float32).reshape(shape)


for shape in (WHOLE, CUT):
    on_one_device(shape)
for kind in (AxisType.Auto, AxisType.Explicit):
    with jax.set_mesh(mesh_of(kind)) as _:
        for case, (names, spec) in WHOLE_CASES.items():
            check(f"{kind.name}, {case}", names, value_and_slope, WHOLE, NamedSharding(mesh_of(kind), spec))
        examples = NamedSharding(mesh_of(kind), P("a", None))
        local = [name for name in ALONG_AN_AXIS if name not in SORTED]
        check(f"{kind.name}, examples", local, value_and_slope, WHOLE, examples)
        # An explicit mesh sorts nothing that is divided, and batch_top_k sorts all of it.
        gathered = SORTED if kind == AxisType.Auto else ["top_k"]
        check(f"{kind.name}, examples", gathered, value_and_slope, WHOLE, examples, local=False)
with jax.set_mesh(mesh_of(AxisType.Explicit)) as _:
    check("Explicit, cut bytes", PACKED, value_and_slope, CUT, NamedSharding(mesh_of(AxisType.Explicit), CUT_SPEC))
    ones = np.ones((1, WHOLE[1]), np.float32)
    want = jax.jit(parameter_gradients)(array(WHOLE), ones)
    found = jax.jit(parameter_gradients)(jax.device_put(array(WHOLE), P("a", "b")), ones)
    for key, gradient in found.items():
        if gradient.sharding.spec != P(None, None) or not np.allclose(gradient, want[key], rtol=1e-4, atol=1e-5):
            faults[key.split()[0]].append(f"Explicit, the gradient of {key}: {gradient.sharding.spec}")
mesh = mesh_of(AxisType.Auto)
local = lambda name: jax.shard_map(value_and_slope(name), mesh=mesh, in_specs=CUT_SPEC, out_specs=CUT_SPEC)
check("shard_map", [*PACKED, *OTHERS], local, CUT, NamedSharding(mesh, CUT_SPEC))
# A byte that two shards have a part of makes XLA move bits between them; the numbers are the same.
check("Auto, cut bytes", PACKED, value_and_slope, CUT, NamedSharding(mesh, CUT_SPEC), local=False)
check("Auto, a byte of two shards", PACKED, value_and_slope, (8, 8), NamedSharding(mesh, CUT_SPEC), local=False)
print(json.dumps(faults))
"""


@pytest.fixture(scope="module")
def faults():
    here = pathlib.Path(__file__).parent
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", PROGRAM, str(here)]
    done = subprocess.run(command, env=environment, cwd=here.parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ELEMENTWISE | rx.ACTIVATIONS)
def test_sharded_input_is_computed_where_it_lies(name, faults):
    assert not faults[name]
