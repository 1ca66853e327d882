"""Gaussian moments of an activation and of its slope: what a wide layer does to a signal and to its gradient."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._elementwise import Elementwise, elementwise
from ._quadrature import NODES, REACH, density, gaussian_edges, panels, smooth

_ROUGH = 1e-2  # last coefficients that tell of a pole or of a swing between nodes, and not of low precision


@dataclass(frozen=True)
class Moments:
    r"""Moments under :math:`u \sim N(0, q)`.

    Attributes:
        mean: :math:`E f(u)`.
        second: :math:`E f(u)^2`.
        slope_mean: :math:`E f'(u)`.
        slope_second: :math:`E f'(u)^2`; NaN where it hangs on a pole of the slope, as of a root at 0.
        slope_fourth: :math:`E f'(u)^4`; likewise.
        gain: :math:`1 / \sqrt{E f(u)^2}`, the standard deviation times :math:`\sqrt{\text{fan in}}` of weights that
            hold the signal (at ``q = 1``).
        chi1: :math:`E f'(u)^2 / E f(u)^2`, the factor per layer of the squared gradient under that gain (at ``q = 1``).
    """

    mean: float
    second: float
    slope_mean: float
    slope_second: float
    slope_fourth: float
    gain: float
    chi1: float


def moments(f: str | Callable, q: float = 1.0, *, kinks: tuple[float, ...] | None = None) -> Moments:
    r"""Moments of an activation and of its slope under a centred Gaussian.

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, with parameters that are learnt at their initial values; or an
            elementwise JAX function, such as ``rx.activation("relu_n", n=2.0)``.
        q: variance of the pre-activation.
        kinks: points where ``f`` is not smooth, where they are known; others are found.

    Returns:
        :class:`Moments`, to about 1e-14 (Gauss-Legendre quadrature in float64, split at the kinks).

    Raises:
        ValueError: for ``q <= 0``, an unknown name, one that needs further arguments, a function that is not
            elementwise, moments that are not finite, or a function that oscillates too fast.

    Cost: 0.2 s to compile a new function and 30 ms to find its kinks, once; then a millisecond.

    Reference: Poole et al., `2016 <https://arxiv.org/abs/1606.05340>`_; Schoenholz et al.,
    `2017 <https://arxiv.org/abs/1611.01232>`_.

    >>> moments("relu").gain ** 2, moments("tanh").chi1
    (2.0, 1.1778)
    """
    positive(q)
    sample = Sample(elementwise(f, kinks), q)
    sample.check()
    weights, value, slope = sample.weights, sample.value, sample.slope
    return Moments(
        mean=float(weights @ value),
        second=sample.second,
        slope_mean=float(weights @ slope),
        slope_second=sample.slope_second,
        slope_fourth=float(weights @ slope**4) if sample.resolved(slope, 4) else np.nan,
        gain=sample.second**-0.5,
        chi1=sample.slope_second / sample.second,
    )


class Sample:
    """An activation at the nodes of a rule under N(mean, q): ``weights @ value`` is its mean.

    Attributes:
        z: nodes in standard deviations.
        edges: of the panels, in standard deviations.
    """

    def __init__(self, fun: Elementwise, q: float, mean: float = 0.0) -> None:
        self._deviation = deviation = float(np.sqrt(q))
        features = np.asarray(fun.features(deviation + abs(mean))) - mean
        self.fun, self.edges = fun, gaussian_edges(features, deviation)
        z, weights = panels(self.edges)
        self.z = z.ravel()
        self.weights = weights.ravel() * density(self.z)
        self.value, self.slope = fun(mean + deviation * self.z)

    @functools.cached_property
    def second(self) -> float:
        """``E f(u)^2``; infinite where it is beyond float64."""
        with np.errstate(over="ignore"):
            return float(self.weights @ self.value**2)

    @functools.cached_property
    def slope_second(self) -> float:
        """``E f'(u)^2``, or NaN."""
        return float(self.weights @ self.slope**2) if self.resolved(self.slope, 2) else np.nan

    def resolved(self, values: np.ndarray, power: int, share: float = 1e-6) -> bool:
        """Whether no more than that share of ``E |values|^power`` comes from panels whose nodes do not suffice."""
        with np.errstate(over="ignore", invalid="ignore"):
            parts = (self.weights * np.abs(values) ** power).reshape(-1, NODES).sum(axis=1)
            scale = float(np.sqrt(self.weights @ values**2))
            rough = ~smooth(values.reshape(-1, NODES), scale, np.zeros(len(parts)), _ROUGH)
            return not parts[rough].sum() > share * parts.sum()

    @functools.cached_property
    def slope_is_derivative(self) -> bool:
        r"""Whether no jump is missed: :math:`E f' = E f z`, :math:`E f' z = E f (z^2 - 1)` in standard deviations."""
        slope = self._deviation * self.slope
        missed = [self.value * self.z - slope, self.value * (self.z**2 - 1) - slope * self.z]
        scale = np.sqrt(self.second) + self._deviation * np.sqrt(self.slope_second)
        return all(abs(self.weights @ v) <= 1e-5 * scale for v in missed)

    def check(self) -> None:
        """Raise where moments diverge, or are nothing."""
        tail = np.abs(self.z) > REACH - 1
        with np.errstate(over="ignore", invalid="ignore"):
            powers = self.value**2, self.slope**4
            sums = [self.weights @ v for v in powers]
            whole = all(self.weights[tail] @ v[tail] <= 1e-9 * s for v, s in zip(powers, sums, strict=True))
        if not (whole and 0 < sums[0] < np.inf and np.isfinite(sums[1])):
            raise ValueError(
                f"got moments that are not finite and positive for {self.fun.label}: expected a function of finite "
                "variance; clip it, or take one that grows more slowly"
            )
        if not self.resolved(self.value, 2, share=1e-3):
            raise ValueError(
                f"got {self.fun.label}, which changes too fast for quadrature at a standard deviation of "
                f"{self._deviation:.3g}: expected less than some hundred swings within it; pass a smaller variance"
            )


def positive(q: float, name: str = "q") -> None:
    """Raise for what is not a positive finite variance."""
    try:
        known = bool(0 < q < np.inf)
    except (TypeError, ValueError):  # no number, or many
        known = False
    if not known:
        raise ValueError(f"got {name}={q}: expected a positive variance; pass a finite number above 0")
