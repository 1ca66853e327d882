"""Any model as a pure function of parameters, other state, and a batch of inputs."""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from .._checks import check_arrays


@dataclass(frozen=True)
class Model:
    """A model that has been read.

    Attributes:
        apply: ``apply(params, rest, x)``; equal for equal models, so that JAX compiles it once.
        params: what is trained; ``{}`` where the model shows nothing.
        rest: other state: running statistics, random counts.
    """

    apply: Callable
    params: Any
    rest: Any


def read_model(model: Any, params: Any = None) -> Model:
    """Read a model.

    Args:
        model: a Flax NNX module, a Linen ``(module, variables)`` pair, a ``(function, params)`` pair, or a function:
            ``model(x)``, or with ``params`` given ``model(params, x)``. A module is measured in the mode that it is in,
            and stays as it is.
        params: parameters of a plain function.

    Raises:
        TypeError: for anything else, and parameters that are no tree of arrays.
    """
    nnx = sys.modules.get("flax.nnx")  # whoever holds a Flax module has imported Flax
    linen = sys.modules.get("flax.linen")
    if nnx is not None and isinstance(model, nnx.Module):
        graphdef, trained, rest = nnx.split(model, nnx.Param, ...)
        return Model(_hashable(_NNX(graphdef)), trained, rest)
    if isinstance(model, tuple) and len(model) == 2:
        model, values = model
        if linen is not None and isinstance(model, linen.Module):
            rest = {name: value for name, value in values.items() if name != "params"}
            return Model(_hashable(_Linen(model)), values.get("params", {}), rest)
        params = values if params is None else params
    elif linen is not None and isinstance(model, linen.Module):
        raise TypeError(
            f"got the Linen module {type(model).__name__} without its variables: expected a pair (module, variables)"
        )
    if not callable(model):
        raise TypeError(
            f"got a model of type {type(model).__name__}: expected an NNX module, a Linen (module, variables) pair, "
            "or a function of a batch"
        )
    if params is None:
        return Model(_hashable(_OfBatch(model)), {}, ())
    check_arrays(params, "params")
    return Model(_hashable(_OfParams(model)), params, ())


def _hashable(apply: Callable) -> Callable:
    """As it is, or where a field of the module cannot be hashed, equal to itself alone."""
    try:
        hash(apply)
    except TypeError:
        return functools.partial(apply)
    return apply


@dataclass(frozen=True)
class _NNX:
    graphdef: Any

    def __call__(self, params: Any, rest: Any, x: Any) -> Any:
        nnx = sys.modules["flax.nnx"]
        # A copy: what the model writes into itself (running statistics, random counts) stays inside this trace.
        return nnx.merge(self.graphdef, params, rest, copy=True)(x)


@dataclass(frozen=True)
class _Linen:
    module: Any

    def __call__(self, params: Any, rest: Any, x: Any) -> Any:
        # Collections that the module writes to, as BatchNorm in training mode does, are written and dropped.
        outputs, _ = self.module.apply({"params": params, **rest}, x, mutable=list(rest))
        return outputs


@dataclass(frozen=True)
class _OfBatch:
    fun: Callable

    def __call__(self, params: Any, rest: Any, x: Any) -> Any:
        return self.fun(x)


@dataclass(frozen=True)
class _OfParams:
    fun: Callable

    def __call__(self, params: Any, rest: Any, x: Any) -> Any:
        return self.fun(params, x)


def output_shape(model: Model, x: Any) -> Any:
    """Shapes of what the model returns for a batch, from one trace.

    Raises:
        ValueError: when the model cannot be called on it.
    """
    try:
        return jax.eval_shape(model.apply, model.params, model.rest, x)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ValueError(
            f"the model cannot be called on a batch of shape {tuple(x.shape)} and dtype {x.dtype}: {first}; expected a "
            "model of one argument, a batch with the examples first"
        ) from error
