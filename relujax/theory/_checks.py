"""Checks that several laws share."""

import operator
from typing import SupportsIndex


def whole(name: str, value: SupportsIndex, least: int = 1) -> int:
    """A count, or an error that names it.

    >>> whole("depth", 3)
    3
    """
    try:
        count = operator.index(value)
    except TypeError:
        count = least - 1
    if count < least:
        raise ValueError(f"got {name}={value!r}: expected a whole number, {least} or more")
    return count
