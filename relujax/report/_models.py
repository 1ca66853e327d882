"""Any model as a pure function of parameters and a batch of inputs."""

import sys
from collections.abc import Callable
from typing import Any

import jax


def as_function(model: Any, params: Any = None) -> tuple[Callable, Any]:
    """Read a model.

    Args:
        model: a Flax NNX module, a Linen ``(module, variables)`` pair, or a function: ``model(x)``, or with ``params``
            given ``model(params, x)``. An NNX module is measured in the mode that it is in, and stays as it is.
        params: parameters of a plain function.

    Returns:
        ``(apply, params)`` with ``apply(params, x)``; ``params`` is ``{}`` where the model shows none.

    Raises:
        TypeError: for anything else.
    """
    nnx = sys.modules.get("flax.nnx")  # whoever holds a Flax module has imported Flax
    linen = sys.modules.get("flax.linen")
    if nnx is not None and isinstance(model, nnx.Module):
        return _nnx_function(nnx, model)
    if isinstance(model, tuple) and len(model) == 2 and linen is not None and isinstance(model[0], linen.Module):
        return _linen_function(*model)
    if linen is not None and isinstance(model, linen.Module):
        raise TypeError(
            f"got the Linen module {type(model).__name__} without its variables: expected a pair (module, variables)"
        )
    if not callable(model):
        raise TypeError(
            f"got a model of type {type(model).__name__}: expected an NNX module, a Linen (module, variables) pair, "
            "or a function of a batch"
        )
    if params is None:
        return (lambda _, x: model(x)), {}
    return model, params


def _nnx_function(nnx: Any, module: Any) -> tuple[Callable, Any]:
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)

    def apply(params: Any, x: Any) -> Any:
        # A copy: what the model writes into itself (running statistics, random counts) stays inside this trace.
        return nnx.merge(graphdef, params, rest, copy=True)(x)

    return apply, params


def _linen_function(module: Any, variables: Any) -> tuple[Callable, Any]:
    variables = dict(variables)
    params = variables.pop("params", {})
    return (lambda params, x: module.apply({"params": params, **variables}, x)), params


def output_shape(apply: Callable, params: Any, x: Any) -> Any:
    """Shapes of ``apply(params, x)``, from one trace.

    Raises:
        ValueError: when the model cannot be called on such a batch.
    """
    try:
        return jax.eval_shape(apply, params, x)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"the model cannot be called on a batch of shape {tuple(x.shape)} and dtype {x.dtype}: {first}; expected "
            "the shape that the model takes, examples first"
        ) from error
