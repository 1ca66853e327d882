"""On several devices the statistics are those of one: sharded automatically, in ``shard_map``, and in two processes."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.own_precision

# Devices are counted when jax starts, which it has by now: other processes have as many as they need.
PROGRAM = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import relujax as rx

rng = np.random.default_rng(0)
params = {"up": rng.standard_normal((6, 16), np.float32), "down": rng.standard_normal((16, 4), np.float32)}
x = rng.standard_normal((8, 6, 6), np.float32)
mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def loss(params, x, join=lambda y: y):
    h = rx.leaky_relu(jnp.einsum("bti,ih->bth", x, params["up"]))
    y = jnp.tanh(join(jnp.einsum("bth,ho->bto", h, params["down"])))
    return jnp.sum(y ** 2)


def mapped(specs, check_vma, mean_over, join=lambda y: y):
    def local(params, x):
        return jax.lax.psum(loss(params, x, join), mean_over)

    return jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=check_vma)


by_units = {"up": P(None, "model"), "down": P("model", None)}
whole = {"up": P(), "down": P()}
together = lambda y: jax.lax.psum(y, "model")
CASES = {}
for check in (True, False):
    CASES |= {
        f"examples, {check}": mapped((whole, P("data")), check, "data"),
        f"examples over both axes, {check}": mapped((whole, P(("data", "model"))), check, ("data", "model")),
        f"positions, {check}": mapped((whole, P(None, "data")), check, "data"),
        f"units, {check}": mapped((by_units, P("data")), check, "data", together),
    }



def shard(fun, specs, over, **options):
    local = lambda *args: jax.lax.psum(fun(*args), over)
    return fun, jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P()), options


def image(w, x):  # channels last
    y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.sum(jax.nn.relu(y) ** 2)


def units_in_the_middle(w, x):
    return jnp.sum(jnp.tanh(jnp.einsum("bti,ih->bht", x, w)) ** 2)


def stacked(w, x):
    return jnp.sum(jax.lax.scan(lambda h, w: (rx.elu(h @ w), None), x, jnp.stack([w, -w]))[0] ** 2)


bare, kernel = params["up"], rng.standard_normal((1, 1, 6, 8), np.float32)
square, pictures = rng.standard_normal((6, 6), np.float32), rng.standard_normal((8, 4, 4, 6), np.float32)
linear = lambda w, x: jnp.sum(rx.elu(x @ w) ** 2)
OTHERS = {
    "bare weights": ((bare, x), *shard(linear, (P(None, "model"), P("data")), ("data", "model"))),
    "third axis": ((kernel, pictures), *shard(image, (P(), P("data", None, "model")), ("data", "model"))),
    "channels": ((kernel, pictures), *shard(image, (P(None, None, None, "model"), P(None, "data")), ("data", "model"))),
    "units in the middle": (
        (bare, x),
        *shard(units_in_the_middle, (P(None, "model"), P(None, "data")), ("data", "model"), unit_axis=1),
    ),
    "scanned": ((square, x), *shard(stacked, (P(), P("model", "data")), ("data", "model"))),
}
edges = np.linspace(-1.9, 2.1, 5)  # none at 1, where a tanh that rounds otherwise would count in another bin
(want_value, want_grad), want = jax.jit(rx.probe_grad(loss, edges=edges, gains=True, network=True))(params, x)
whole_run = (want_value, want_grad, want)
faults = {name: [] for name in [*CASES, *OTHERS, "auto"]}


def compare(name, got, expected=None):
    (value, grad), stats = got
    want_value, want_grad, want = expected or whole_run
    if not np.allclose(value, want_value, rtol=1e-5):
        faults[name].append(f"value {value} for {want_value}")
    for a, b in zip(jax.tree.leaves(grad), jax.tree.leaves(want_grad)):
        if not np.allclose(a, b, rtol=1e-4, atol=1e-4):
            faults[name].append("gradient")
    if list(stats) != list(want):
        faults[name].append(f"sites {list(stats)}")
        return
    a, b = stats.network, want.network
    for field in ("elements", "examples", "histogram"):
        if not np.array_equal(getattr(a, field), getattr(b, field)):
            faults[name].append(f"network {field} {getattr(a, field)} for {getattr(b, field)}")
    for field in ("total", "spread", "most", "fewest"):
        if not np.allclose(getattr(a, field), getattr(b, field), rtol=1e-4):
            faults[name].append(f"network {field} {getattr(a, field)} for {getattr(b, field)}")
    for site in want:
        a, b = stats[site], want[site]
        for field in ("examples", "count", "active", "passing", "nonfinite", "histogram", "outputs"):
            if not np.array_equal(getattr(a, field), getattr(b, field)):
                faults[name].append(f"{site} {field} {getattr(a, field)} for {getattr(b, field)}")
        for field in ("total", "square", "largest"):
            if not np.allclose(getattr(a, field), getattr(b, field), rtol=1e-4, atol=1e-5):
                faults[name].append(f"{site} {field}")
        if a.site.shape != b.site.shape:
            faults[name].append(f"{site} shape {a.site.shape}")
        if not np.array_equal(a.signal.zeros, b.signal.zeros):
            faults[name].append(f"{site} zeros {a.signal.zeros} for {b.signal.zeros}")
        if not np.allclose(a.signal.norm, b.signal.norm, rtol=1e-4):
            faults[name].append(f"{site} signal {a.signal.norm} for {b.signal.norm}")
        if not np.allclose(a.signal.behind, b.signal.behind, rtol=1e-4):
            faults[name].append(f"{site} signal behind {a.signal.behind} for {b.signal.behind}")


for name, fun in CASES.items():
    try:
        compare(name, jax.jit(rx.probe_grad(fun, edges=edges, gains=True, network=True))(params, x))
    except Exception as error:
        faults[name].append(f"{type(error).__name__}: {str(error)[:600]}")
for name, (args, fun, mapped_fun, options) in OTHERS.items():
    try:
        of = lambda fun: jax.jit(rx.probe_grad(fun, edges=edges, gains=True, network=True, **options))
        (value, grad), stats = of(fun)(*args)
        compare(name, of(mapped_fun)(*args), (value, grad, stats))
        masked = rng.random((8, 4) if args[1].ndim == 4 else (8, 6)) < 0.7
        of = lambda fun: jax.jit(rx.probe(fun, mask=masked, **options))(*args)[1]
        [a], [b] = of(fun).values(), of(mapped_fun).values()
        for field in ("examples", "count", "active", "passing", "histogram"):
            if not np.array_equal(getattr(a, field), getattr(b, field)):
                faults[name].append(f"masked {field} {getattr(b, field)} for {getattr(a, field)}")
    except Exception as error:
        faults[name].append(f"{type(error).__name__}: {str(error)[:600]}")
mask = rng.random((8, 6)) < 0.7
want_masked = jax.jit(rx.probe(loss, mask=mask))(params, x)[1]
for name, fun in CASES.items():
    if name.endswith("True"):
        got = jax.jit(rx.probe(fun, mask=mask))(params, x)[1]
        for site in want_masked:
            for field in ("examples", "count", "active", "passing", "histogram"):
                a, b = getattr(got[site], field), getattr(want_masked[site], field)
                if not np.array_equal(a, b):
                    faults[name].append(f"masked {site} {field} {a} for {b}")
sharded = jax.device_put(x, NamedSharding(mesh, P("data")))
placed = {"up": jax.device_put(params["up"], NamedSharding(mesh, P(None, "model"))), "down": params["down"]}
compare("auto", jax.jit(rx.probe_grad(loss, edges=edges, gains=True, network=True))(placed, sharded))
print(json.dumps(faults))
"""

