"""Numbers to test on, the registry evaluated in one compilation, and distances in units in the last place (ulp)."""

import dataclasses
from collections.abc import Callable
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

HALVES = (jnp.float16, jnp.bfloat16)
FLOATS = (jnp.float32, *HALVES)
# XLA flushes float32 subnormals to zero, and bfloat16's are float32's: no function of jax.nn keeps them either.
FLUSHED = float(np.finfo(np.float32).tiny)
# How much further from the truth XLA's own exp, log and tanh may be than on CPUs.
LESS_EXACT = 1.0 if jax.default_backend() == "cpu" else 1.5


@dataclasses.dataclass(frozen=True)
class Variant(rx.Activation):
    """A row with a flag set, which makes it another function."""

    suffix: str = ""

    @property
    def name(self):
        return f"{super().name}_{self.suffix}"


def _variant(name, suffix, example, **other):
    row = rx.ACTIVATIONS[name]
    of_row = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
    return Variant(**of_row | other | {"example": MappingProxyType(dict(row.example) | example)}, suffix=suffix)


def _nelu_slope(x):
    return jnp.where(x > 0, 1, 0.1 * jnp.minimum(x, 0) / (1 + jnp.minimum(x, 0) ** 2) ** 2)


_EXACT = {"approximate": False}
VARIANTS = (
    _variant("gelu", "exact", _EXACT, steepest=1.1289041451851547),
    _variant("geglu", "exact", _EXACT, steepest=1.5 * 1.1289041451851547),
    _variant("sugar", "nelu", {"surrogate": "nelu"}, slope=_nelu_slope, kink_slopes=(0.0,), steepest=1.0),
)
#: What the properties are properties of.
ELEMENTWISE = {row.name: row for row in (*rx.ACTIVATIONS.values(), *VARIANTS) if row.elementwise}
ROWS = pytest.mark.parametrize("row", ELEMENTWISE.values(), ids=lambda row: row.name)
PAIRS = [(row, name) for row in ELEMENTWISE.values() if row.forward_mode for name in row.hyperparameters]
HYPERPARAMETERS = pytest.mark.parametrize(
    ("row", "name"), PAIRS, ids=lambda value: value if isinstance(value, str) else value.name
)
KINKS = sorted({kink for row in ELEMENTWISE.values() for kink in row.kinks})
#: What is asked for one by one, beside a grid.
SPECIAL = (np.nan, -np.inf, np.inf, -0.0, *KINKS, -3.0, -0.5, 0.5, 1.0, 3.0)
#: Beyond every limit, and what stands for an infinity in the formulas, which give NaN there.
FAR = np.array([-1e30, 1e30])


def jax_twin(row):
    """The function of that name in ``jax.nn``, where there is one."""
    if row.name == "gelu_exact":
        return lambda x: jax.nn.gelu(x, approximate=False)
    if row.name == "swish":  # an alias of silu there
        return jax.nn.silu
    return getattr(jax.nn, row.name, None)


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


def with_special(dtype):
    """The grid, and behind it what :func:`special` picks out: one program answers for both."""
    return np.concatenate([grid(dtype), np.array(SPECIAL, dtype)])


def special(of, *numbers):
    """What was computed at these numbers, of an array that was computed at ``with_special``."""
    # By their text: NaN is not equal to itself, and -0 is equal to 0.
    places = [str(float(number)) for number in SPECIAL]
    return np.asarray(of)[[places.index(str(float(number))) - len(SPECIAL) for number in numbers]]


def without_special(of):
    return of[: -len(SPECIAL)]


def by_row(compute: Callable, *args):
    """``{name: compute(row, *args)}`` for every elementwise row: what tests spend their time on is compilation."""
    rows = ELEMENTWISE.items()
    return jax.tree.map(np.asarray, jax.jit(lambda *args: {name: compute(row, *args) for name, row in rows})(*args))


def by_hyperparameter(compute: Callable, *args):
    """``{(row's name, hyperparameter): compute(call, plain, *args)}``, both of ``(x, value)``, in one compilation."""

    def bound(fun, row, name):
        rest = {k: v for k, v in row.example.items() if k != name}
        return lambda x, value: fun(x, **rest, **{name: value})

    def every(*args):
        calls = {(row.name, name): [bound(fun, row, name) for fun in (row.fun, row.plain)] for row, name in PAIRS}
        return {key: compute(*call, *args) for key, call in calls.items()}

    return jax.tree.map(np.asarray, jax.jit(every)(*args))


def by_row64(compute: Callable, *args):
    """The same on float64 arguments, also where JAX runs in 32 bits."""
    with jax.enable_x64(True):
        return by_row(compute, *(np.asarray(arg, np.float64) for arg in args))


def exact(compute: Callable):
    """``{dtype: {name: compute(row, grid(dtype))}}`` in float64, in one compilation, with ``FAR`` under its name."""
    grids = {**{dtype: grid(dtype).astype(np.float64) for dtype in FLOATS}, "far": FAR}
    cuts = np.cumsum([len(x) for x in grids.values()])[:-1]
    parts = {name: np.split(y, cuts) for name, y in by_row64(compute, np.concatenate([*grids.values()])).items()}
    return {key: {name: part[i] for name, part in parts.items()} for i, key in enumerate(grids)}


def flushed_gate(row, got, want):
    """Where a gate was flushed to 0 before its product was taken, which is no longer subnormal then."""
    return (row.kin == "gated") & (got == 0) & (np.abs(want) < 4 * FLUSHED)


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
