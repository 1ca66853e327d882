"""Compiled temporary bytes per activation element of a training step's gradient: an exact counter, no timing.

The reference stack: 16 layers ``h = act(h @ w)``, float32, batch 1024, width 128, the gradient of ``sum(h**2)`` with
respect to the weights; ``temp_size_in_bytes / (16 * 1024 * 128)``. "First" applies the activation before the matmul.

python -m benchmarks.memory
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

import relujax as rx

from ._common import finish

LAYERS, BATCH, WIDTH = 16, 1024, 128

#: Limits for (scan, scan with the activation first, unrolled).
_LIMITS = {
    "relu": (4.95, 5.15, 4.55),
    "relu6": (4.95, 5.15, 4.55),
    "leaky_relu": (4.95, 5.15, 4.55),
    "elu": (8.8, 4.8, 4.55),
    "celu": (8.8, 4.8, 4.55),
    "selu": (8.8, 4.8, 4.55),
    "silu": (8.9, 9.05, 8.3),
    "sigmoid": (8.8, 4.8, 4.55),
    "tanh": (8.8, 4.8, 4.55),
}


def scanned(act: Callable, first: bool = False) -> float:
    """Bytes per element with the layers in a scan."""

    def body(h: jax.Array, w: jax.Array) -> tuple[jax.Array, None]:
        return (act(h) @ w if first else act(h @ w)), None

    def loss(weights: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.sum(jax.lax.scan(body, x, weights)[0] ** 2)

    return _temp_bytes(loss, jax.ShapeDtypeStruct((LAYERS, WIDTH, WIDTH), jnp.float32))


def unrolled(act: Callable) -> float:
    """Bytes per element with the layers written out."""

    def loss(weights: list[jax.Array], x: jax.Array) -> jax.Array:
        for w in weights:
            x = act(x @ w)
        return jnp.sum(x**2)

    return _temp_bytes(loss, [jax.ShapeDtypeStruct((WIDTH, WIDTH), jnp.float32)] * LAYERS)


def _temp_bytes(loss: Callable, weights: object) -> float:
    x = jax.ShapeDtypeStruct((BATCH, WIDTH), jnp.float32)
    analysis = jax.jit(jax.grad(loss)).lower(weights, x).compile().memory_analysis()
    assert analysis is not None, "this backend counts no memory"
    return analysis.temp_size_in_bytes / (LAYERS * BATCH * WIDTH)


def _peer(name: str) -> Callable:
    return getattr(jax.nn, name, None) or getattr(jnp, name)


def main() -> None:
    rows, claims = [], {}
    for name, limits in _LIMITS.items():
        ours, peer = getattr(rx, name), _peer(name)
        forms = {"scan": scanned, "scan, first": lambda act: scanned(act, first=True), "unrolled": unrolled}
        for (form, measure), limit in zip(forms.items(), limits, strict=True):
            a, b = measure(peer), measure(ours)
            rows.append({"activation": name, "form": form, "jax.nn": a, "relujax": b, "ratio": b / a})
            claims[f"{name}, {form}: at most {limit} bytes per element, and never above jax.nn"] = b <= min(limit, a)
    finish("memory", rows, claims, "Temporary bytes per activation element")


if __name__ == "__main__":
    main()
