"""One small ReLU network, with the same weights in every form that diagnose takes, and data for it."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn, nnx

import relujax as rx

_RNG = np.random.default_rng(0)


def normal(*shape):
    return _RNG.standard_normal(shape).astype(np.float32)


#: 37 examples of 5 numbers, 3 classes.
X = normal(37, 5)
Y = np.int32(_RNG.integers(0, 3, 37))
PARAMS = {
    "first": {"bias": normal(6) / 4, "kernel": normal(5, 6) / 2},
    "second": {"bias": normal(6) / 4, "kernel": normal(6, 6) / 2},
    "third": {"bias": normal(3) / 4, "kernel": normal(6, 3) / 2},
}


def dense(layer, x):
    return x @ layer["kernel"] + jnp.broadcast_to(layer["bias"], (*x.shape[:-1], layer["bias"].size))


def apply(params, x):
    x = rx.relu(dense(params["first"], x))
    x = rx.relu(dense(params["second"], x))
    return dense(params["third"], x)


def closed(x):
    return apply(PARAMS, x)


class NnxNet(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first, self.second = nnx.Linear(5, 6, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)
        self.third = nnx.Linear(6, 3, rngs=rngs)
        for name, layer in PARAMS.items():
            getattr(self, name).kernel[...] = jnp.asarray(layer["kernel"])
            getattr(self, name).bias[...] = jnp.asarray(layer["bias"])

    def __call__(self, x):
        x = rx.relu(self.first(x))
        return self.third(rx.relu(self.second(x)))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = rx.relu(nn.Dense(6, name="first")(x))
        x = rx.relu(nn.Dense(6, name="second")(x))
        return nn.Dense(3, name="third")(x)


def forms():
    """Arguments of diagnose, by form."""
    return {
        "nnx": {"model": NnxNet()},
        "linen": {"model": (LinenNet(), {"params": PARAMS})},
        "function": {"model": closed},
        "function and params": {"model": apply, "params": PARAMS},
    }


def mean_loss(params, x=X, y=Y):
    """Softmax cross entropy, written out."""
    logits = apply(params, x)
    picked = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]
    return jnp.mean(jax.scipy.special.logsumexp(logits, axis=1) - picked)
