"""Checks that layers share."""

import operator
from collections.abc import Sequence
from typing import Any

import jax


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A count, or an error that names it.

    >>> whole("depth", 3)
    3
    """
    try:
        count = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = least - 1
    if count < least or (most is not None and count > most):
        expected = f"a whole number, {least} or more" if most is None else f"a whole number from {least} to {most}"
        raise ValueError(f"got {name}={value!r}: expected {expected}")
    return count


def check_arrays(tree: Any, name: str = "argument ") -> None:
    """Refuse a function or a string among arrays, such as the activation in a module of Equinox.

    >>> check_arrays({"kernel": 1.0})

    Raises:
        TypeError: for a leaf that can be no array.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if callable(leaf) or isinstance(leaf, str):
            raise TypeError(
                f"got a {type(leaf).__name__} among the arrays, {name}{jax.tree_util.keystr(path)}: expected a tree of "
                "arrays; close over the rest, as in lambda params, x: module.apply(params, x), or for a module of "
                "Equinox params, rest = equinox.partition(model, equinox.is_inexact_array), which equinox.combine joins"
            )


def hidden_widths(widths: Sequence[Any]) -> list[int]:
    """Numbers of units, one per hidden layer, of which there is at least one.

    >>> hidden_widths((64, 32))
    [64, 32]
    """
    if not hasattr(widths, "__len__"):
        raise ValueError(f"got widths={widths!r}: expected the number of units of each hidden layer, such as [64, 64]")
    if not len(widths):
        raise ValueError("got no widths: expected the number of units of each hidden layer, such as [64, 64]")
    return [whole("width", n) for n in widths]
