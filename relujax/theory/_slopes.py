"""How the slopes of an activation are distributed under a Gaussian: what every law of the Jacobian is made of."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._elementwise import elementwise
from ._homogeneous import homogeneous
from ._moments import Sample, positive


@dataclass(frozen=True)
class SlopeLaw:
    r"""A discrete law of :math:`f(u)^2` and :math:`f'(u)^2`, with :math:`u \sim N(0, q)`.

    Attributes:
        weights: ``(n,)``, the probabilities.
        squared: ``(n,)``, values of :math:`f'(u)^2`.
        signal: ``(n,)``, values of :math:`f(u)^2`.
        steepest: the largest ``f'(u)^2`` there is, between nodes too; ``inf`` where slopes have no bound.
        weight_variance: fan-in times the variance of weights that hold the signal at ``q`` without a bias.
        resolved: whether the moments of the slope are known, up to the sixth; else it has a pole.
        sides: the slopes left and right of 0 of a positively homogeneous function, ``f(t x) = t f(x)`` for ``t > 0``,
            such as ReLU and the identity; None for others.
    """

    weights: np.ndarray
    squared: np.ndarray
    signal: np.ndarray
    steepest: float
    weight_variance: float
    resolved: bool
    sides: tuple[float, float] | None

    def slope_moment(self, k: int) -> float:
        r""":math:`E f'(u)^{2k}`."""
        return float(self.weights @ self.squared**k)


def slope_law(f: str | Callable, q: float = 1.0, *, kinks: tuple[float, ...] | None = None) -> SlopeLaw:
    """The nodes of :func:`moments`, with its checks; arguments as there."""
    positive(q)
    fun = elementwise(f, kinks)
    sample = Sample(fun, q)
    sample.check()
    bent = homogeneous(fun)
    return SlopeLaw(
        weights=sample.weights,
        squared=sample.slope**2,
        signal=sample.value**2,
        steepest=_steepest(lambda x: fun(x)[1] ** 2, np.sqrt(q) * sample.z),
        weight_variance=q / sample.second,
        resolved=sample.resolved(sample.slope, 6),
        sides=None if bent is None else (bent.left, bent.right),
    )


def required_sides(f: str | Callable, needed_by: str) -> tuple[float, float]:
    """The slopes left and right of 0 of a positively homogeneous function.

    Raises:
        ValueError: for any other function.
    """
    bent = homogeneous(elementwise(f))
    if bent is None:
        raise ValueError(
            f"got {f!r}: expected a positively homogeneous function, f(t x) = t f(x) for t > 0, as {needed_by} is "
            "known for these only; take relu, leaky_relu, prelu or the identity"
        )
    return bent.left, bent.right


def no_slope(label: str) -> ValueError:
    """What to raise where there is no gradient."""
    return ValueError(f"got {label}, whose slope is 0: expected an activation that passes a gradient")


def slope_pole(label: str, moment: str = "second") -> ValueError:
    """What to raise where a moment of the slope is not known."""
    return ValueError(f"got {label}, whose slope has a pole: expected slopes of finite {moment} moment")


def _steepest(squared: Callable, points: np.ndarray) -> float:
    reach = np.array([points[0], points[-1]])
    if squared(2 * reach).max() > 1.5 * squared(reach).max():
        return np.inf
    for _ in range(3):  # the last of them to rounding: a maximum is flat
        values = squared(points)
        at = int(np.argmax(values))
        points = np.linspace(points[max(at - 1, 0)], points[min(at + 1, len(points) - 1)], 1001)
    return float(values.max())
