"""The activations by name: what tests, benchmarks, the probe, the theory and the README table are driven by."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ..gradients import Rectifier
from ._activation import Activation
from ._rows import ROWS

__all__ = ["ACTIVATIONS", "STACKABLE", "Activation", "activation"]

#: Every activation of the library by name.
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({row.name: row for row in ROWS})


#: Those that a plain stack of layers can apply: elementwise, and complete without further arguments.
STACKABLE: tuple[str, ...] = tuple(name for name, row in ACTIVATIONS.items() if row.elementwise and not row.needs)


def activation(name: str, **hyperparameters: Any) -> Callable:
    """An activation of the registry by name, with its hyperparameters bound.

    Args:
        name: a key of :data:`relujax.ACTIVATIONS`.
        **hyperparameters: arguments of that function other than ``x``.

    Returns:
        ``f(x, ...)``; arguments that stay unbound keep their defaults.

    Raises:
        ValueError: for a name that is not in the registry, with the nearest ones.
        ValueError: also for a number that the function would refuse.
        TypeError: for a hyperparameter that the function does not have.

    >>> activation("leaky_relu", negative_slope=0.5)(-2.0).item()
    -1.0
    """
    if name not in ACTIVATIONS:
        near = difflib.get_close_matches(name.lower(), ACTIVATIONS, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"unknown activation {name!r}: expected one of {', '.join(ACTIVATIONS)}{hint}")
    fun = ACTIVATIONS[name].fun
    accepted = list(inspect.signature(fun).parameters)[1:]
    for key in hyperparameters:
        if key not in accepted and not (key == "residual" and isinstance(fun, Rectifier)):
            expected = f"one of {', '.join(accepted)}" if accepted else "none"
            raise TypeError(f"{name} got the hyperparameter {key!r}: expected {expected}")
    if isinstance(fun, Rectifier):
        fun.check(**hyperparameters)
    return functools.partial(fun, **hyperparameters) if hyperparameters else fun
