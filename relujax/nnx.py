"""Flax NNX modules of the family, made from the registry, and the probe for NNX; needs the ``flax`` extra.

Each takes the hyperparameters of its function, with the same names and defaults. Those that the registry calls learnt
become parameters: one shared number, or with ``channels=`` one per channel of the last axis. Those that draw take
``rngs=``.

>>> module = PReLU(slope=0.5, channels=2)
>>> module(jnp.array([[-1.0, 2.0]])).tolist(), module.slope[...].shape
([[-0.5, 2.0]], (2,))
"""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from . import gradients
from ._nnx_training import probe_grad as probe_grad, watch as watch
from .functions import ACTIVATIONS, Activation


class ActivationModule(nnx.Module):
    """What the modules share: hyperparameters are bound as a call of the function binds them.

    >>> isinstance(ReLU(), ActivationModule), LeakyReLU(0.5)(jnp.array([-1.0])).tolist()
    (True, [-0.5])
    """

    #: The row of the registry that the module is made from.
    row: ClassVar[Activation]

    def __init__(self, *args: Any, **kwargs: Any):
        bound = inspect.signature(type(self)).bind(*args, **kwargs)
        bound.apply_defaults()
        values = bound.arguments
        channels, dtype, rngs = values.pop("channels", 1), values.pop("param_dtype", None), values.pop("rngs", None)
        if channels < 1:
            raise ValueError(f"got channels={channels}: expected 1 (shared) or the length of the last axis")
        if isinstance(self.row.fun, gradients.Rectifier):
            self.row.fun.check(None, **values)
        self.rngs = rngs[_STREAM].fork() if rngs is not None and (_STREAM in rngs or "default" in rngs) else None
        for name, value in values.items():
            if name in self.row.learnt:
                value = nnx.Param(jnp.full((channels,), value, dtype))
            setattr(self, name, value)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it to ``x``."""
        given = {}
        for name, parameter in _parameters(self.row):
            if name == "key":
                given[name] = self._draw()
                continue
            value = getattr(self, name)
            if name in self.row.learnt:
                given[name] = value[...]
            # A default stays unpassed: then the rule knows it, and may keep the output instead of the input.
            elif not isinstance(value, (bool, int, float, str, type(None))) or value != parameter.default:
                given[name] = value
        return self.row.fun(x, **given)

    def _draw(self) -> jax.Array | None:
        if getattr(self, "deterministic", False):
            return None
        if self.rngs is None:
            raise ValueError(
                f"{type(self).__name__} has nothing to draw from: expected rngs=nnx.Rngs(seed) when it is made, or "
                "deterministic=True, which .eval() sets"
            )
        return self.rngs()


#: The stream of random keys that a module draws from, where its ``rngs`` has it; else the default one.
_STREAM = "activation"


def _parameters(row: Activation) -> list[tuple[str, inspect.Parameter]]:
    return list(inspect.signature(row.fun).parameters.items())[1:]


def _signature(row: Activation) -> inspect.Signature:
    parameters = [
        p.replace(kind=p.POSITIONAL_OR_KEYWORD, default=row.learnt.get(name, p.default))
        for name, p in _parameters(row)
        if name != "key"
    ]

    def option(name: str, default: Any, annotation: Any) -> None:
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, keyword, default=default, annotation=annotation))

    if row.learnt:
        option("channels", 1, int)
        option("param_dtype", jnp.float32, Any)
    if row.draws:
        option("deterministic", False, bool)
        option("rngs", None, nnx.Rngs | None)
    return inspect.Signature(parameters)


def _module(row: Activation) -> type[ActivationModule]:
    signature = _signature(row)
    given = {name: row.example[name] for name in row.needs if name != "key"} | (
        {"rngs": "nnx.Rngs(0)"} if row.draws else {}
    )
    needed = ", ".join(f"{name}={value}" for name, value in given.items())
    arguments = f"{', '.join(signature.parameters) or 'none'}: as of the function."
    if row.learnt:
        arguments += f" Learnt, and here with initial values: {', '.join(row.learnt)}."
    if row.draws:
        arguments += " Draws unless deterministic, which .eval() sets."
    about = f""":func:`relujax.{row.name}` as a module.

    Args:
        {arguments}

    >>> {row.module}({needed})(jnp.array([[-1.0, 2.0, 0.0, 3.0]])).ndim
    2
    """
    members = {"__doc__": about, "__module__": __name__, "__signature__": signature, "row": row}
    return type(row.module, (ActivationModule,), members)


class APL(nnx.Module):
    """:func:`relujax.apl` as a module: hinges spread over [-1, 1], whose slopes start near 0.

    Args:
        hinges: how many hinges.
        channels: the length of the last axis, for hinges of its own for each channel; by default they are shared.
        param_dtype: the dtype of slopes and hinges.
        rngs: draws the initial slopes, normal with standard deviation 0.01.

    >>> module = APL(2, channels=3, rngs=nnx.Rngs(0))
    >>> module(jnp.array([[-1.0, 0.5, 2.0]])).shape, module.slopes[...].shape
    ((1, 3), (2, 3))
    """

    row = ACTIVATIONS["apl"]

    def __init__(self, hinges: int = 2, *, channels: int | None = None, param_dtype: Any = jnp.float32, rngs: nnx.Rngs):
        if hinges < 1:
            raise ValueError(f"got hinges={hinges}: expected at least 1")
        if channels is not None and channels < 1:
            raise ValueError(f"got channels={channels}: expected the length of the last axis, or None (shared)")
        shape = (hinges,) if channels is None else (hinges, channels)
        self.slopes = nnx.Param(jax.random.normal(rngs.params(), shape, param_dtype) / 100)
        places = jnp.linspace(-1, 1, hinges + 2, dtype=param_dtype)[1:-1]
        self.hinges = nnx.Param(jnp.broadcast_to(places.reshape(-1, *[1] * (len(shape) - 1)), shape))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it to ``x``, of shape ``(..., channels)``."""
        return self.row.fun(x, self.slopes[...], self.hinges[...])


