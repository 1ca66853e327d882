# %% [markdown]
# # Spectra and criticality: what the Jacobian does at every depth, and what it should have done
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/relujax/blob/main/notebooks/spectra_and_criticality.ipynb)
#
# Singular values of deep stacks, beside the theory that predicts them.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("relujax") is None:  # in Colab
    source = "relujax[report] @ git+https://github.com/OWNER/relujax"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)

# %%
import functools
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import relujax as rx
from relujax import study

SHORT = "RELUJAX_SHORT" in os.environ  # as the tests run it
WIDTH, DEPTHS = 32, (1, 4) if SHORT else (1, 4, 16, 64, 256)
NETWORKS = {32: 8} if SHORT else {32: 200, 128: 50, 512: 8}  # by width
EPOCHS, UNITS = (1, 256) if SHORT else (20, 1024)


def stack(activation, kernel_init, depth, seed=0):
    """A plain stack whose layers are scanned over."""
    keys = jax.random.split(jax.random.key(seed), depth)
    weights = jax.vmap(lambda key: kernel_init(key, (WIDTH, WIDTH), jnp.float32))(keys)
    return rx.Scan(lambda h, w: activation(h @ w), weights)


# %% [markdown]
# ## Which weights hold a signal?
# The edge of chaos: the weight variance at which a gradient neither vanishes nor explodes, and whether the length of
# the signal is stable there. GELU's is not, unless its biases are large enough.

# %%
for name, bias_variance in (("relu", 0.0), ("tanh", 0.05), ("gelu", 0.05), ("gelu", 0.3)):
    edge = rx.theory.critical(name, bias_variance)
    print(
        f"{name:>5}, bias variance {bias_variance:4}: weight variance {edge.weight_variance:.4f}, "
        f"length {edge.q:.3f}, {'stable' if edge.stable else 'NOT stable'}"
    )

# %% [markdown]
# ## All singular values over depth
# In float32 a product of a few dozen Jacobians loses all but its largest singular values to rounding.
# `rx.stack_spectrum` keeps every one, as a logarithm. ReLU's rank falls to the least number of active units, and the
# values that are left drift apart; orthogonal weights under tanh keep them together.

# %%
x = jax.random.normal(jax.random.key(1), (WIDTH,), "float32")
stacks = {
    "ReLU, Gaussian (He)": (rx.relu, rx.init.critical("relu")),
    "tanh, orthogonal": (rx.tanh, jax.nn.initializers.orthogonal()),
}
fans = {}
for title, (activation, init) in stacks.items():
    fans[title] = [np.asarray(rx.stack_spectrum(stack(activation, init, depth))(0.1 * x)) for depth in DEPTHS]
    for depth, values in zip(DEPTHS, fans[title], strict=True):
        kept = values[np.isfinite(values)]
        print(f"{title}, {depth:3} layers: rank {len(kept):2}, log values from {kept[-1]:7.1f} to {kept[0]:5.1f}")

# %% [markdown]
# ## How far a gradient strays
# At finite width the logarithm of a gradient's squared norm walks at random. For ReLU and leaky ReLU the law is exact:
# every layer adds the same mean and variance. For tanh and GELU it is one layer's law. Tanh keeps to it; GELU, whose
# fixed point is not stable without biases, does not: its signal shrinks, and its gradient with it.

# %%
FUNCTIONS = {
    "relu": rx.relu,
    "leaky_relu(0.2)": rx.activation("leaky_relu", negative_slope=0.2),
    "tanh": rx.tanh,
    "gelu": rx.gelu,
}


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def log_norms(fun, second, width, keys):
    """Log squared length of a tangent after each of 100 layers, per network: ``(networks, 100)``."""

    def layer(state, key):
        h, u, log = state
        w = jax.random.normal(key, (width, width)) / (width * second) ** 0.5
        h, u = jax.jvp(lambda h: fun(h @ w), (h,), (u,))
        log += jnp.log(jnp.sum(u**2))
        return (h, u / jnp.linalg.norm(u), log), log

    def network(key):
        start, tangent, draw = jax.random.split(key, 3)
        h, u = (jax.random.normal(k, (width,)) for k in (start, tangent))
        h *= (width * second) ** 0.5 / jnp.linalg.norm(h)  # the first pre-activations have variance 1
        return jax.lax.scan(layer, (h, u / jnp.linalg.norm(u), 0.0), jax.random.split(draw, 100))[1]

    return jax.lax.map(network, keys, batch_size=8)


