"""Timing on a machine that others use too: interleaved, by the median of paired ratios."""

import ctypes
import platform
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from relujax._clock import interleaved as interleaved

_ROUNDS_AT_MOST = 4


def keep_freed_memory() -> None:
    """Have the C library reuse the memory of large arrays, as the allocators of accelerators do.

    By default it returns it to the system, and each new array of 64 MB then costs 16,000 page faults: more than any
    activation does, and different ones for each side.
    """
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        no_mmap, trim_threshold, arenas = -4, -1, -8
        libc.mallopt(no_mmap, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(arenas, 1)


def ratio(seconds: Mapping[str, list[float]], ours: str, peer: str) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(seconds[ours], seconds[peer], strict=True))


def decided(
    calls: Mapping[str, Callable[[], Any]], rounds: int, limits: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Ratios of the call named "relujax" to each other one, and the seconds.

    Where a ratio is above its limit the clock may be to blame: more rounds are run, and all of them count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    ratios: dict[str, float] = {}
    for _ in range(_ROUNDS_AT_MOST):
        for name, more in interleaved(calls, rounds).items():
            seconds[name] += more
        ratios = {name: ratio(seconds, "relujax", name) for name in calls if name != "relujax"}
        if all(ratios[name] <= limit for name, limit in limits.items() if name in ratios):
            break
    return ratios, seconds


def value_and_gradient(fun: Callable) -> Callable:
    """``(x, g) -> (f(x), vjp(g))``, compiled."""

    def both(x: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, pull = jax.vjp(fun, x)
        return y, pull(g)[0]

    return jax.jit(both)


def normal(seed: int, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Standard normal numbers."""
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def agree(ours: Any, theirs: Any, name: str, tolerance: float = 1e-5) -> None:
    """Correctness comes before time."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        size = max(1.0, float(np.abs(b).max()))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * size, err_msg=name)
