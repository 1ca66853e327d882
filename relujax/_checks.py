"""Checks that layers share."""

import operator
from collections.abc import Sequence
from typing import Any


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
