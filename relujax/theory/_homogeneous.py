"""Functions of one slope on either side of 0: what closed forms know about them."""

import functools
from dataclasses import dataclass

import numpy as np

from ._elementwise import Elementwise

_PROBE = np.array([2.0**-20, 0.1, 1.0, 3.7, 2.0**20])


@dataclass(frozen=True)
class Homogeneous:
    r"""``f(x) = left x`` for ``x < 0``, ``right x`` for ``x > 0``: ReLU and its leaky kin.

    .. math:: E f(u)f(v) = \sqrt{qp}\left[\frac{l^2 + r^2}{2}c
        + \frac{(r-l)^2}{2\pi}\big(\sqrt{1-c^2} - c \arccos c\big)\right]

    Reference: Cho and Saul, `2009 <https://papers.nips.cc/paper/3628-kernel-methods-for-deep-learning>`_.
    """

    left: float
    right: float

    @property
    def second(self) -> float:
        """``E f(z)^2``, which is ``E f'(z)^2`` too."""
        return (self.left**2 + self.right**2) / 2

    def value(self, c: np.ndarray) -> np.ndarray:
        """``E f(u) f(v)`` at unit variances."""
        bent = np.sqrt((1 - c) * (1 + c)) - c * np.arccos(c)
        return self.second * c + (self.right - self.left) ** 2 / (2 * np.pi) * bent

    def slope(self, c: np.ndarray) -> np.ndarray:
        """``E f'(u) f'(v)``, at any variances."""
        return self.second - (self.right - self.left) ** 2 / (2 * np.pi) * np.arccos(c)


@functools.lru_cache(maxsize=128)
def homogeneous(fun: Elementwise) -> Homogeneous | None:
    """The two slopes, where there are but two and ``f(0) = 0``."""
    left, right = fun(-_PROBE), fun(_PROBE)
    if fun.kinks() not in ((), (0.0,)) or fun(np.zeros(1))[0].any():
        return None
    slopes = [np.concatenate([value / x, slope]) for (value, slope), x in ((left, -_PROBE), (right, _PROBE))]
    if any(not np.allclose(s, s[0], rtol=4e-16, atol=0) for s in slopes):
        return None
    return Homogeneous(float(slopes[0][0]), float(slopes[1][0]))