walks = {}
print(f"{'':15} {'width':>5} {'depth':>5} {'predicted':>9} {'measured':>8} {'z':>6} {'outside of 99 %':>15}")
for name, fun in FUNCTIONS.items():
    for width, networks in NETWORKS.items():
        keys = jax.random.split(jax.random.key(width), networks)
        walks[name, width] = np.asarray(log_norms(fun, rx.theory.moments(fun).second, width, keys))
        law = rx.theory.log_norm_law(fun, width)
        for depth in (1, 10, 30, 100):
            ends, (low, high) = walks[name, width][:, depth - 1], law.band(depth)
            z = (ends.mean() - depth * law.mean) / (depth * law.variance / networks) ** 0.5
            outside = np.mean((ends < low) | (ends > high))
            print(f"{name:15} {width:5} {depth:5} {depth * law.mean:9.2f} {ends.mean():8.2f} {z:6.1f} {outside:15.0%}")

# %% [markdown]
# ## Where BatchNorm makes gradients grow
# Batch normalisation before a ReLU makes squared gradients *grow* at initialisation, by a factor per layer that depends
# on the batch. Predicted for wide layers, and measured in layers of 1024 units;
# the layers next to the input and to the output have not come to it:


# %%
@functools.partial(jax.jit, static_argnums=2)
def squared_gradients(key, x, layers=12):
    """At the output of each layer, the last one's first."""

    def layer(x, w):
        h = x @ w
        centred = h - h.mean(axis=0)
        return rx.relu(centred / jnp.sqrt(jnp.mean(centred**2, axis=0)))

    pulls = []
    *keys, last = jax.random.split(key, layers + 1)
    for key in keys:
        w = jax.random.normal(key, (x.shape[1], x.shape[1])) * (2 / x.shape[1]) ** 0.5
        x, pull = jax.vjp(lambda x, w=w: layer(x, w), x)
        pulls.append(pull)
    squares = [g := jax.random.normal(last, x.shape)]
    for pull in reversed(pulls):
        [g] = pull(g)
        squares.append(g)
    return jnp.stack([jnp.sum(g**2) for g in squares])


grown = {}
for batch in (8, 128) if SHORT else (8, 32, 128):
    x = jax.random.normal(jax.random.key(batch), (batch, UNITS))
    grown[batch] = np.asarray(squared_gradients(jax.random.key(0), x))
    steady = np.exp(np.diff(np.log(grown[batch]))[2:10].mean())
    growth = rx.theory.batch_norm_growth(batch)
    print(f"batch {batch:8}: predicted x{growth:.4f} per layer, measured x{steady:.4f}; x{growth**50:.1e} over 50")
growth = rx.theory.batch_norm_growth(None)
print(f"batch infinite: predicted x{growth:.4f} per layer; x{growth**50:.1e} over 50")

# %% [markdown]
# ## A hundred plain layers that train
# Without skips, norms or biases, ReLU with He's initialisation maps all digits onto nearly one direction, and hardly
# trains. `rx.theory.tailor` bends the leaky ReLU so that a stack of just this depth keeps directions apart. Same
# optimiser, steps, widths and inputs:

