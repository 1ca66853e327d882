"""Laws of depth and width against networks that are drawn: how far gradients stray, and how batch norm makes them grow.

The log of a tangent's squared length through ``depth`` layers of Gaussian weights that hold the signal, over networks
drawn at random, against the law's mean and variance per layer times ``depth``: exact for ReLU and leaky ReLU; for tanh
and GELU one layer's law, and how far it holds over depth is what the table shows. Then the squared gradient through
layers of ``relu(batch_norm(x @ w))``, against the factor per layer at infinite width.

python -m benchmarks.laws
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import relujax as rx

from ._common import finish

DEPTHS = (1, 10, 30, 100)
NETWORKS = {32: 256, 128: 64, 512: 8}  # by width
FUNCTIONS = {
    "relu": rx.relu,
    "leaky_relu(0.2)": rx.activation("leaky_relu", negative_slope=0.2),
    "tanh": rx.tanh,
    "gelu": rx.gelu,
}
LARGEST_Z = 4.0  # one of 30 z-scores lies above with chance 0.002
BATCHES = {8: 16, 128: 8}  # networks by batch
NORM_WIDTH, NORM_LAYERS = 1024, 12
STEADY = slice(
    2, 10
)  # the gradients of the last layers, and the signals of the first, are not yet in their lasting form


@functools.partial(jax.jit, static_argnums=(0, 2))
def log_lengths(fun: Callable, second: float, width: int, keys: jax.Array) -> jax.Array:
    """``(networks, depth)``: the log squared length, after each layer, of a tangent that starts with length 1."""

    def layer(carry: Any, key: jax.Array) -> Any:
        x, u, log = carry
        w = jax.random.normal(key, (width, width)) / jnp.sqrt(width * second)
        x, u = jax.jvp(lambda x: fun(x @ w), (x,), (u,))
        log += jnp.log(jnp.sum(u**2))
        return (x, u / jnp.linalg.norm(u), log), log

    def network(key: jax.Array) -> jax.Array:
        first, last, rest = jax.random.split(key, 3)
        x, u = jax.random.normal(first, (width,)), jax.random.normal(last, (width,))
        x *= jnp.sqrt(width * second) / jnp.linalg.norm(x)  # the first pre-activations have variance 1
        return jax.lax.scan(layer, (x, u / jnp.linalg.norm(u), 0.0), jax.random.split(rest, max(DEPTHS)))[1]

    return jax.lax.map(network, keys, batch_size=8)


def lengths(name: str, width: int) -> list[dict[str, Any]]:
    """Measured and predicted log lengths of one function at one width, a row per depth."""
    fun, networks = FUNCTIONS[name], NETWORKS[width]
    keys = jax.random.split(jax.random.key(width), networks)
    logs = np.asarray(log_lengths(fun, rx.theory.moments(fun).second, width, keys), np.float64)
    law = rx.theory.log_norm_law(fun, width)
    rows = []
    for depth in DEPTHS:
        found, (low, high) = logs[:, depth - 1], law.band(depth)
        rows.append(
            {
                "network": name,
                "width": width,
                "depth": depth,
                "predicted": depth * law.mean,
                "measured": float(found.mean()),
                "z": (found.mean() - depth * law.mean) / np.sqrt(depth * law.variance / networks),
                "sd predicted": np.sqrt(depth * law.variance),
                "sd measured": float(found.std(ddof=1)),
                "outside of 99 %": float(np.mean((found < low) | (found > high))),
                "law": "exact" if law.exact else "one layer's",
            }
        )
    return rows


@jax.jit
def gradients_through_batch_norm(key: jax.Array, x: jax.Array) -> jax.Array:
    """Squared gradients at the output of each layer, the last layer's first."""

    def layer(x: jax.Array, w: jax.Array) -> jax.Array:
        h = x @ w
        centered = h - h.mean(axis=0)
        return rx.relu(centered / jnp.sqrt(jnp.mean(centered**2, axis=0)))

    pulls = []
    *keys, last = jax.random.split(key, NORM_LAYERS + 1)
    for key in keys:
        w = jax.random.normal(key, (x.shape[1], x.shape[1])) * (2 / x.shape[1]) ** 0.5
        x, pull = jax.vjp(lambda x, w=w: layer(x, w), x)
        pulls.append(pull)
    g = jax.random.normal(last, x.shape)
    squares = [jnp.sum(g**2)]
    for pull in reversed(pulls):
        [g] = pull(g)
        squares.append(jnp.sum(g**2))
    return jnp.stack(squares)


def batch_norm(batch: int) -> dict[str, Any]:
    """Measured and predicted growth per layer."""
    logs = []
    for key in jax.random.split(jax.random.key(batch), BATCHES[batch]):
        first, rest = jax.random.split(key)
        squares = gradients_through_batch_norm(rest, jax.random.normal(first, (batch, NORM_WIDTH)))
        logs.append(np.diff(np.log(np.asarray(squares, np.float64)))[STEADY].mean())
    growth, predicted = float(np.exp(np.mean(logs))), rx.theory.batch_norm_growth(batch)
    return {
        "network": f"relu(batch_norm), batch {batch}",
        "width": NORM_WIDTH,
        "depth": NORM_LAYERS,
        "predicted": predicted,
        "measured": growth,
        "z": (growth - predicted) / (growth * np.std(logs, ddof=1) / np.sqrt(len(logs))),
        "sd predicted": None,
        "sd measured": growth * np.std(logs, ddof=1),
        "outside of 99 %": None,
        "law": "width to infinity",
    }


def main() -> None:
    rows = [row for name in FUNCTIONS for width in NETWORKS for row in lengths(name, width)]
    norms = {batch: batch_norm(batch) for batch in BATCHES}
    claims = {
        f"{row['network']}, width {row['width']}, depth {row['depth']}: the measured mean is the law's": (
            bool(abs(row["z"]) < LARGEST_Z)
        )
        for row in rows
        if row["law"] == "exact" or row["depth"] == 1
    }
    claims |= {
        f"tanh, width {row['width']}, depth {row['depth']}: one layer's law holds the mean within 10 % over depth": (
            bool(abs(row["measured"] / row["predicted"] - 1) < 0.1)
        )
        for row in rows
        if row["network"] == "tanh" and row["depth"] >= 30
    }
    claims |= {
        f"gelu, width {row['width']}: not stable, half of the networks leave the band by depth 100": (
            row["outside of 99 %"] > 0.5
        )
        for row in rows
        if row["network"] == "gelu" and row["depth"] == 100
    }
    claims |= {
        f"batch norm at batch {batch}: gradients grow by the law's factor per layer, within 2 %": (
            bool(abs(row["measured"] / row["predicted"] - 1) < 0.02)
        )
        for batch, row in norms.items()
    }
    finish(
        "laws", [*rows, *norms.values()], claims, "Log squared gradients over depth; growth per layer with batch norm"
    )


if __name__ == "__main__":
    main()
