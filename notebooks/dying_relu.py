# %% [markdown]
# # Dying ReLU, found and cured
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/relujax/blob/main/notebooks/dying_relu.ipynb)
#
# A ReLU whose input is negative on every example passes no gradient, so nothing changes its weights: it is dead. This
# notebook kills units of a small network on real images in two ways, finds them, and tries every cure that is usually
# named. Each is measured, with five seeds, and some do not work.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("relujax") is None:  # in Colab
    source = "relujax[report] @ git+https://github.com/OWNER/relujax"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)

# %%
import functools
import itertools
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.datasets import load_digits

import relujax as rx

SHORT = "RELUJAX_SHORT" in os.environ  # as the tests run it
DEPTH, WIDTH = (2 if SHORT else 4), 64
SEEDS, CHUNKS, CHUNK = (1, 2, 5) if SHORT else (5, 40, 10)

# %% [markdown]
# ## The patient
# The 1,797 handwritten digits that scikit-learn ships, and a plain stack of four ReLU layers with He initialisation.

# %%
images, labels = load_digits(return_X_y=True)
images = ((images - images.mean()) / images.std()).astype(np.float32)
order = np.random.default_rng(0).permutation(len(images))
train_x, test_x = np.split(images[order], [1437])
train_y, test_y = np.split(labels[order].astype(np.int32), [1437])


def init(key, bias=0.0):
    """Parameters, with all hidden biases at ``bias``."""

    def layer(key, fan_in, fan_out, bias=bias):
        ones = jnp.ones(fan_out, "float32")
        w = jax.nn.initializers.he_normal()(key, (fan_in, fan_out), "float32")
        return {"w": w, "b": bias * ones, "gain": ones, "shift": 0 * ones}

    *keys, last = jax.random.split(key, DEPTH + 1)
    sizes = itertools.pairwise([64] + [WIDTH] * DEPTH)
    hidden = [layer(key, *size) for key, size in zip(keys, sizes, strict=True)]
    return {"hidden": hidden, "out": layer(last, WIDTH, 10, 0.0), "slope": jnp.full((), 0.25, "float32")}


def net(params, x, norm=False):
    for layer in params["hidden"]:
        h = x @ layer["w"] + layer["b"]
        if norm:  # BatchNorm, by the statistics of the batch
            h = (h - h.mean(axis=0)) / jnp.sqrt(h.var(axis=0) + 1e-5) * layer["gain"] + layer["shift"]
        x = jax.nn.relu(h)
    return x @ params["out"]["w"] + params["out"]["b"]


# %% [markdown]
# `rx.swap` exchanges the activation of a model that is already written. PReLU learns its slope, which is one of the
# parameters.


# %%
def model(params, x, kind):
    others = {"leaky ReLU": rx.leaky_relu, "PReLU": lambda h: rx.prelu(h, params["slope"]), "ELU": rx.elu}
    if kind in others:
        return rx.swap(net, {"relu": others[kind]})(params, x)
    return net(params, x, norm=kind == "BatchNorm")


# %% [markdown]
# Training is SGD with momentum. Every few steps `rx.probe` looks at all training images, inside the same jitted loop:
# a unit is dead that passed no gradient on any of them. All seeds train at once, by `vmap`.


# %%
def cross_entropy(params, x, y, kind):
    return optax.softmax_cross_entropy_with_integer_labels(model(params, x, kind), y).mean()


@functools.partial(jax.jit, static_argnames="kind")
@functools.partial(jax.vmap, in_axes=(0, 0, None, None, None))
def train(params, key, rate, clip, kind):
    """Trained parameters, and over the steps: the share of dead units, the test accuracy, whether all is finite."""
    optimizer = optax.chain(optax.clip_by_global_norm(clip), optax.sgd(rate, momentum=0.9))
    x, y = jnp.asarray(train_x), jnp.asarray(train_y)

    def step(carry, key):
        params, state = carry
        batch = jax.random.choice(key, len(x), (128,))
        updates, state = optimizer.update(jax.grad(cross_entropy)(params, x[batch], y[batch], kind), state)
        return (optax.apply_updates(params, updates), state), None

    def chunk(carry, key):
        (params, state), _ = jax.lax.scan(step, carry, jax.random.split(key, CHUNK))
        stats = rx.probe(functools.partial(model, kind=kind))(params, x)[1]
        dead = [(site.passing == 0) & (site.nonfinite == 0) for site in stats.values()]
        accuracy = (model(params, jnp.asarray(test_x), kind).argmax(axis=1) == test_y).mean()
        finite = jnp.isfinite(params["out"]["w"]).all()
        return (params, state), (jnp.stack(dead).mean(), accuracy, finite)

    (params, _), curves = jax.lax.scan(chunk, (params, optimizer.init(params)), jax.random.split(key, CHUNKS))
    return params, curves


keys = jax.random.split(jax.random.key(0), SEEDS)
NO_CLIP = jnp.inf

# %% [markdown]
# ## Healthy, and dead
# At a learning rate of 0.025 the network learns. At 0.25 a few large steps push most units below zero for good.

# %%
fresh = jax.vmap(init)(keys)
_, (dead, accuracy, _) = train(fresh, keys, 0.025, NO_CLIP, "ReLU")
print(f"rate 0.025: {dead[:, -1].mean():.0%} of the units dead, test accuracy {accuracy[:, -1].mean():.1%}")
dying, (dead, accuracy, _) = train(fresh, keys, 0.25, NO_CLIP, "ReLU")
print(f"rate 0.25:  {dead[:, -1].mean():.0%} of the units dead, test accuracy {accuracy[:, -1].mean():.1%}")

