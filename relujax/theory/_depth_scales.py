"""How deep signals travel: the fixed points of a stack of wide layers, and how fast it comes to them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._correlation_map import CorrelationMap
from ._elementwise import elementwise
from ._length_map import MARGINAL, fixed_length, length_slope, root
from ._moments import Sample
from ._slopes import slope_pole


@dataclass(frozen=True)
class DepthScales:
    r"""Fixed points of a stack, and depth scales in layers.

    Attributes:
        q: the variance of the pre-activations that signals settle at.
        c: the correlation that two of them settle at.
        chi1: :math:`\sigma_w^2 E f'(u)^2` at ``q``: the factor per layer of the squared gradient, and of small
            distances between signals; above 1 the stack is chaotic.
        chi: :math:`\sigma_w^2 E f'(u) f'(v)` at ``q`` and ``c``: the factor per layer of a deviation from ``c``.
        dq: the slope of the length map at ``q``: the factor per layer of a deviation from ``q``.
        xi_q: :math:`-1/\ln` ``abs(dq)``, the depth over which a length is forgotten.
        xi_c: :math:`-1/\ln` ``chi``, the depth over which a correlation is; infinite at the edge of chaos.
    """

    q: float
    c: float
    chi1: float
    chi: float
    dq: float
    xi_q: float
    xi_c: float


def depth_scales(
    f: str | Callable, weight_variance: float, bias_variance: float = 0.0, *, kinks: tuple[float, ...] | None = None
) -> DepthScales:
    r"""The fixed points that a deep stack of wide layers comes to, and the depths over which it does.

    .. math:: q^* = Q(q^*), \quad c^* = \frac{\sigma_w^2 E f(u)f(v) + \sigma_b^2}{q^*}, \quad
        \xi_q = \frac{-1}{\ln |Q'(q^*)|}, \quad \xi_c = \frac{-1}{\ln \chi(c^*)}

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        weight_variance: :math:`\sigma_w^2`, the variance of a weight times fan-in.
        bias_variance: :math:`\sigma_b^2`.
        kinks: points where ``f`` is not smooth, where they are known; others are found.

    Returns:
        :class:`DepthScales` of the fixed point that signals of unit variance come to. Where every variance is one,
        as for ReLU at ``weight_variance=2`` without bias, that of ``q = 1``.

    Raises:
        ValueError: where signals grow without bound or vanish; for variances that are negative or not finite; for a
            function that jumps or declares another slope than its own, of which no correlation map follows.

    Cost: a millisecond for each of some ten lengths; 10 ms more for each correlation near 1 of a function with kinks.

    Reference: Schoenholz et al., `2017 <https://arxiv.org/abs/1611.01232>`_.

    >>> scales = depth_scales("tanh", 2.25, 0.0025)
    >>> scales.q, scales.c, scales.xi_q, scales.xi_c
    (0.79838711, 0.05208624, 1.45062254, 16.20064169)
    """
    fun = elementwise(f, kinks)
    q = fixed_length(fun, weight_variance, bias_variance)
    sample, shared = Sample(fun, q), CorrelationMap(fun, q)
    if np.isnan(sample.slope_second):
        raise slope_pole(fun.label)
    if not sample.slope_is_derivative:
        raise ValueError(
            f"got {fun.label}, which jumps or declares another slope than its own: expected a function whose slope is "
            "its derivative, which depth scales follow from; iterate length_map and correlation_map, or take another"
        )
    chi1 = weight_variance * sample.slope_second
    dq = weight_variance * length_slope(sample, q)
    c = 1.0 if chi1 <= 1 + MARGINAL else _fixed_correlation(shared, weight_variance, bias_variance)
    chi = chi1 if c == 1 else weight_variance * shared.second / q * float(shared.slope(c))
    return DepthScales(q=q, c=c, chi1=chi1, chi=chi, dq=dq, xi_q=_scale(dq), xi_c=_scale(chi))


def _fixed_correlation(shared: CorrelationMap, weight_variance: float, bias_variance: float) -> float:
    """The stable one below 1: the map is convex on [0, 1], and leaves 1 with a slope above 1."""

    def excess(c: float) -> float:
        return (weight_variance * shared.second * float(shared(c)) + bias_variance) / shared.q - c

    if excess(0.0) <= 0:
        return 0.0
    high = 0.5
    while excess(high) > 0 and high < 1:
        high = 1 - (1 - high) / 4
    return root(excess, 0.0, high) if high < 1 else 1.0


def _scale(factor: float) -> float:
    """Layers over which a deviation falls to 1/e; infinite where it does not, up to rounding."""
    factor = abs(factor)  # a length map that falls turns the sign of a deviation
    if factor == 0:
        return 0.0
    return float(np.inf) if factor >= 1 - MARGINAL else float(-1 / np.log(factor))
