"""The shifts and scales that give one layer of a smooth activation the maps asked for."""

import itertools
from typing import Literal

import numpy as np

from ._elementwise import Elementwise
from ._moments import Sample
from ._quadrature import NODES, differentiate

_STARTS = (0.2, 1.0, 0.05), (0.5, -0.5, 1.0, -1.0, 0.1, -0.1)  # of the input's scale and shift
_SATURATED = (
    4.0  # solutions so much below the steepest squared slope have an unstable length map (dks rejects them too)
)
_ACCURATE = 1e-9
_LARGEST = 1e3

Method = Literal["tat", "dks"]


def solve(fun: Elementwise, method: Method, target: float) -> tuple[float, float, float, float]:
    """Input scale, input shift, output shift, output scale.

    Args:
        fun: the activation.
        method: "tat" or "dks".
        target: under "tat" the curvature of a layer's correlation map at 1, under "dks" its slope.

    Raises:
        ValueError: where no start leads to a solution.
    """
    from scipy.optimize import root

    steepest = np.abs(fun(np.linspace(-5, 5, 101))[1]).max()
    # The output shift is one of two roots under "tat".
    for sign, *start in itertools.product((1.0, -1.0) if method == "tat" else (0.0,), *_STARTS):

        def errors(at: np.ndarray, sign: float = sign) -> np.ndarray:
            return _Layer(fun, float(np.exp(at[0])), float(at[1]), sign).errors(target)

        with np.errstate(all="ignore"):
            found = root(errors, [np.log(start[0]), start[1]], options={"xtol": 1e-13}).x
            solved = np.abs(errors(found)).max() < _ACCURATE
            layer = _Layer(fun, float(np.exp(found[0])), float(found[1]), sign)
        if solved and layer.squared_slope * _SATURATED > steepest**2:
            return layer.input_scale, layer.input_shift, layer.output_shift, layer.output_scale
    raise ValueError(
        f"got {fun.label}, for which no shifts and scales do: expected a function that can be bent to that target; try "
        "the other method, another target or another activation"
    )


class _Layer:
    r"""Maps of ``a (f(s z + t) + o)`` at 1, with ``Q(1) = 1`` by choice of ``a``.

    With ``sign=0`` the output shift makes ``C(0) = 0``; else it makes ``C'(1) = 1``, which has two solutions since
    :math:`\operatorname{Var} f \le E f'^2` (Poincaré).
    """

    def __init__(self, fun: Elementwise, scale: float, shift: float, sign: float) -> None:
        self.input_scale, self.input_shift, self._sign = scale, shift, sign
        self._sample = sample = (
            Sample(fun, scale**2, shift) if 1 / _LARGEST < scale < _LARGEST and abs(shift) < _LARGEST else None
        )
        if sample is None:
            return
        mean = sample.weights @ sample.value
        variance, self._slope = sample.weights @ (sample.value - mean) ** 2, scale * sample.slope
        self.squared_slope = sample.slope_second
        self._excess = scale**2 * self.squared_slope / variance - 1
        self.output_shift = float(sign * np.sqrt(max(0.0, self._excess) * variance) - mean)
        self._values = sample.value + self.output_shift
        self.output_scale = float((sample.weights @ self._values**2) ** -0.5)

    def errors(self, target: float) -> np.ndarray:
        """What is missed: the slope of Q, and the slope or the curvature of C."""
        sample = self._sample
        if sample is None:
            return np.full(2, _LARGEST)
        length = self.output_scale**2 * (sample.weights @ (self._values * self._slope * sample.z)) - 1
        if self._sign == 0:
            return np.array([length, np.log(self._excess / (target - 1))])
        second = differentiate(self._slope.reshape(-1, NODES), sample.edges)
        return np.array([length, np.log(self.output_scale**2 * (sample.weights @ second.ravel() ** 2) / target)])
