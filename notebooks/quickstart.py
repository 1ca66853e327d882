# %% [markdown]
# # Quickstart: how do gradients travel through this model?
# An unmodified Flax NNX model goes in; what its activations did, forward and backward, comes out.

# %%
import itertools

import jax
import numpy as np
from flax import nnx
from sklearn.datasets import load_digits

import relujax as rx

# %% [markdown]
# A plain deep stack with Flax's default initialisation, and real images.


# %%
class Stack(nnx.Module):
    def __init__(self, depth: int, rngs: nnx.Rngs):
        sizes = [64] * (depth + 1)
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(sizes)])
        self.readout = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = jax.nn.relu(layer(x))
        return self.readout(x)


images, labels = load_digits(return_X_y=True)
images = ((images - images.mean()) / images.std()).astype(np.float32)

# %%
result = rx.diagnose(Stack(12, nnx.Rngs(0)), (images, labels.astype(np.int32)), loss="cross_entropy")
print(result)

# %% [markdown]
# With Flax's default the squared gradient halves per layer. He initialisation is twice the variance:
# `kernel_init=rx.init.gain_normal("relu")` does that, and the like for any other activation.

# %%
figure, _ = result.figure()
figure