# %%
digits = study.digits()
(images, labels), (held_images, held_labels) = digits.train, digits.test
images, held_images = (a / np.sqrt(np.mean(a**2, axis=1, keepdims=True)) for a in (images, held_images))
shuffle = np.random.default_rng(0)
batches = np.concatenate([shuffle.permutation(len(images))[: len(images) // 64 * 64].reshape(-1, 64)] * EPOCHS)


def train(act, variance, depth=100, width=128):
    """Training losses, and the accuracy on images that were held out."""
    draw = jax.nn.initializers.variance_scaling(variance, "fan_in", "normal")
    first, hidden, last = jax.random.split(jax.random.key(0), 3)
    params = {
        "first": draw(first, (images.shape[1], width)),
        "hidden": jax.vmap(lambda key: draw(key, (width, width)))(jax.random.split(hidden, depth - 1)),
        "last": draw(last, (width, 10)),
    }
    schedule = optax.warmup_cosine_decay_schedule(0.0, 3e-4, len(batches) // 10, len(batches))
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def logits(params, x):
        h = jax.lax.scan(lambda h, w: (act(h @ w), None), act(x @ params["first"]), params["hidden"])[0]
        return h @ params["last"]

    def loss(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, x), y).mean()

    @jax.jit
    def run(params, x, y):
        def step(carry, rows):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params, x[rows], y[rows])
            updates, state = optimiser.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), value

        (params, _), losses = jax.lax.scan(step, (params, optimiser.init(params)), batches)
        return losses, jnp.mean(logits(params, held_images).argmax(1) == held_labels)

    losses, accuracy = run(params, jnp.asarray(images), jnp.asarray(labels))
    return np.asarray(losses), float(accuracy)


tailored = rx.theory.tailor("leaky_relu", 100)
trained = {
    "ReLU, He": train(rx.relu, 2.0),
    f"leaky ReLU, slope {tailored.negative_slope:.3f}": train(tailored, 1.0),
}
for name, (_, accuracy) in trained.items():
    print(f"{name}: {accuracy:.1%} of the held-out digits")

# %%
BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#555555"
figure, axes = plt.subplots(2, 3, figsize=(12, 6.6), layout="constrained")
for ax, (title, fan) in zip(axes[0], fans.items(), strict=False):
    ax.plot(DEPTHS, np.where(np.isfinite(fan), fan, np.nan), "o-", color=BLUE, alpha=0.5, markersize=3)
    ax.set(title=title, xlabel="layers", ylabel="log singular value", xscale="log")

layers = np.arange(1, 101)
law = rx.theory.log_norm_law("relu", WIDTH)
axes[0, 2].plot(layers, walks["relu", WIDTH][:20].T, color=GREY, alpha=0.5, linewidth=0.7)
axes[0, 2].plot(layers, [law.band(depth) for depth in layers], color=RED)
axes[0, 2].set(
    title=f"ReLU, width {WIDTH}: 20 networks, and 99 %", xlabel="layers", ylabel="log squared gradient, nats"
)

width = max(NETWORKS)
for (name, fun), colour in zip(FUNCTIONS.items(), (BLUE, GREEN, RED, GREY), strict=True):
    axes[1, 0].plot(layers, walks[name, width].mean(axis=0), color=colour, label=name)
    axes[1, 0].plot(layers, layers * rx.theory.log_norm_law(fun, width).mean, "--", color=colour, linewidth=0.9)
axes[1, 0].set(title=f"Width {width} (dashed: predicted)", xlabel="layers", ylabel="log squared gradient, nats")
axes[1, 0].legend(frameon=False)

for (batch, squares), colour in zip(grown.items(), (BLUE, RED, GREEN), strict=False):
    back = np.arange(len(squares))
    growth = rx.theory.batch_norm_growth(batch)
    axes[1, 1].plot(back, squares / squares[2], "o", color=colour, markersize=4, label=f"batch {batch}")
    axes[1, 1].plot(back, growth ** (back - 2.0), "--", color=colour, linewidth=0.9)
axes[1, 1].set(
    title="BatchNorm (dashed: predicted)",
    xlabel="layers back from the output",
    ylabel="squared gradient",
    yscale="log",
)
axes[1, 1].legend(frameon=False)

for (name, (losses, accuracy)), colour in zip(trained.items(), (GREY, BLUE), strict=True):
    axes[1, 2].plot(losses, color=colour, linewidth=0.9, label=f"{name}: {accuracy:.0%}")
axes[1, 2].set(title="100 plain layers on the digits", xlabel="step", ylabel="training loss", ylim=(0, 3.5))
axes[1, 2].legend(loc="upper right", edgecolor="none", framealpha=0.9)
for ax in axes.flat:
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
