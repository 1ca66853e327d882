"""How the slopes of an activation are distributed under a Gaussian: what every law of the Jacobian is made of."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from ._moments import _quadrature, _resolve, moments

_PROBES = np.array([1e-3, 0.1, 1.0, 5.0, 40.0, 1e3])  # past every threshold that the family has by default


@dataclass(frozen=True)
class SlopeLaw:
    r"""A discrete law of :math:`f(u)^2` and :math:`f'(u)^2`, with :math:`u \sim N(0, q)`.

    Attributes:
        weights: ``(n,)``, the probabilities.
        squared: ``(n,)``, values of :math:`f'(u)^2`.
        signal: ``(n,)``, values of :math:`f(u)^2`.
        bounded: whether the slopes have a bound.
        weight_variance: fan-in times the variance of weights that hold the signal at ``q`` without a bias.
    """

    weights: np.ndarray
    squared: np.ndarray
    signal: np.ndarray
    bounded: bool
    weight_variance: float

    def slope_moment(self, k: int) -> float:
        r""":math:`E f'(u)^{2k}`."""
        return float(self.weights @ self.squared**k)


def slope_law(f: str | Callable, q: float = 1.0, *, kinks: tuple[float, ...] | None = None) -> SlopeLaw:
    """The nodes of :func:`moments`, with its checks; arguments as there."""
    held = q / moments(f, q, kinks=kinks).second
    fun, known = _resolve(f)
    points, weights = _quadrature(tuple(k / np.sqrt(q) for k in (known if kinks is None else kinks)))
    value, slope = _values_and_slopes(fun, np.sqrt(q) * points)
    reach = np.sqrt(q) * np.abs(points).max() * np.array([-1.0, 1.0])
    near, far = (np.max(_values_and_slopes(fun, x)[1] ** 2) for x in (reach, 2 * reach))
    return SlopeLaw(weights, slope**2, value**2, bounded=not far > 1.5 * near, weight_variance=held)


def homogeneous_slopes(f: str | Callable) -> tuple[float, float] | None:
    """The slopes left and right of 0 of a function that has only these two, such as ReLU and the identity; else None."""
    fun, _ = _resolve(f)
    points = np.concatenate([-_PROBES, _PROBES])
    value, slope = _values_and_slopes(fun, points)
    line = np.where(points < 0, slope[0], slope[-1])
    held = np.allclose(slope, line, rtol=1e-12, atol=0) and np.allclose(value, line * points, rtol=1e-12, atol=0)
    return (float(slope[0]), float(slope[-1])) if held and line.any() else None


def required_slopes(f: str | Callable, needed_by: str) -> tuple[float, float]:
    """As :func:`homogeneous_slopes`, with an error for functions that are not positively homogeneous."""
    slopes = homogeneous_slopes(f)
    if slopes is None:
        raise ValueError(
            f"got {f!r}: expected a positively homogeneous function, f(t x) = t f(x) for t > 0, as {needed_by} is known "
            "for these only; take relu, leaky_relu, prelu or the identity"
        )
    return slopes


def _values_and_slopes(fun: Callable, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with jax.enable_x64(True):
        # By vjp: some members refuse forward mode.
        value, pull = jax.vjp(fun, points)
        [slope] = pull(np.ones_like(points))
        return np.asarray(value, np.float64), np.asarray(slope, np.float64)