# Axes that the types of arrays name: make_mesh gives these where nothing else is said.
EXPLICIT = """
import json
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import relujax as rx

mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
rng = np.random.default_rng(0)
shapes = {"in": (6, 8), "out": (8, 4), "stack": (3, 8, 8)}
params = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
x = rng.standard_normal((8, 6), np.float32)


def dense(params, x, **out):
    return jnp.mean(jnp.tanh(jnp.dot(jax.nn.relu(x @ params["in"]), params["out"], **out)) ** 2)


def together(params, x):
    return dense(params, x, out_sharding=P("data", None))


def stacked(params, x):
    h, _ = jax.lax.scan(lambda h, w: (jax.nn.relu(h @ w), None), x @ params["in"], params["stack"])
    return jnp.mean(h ** 2)


def mapped(axes):
    def local(params, x):
        return jnp.tanh(jax.nn.relu(x @ params["in"]) @ params["out"])

    specs = {"in_specs": (P(), P("data")), "out_specs": P("data")}
    return lambda params, x: jnp.mean(jax.shard_map(local, axis_names=axes, **specs)(params, x) ** 2)


CASES = {
    "examples": (dense, dense, {}, P("data")),
    "units": (dense, dense, {"in": P(None, "model")}, P()),
    "examples and units": (together, dense, {"in": P(None, "model"), "out": P("model", None)}, P("data")),
    "a stack of layers": (stacked, stacked, {}, P("data")),
    "all axes manual": (mapped({"data", "model"}), dense, {}, P("data")),
    "one axis manual": (mapped({"data"}), dense, {}, P("data")),
}
VERBS = {
    "probe": lambda fun: rx.probe(fun, edges=(-0.9, 0.1), network=True),
    "probe_grad": lambda fun: rx.probe_grad(fun, gains=True, network=True),
    "mask": lambda fun: rx.probe_grad(fun, mask=np.arange(8) % 3 > 0),
    "watch": lambda fun: lambda *args: rx.watch(fun, every=2)(jnp.int32(2), *args),
    "swap": lambda fun: jax.value_and_grad(rx.swap(fun, {"relu": rx.elu})),
    "lean": lambda fun: jax.value_and_grad(rx.lean(fun)),
    "capture": rx.probes.capture,
}
faults = {}
for case, (fun, whole, specs, spec) in CASES.items():
    for name, verb in VERBS.items():
        want = jax.tree.leaves(jax.jit(verb(whole))(params, x))
        with jax.set_mesh(mesh):
            placed = {k: jax.device_put(v, NamedSharding(mesh, specs.get(k, P()))) for k, v in params.items()}
            try:
                got = jax.tree.leaves(jax.jit(verb(fun))(placed, jax.device_put(x, NamedSharding(mesh, spec))))
                same = [np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(got, want, strict=True)]
                faults[f"{name}, {case}"] = [] if all(same) else ["other numbers"]
            except Exception as error:
                faults[f"{name}, {case}"] = [f"{type(error).__name__}: {str(error)[:600]}"]
print(json.dumps(faults))
"""