# %% [markdown]
# What an alarm says of it: where it begins, the evidence, what usually helps. With 1,437 examples a dead unit fires on
# at most 3/1437 of such images, with 95 % confidence.

# %%
first = jax.tree.map(lambda leaf: leaf[0], dying)
found = rx.diagnose(net, (train_x, train_y), params=first, loss="cross_entropy", spectrum_examples=0)
for row in found.summary:
    print(f"{row.name:8} {row.dead:2} of {row.units} dead, signal {row.signal_norm:.2g}")
for alarm in found.alarms:
    print(f"\n[{alarm.severity}] {alarm.message}\n  what helps: {alarm.remedy}\n  threshold: {alarm.reference}")

# %% [markdown]
# Going back to the low rate does not wake them: no gradient reaches their weights.

# %%
_, (later, accuracy, _) = train(dying, keys, 0.025, NO_CLIP, "ReLU")
print(f"trained on at 0.025: {later[:, -1].mean():.0%} dead (before: {dead[:, -1].mean():.0%}), ", end="")
print(f"test accuracy {accuracy[:, -1].mean():.1%}")

# %% [markdown]
# ## The cures, one by one
# Two causes: the learning rate of 0.25, and biases that start at -1 (at the rate of 0.025). For each, every cure alone.

# %%
CAUSES = {"learning rate 0.25": (0.0, 0.25), "biases of -1": (-1.0, 0.025)}  # bias, rate
CURES = {  # what the network becomes, factor of the rate, clipping
    "none": ("ReLU", 1.0, NO_CLIP),
    "rate / 10": ("ReLU", 0.1, NO_CLIP),
    "clip norm at 5.0": ("ReLU", 1.0, 5.0),
    "BatchNorm": ("BatchNorm", 1.0, NO_CLIP),
    "leaky ReLU": ("leaky ReLU", 1.0, NO_CLIP),
    "PReLU": ("PReLU", 1.0, NO_CLIP),
    "ELU": ("ELU", 1.0, NO_CLIP),
}
if SHORT:
    del CURES["BatchNorm"], CURES["PReLU"], CURES["ELU"]

curves = {}
for cause, (bias, rate) in CAUSES.items():
    print(f"{cause:20} units dead   seeds that learn   diverged   test accuracy")
    for cure, (kind, factor, clip) in CURES.items():
        start = jax.vmap(functools.partial(init, bias=bias))(keys)
        _, (dead, accuracy, finite) = train(start, keys, factor * rate, clip, kind)
        diverged = int((~finite[:, -1]).sum())
        learnt = int((accuracy[:, -1] > 0.9).sum())
        print(f"  {cure:18} {dead[:, -1].mean():10.0%} {learnt:13} of {SEEDS}", end="")
        print(f" {diverged:6} of {SEEDS} {accuracy[:, -1].mean():15.1%}")
        curves[cause, cure] = [np.where(finite, values, np.nan) for values in (dead, accuracy)]

# %% [markdown]
# Read it by cause.
#
# - **A rate that is too high** is mended by what makes the step smaller or the loss smoother: a lower rate, and
#   BatchNorm, at the very same rate. Clipping the gradient's global norm at 5.0 delays the deaths and saves one network
#   of five: with this rate and momentum even a clipped step is long. Leaky ReLU, PReLU and ELU have no dead units to
#   show, but all of them end in NaN. ReLU's death had cut off a training that was exploding anyway.
# - **Negative biases** kill before the first step, so neither rate nor clipping matters. BatchNorm subtracts them; ELU
#   and PReLU (slope 0.25) let enough gradient through to climb back. Leaky ReLU keeps every unit alive, but what its
#   slope of 0.01 lets through four layers is too small to learn from: a living unit is not yet one that learns.
#
# In the picture lines are medians over the seeds, bands their middle half; a line that ends in a cross ends where a
# network diverges. PReLU and ELU at the high rate do so before the first point.

# %%
COLOURS = dict(zip(CURES, ("black", "#56B4E9", "#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7"), strict=False))
steps = CHUNK * np.arange(1, CHUNKS + 1)
figure, axes = plt.subplots(2, 2, figsize=(11, 6.5), sharex=True, layout="constrained")
for row, cause in zip(axes, CAUSES, strict=True):
    for cure, colour in reversed(COLOURS.items()):
        for ax, values in zip(row, curves[cause, cure], strict=True):
            median, band = np.median(values, axis=0), np.quantile(values, (0.25, 0.75), axis=0)
            ax.plot(steps, median, label=cure, linewidth=2, color=colour, linestyle="--" if cure == "none" else "-")
            ax.fill_between(steps, *band, color=colour, alpha=0.12, linewidth=0)
            last = np.isfinite(median).sum() - 1
            if 0 <= last < CHUNKS - 1:
                ax.plot(steps[last], median[last], "x", color=colour, markersize=9, markeredgewidth=2.5)
    for ax, what in zip(row, ("dead units", "test accuracy"), strict=True):
        ax.set_title(f"{cause}: {what}", loc="left", fontweight="bold", fontsize=11)
        ax.set_ylim(-0.03, 1.03)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
for ax in axes[1]:
    ax.set_xlabel("SGD step")
handles, names = axes[0, 0].get_legend_handles_labels()
_ = figure.legend(handles[::-1], names[::-1], loc="outside right center", frameon=False, title="cure")
