"""An activation as the theory sees it: values and slopes in float64 on the host, and where it is not smooth."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..functions import ACTIVATIONS, Activation, activation
from ._features import features

_CHUNK = 1024  # short evaluations go in chunks of this length, so that one shape is compiled
_LONG = 16 * _CHUNK  # longer ones go whole


class Elementwise:
    """Values, slopes and features of an elementwise function.

    Attributes:
        fun: the JAX function.
        label: how messages name it.
    """

    def __init__(self, fun: Callable, label: str, kinks: tuple[float, ...]) -> None:
        self.fun, self.label = fun, label
        self._kinks = kinks
        self._both = _value_and_slope(fun)
        self._features: dict[float, tuple[tuple[float, ...], tuple[float, ...]]] = {}

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values and slopes at ``x``, of its shape."""
        size, shape = np.size(x), np.shape(x)
        length = _CHUNK if size < _LONG else size
        rows = np.zeros((-(-size // length), length))
        rows.reshape(-1)[:size] = np.ravel(x)
        # Evaluated now, also where an initialiser is made inside of jit.
        with jax.ensure_compile_time_eval(), jax.enable_x64(True):
            both = np.array([self._both(row) for row in rows], np.float64).reshape(-1, 2, length)
        value, slope = (y.reshape(-1)[:size].reshape(shape) for y in both.swapaxes(0, 1))
        return value, slope

    def kinks(self, deviation: float = 1.0) -> tuple[float, ...]:
        """Points where it is not analytic, within reach of a Gaussian of this standard deviation."""
        return self._within(deviation)[0]

    def features(self, deviation: float = 1.0) -> tuple[float, ...]:
        """Edges of panels on which it is smooth, the kinks among them."""
        return self._within(deviation)[1]

    def _within(self, deviation: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        octave = 2.0 ** max(0, np.ceil(np.log2(deviation)))
        if octave not in self._features:
            self._features[octave] = features(self, octave, self._kinks)
            self._kinks = tuple(sorted({*self._kinks, *self._features[octave][0]}))  # not to be found again
        return self._features[octave]


def elementwise(f: str | Callable, kinks: tuple[float, ...] | None = None) -> Elementwise:
    """What ``f`` names or is, kept from call to call.

    Raises:
        ValueError: for an unknown name, or a function that is not elementwise.
    """
    if isinstance(f, Elementwise):
        return f
    stated = None if kinks is None else tuple(float(k) for k in kinks)
    inner = f.func if isinstance(f, functools.partial) else f
    if _holds_arrays(getattr(inner, "__self__", inner)):
        return _build(f, stated)
    if isinstance(f, functools.partial):
        # Two partials of one function with equal arguments are equal here, as they are not in Python.
        bound = tuple(sorted(f.keywords.items()))
        given = f.func, f.args, bound, stated
    else:
        given = f, (), (), stated
    try:
        hash(given)
    except TypeError:  # an array in it
        return _build(f, stated)
    return _kept(*given)


@functools.lru_cache(maxsize=128)
def _kept(f: Any, args: tuple, bound: tuple, stated: tuple[float, ...] | None) -> Elementwise:
    return _build(functools.partial(f, *args, **dict(bound)) if args or bound else f, stated)


def _build(f: Any, stated: tuple[float, ...] | None) -> Elementwise:
    fun = activation(f) if isinstance(f, str) else f
    inner = fun.func if isinstance(fun, functools.partial) else fun
    row = next((row for row in ACTIVATIONS.values() if row.fun is inner), None)
    label = repr(f) if isinstance(f, str) else getattr(inner, "__name__", repr(inner))
    if row is not None and not row.elementwise:
        raise ValueError(f"got {label}: expected an elementwise function; take one whose registry row says so")
    if isinstance(f, str) and row is not None:
        fun = _at_first(row)
    known = (row.kinks if row else ()) if stated is None else stated
    found = Elementwise(fun, label, known)
    if row is None:
        _check_elementwise(found)
    return found


def _at_first(row: Activation) -> Callable:
    """A member by name: learnable parameters have their initial values, and nothing is drawn."""
    needed = [name for name in row.needs if name != "key"]
    if needed:
        raise ValueError(
            f"got {row.name!r}, which needs {' and '.join(needed)}: expected a function of one array; bind what it "
            f"needs, as by rx.activation({row.name!r}, {needed[0]}=...)"
        )
    return activation(row.name, **row.learnt, **({"key": None} if row.draws else {}))


def _holds_arrays(owner: Any) -> bool:
    """Whether it is a module, whose parameters may change from call to call."""
    leaves = jax.tree.leaves(vars(owner)) if hasattr(owner, "__dict__") else []
    return any(hasattr(leaf, "dtype") and not isinstance(leaf, type) for leaf in leaves)  # no type of an annotation


def _check_elementwise(fun: Elementwise) -> None:
    x = np.linspace(-3, 3, _CHUNK // 2)
    first, second = fun(np.concatenate([x, x**2]))[0], fun(np.concatenate([1 - 2 * x, x]))[0]
    first, second = first[: x.size], second[x.size :]
    scale = np.max(np.abs(first), where=np.isfinite(first), initial=0)
    if not np.allclose(first, second, rtol=1e-6, atol=1e-6 * scale, equal_nan=True):
        raise ValueError(
            f"got {fun.label}, whose values depend on those beside them: expected an elementwise function, without "
            "normalisation over an array and without noise"
        )


def _value_and_slope(fun: Callable) -> Callable:
    """By vjp: some members of the registry refuse forward mode."""

    @jax.jit
    def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        value, pull = jax.vjp(fun, x)
        if value.shape != x.shape:
            raise ValueError(f"got an output of shape {value.shape} for {x.shape}: expected an elementwise function")
        [slope] = pull(jnp.ones_like(value))
        return value, slope

    return both
