# %% [markdown]
# # Many devices: the statistics are those of one
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/relujax/blob/main/notebooks/many_devices.ipynb)
#
# A model that is spread over devices is probed like any other. This notebook divides a residual network over a mesh of
# 4 x 2 devices, examples along one axis and hidden units along the other, once by letting `jit` place the work and once
# by `shard_map`, and compares what `rx.probe_grad` counts with what one device counts. It runs on a TPU slice or
# several GPUs with at least eight devices, and elsewhere on eight virtual CPU devices.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("relujax") is None:  # in Colab
    source = "relujax[report] @ git+https://github.com/OWNER/relujax"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)

# %%
import os

import jax
import matplotlib.pyplot as plt
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from sklearn.datasets import load_digits

import relujax as rx

jax.config.update("jax_num_cpu_devices", 8)  # before jax is used for the first time
devices = (jax.devices() if jax.device_count() >= 8 else jax.devices("cpu"))[:8]
mesh = jax.make_mesh((4, 2), ("data", "model"), devices=devices, axis_types=(AxisType.Auto,) * 2)
print(f"{len(devices)} devices of kind {devices[0].device_kind!r}, as a mesh of {dict(mesh.shape)}")

# %% [markdown]
# ## A model and its data
# Residual blocks: up, ReLU, down, and added. `join` is the identity on one device; where each device holds a part of
# the hidden units, it adds up the parts. The data are the handwritten digits that scikit-learn ships.

# %%
SHORT = "RELUJAX_SHORT" in os.environ  # as the tests run it
BLOCKS, UNITS, EXAMPLES = (1, 32, 64) if SHORT else (4, 64, 1792)

images, labels = load_digits(return_X_y=True)
x = ((images - images.mean()) / images.std()).astype(np.float32)[:EXAMPLES]
y = labels.astype(np.int32)[:EXAMPLES]


def init(key):
    """Parameters of all blocks, and of the readout."""
    draw = jax.nn.initializers.he_normal()
    *keys, last = jax.random.split(key, 2 * BLOCKS + 1)
    ups, downs = [draw(k, (64, UNITS)) for k in keys[::2]], [0.3 * draw(k, (UNITS, 64)) for k in keys[1::2]]
    blocks = [{"up": up, "down": down} for up, down in zip(ups, downs, strict=True)]
    return {"blocks": blocks, "out": draw(last, (64, 10))}


def loss(params, x, y, join=lambda part: part):
    for block in params["blocks"]:
        x = x + join(jax.nn.relu(x @ block["up"]) @ block["down"])
    return optax.softmax_cross_entropy_with_integer_labels(x @ params["out"], y).sum()


params = jax.device_get(init(jax.random.key(0)))

# %% [markdown]
# ## One device

# %%
(value, grads), one = jax.jit(rx.probe_grad(loss))(params, x, y)
print(rx.summarize(one))

# %% [markdown]
# ## Eight devices, placed by jit
# The arrays say where they live, and `jit` does the rest. The model is the same function.

# %%
where = {"blocks": [{"up": P(None, "model"), "down": P("model", None)}] * BLOCKS, "out": P()}
placed = jax.device_put(params, jax.tree.map(lambda spec: NamedSharding(mesh, spec), where))
x_placed, y_placed = jax.device_put((x, y), NamedSharding(mesh, P("data")))
up = placed["blocks"][0]["up"]
print(f"images {x.shape}: {x_placed.sharding.shard_shape(x.shape)} on each device")
print(f"weights up {up.shape}: {up.sharding.shard_shape(up.shape)} on each device")

results = {}
results["jit places"] = jax.jit(rx.probe_grad(loss))(placed, x_placed, y_placed)

# %% [markdown]
# ## Eight devices, by shard_map
# Here the function is what one device does with its part, and says itself what is added over which axis of the mesh.
# The probe is outside: it reads how each value is divided, and adds what has to be added.


# %%
def local(params, x, y):
    total = loss(params, x, y, join=lambda part: jax.lax.psum(part, "model"))
    return jax.lax.psum(total, "data")


