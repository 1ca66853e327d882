"""Gradient rules that more than one kin group declares."""

from collections.abc import Callable

from .._precision import is_half, widen
from ..gradients import Rectifier


def output_rule(fun: Rectifier, of_output: Callable, of_input: Callable):
    """The rule of a function whose slope follows from its output, where that output is not rounded too coarsely."""

    def fwd(x):
        y = fun(x)
        return y, (None, x) if is_half(x) else (y, None)

    def bwd(residual, g):
        y, x = residual
        return ((of_input(widen(x)) if y is None else of_output(y)) * g,)

    return fwd, bwd
