"""What members refuse: hyperparameters that do not fit, axes that are not there, numbers that make no sense."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

_NUMBERS = (int, float, np.integer, np.floating)

#: What a rule about numbers is: made for a function, it is called with the arguments of each of its calls.
Check = Callable[[Sequence, Mapping[str, Any]], None]


def axis_length(name: str, x: ArrayLike, axis: int) -> int:
    """The length of an axis of ``x``, which has to be there.

    >>> axis_length("glu", jnp.zeros((2, 3)), -1)
    3
    """
    shape = jnp.shape(x)
    if not -len(shape) <= axis < len(shape):
        one = f"one of its axes, {-len(shape)} to {len(shape) - 1}" if shape else "an array with an axis"
        raise ValueError(f"{name} got an input of shape {shape} and axis {axis}: expected {one}")
    return shape[axis]


def fitted(fun: Callable, twin: Callable | None = None) -> Callable:
    """``prepare`` for a rectifier: every hyperparameter has to be real, and to broadcast to the first argument's shape.

    What ``twin``, the function of that name in ``jax.nn``, has as well may be larger than the first argument, as there.

    >>> fitted(lambda x, slope: x)(jnp.zeros((2, 3), "float32"), 0.5)
    (Array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32), 0.5)
    """
    parameters = list(inspect.signature(fun).parameters.values())
    theirs = inspect.signature(twin).parameters if twin else ()
    name, first = fun.__name__, parameters[0].name
    loose = {i: p.name in theirs for i, p in enumerate(parameters) if i and p.annotation is ArrayLike}

    def prepare(x: Any, *rest: Any) -> tuple:
        arguments = [x, *rest]
        for i, larger in loose.items():
            if arguments[i] is not None:
                arguments[i] = _fitting(f"{name} got {parameters[i].name}", arguments[i], first, jnp.shape(x), larger)
        return tuple(arguments)

    return prepare


def _fitting(got: str, value: ArrayLike, first: str, shape: tuple[int, ...], larger: bool) -> ArrayLike:
    if jnp.issubdtype(jnp.result_type(value), jnp.complexfloating):
        raise TypeError(f"{got} of {jnp.result_type(value)}: expected a real dtype; cast with .real or jnp.abs first")
    own = jnp.shape(value)
    if not larger and len(own) > len(shape):  # one number is one number, however many axes of length 1 it has
        surplus = len(own) - len(shape)
        own = own[surplus:] if own[:surplus] == (1,) * surplus else own
        value = jnp.reshape(value, own) if own != jnp.shape(value) else value
    pairs = zip(reversed(own), reversed(shape), strict=False)
    if (larger or len(own) <= len(shape)) and all(a in (1, b) or (larger and b == 1) for a, b in pairs):
        return value
    per_channel = f", one per channel of the last axis, ({shape[-1]},)," if shape else ""
    raise ValueError(
        f"{got} of shape {own} for {first} of shape {shape}: expected a number{per_channel} or another shape that "
        f"broadcasts to that of {first}"
    )


def above(limit: float, *names: str) -> Callable[[Callable], Check]:
    """Each of these hyperparameters has to be above ``limit``, where it is a Python number."""
    return lambda fun: _each(fun, names, lambda value: value > limit, f"a number above {limit}")


def at_least(limit: float, *names: str) -> Callable[[Callable], Check]:
    """Each of these hyperparameters has to be ``limit`` or more, where it is a Python number."""
    return lambda fun: _each(fun, names, lambda value: value >= limit, f"a number of at least {limit}")


def ordered(low: str, high: str) -> Callable[[Callable], Check]:
    """The first of these hyperparameters may not exceed the second, where both are Python numbers."""

    def of(fun: Callable) -> Check:
        (_, *at_low), (_, *at_high) = _places(fun, (low, high))

        def check(args: Sequence, kwargs: Mapping[str, Any]) -> None:
            a, b = _found(args, kwargs, low, *at_low), _found(args, kwargs, high, *at_high)
            if isinstance(a, _NUMBERS) and isinstance(b, _NUMBERS) and not a <= b:
                raise ValueError(f"{fun.__name__} got {low}={a} and {high}={b}: expected {low} <= {high}")

        return check

    return of


def _each(fun: Callable, names: Sequence[str], accepted: Callable, expected: str) -> Check:
    places = _places(fun, names)

    def check(args: Sequence, kwargs: Mapping[str, Any]) -> None:
        for name, index, default in places:
            value = _found(args, kwargs, name, index, default)
            if isinstance(value, _NUMBERS) and not accepted(value):
                raise ValueError(f"{fun.__name__} got {name}={value}: expected {expected}")

    return check


def _places(fun: Callable, names: Sequence[str]) -> list[tuple[str, int, Any]]:
    parameters = inspect.signature(fun).parameters
    return [(name, list(parameters).index(name), parameters[name].default) for name in names]


def _found(args: Sequence, kwargs: Mapping[str, Any], name: str, index: int, default: Any) -> Any:
    return args[index] if index < len(args) else kwargs.get(name, default)
