"""What one wide layer does to the correlation of two inputs."""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ._dual import Dual
from ._elementwise import Elementwise, elementwise
from ._homogeneous import homogeneous
from ._moments import positive


class CorrelationMap:
    """``C(c)``, and its slope, of one activation at one variance; :func:`correlation_map` makes it.

    Attributes:
        q: the variance.
        second: :math:`E f(u)^2`.

    >>> shared = correlation_map("tanh")
    >>> shared(0.5), shared.slope(0.5), shared.second
    (0.4725513994, 0.9757859616, 0.3942944904)
    """

    def __init__(self, fun: Elementwise, q: float) -> None:
        self.q, self._fun, self._bent = q, fun, homogeneous(fun)
        self.second = self._value.second if self._bent is None else q * self._bent.second

    @functools.cached_property
    def _value(self) -> Dual:
        return Dual(self._fun, self.q)

    @functools.cached_property
    def _slope(self) -> Dual:
        return Dual(self._fun, self.q, slope=True)

    def __call__(self, c: ArrayLike) -> np.ndarray | float:
        """At each correlation; a number for a number."""
        c = correlations(c)
        found = self._value(c) if self._bent is None else self.q * self._bent.value(c)
        return found / self.second if c.ndim else float(found / self.second)

    def slope(self, c: ArrayLike) -> np.ndarray | float:
        r"""``C'(c)``, :math:`q\,E f'(u)f'(v) / E f(u)^2` (Price's theorem).

        By the slope that ``f`` declares: where ``f`` jumps, or declares another slope than its own, it is what the
        gradient sees, and not the derivative of ``C``.
        """
        c = correlations(c)
        found = self.q / self.second * (self._slope(c) if self._bent is None else self._bent.slope(c))
        return found if c.ndim else float(found)


def correlation_map(f: str | Callable, q: float = 1.0, *, kinks: tuple[float, ...] | None = None) -> CorrelationMap:
    r"""The correlation of two signals after a wide layer, from that before it.

    .. math:: C(c) = \frac{E f(u)f(v)}{E f(u)^2}, \qquad \operatorname{Var} u = \operatorname{Var} v = q,
        \quad \operatorname{corr}(u, v) = c

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        q: variance of both pre-activations.
        kinks: points where ``f`` is not smooth, where they are known; others are found.

    Returns:
        ``C(c)``, for a number or an array in [-1, 1], with ``C.slope(c)`` for ``C'(c)``; absolute errors about 1e-15.

    Raises:
        ValueError: for correlations beyond [-1, 1], and as :func:`moments` does.

    Cost: microseconds per correlation for smooth functions, for (leaky) ReLU, and for ``abs(c) < 0.94``; beyond that,
    10 ms for a function with other kinks.

    Reference: Poole et al., `2016 <https://arxiv.org/abs/1606.05340>`_.

    >>> correlation_map("relu")(0.0), correlation_map("relu").slope(0.0)
    (0.31830988618379, 0.5)
    """
    positive(q)
    return CorrelationMap(elementwise(f, kinks), q)


def correlations(c: ArrayLike) -> np.ndarray:
    """As an array, refused beyond [-1, 1]."""
    c = np.asarray(c, float)
    if not (np.abs(c) <= 1).all():
        worst = c[~(np.abs(c) <= 1)].flat[0]
        raise ValueError(f"got the correlation {worst}: expected numbers in [-1, 1]; divide by both norms")
    return c
