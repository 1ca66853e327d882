"""What one wide layer does to the length of a signal, and the length that it settles at."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ._elementwise import Elementwise, elementwise
from ._homogeneous import homogeneous
from ._moments import Sample, positive

_RANGE = 1e-12, 1e12  # where fixed points are sought
MARGINAL = 1e-12  # a slope of 1 up to rounding


def length_map(
    f: str | Callable, weight_variance: float, bias_variance: float = 0.0, *, kinks: tuple[float, ...] | None = None
) -> Callable[[ArrayLike], np.ndarray | float]:
    r"""The variance of the pre-activations of a wide layer, from that of the layer before.

    .. math:: Q(q) = \sigma_w^2\, E f(\sqrt q z)^2 + \sigma_b^2

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        weight_variance: :math:`\sigma_w^2`, the variance of a weight times fan-in.
        bias_variance: :math:`\sigma_b^2`.
        kinks: points where ``f`` is not smooth, where they are known; others are found.

    Returns:
        ``Q(q)``, for a number or an array of variances.

    Raises:
        ValueError: for variances that are negative or not finite, and as :func:`moments` does.

    Cost: a millisecond per variance.

    Reference: Poole et al., `2016 <https://arxiv.org/abs/1606.05340>`_.

    >>> length_map("tanh", 1.5, 0.05)(1.0)
    0.641441
    """
    check_variances(weight_variance, bias_variance)
    fun = elementwise(f, kinks)

    def length(q: ArrayLike) -> np.ndarray | float:
        variances = np.asarray(q, float)
        seconds = np.array([_second(fun, v) for v in variances.ravel()]).reshape(variances.shape)
        found = weight_variance * seconds + bias_variance
        return found if variances.ndim else float(found)

    return length


def check_variances(weight_variance: float, bias_variance: float) -> None:
    """Raise where either cannot be a variance."""
    positive(weight_variance, "weight_variance")
    if not 0 <= bias_variance < np.inf:
        raise ValueError(
            f"got bias_variance={bias_variance}: expected a variance; pass 0 for no bias, or a finite number above"
        )


def _second(fun: Elementwise, q: float) -> float:
    positive(q)
    sample = Sample(fun, q)
    sample.check()
    return sample.second


def length_slope(sample: Sample, q: float) -> float:
    r"""``d E f(\sqrt q z)^2 / dq``, whatever slope ``f`` declares."""
    by_slope = float(sample.weights @ (sample.value * sample.slope * sample.z) / np.sqrt(q))
    # Integrated by parts: without a slope, but with more cancellation.
    by_value = float(sample.weights @ (sample.value**2 * (sample.z**2 - 1)) / (2 * q))
    return by_slope if np.isclose(by_slope, by_value, rtol=1e-6, atol=1e-9 * sample.second / q) else by_value


def fixed_length(fun: Elementwise, weight_variance: float, bias_variance: float) -> float:
    """The variance that signals of unit variance settle at.

    Raises:
        ValueError: where they grow without bound, or vanish.
    """
    check_variances(weight_variance, bias_variance)
    bent = homogeneous(fun)
    if bent is not None:
        rate = weight_variance * bent.second
        if abs(rate - 1) <= MARGINAL and bias_variance == 0:
            return 1.0  # every variance is a fixed point
        q = bias_variance / (1 - rate) if rate < 1 else np.inf
        return _settled(fun, q, weight_variance, bias_variance)
    excess = _excess(fun, weight_variance, bias_variance)
    low, high = 1.0, 1.0
    # Signals move the way that Q(1) - 1 points, and Q falls no faster than 1 / sqrt(q): to the first fixed point there.
    if excess(1.0) >= 0:
        while high <= _RANGE[1] and excess(high) > 0:
            low, high = high, high * 2
    else:
        while low >= _RANGE[0] and excess(low) < 0:
            low, high = low / 2, low
    if high > _RANGE[1] or low < _RANGE[0]:
        return _settled(fun, np.inf if high > 1 else 0.0, weight_variance, bias_variance)
    return root(excess, low, high)


def _excess(fun: Elementwise, weight_variance: float, bias_variance: float) -> Callable[[float], float]:
    """``Q(q) / q - 1``."""
    return lambda q: (weight_variance * _second(fun, q) + bias_variance) / q - 1


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """The zero between two points of opposite signs, as exactly as float64 tells."""
    from scipy.optimize import brentq

    return low if low == high else float(brentq(function, low, high, xtol=1e-300, rtol=1e-15))  # pyright: ignore


def _settled(fun: Elementwise, q: float, weight_variance: float, bias_variance: float) -> float:
    if 0 < q < np.inf:
        return q
    fate, remedy = (
        ("vanish", "raise either variance") if q == 0 else ("grow without bound", "lower the weight variance")
    )
    raise ValueError(
        f"got weight_variance={weight_variance}, bias_variance={bias_variance} for {fun.label}, where signals {fate}: "
        f"expected variances with a fixed point; {remedy}"
    )
