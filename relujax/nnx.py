"""Flax NNX modules of the family, made from the registry; importing this needs the ``flax`` extra.

Each takes the hyperparameters of its function, with the same names and defaults. Those that the registry calls learnt
become parameters: one shared number, or with ``channels=`` one per channel of the last axis.

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
        channels, dtype = values.pop("channels", 1), values.pop("param_dtype", None)
        if channels < 1:
            raise ValueError(f"got channels={channels}: expected 1 (shared) or the length of the last axis")
        for name, value in values.items():
            if name in self.row.learnt:
                value = nnx.Param(jnp.full((channels,), value, dtype))
            setattr(self, name, value)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it to ``x``."""
        given = {}
        for name, parameter in list(inspect.signature(self.row.fun).parameters.items())[1:]:
            value = getattr(self, name)
            if name in self.row.learnt:
                given[name] = value[...]
            # A default stays unpassed: then the rule knows it, and may keep the output instead of the input.
            elif value != parameter.default:
                given[name] = value
        return self.row.fun(x, **given)


def _signature(row: Activation) -> inspect.Signature:
    parameters = [
        p.replace(kind=p.POSITIONAL_OR_KEYWORD, default=row.learnt.get(name, p.default))
        for name, p in list(inspect.signature(row.fun).parameters.items())[1:]
    ]
    if row.learnt:
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter("channels", keyword, default=1, annotation=int))
        parameters.append(inspect.Parameter("param_dtype", keyword, default=jnp.float32, annotation=Any))
    return inspect.Signature(parameters)


def _module(row: Activation) -> type[ActivationModule]:
    signature = _signature(row)
    needed = ", ".join(f"{name}={row.example[name]}" for name in row.needs)
    arguments = f"{', '.join(signature.parameters) or 'none'}: as of the function."
    if row.learnt:
        arguments += f" Learnt, and here with initial values: {', '.join(row.learnt)}."
    about = f""":func:`relujax.{row.name}` as a module.

    Args:
        {arguments}

    >>> {row.module}({needed})(jnp.array([[-1.0, 2.0]])).shape
    (1, 2)
    """
    members = {"__doc__": about, "__module__": __name__, "__signature__": signature, "row": row}
    return type(row.module, (ActivationModule,), members)


#: The module of each activation of the registry.
MODULES: Mapping[str, type[ActivationModule]] = MappingProxyType({n: _module(row) for n, row in ACTIVATIONS.items()})
globals().update({module.__name__: module for module in MODULES.values()})


def __getattr__(name: str) -> Any:  # for type checkers, which cannot see what is made from the registry
    raise AttributeError(f"module 'relujax.nnx' has no attribute {name!r}: expected one of {', '.join(_names())}")


def _names() -> list[str]:
    return [module.__name__ for module in MODULES.values()]
