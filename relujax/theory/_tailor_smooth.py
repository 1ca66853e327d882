"""The shifts and scales that give one layer of a smooth activation the maps asked for."""

import itertools
from typing import Literal

import numpy as np

from ._elementwise import Elementwise
from ._moments import Sample
from ._quadrature import NODES, differentiate

_STARTS = {"input_scale": (1.0, 0.1), "input_shift": (0.0, 1.0, -1.0), "output_shift": (0.0, 1.0, -1.0)}
_STEEPEST = 2.0  # input times output scale: beyond it are solutions whose length map is unstable (as in DeepMind's dks)
_ACCURATE = 1e-9


def solve(fun: Elementwise, method: Literal["tat", "dks"], target: float) -> tuple[float, float, float, float]:
    """Input scale, input shift, output shift, output scale; from the starts that dks takes, in its order.

    Raises:
        ValueError: where none leads to a solution.
    """
    from scipy.optimize import root

    names = ("input_scale", "input_shift") if method == "dks" else tuple(_STARTS)
    for start in itertools.product(*(_STARTS[name] for name in names)):
        with np.errstate(all="ignore"):
            found = root(lambda at: _Layer(fun, *at).errors(method, target), start, options={"xtol": 1e-13})
            layer = _Layer(fun, *found.x)
            if np.abs(layer.errors(method, target)).max() > _ACCURATE:
                continue
        if method == "dks" or abs(layer.input_scale) * layer.output_scale < _STEEPEST:
            return layer.input_scale, layer.input_shift, layer.output_shift, layer.output_scale
    raise ValueError(
        f"got {fun.label}, for which no shifts and scales do: expected a function that can be bent to that target; try "
        "the other method, another target or another activation"
    )


class _Layer:
    """Means under ``f(s z + t) + o``; without ``o``, that which makes its mean 0."""

    def __init__(self, fun: Elementwise, scale: float, shift: float, output_shift: float | None = None) -> None:
        sample = Sample(fun, scale**2, shift) if 1e-8 < abs(scale) < 1e3 and abs(shift) < 1e3 else None
        self.input_scale, self.input_shift, self._sample = abs(float(scale)), float(shift), sample
        if sample is None:
            self.output_shift, self.output_scale = 0.0, float("nan")
            return
        weights = sample.weights
        self.output_shift = float(-(weights @ sample.value) if output_shift is None else output_shift)
        self._values = sample.value + self.output_shift
        self.output_scale = float((weights @ self._values**2) ** -0.5)

    def errors(self, method: str, target: float) -> np.ndarray:
        """What the layer's maps miss: slopes of Q and C at 1, and for "tat" the curvature of C at 1."""
        wide = 3 if method == "tat" else 2
        if self._sample is None:
            return np.full(wide, 1e6)
        sample, square = self._sample, self.output_scale**2
        slope = self.input_scale * sample.slope
        length = square * (sample.weights @ (self._values * slope * sample.z)) - 1
        stretch = square * (sample.weights @ slope**2)
        if method == "dks":
            return np.array([length, stretch - target])
        second = differentiate(slope.reshape(-1, NODES), sample.edges).ravel()
        return np.array([length, stretch - 1, square * (sample.weights @ second**2) / target - 1])
