"""Compiled temporary bytes per activation element of a training step's gradient: an exact counter, no timing.

The reference stack: 16 layers ``h = act(h @ w)``, float32, batch 1024, width 128, the gradient of ``sum(h**2)`` with
respect to the weights; ``temp_size_in_bytes / (16 * 1024 * 128)``. Every elementwise member of the registry, in a scan,
unrolled, and in a scan whose body applies the activation before the matmul.

python -m benchmarks.memory
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import relujax as rx

from ._common import finish, members, peer

LAYERS, BATCH, WIDTH = 16, 1024, 128
FORMS = ("scan", "unrolled", "scan, activation first")

# What a row may take in each form. Matmuls alone take 4.56 in a scan and 4.25 unrolled. With the activation first, an
# output that is also the next layer's input costs nothing more.
_BY_RESIDUAL = {
    "nothing": (4.8, 4.45, 5.0),
    "bits": (4.95, 4.45, 5.2),
    "output": (8.8, 4.55, 4.8),
    "input": (8.9, 8.3, 9.05),
}
_FEW_BIT = {2: (5.1, 4.55, 5.35), 4: (5.35, 4.8, 5.6)}
# What takes more than its kin.
_EXCEPTIONS = {
    # On jax 0.10.2 a where takes a buffer in a scan (0.22, and 0.03 with the activation first); on 0.12.0 it does not.
    "threshold": (5.15, 4.45, 5.2),
    "jump_relu": (5.15, 4.45, 5.2),
    "sparse_sigmoid": (5.05, 4.45, 5.3),  # two bits: its slope at a kink is a third one
}


def limits(name: str) -> tuple[float, float, float]:
    """Bytes per element that a member may take in each of :data:`FORMS`."""
    return _EXCEPTIONS.get(name) or _BY_RESIDUAL[rx.ACTIVATIONS[name].residual]


def loss(act: Callable, form: str, weights: Any, x: jax.Array) -> jax.Array:
    """Of the reference stack; its weights are a list where it is unrolled, else one array."""
    if form == "unrolled":
        for w in weights:
            x = act(x @ w)
        return jnp.sum(x**2)

    def body(h: jax.Array, w: jax.Array) -> tuple[jax.Array, None]:
        return (act(h @ w) if form == "scan" else act(h) @ w), None

    return jnp.sum(jax.lax.scan(body, x, weights)[0] ** 2)


def compiled_bytes(step: Callable, *args: Any) -> int:
    """What a compiled ``step(*args)`` takes beside its arguments and results."""
    analysis = jax.jit(step).lower(*args).compile().memory_analysis()
    assert analysis is not None, "this backend counts no memory"
    return analysis.temp_size_in_bytes


def temporary_bytes(
    step: Callable, form: str, dtype: Any = jnp.float32, layers: int = LAYERS, batch: int = BATCH, width: int = WIDTH
) -> float:
    """What a compiled ``step(weights, x)`` of the stack takes beside its arguments and results, per element."""
    one = jax.ShapeDtypeStruct((width, width), dtype)
    stacked = jax.ShapeDtypeStruct((layers, width, width), dtype)
    weights = [one] * layers if form == "unrolled" else stacked
    return compiled_bytes(step, weights, jax.ShapeDtypeStruct((batch, width), dtype)) / (layers * batch * width)


@functools.cache
def bytes_per_element(act: Callable, form: str, *shape: Any, **sizes: Any) -> float:
    """What one gradient step takes; further arguments as for :func:`temporary_bytes`."""
    return temporary_bytes(jax.grad(functools.partial(loss, act, form)), form, *shape, **sizes)


def _measured() -> list[dict[str, Any]]:
    functions = [(name, fun, peer(name), limits(name)) for name, fun in members().items()]
    functions += [(f"few_bit(gelu, {k})", rx.few_bit(rx.gelu, k), jax.nn.gelu, most) for k, most in _FEW_BIT.items()]
    rows = []
    for name, fun, theirs, most in functions:
        for form, limit in zip(FORMS, most, strict=True):
            ours, peers = bytes_per_element(fun, form), bytes_per_element(theirs, form) if theirs else None
            ratio = ours / peers if peers else None
            rows.append(
                {"activation": name, "form": form, "jax.nn": peers, "relujax": ours, "ratio": ratio, "limit": limit}
            )
    return rows


def main() -> None:
    rows = _measured()
    claims = {
        f"{row['activation']}, {row['form']}: at most {row['limit']} bytes per element, and never above jax.nn": (
            row["relujax"] <= row["limit"] and (row["ratio"] or 0) <= 1
        )
        for row in rows
    }
    finish("memory", rows, claims, "Temporary bytes per activation element")


if __name__ == "__main__":
    main()