mapped = jax.shard_map(local, mesh=mesh, in_specs=(where, P("data"), P("data")), out_specs=P())
results["shard_map"] = jax.jit(rx.probe_grad(mapped))(placed, x_placed, y_placed)

# %% [markdown]
# ## The same numbers
# Counts are whole numbers, and are compared as such. Sums and norms of floats are added in another order, and agree to
# rounding.

# %%
counts = ("examples", "count", "active", "passing", "nonfinite", "histogram")
for name, ((_, gradients), stats) in results.items():
    different = sum(int(np.sum(getattr(stats[s], c) != getattr(one[s], c))) for s in one for c in counts)
    compared = sum(np.size(getattr(one[s], c)) for s in one for c in counts)
    norms = [np.max(np.abs(stats[s].signal.norm / one[s].signal.norm - 1)) for s in one]
    pairs = zip(jax.tree.leaves(gradients), jax.tree.leaves(grads), strict=True)
    off = max(np.max(np.abs(a - b)) / np.max(np.abs(b)) for a, b in pairs)
    print(
        f"{name:10}: {different} of {compared} counts differ; norms of the signal are off by at most {max(norms):.0e}"
    )
    print(f"{'':10}  relative, gradients by {off:.0e} of their largest entry")

# %% [markdown]
# Batches, and what other hosts saw, are added likewise: `rx.merge(a, b)` adds sums and counts, in 64 bits.

# %%
twice = rx.merge(one, results["shard_map"][1])
print(f"{rx.summarize(twice)[0].examples} examples, {rx.summarize(one)[0].active_fraction:.4f} and", end=" ")
print(f"{rx.summarize(twice)[0].active_fraction:.4f} of the outputs active")

# %% [markdown]
# ## What each device saw
# Inside of `shard_map` the probe counts what its own device has. Every row is a part of the examples, every half a part
# of the units; the sum over the rows is what the probe outside reports, and one device alone.

# %%
first = next(iter(one))


def own_counts(params, x, y):
    stats = rx.probe(lambda *args: loss(*args, join=lambda part: jax.lax.psum(part, "model")))(params, x, y)[1]
    return next(iter(stats.values())).active[None]


by_device = jax.jit(
    jax.shard_map(own_counts, mesh=mesh, in_specs=(where, P("data"), P("data")), out_specs=P("data", "model"))
)(placed, x_placed, y_placed)
by_device = np.asarray(by_device)
print("the parts add up to the whole:", bool((by_device.sum(axis=0) == one[first].active).all()))

# %%
shares = by_device / (EXAMPLES / 4)
rows = {
    "one device": one[first].active / EXAMPLES,
    "jit places": results["jit places"][1][first].active / EXAMPLES,
    "shard_map": results["shard_map"][1][first].active / EXAMPLES,
}
order = np.argsort(rows["one device"][: UNITS // 2]), UNITS // 2 + np.argsort(rows["one device"][UNITS // 2 :])
order = np.concatenate(order)
figure, (top, bottom) = plt.subplots(2, 1, figsize=(10, 4.6), height_ratios=(4, 3), sharex=True, layout="constrained")
style = {"aspect": "auto", "cmap": "cividis", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
image = top.imshow(shares[:, order], **style)
top.set_yticks(range(4), [f"examples, part {i}" for i in range(4)])
top.set_title(f"{first}: share of examples on which a unit is active, as each of 8 devices counts it", loc="left")
bottom.imshow(np.stack([np.asarray(row)[order] for row in rows.values()]), **style)
bottom.set_yticks(range(3), rows)
bottom.set_title("all examples and units, as the probe reports them", loc="left")
bottom.set_xlabel("hidden unit, sorted within each half; the line divides the two devices that hold them")
for ax, lines in ((top, 4), (bottom, 3)):
    ax.axvline(UNITS / 2 - 0.5, color="white", linewidth=2)
    for row in range(1, lines):
        ax.axhline(row - 0.5, color="white", linewidth=2)
_ = figure.colorbar(image, ax=(top, bottom), label="active", format=lambda value, _: f"{value:.0%}")
