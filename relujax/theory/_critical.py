"""The edge of chaos: variances at which neither signals nor gradients explode or vanish, and whether they hold."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from ._elementwise import Elementwise, elementwise
from ._homogeneous import homogeneous
from ._length_map import MARGINAL, check_variances, length_slope, root
from ._moments import Sample
from ._slopes import no_slope, slope_pole

_LENGTHS = 2.0 ** np.arange(-40, 41)  # where critical lengths are sought
_MARGIN = 1e-9  # by which a slope must differ from 1 for its side to count
_SILENT = 1e-9  # a mean squared slope that passes nothing, as of a dead zone that a short signal does not leave
_TINY = 1e-4  # a length at which a length map shows how it leaves 0


@dataclass(frozen=True)
class Critical:
    r"""A point on the edge of chaos.

    Attributes:
        weight_variance: :math:`\sigma_w^2`, the variance of a weight times fan-in.
        bias_variance: :math:`\sigma_b^2`.
        q: the fixed point of the length map.
        chi1: :math:`\sigma_w^2 E f'(u)^2` at ``q``, which is 1.
        dq: the slope of the length map at ``q``.
        stable: whether lengths near ``q`` stay near: ``dq`` is below 1; at 1 where lengths near 0 do not grow.
    """

    weight_variance: float
    bias_variance: float
    q: float
    chi1: float
    dq: float
    stable: bool


def critical(f: str | Callable, bias_variance: float = 0.0, *, kinks: tuple[float, ...] | None = None) -> Critical:
    r"""The weight variance at which ``chi1`` is 1, for a bias variance, and whether that fixed point is stable.

    .. math:: q^* = \sigma_w^2 E f(u)^2 + \sigma_b^2, \qquad \sigma_w^2 E f'(u)^2 = 1, \qquad u \sim N(0, q^*)

    For GELU, SiLU and Mish there is such a point for every bias variance, but with a small one its length is unstable:
    signals drift away from it.

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        bias_variance: :math:`\sigma_b^2`.
        kinks: points where ``f`` is not smooth, where they are known; others are found.

    Returns:
        :class:`Critical`. Without bias, ReLU and its leaky kin hold every length, and the point is that of ``q = 1``;
        a smooth function with ``f(0) = 0`` has its point in the limit ``q = 0``.

    Raises:
        ValueError: where there is no such point; for a variance that is negative or not finite.

    Cost: a millisecond for each of some fifty lengths.

    Reference: Poole et al., `2016 <https://arxiv.org/abs/1606.05340>`_; Roberts et al.,
    `2021 <https://arxiv.org/abs/2106.10165>`_.

    >>> critical("tanh", 0.05).weight_variance, critical("gelu", 0.05).stable
    (1.76095463, False)
    """
    fun = elementwise(f, kinks)
    check_variances(1.0, bias_variance)
    bent = homogeneous(fun)
    if bent is not None and bias_variance == 0:
        return Critical(1 / bent.second, 0.0, 1.0, 1.0, 1.0, stable=True)
    slope = float(fun(np.zeros(1))[1][0])
    if bias_variance == 0 and slope and _passes_zero(fun):
        return Critical(slope**-2, 0.0, 0.0, 1.0, 1.0, stable=_at(fun, _TINY).dq <= 1 + MARGINAL)
    if bent is None:
        for low, high in itertools.pairwise(_points(fun)):
            # From a bias too small to one large enough.
            if low.bias_variance <= bias_variance < high.bias_variance:
                return _at(fun, root(lambda q: _at(fun, q).bias_variance - bias_variance, low.q, high.q), bias_variance)
    raise ValueError(
        f"got bias_variance={bias_variance} for {fun.label}, at which no weight variance is critical: expected a bias "
        "variance on the edge of chaos; try 0 for ReLU and its kin, 0.05 for others, or another activation"
    )


def half_stable(f: str | Callable, *, kinks: tuple[float, ...] | None = None) -> Critical:
    r"""The critical point at which the length map touches the diagonal: the least bias variance that holds a length.

    .. math:: \sigma_w^2 E f'(u)^2 = 1, \qquad Q'(q^*) = 1, \qquad u \sim N(0, q^*)

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        kinks: points where ``f`` is not smooth, where they are known; others are found.

    Returns:
        :class:`Critical`: both slopes are 1. Lengths come to ``q`` from one side only, so ``stable`` is false.

    Raises:
        ValueError: where there is none, as for tanh, or where every point is one, as for ReLU.

    Cost: a millisecond for each of some fifty lengths.

    Reference: Roberts et al., `2021 <https://arxiv.org/abs/2106.10165>`_, section 5.3.4.

    >>> import functools, jax
    >>> exact = half_stable(functools.partial(jax.nn.gelu, approximate=False))
    >>> exact.weight_variance, exact.bias_variance, exact.q
    (1.983058257, 0.172922391, 3.561552813)
    """
    fun = elementwise(f, kinks)
    low, before = _LENGTHS[0], 0.0
    for point in _points(fun):
        high, excess = point.q, point.dq - 1
        if before > _MARGIN and excess < -_MARGIN:
            found = _at(fun, root(lambda q: _at(fun, q).dq - 1, low, high))
            if found.bias_variance >= 0:
                return replace(found, dq=1.0, stable=False)
        if abs(excess) > _MARGIN:
            low, before = high, excess
    raise ValueError(
        f"got {fun.label}, whose critical lengths are never half-stable: expected one that bends both ways, as GELU, "
        "SiLU and Mish do; see critical(f, bias_variance).stable"
    )


def _points(fun: Elementwise) -> Iterator[Critical]:
    """The critical points of ascending lengths, without those so short that hardly a gradient passes."""
    silent = True
    for q in _LENGTHS:
        sample = Sample(fun, q)
        if np.isnan(sample.slope_second):
            raise slope_pole(fun.label)
        if sample.slope_second > _SILENT:
            silent = False
            yield _point(sample, q)
    if silent:
        raise no_slope(fun.label)


def _at(fun: Elementwise, q: float, bias_variance: float | None = None) -> Critical:
    """The critical point of this length; its bias variance is negative where there is none."""
    return _point(Sample(fun, q), q, bias_variance)


def _point(sample: Sample, q: float, bias_variance: float | None = None) -> Critical:
    dq = length_slope(sample, q) / sample.slope_second
    bias = q - sample.second / sample.slope_second if bias_variance is None else bias_variance
    return Critical(1 / sample.slope_second, bias, q, 1.0, dq, stable=dq < 1 - _MARGIN)


def _passes_zero(fun: Elementwise) -> bool:
    """Whether ``f(0) = 0`` with one slope on either side."""
    (below, at, above), (left, _, right) = fun(np.array([-1e-12, 0.0, 1e-12]))
    return at == 0 and abs(above - below) < 1e-9 and abs(left - right) < 1e-9 * abs(right)