PROCESS = """
import json, sys
import jax
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
import jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import relujax as rx

mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
rng = np.random.default_rng(0)
w, x = rng.standard_normal((6, 16)).astype(np.float32), rng.standard_normal((8, 6)).astype(np.float32)
split, same = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
at = lambda array, sharding: jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
probed = rx.probe(lambda w, x: rx.relu(x @ w))
stats = jax.jit(lambda w, x: probed(w, x)[1], out_shardings=same)(at(w, same), at(x, split))
total = rx.merge(stats, stats)["relu"]
print(json.dumps({"active": np.asarray(total.active).tolist(), "examples": int(total.examples)}))
"""


def run(program, *arguments, devices):
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": str(pathlib.Path(__file__).parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def faults():
    return result(run(PROGRAM, devices=4))


CASES = ["examples", "examples over both axes", "positions", "units"]
OTHERS = ["bare weights", "third axis", "channels", "units in the middle", "scanned"]


@pytest.mark.parametrize("case", ["auto", *OTHERS, *(f"{case}, {check}" for case in CASES for check in (True, False))])
def test_one_process_of_four_devices(faults, case):
    assert faults[case] == []


def test_two_processes_of_two_devices():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    both = [run(PROCESS, address, str(i), devices=2) for i in range(2)]
    first, second = map(result, both)
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((6, 16)).astype(np.float32), rng.standard_normal((8, 6)).astype(np.float32)
    assert first == second == {"active": (2 * (x @ w > 0).sum(0)).tolist(), "examples": 16}


def test_a_mesh_of_explicit_axes():
    found = result(run(EXPLICIT, devices=4))
    assert len(found) == 42
    assert {case: faults for case, faults in found.items() if faults} == {}
