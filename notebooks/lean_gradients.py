# %% [markdown]
# # Lean gradients: what an activation keeps between the two passes
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/relujax/blob/main/notebooks/lean_gradients.ipynb)
#
# Training needs memory for what the forward pass keeps until the backward pass has used it. ReLU's gradient needs one
# bit per element, its sign; a plain `jnp.maximum` keeps 32 or more. This notebook counts what is kept, makes an
# existing model keep less without changing its values, and looks at what the compiled program really takes.

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

import relujax as rx

SHORT = "RELUJAX_SHORT" in os.environ  # as the tests run it
LAYERS, BATCH, WIDTH = (4, 256, 128) if SHORT else (16, 1024, 128)

# %% [markdown]
# ## Counting, without running anything
# `rx.residual_bytes` counts what `jax.vjp` keeps. It only traces: shapes and dtypes are enough.

# %%
x = jax.ShapeDtypeStruct((BATCH, WIDTH), jnp.float32)
functions = {
    "relu": (jax.nn.relu, rx.relu),
    "leaky_relu": (jax.nn.leaky_relu, rx.leaky_relu),
    "elu": (jax.nn.elu, rx.elu),
    "gelu": (jax.nn.gelu, rx.gelu),
    "gelu, 4 bits": (jax.nn.gelu, rx.few_bit(rx.gelu, bits=4)),
    "gelu, 2 bits": (jax.nn.gelu, rx.few_bit(rx.gelu, bits=2)),
}
print("bits per element       jax.nn   relujax")
for name, pair in functions.items():
    theirs, ours = (8 * rx.residual_bytes(f, x) / (BATCH * WIDTH) for f in pair)
    print(f"{name:20} {theirs:8.3g} {ours:9.3g}")

# %% [markdown]
# ReLU keeps a bit. ELU keeps its output, which the next layer's matmul keeps anyway, so that it costs nothing more.
# GELU needs its input, unless a gradient that is slightly off will do: `rx.few_bit` keeps a code of two or four bits
# per element, and replaces the slope by the step function that fits it best.

# %% [markdown]
# ## An existing model
# `rx.lean` takes any JAX function, finds the activations of `jax.nn` in it, and exchanges their gradients for lean
# ones. Nothing is edited. Here a stack as one would write it, first with values and gradients compared.


# %%
def loss(activation, weights, x):
    for w in weights:
        x = activation(x @ w)
    return jnp.sum(x**2)


keys = jax.random.split(jax.random.key(0), LAYERS + 1)
init = jax.nn.initializers.he_normal()
weights = [init(key, (WIDTH, WIDTH), "float32") for key in keys[1:]]
images = jax.random.normal(keys[0], (BATCH, WIDTH), "float32")

model = functools.partial(loss, jax.nn.relu)
plain, lean = (jax.jit(jax.value_and_grad(f))(weights, images) for f in (model, rx.lean(model)))
off = [jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(a)) for a, b in zip(plain[1], lean[1], strict=True)]
print(f"loss {plain[0]:.6g} and {lean[0]:.6g}; gradients differ by at most {max(off):.1e} of their largest entry")

# %% [markdown]
# ## What the compiled program takes
# XLA decides in the end what is kept. `memory_analysis` tells, exactly and without running: bytes beside arguments and
# results of one gradient step, here per element of one activation. The matmuls keep their inputs, 4 bytes per element,
# in any case.


# %%
def temporary_bytes(fun):
    compiled = jax.jit(jax.grad(fun)).lower(weights, images).compile()
    return compiled.memory_analysis().temp_size_in_bytes / (LAYERS * BATCH * WIDTH)


rows = {"matmuls alone": (temporary_bytes(functools.partial(loss, lambda h: h)),) * 2}
for name, (theirs, ours) in functions.items():
    rows[name] = tuple(temporary_bytes(functools.partial(loss, f)) for f in (theirs, ours))
rows["relu, by rx.lean"] = rows["relu"][0], temporary_bytes(rx.lean(model))
print(f"temporary bytes per element on {jax.default_backend()}, {LAYERS} layers of {BATCH} x {WIDTH}")
print("                    jax.nn   relujax")
for name, (theirs, ours) in rows.items():
    print(f"{name:18} {theirs:8.2f} {ours:9.2f}")

# %% [markdown]
# ## What a few bits cost
# The gradient with a code of 2 or 4 bits is not the derivative, but close to it: the cosine of the angle between both
# gradients of the first layer's weights, after all layers.

# %%
exact = jax.grad(functools.partial(loss, rx.gelu))(weights, images)[0].ravel()
for bits in (4, 2, 1):
    coarse = jax.grad(functools.partial(loss, rx.few_bit(rx.gelu, bits=bits)))(weights, images)[0].ravel()
    cosine = exact @ coarse / (jnp.linalg.norm(exact) * jnp.linalg.norm(coarse))
    print(f"{bits} bits: cosine {cosine:.4f}")

# %% [markdown]
# ## The picture
# Left, what a gradient step takes beyond the matmuls. Right, the slope of GELU and the steps that stand for it.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
base = rows.pop("matmuls alone")[0]
places = np.arange(len(rows))[::-1]
for shift, column, label, colour in ((0.2, 0, "jax.nn", "#999999"), (-0.2, 1, "relujax", "#0072B2")):
    values = np.array([row[column] for row in rows.values()]) - base
    bars = left.barh(places + shift, values, 0.38, color=colour, label=label)
    left.bar_label(bars, [f"{value:.2f}" for value in values], padding=3, fontsize=9)
left.set_yticks(places, rows)
left.set_xlabel("bytes per activation element beyond the matmuls'")
left.set_title("One gradient step, compiled", loc="left", fontweight="bold", fontsize=11)
left.margins(x=0.12)
left.legend(frameon=False, loc="lower right")

grid = np.linspace(-4, 4, 801, dtype=np.float32)
right.plot(grid, jax.vmap(jax.grad(jax.nn.gelu))(grid), color="black", linewidth=2.5, label="derivative of GELU")
for bits, colour in ((2, "#D55E00"), (4, "#0072B2")):
    slope = jax.vmap(jax.grad(rx.few_bit(rx.gelu, bits=bits)))(grid)
    right.plot(grid, slope, color=colour, linewidth=1.5, label=f"{bits} bits")
right.set(xlabel="input", ylabel="slope")
right.set_title("The slope from a few bits", loc="left", fontweight="bold", fontsize=11)
right.legend(frameon=False)
for ax in (left, right):
    ax.set_axisbelow(True)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