class BatchTopK(nnx.Module):
    """:func:`relujax.batch_top_k` in training; for inference a learnt threshold, which looks at no other example.

    Args:
        k: how many entries per example pass on average.
        momentum: how slowly the threshold follows: it is the running mean of the smallest entry that passed.
        deterministic: use the threshold, which ``.eval()`` sets.

    >>> module = BatchTopK(1, momentum=0.0)
    >>> module(jnp.array([[3.0, 2.0], [1.0, 0.0]])).tolist()
    [[3.0, 2.0], [0.0, 0.0]]
    >>> module.eval()
    >>> module(jnp.array([[2.0, 5.0]])).tolist(), module.threshold[...].item()
    ([[2.0, 5.0]], 2.0)
    """

    row = ACTIVATIONS["batch_top_k"]

    def __init__(self, k: int, momentum: float = 0.99, *, deterministic: bool = False):
        if k < 1 or not 0 <= momentum < 1:
            raise ValueError(f"got k={k} and momentum={momentum}: expected k of at least 1, momentum in [0, 1)")
        self.k, self.momentum, self.deterministic = k, momentum, deterministic
        self.threshold = nnx.BatchStat(jnp.zeros((), jnp.float32))
        self.seen = nnx.BatchStat(jnp.zeros((), bool))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it to ``x``, of shape ``(batch, ..., units)``."""
        if self.deterministic:
            return jnp.where(x < self.threshold[...].astype(x.dtype), jnp.zeros_like(x), x)
        y = self.row.fun(x, self.k)
        smallest = jnp.min(jnp.where(y == 0, jnp.inf, y.astype(jnp.float32)))
        usable = jnp.isfinite(smallest)
        # The first usable batch sets it, so that it has no bias towards 0.
        step = jnp.where(self.seen[...], 1 - self.momentum, 1)
        change = jnp.where(usable, step * (jax.lax.stop_gradient(smallest) - self.threshold[...]), 0)
        self.threshold[...] += change
        self.seen[...] |= usable
        return y


_OWN = {"apl": APL, "batch_top_k": BatchTopK}

#: The module of each activation of the registry that has one.
MODULES: Mapping[str, type[nnx.Module]] = MappingProxyType(
    {name: _OWN.get(name) or _module(row) for name, row in ACTIVATIONS.items() if row.module}
)
globals().update({module.__name__: module for module in MODULES.values()})


def __getattr__(name: str) -> Any:  # for type checkers, which cannot see what is made from the registry
    raise AttributeError(f"module 'relujax.nnx' has no attribute {name!r}: expected one of {', '.join(_names())}")


def _names() -> list[str]:
    return [module.__name__ for module in MODULES.values()]
