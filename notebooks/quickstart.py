# %% [markdown]
# # Quickstart: how do gradients travel through this model?
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/relujax/blob/main/notebooks/quickstart.ipynb)
#
# An unmodified Flax NNX model goes in; what its activations did, forward and backward, comes out.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("relujax") is None:  # in Colab
    source = "relujax[report] @ git+https://github.com/OWNER/relujax"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)

# %%
# %matplotlib inline
import itertools
import os

import jax
import numpy as np
from flax import nnx
from sklearn.datasets import load_digits

import relujax as rx

SHORT = "RELUJAX_SHORT" in os.environ  # as the tests run it
DEPTH, EXAMPLES = (3, 128) if SHORT else (12, 1797)

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
images = ((images - images.mean()) / images.std()).astype(np.float32)[:EXAMPLES]
labels = labels.astype(np.int32)[:EXAMPLES]

# %%
result = rx.diagnose(Stack(DEPTH, nnx.Rngs(0)), (images, labels), loss="cross_entropy")
print(result)

# %% [markdown]
# With Flax's default the squared gradient halves per layer. He initialisation is twice the variance:
# `kernel_init=rx.init.gain_normal("relu")` does that, and the like for any other activation.
#
# A cell that ends in `result` shows the whole report, to hover over, sort and filter; `result.to_html()` is the same as
# a file of its own. Below is its static picture.

# %%
figure, _ = result.figure()
figure
