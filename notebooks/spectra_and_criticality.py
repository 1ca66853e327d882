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
import os

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import relujax as rx

SHORT = "RELUJAX_SHORT" in os.environ  # as the tests run it
WIDTH, DEPTHS, NETWORKS = 32, *(((1, 4), 20) if SHORT else ((1, 4, 16, 64, 256), 200))


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
# At finite width the logarithm of a gradient's squared norm walks at random. For ReLU the law is exact: every layer
# adds the same mean and variance.

# %%
law = rx.theory.log_norm_law("relu", WIDTH)


@jax.jit
@jax.vmap
def log_norms(key):
    """Of one direction through 100 ReLU layers."""
    start, tangent, draw = jax.random.split(key, 3)

    def layer(state, key):
        h, u = state
        w = jax.random.normal(key, (WIDTH, WIDTH), "float32") * jnp.sqrt(2 / WIDTH).astype("float32")
        h, u = jax.jvp(lambda h: rx.relu(h @ w), (h,), (u,))
        return (h, u), jnp.log(jnp.sum(u**2))

    h, u = (jax.random.normal(k, (WIDTH,), "float32") for k in (start, tangent))
    return jax.lax.scan(layer, (h, u / jnp.linalg.norm(u)), jax.random.split(draw, 100))[1]


walks = np.asarray(log_norms(jax.random.split(jax.random.key(2), NETWORKS)))
end = walks[:, -1]
low, high = law.band(100)
outside = np.mean((end < low) | (end > high))
print(f"after 100 layers: law {100 * law.mean:.2f} +- {10 * law.variance**0.5:.2f} nats, ", end="")
print(f"{NETWORKS} networks {end.mean():.2f} +- {end.std():.2f}; {outside:.1%} outside of 99 %")

# %% [markdown]
# Batch normalisation before a ReLU makes squared gradients *grow* at initialisation, by this factor per layer:

# %%
for batch in (8, 32, 128, None):
    growth = rx.theory.batch_norm_growth(batch)
    print(f"batch {batch or 'infinite'}: x{growth:.4f} per layer, x{growth**50:.1e} over 50 layers")

# %%
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for ax, (title, fan) in zip(axes, fans.items(), strict=False):
    ax.plot(DEPTHS, np.where(np.isfinite(fan), fan, np.nan), "o-", color="#0072B2", alpha=0.5, markersize=3)
    ax.set(title=title, xlabel="layers", ylabel="log singular value", xscale="log")
axes[2].plot(range(1, 101), walks.T, color="grey", alpha=0.15, linewidth=0.7)
for edge in np.array([law.band(depth) for depth in range(1, 101)]).T:
    axes[2].plot(range(1, 101), edge, color="#D55E00")
axes[2].set(title="log gradient norm, and the law's 99 % band", xlabel="layers", ylabel="nats")
for ax in axes:
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
