# %% [markdown]
# # Claims: what everybody says of ReLU, measured
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/relujax/blob/main/notebooks/claims.ipynb)
#
# ReLU is cheap, sparse, keeps gradients, explodes, dies, overfits. Each of these sentences is an experiment here, on
# the handwritten digits of scikit-learn, with eight seeds, an error bar, and a verdict that one rule computes
# from the numbers. The whole takes less than three minutes on two quiet cores.

# %%
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("relujax") is None:  # in Colab
    source = "relujax[report] @ git+https://github.com/OWNER/relujax"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)

# %%
# %matplotlib inline
import os

import jax
import numpy as np

import relujax as rx

SHORT = "RELUJAX_SHORT" in os.environ  # as the tests run it
NAMES = ["relu_keeps", "one_sign"] if SHORT else rx.claims.names()
SEEDS = 2 if SHORT else rx.claims.SEEDS

# %% [markdown]
# ## All of them
# `rx.claims.each` gives findings as they come, and `rx.claims.run` all at once. What is printed is the verdict, with
# the conditions under which the claim held.

# %%
found = []
for finding in rx.claims.each(NAMES, seeds=SEEDS, quick=SHORT):
    found.append(finding)
    print(f"{finding.statement}: {finding.verdict}  [{finding.seconds:.0f} s]")
findings = rx.claims.Findings(tuple(found), quick=SHORT)

# %% [markdown]
# ## The rule
# A claim holds under a condition where its effect lies on the claimed side of its threshold, fails where it lies on the
# other side, and is undecided where a t test cannot tell at 5 %, by Holm's correction for the number of conditions. The
# error bars are those of each condition alone, 95 % and not corrected; on held-out images they are wider, for what the
# seeds' splits of the same images have in common (Nadeau and Bengio, 2003). One claim with all of its numbers:

# %%
print(next(finding for finding in findings if finding.name == "relu_keeps"))

# %% [markdown]
# ## A claim of your own
# The rule judges any numbers. "GELU networks are sparse, too": of a random GELU layer, the share of outputs that are
# within 1 % of 0 for their spread, for five draws of the weights.


# %%
def near_zero(activation, seed):
    """Share of outputs that are 0, or as good as that."""
    images, draw = jax.random.split(jax.random.key(seed))
    x, w = jax.random.normal(images, (512, 64), "float32"), jax.random.normal(draw, (64, 256), "float32") / 8
    y = np.asarray(activation(x @ w))
    return float(np.mean(np.abs(y) < 0.01 * y.std()))


claimed = rx.claims.Criterion(0.4, above=True, log=False)
for name in ("relu", "gelu", "silu"):
    values = tuple(near_zero(rx.activation(name), seed) for seed in range(5))
    condition = rx.claims.Condition(name, values, claimed)
    effect, low, high = condition.interval
    print(f"{name}: {effect:.1%} ({low:.1%} to {high:.1%}), claimed {claimed}: {condition.outcome}")

# %% [markdown]
# ## The picture
# Every condition of every claim: the effect over its threshold, on a logarithmic axis. Right of the line the claim
# holds; triangles stand for what lies farther out.

# %%
figure, _ = findings.figure()
figure.set_dpi(64)
figure
