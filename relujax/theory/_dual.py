"""E g(u) g(v) for correlated Gaussians: by Hermite series where it converges, else by a plane split at the kinks."""

from collections.abc import Callable

import numpy as np

from ._elementwise import Elementwise
from ._moments import Sample
from ._quadrature import density

_TERMS = 512
_NOTHING = 1e-16  # of E g^2: rounding
_ENOUGH = 2e-15  # what a series may leave out, beside E g^2
_PLANE_REACH = 9.6  # exp(-9.6^2 / 2) is 1e-20
_PLANE_POINTS, _PLANE_WEIGHTS = np.polynomial.legendre.leggauss(16)
_OUTER, _INNER = np.linspace(-_PLANE_REACH, _PLANE_REACH, 15), np.linspace(-_PLANE_REACH, _PLANE_REACH, 17)


class Dual:
    r"""``(c) -> E g(u) g(v)``, ``u, v`` of variance ``q`` and correlation ``c``, ``g`` an activation or its slope.

    The series is :math:`\sum_n a_n^2 c^n` with :math:`a_n = E\,g(\sqrt q z) h_n(z)`, ``h_n`` the orthonormal Hermite
    polynomials; what it leaves out is at most :math:`|c|^N (E g^2 - \sum_{n<N} a_n^2)`, which is known.

    Attributes:
        second: ``E g(u)^2``.
        coefficients: ``a_n``.
    """

    def __init__(self, fun: Elementwise, q: float, slope: bool = False) -> None:
        sample = Sample(fun, q)
        sample.check()
        values = sample.slope if slope else sample.value
        self.second = float(sample.weights @ values**2)
        self.coefficients = _hermite(sample.z, sample.weights * values, self.second)
        self._terms = 1 + int(np.flatnonzero(self.coefficients).max(initial=0))
        self._fun, self._deviation, self._pick = fun, float(np.sqrt(q)), int(slope)
        rest = self.second - float(np.sum(self.coefficients**2))
        self._rest = max(0.0, rest) / (self.second or 1.0)  # a slope may be 0

    def reaches(self, c: np.ndarray) -> np.ndarray:
        """Where the series is as good as exact."""
        return self._rest * np.abs(c) ** _TERMS <= _ENOUGH

    def __call__(self, c: np.ndarray) -> np.ndarray:
        """At each correlation."""
        found = np.array(np.polynomial.polynomial.polyval(c, self.coefficients[: self._terms] ** 2))
        for index in np.argwhere(~self.reaches(c)):
            found[*index] = self.plane(float(c[*index]))
        return found

    def plane(self, c: float, other: "Dual | None" = None) -> float:
        """By quadrature over the plane, exact at kinks for every ``c`` in [-1, 1]; ``other`` is of the same ``g``."""
        other = self if other is None else other
        if c == 1 and other is self:
            return self.second

        duals = self, other
        deviations = self._deviation, other._deviation
        kinks = [np.asarray(dual._fun.kinks(dual._deviation)) / dual._deviation for dual in duals]
        edges = [
            _fine(np.asarray(dual._fun.features(dual._deviation)) / dual._deviation, k)
            for dual, k in zip(duals, kinks, strict=True)
        ]
        return _plane(lambda x: self._fun(x)[self._pick], c, deviations, kinks, edges)


def _fine(edges: np.ndarray, kinks: np.ndarray) -> np.ndarray:
    """The kinks, and edges of panels that are narrower than those that the rule has anyway."""
    gaps = np.diff(edges, prepend=-np.inf, append=np.inf)
    return edges[(np.minimum(gaps[:-1], gaps[1:]) < 0.5) | np.isin(edges, kinks)]


def _hermite(z: np.ndarray, weighted: np.ndarray, second: float) -> np.ndarray:
    """``sum(weighted * h_n(z))`` for each of the first orthonormal Hermite polynomials; 0 when the rest is nothing."""
    found = np.zeros(_TERMS)
    before, now, rest = np.zeros_like(z), np.ones_like(z), second
    for n in range(_TERMS):
        found[n] = weighted @ now
        rest -= found[n] ** 2
        if rest <= _NOTHING * second:
            break
        before, now = now, (z * now - np.sqrt(n) * before) / np.sqrt(n + 1)
    return found


def _plane(
    evaluate: Callable, c: float, deviations: tuple[float, float], kinks: list[np.ndarray], edges: list[np.ndarray]
) -> float:
    r"""Over ``u = a p + b r``, ``v = a p - b r`` with independent ``p, r``: no node is wasted on a narrow ridge.

    For fixed ``r`` the integrand's features lie at known ``p``; as a function of ``r`` the integral is smooth but where
    a kink of ``u`` crosses one of ``v``. A negative ``c`` is that of ``u`` and ``-v``.
    """
    sign = 1.0 if c >= 0 else -1.0
    a, b = np.sqrt((1 + abs(c)) / 2), np.sqrt((1 - abs(c)) / 2)
    # Where features are fine beside the Gaussian, the outer integral bends around 0 as they do.
    finest = min((float(np.diff(e).min()) for e in edges if e.size > 1), default=1.0)
    crowd = 0.5 ** np.arange(1, np.clip(np.ceil(np.log2(0.8 / finest)), 0, 24) + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossings = np.nan_to_num((kinks[0][:, None] - sign * kinks[1]).ravel() / (2 * b), nan=0.0)
    outer = np.concatenate([_OUTER, crowd, -crowd, crossings])
    even = sign == 1 and deviations[0] == deviations[1]
    r, rule = _rule(np.abs(outer) if even else outer)
    r, rule = r.ravel(), (1 + even) * rule.ravel() * density(r.ravel())
    inner = np.concatenate(
        [
            np.broadcast_to(_INNER, (r.size, _INNER.size)),
            (edges[0] - b * r[:, None]) / a,
            (sign * edges[1] + b * r[:, None]) / a,
        ],
        axis=1,
    )
    p, weights = _rule(inner)
    p, weights = p.reshape(r.size, -1), (weights * density(p)).reshape(r.size, -1)
    u = evaluate(deviations[0] * (a * p + b * r[:, None]))
    v = evaluate(deviations[1] * sign * (a * p - b * r[:, None]))
    return float(rule @ np.einsum("rp,rp,rp->r", weights, u, v))


def _rule(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights between edges, which are put in order; their number stays, so that shapes do."""
    edges = np.sort(np.clip(edges, -_PLANE_REACH, _PLANE_REACH), axis=-1)
    half = np.diff(edges)[..., None] / 2
    return (edges[..., :-1, None] + edges[..., 1:, None]) / 2 + half * _PLANE_POINTS, half * _PLANE_WEIGHTS
