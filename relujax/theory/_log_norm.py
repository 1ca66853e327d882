"""How the logarithm of a gradient's length walks from layer to layer at finite width."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._checks import whole
from ._moments import positive
from ._slopes import no_slope, slope_law, slope_pole

_STEP = 0.25  # in log t; the integrand is analytic in a strip, so that the trapezoid rule is exact to rounding
_LOG_TIMES = np.arange(-45.0, 200.0, _STEP)


@dataclass(frozen=True)
class LogNormLaw:
    """Of the logarithm of a squared length, per layer.

    Attributes:
        mean: what a layer adds on average, in nats.
        variance: the variance of what it adds, in nats squared.
        death: chance that a layer makes the length 0; the other two are those of the layers that do not.
        exact: whether layers are independent, so that means and variances add up exactly over depth.
    """

    mean: float
    variance: float
    death: float
    exact: bool

    def band(self, depth: int, confidence: float = 0.99) -> tuple[float, float]:
        """Where the sum over ``depth`` layers lies with that confidence, by the central limit theorem.

        >>> low, high = LogNormLaw(mean=-0.1, variance=0.04, death=0.0, exact=True).band(100)
        >>> round(low, 2), round(high, 2)
        (-15.15, -4.85)
        """
        if not 0 < confidence < 1:
            raise ValueError(f"got confidence={confidence}: expected a number between 0 and 1, such as 0.99")
        from scipy.special import ndtri

        center = whole("depth", depth) * self.mean
        reach = ndtri((1 + confidence) / 2) * np.sqrt(depth * self.variance)
        return float(center - reach), float(center + reach)


def log_norm_law(
    f: str | Callable,
    width: int,
    of: str = "jacobian",
    *,
    q: float = 1.0,
    weight_variance: float | None = None,
    kinks: tuple[float, ...] | None = None,
) -> LogNormLaw:
    r"""Law of :math:`\log \lVert D W u \rVert^2` for one layer of Gaussian weights and one unit vector ``u``.

    .. math:: X = \frac{\sigma_w^2}{N} \sum_{i=1}^N f'(h_i)^2 g_i^2, \qquad h_i \sim N(0, q), \quad g_i \sim N(0, 1)

    For positively homogeneous ``f`` (ReLU, leaky ReLU, the identity) this holds exactly for every direction and for
    every layer, independently, whatever came before. Otherwise it is one layer's law for a direction at right angles to
    the layer's input of variance ``q``; over many layers it leaves out that the length of the signal varies too.

    Mean and variance come from the Laplace transform: for ``T`` an exponential variable over ``X``, :math:`P(T > t) = E
    e^{-tX}` is a power of that of one unit, and :math:`\log X = \log E_1 - \log T`, where :math:`\log E_1` has mean
    :math:`-\gamma` and variance :math:`\pi^2 / 6`. The moments of :math:`\log T` are one integral, good to 1e-12.

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        width: units of the layer.
        of: ``"jacobian"``, or ``"signal"`` for :math:`X = \frac{\sigma_w^2}{N q} \sum_i f(h_i)^2`.
        q: variance of the pre-activations.
        weight_variance: times fan-in; by default what holds the signal at ``q``, as :func:`relujax.init.critical` does.
        kinks: as for :func:`moments`.

    Returns:
        :class:`LogNormLaw`.

    Raises:
        ValueError: for a width below 1, a ``weight_variance`` that is not positive, another ``of``, and as
            :func:`moments` does.

    Cost: 1,200 sums over the nodes of the quadrature (two where ``f`` is homogeneous): about 0.2 s.

    Reference: Hanin, Nica, `2020 <https://arxiv.org/abs/1812.05994>`_, whose limit for ReLU is -5/(2N) and 5/N.

    >>> law = log_norm_law("relu", 32)
    >>> law.mean, law.variance
    (-0.08254, 0.17750)
    """
    width = whole("width", width)
    if of not in ("jacobian", "signal"):
        raise ValueError(f'got of={of!r}: expected "jacobian" or "signal"')
    if weight_variance is not None:
        positive(weight_variance, "weight_variance")
    law = slope_law(f, q, kinks=kinks)
    values, weights = (law.squared if of == "jacobian" else law.signal / q), law.weights
    if law.sides:  # f(h)^2 / q is then a squared slope times a squared normal too: one law for both
        values, weights = np.square(law.sides), np.array([0.5, 0.5])
    scale = float(weights @ values)
    if not scale:
        raise no_slope(repr(f))
    if of == "jacobian" and not law.resolved:
        raise slope_pole(repr(f), "sixth")
    values = values / (scale * width)  # on the scale of the grid, whatever the weights
    unit = _fixed if law.sides is None and of == "signal" else _times_squared_normal
    mean, variance = _log_moments(lambda t: unit(t[:, None] * values, weights), width)
    death = float(weights[values == 0].sum() ** width)
    mean += float(np.log(scale * (law.weight_variance if weight_variance is None else weight_variance)))
    return LogNormLaw(mean, variance, death, exact=law.sides is not None)


def _times_squared_normal(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``E exp(-x g^2) - 1`` and its derivative by ``-log x``."""
    less = np.log1p(2 * x) / 2
    return np.expm1(-less) @ weights, (x * np.exp(-3 * less)) @ weights


def _fixed(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``E exp(-x) - 1`` and its derivative by ``-log x``."""
    return np.expm1(-x) @ weights, (x * np.exp(-x)) @ weights


def _log_moments(transform: Callable, width: int) -> tuple[float, float]:
    """Mean and variance of the log of a sum of ``width`` independent terms, given that it is not 0."""
    below_one, fall = transform(np.exp(_LOG_TIMES))
    # Of log T, up to a factor; a wide layer's transform differs from 1 by rounding or little more.
    density = np.exp((width - 1) * np.log1p(np.maximum(below_one, np.nextafter(-1, 0)))) * fall
    density /= density.sum()
    mean = density @ _LOG_TIMES
    variance = density @ (_LOG_TIMES - mean) ** 2
    return float(-np.euler_gamma - mean), float(variance - np.pi**2 / 6)
