"""Numbers to test on, the registry evaluated in one compilation, and distances in units in the last place (ulp)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import relujax as rx

HALVES = (jnp.float16, jnp.bfloat16)
FLOATS = (jnp.float32, *HALVES)
# XLA flushes float32 subnormals to zero, and bfloat16's are float32's: no function of jax.nn keeps them either.
FLUSHED = float(np.finfo(np.float32).tiny)


def every_finite(dtype):
    """All finite values of a 16-bit dtype."""
    exponent = np.array(np.inf, dtype).view(np.uint16)
    patterns = np.arange(2**16, dtype=np.uint16)
    return patterns[(patterns & exponent) != exponent].view(dtype)


def grid(dtype):
    """All finite values of a 16-bit dtype; for float32 a fine grid, the tails, both zeros and both extremes."""
    if jnp.dtype(dtype).itemsize == 2:
        return every_finite(dtype)
    tails = np.geomspace(1e-37, 3e38, 301)
    parts = [np.linspace(-20, 20, 8001), np.linspace(-120, 120, 2401), -tails, tails, [0.0, -0.0]]
    return np.concatenate(parts).astype(dtype)


def by_row(compute: Callable, *args):
    """``{name: compute(row, *args)}`` for the whole registry: what tests spend their time on is compilation."""
    rows = rx.ACTIVATIONS.items()
    return jax.tree.map(np.asarray, jax.jit(lambda *args: {name: compute(row, *args) for name, row in rows})(*args))


def by_row64(compute: Callable, *args):
    """The same on float64 arguments, also where JAX runs in 32 bits."""
    with jax.enable_x64(True):
        return by_row(compute, *(np.asarray(arg, np.float64) for arg in args))


def ulps(got, want, dtype):
    """Distance between results of a dtype and float64 values rounded to it, in ulp; 0 for equal infinities."""
    info = jnp.finfo(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = want.astype(dtype).astype(np.float64)
        got = np.asarray(got).astype(np.float64)
        binade = np.floor(np.log2(np.maximum(np.abs(rounded), float(info.tiny))))
        spacing = 2.0 ** (binade - info.nmant)
        if float(info.tiny) == FLUSHED:
            spacing = np.maximum(spacing, np.where(np.abs(rounded) <= FLUSHED, FLUSHED, 0))
        return np.where(got == rounded, 0, np.abs(got - rounded) / spacing)
