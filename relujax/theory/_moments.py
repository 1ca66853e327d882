"""Gaussian moments of an activation and of its slope: what a wide layer does to a signal and to its gradient."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from ..functions import ACTIVATIONS, activation

_REACH = 14.0  # exp(-14^2 / 2) is 3e-43: what lies beyond adds nothing to a float64
_PANEL_NODES = 40


@dataclass(frozen=True)
class Moments:
    r"""Moments under :math:`u \sim N(0, q)`.

    Attributes:
        mean: :math:`E f(u)`.
        second: :math:`E f(u)^2`.
        slope_mean: :math:`E f'(u)`.
        slope_second: :math:`E f'(u)^2`.
        slope_fourth: :math:`E f'(u)^4`.
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
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        q: variance of the pre-activation.
        kinks: points where ``f`` is not smooth; by default those of the registry, else none. A kink that is not
            stated costs about ten digits.

    Returns:
        :class:`Moments`, to about 1e-14 (split Gauss-Legendre quadrature in float64).

    Raises:
        ValueError: for ``q <= 0``, an unknown name, or moments that are not finite.

    Reference: Poole et al., `2016 <https://arxiv.org/abs/1606.05340>`_; Schoenholz et al.,
    `2017 <https://arxiv.org/abs/1611.01232>`_.

    >>> moments("relu").gain ** 2, moments("tanh").chi1
    (2.0, 1.1778)
    """
    if not q > 0:
        raise ValueError(f"got q={q}: expected a positive variance")
    fun, known = _resolve(f)
    points, weights = _quadrature(tuple(k / np.sqrt(q) for k in (known if kinks is None else kinks)))
    with jax.enable_x64(True):
        # By vjp: some members refuse forward mode.
        value, pull = jax.vjp(fun, np.sqrt(q) * points)
        [slope] = pull(np.ones_like(points))
        value, slope = np.asarray(value, np.float64), np.asarray(slope, np.float64)
    tail = np.abs(points) > _REACH - 1
    with np.errstate(over="ignore", invalid="ignore"):
        second, slope_second, slope_fourth = (weights @ v for v in (value**2, slope**2, slope**4))
        converged = all(weights[tail] @ v[tail] <= 1e-9 * (weights @ v) for v in (value**2, slope**4))
    if not (converged and 0 < second < np.inf and np.isfinite(slope_fourth)):
        raise ValueError(
            f"got moments that are not finite and positive for {f!r}: expected a function of finite variance"
        )
    return Moments(
        mean=float(weights @ value),
        second=float(second),
        slope_mean=float(weights @ slope),
        slope_second=float(slope_second),
        slope_fourth=float(slope_fourth),
        gain=float(1 / np.sqrt(second)),
        chi1=float(slope_second / second),
    )


def _resolve(f: str | Callable) -> tuple[Callable, tuple[float, ...]]:
    """The function, and the kinks that the registry states for it."""
    fun = activation(f) if isinstance(f, str) else f
    inner = fun.func if isinstance(fun, functools.partial) else fun
    row = next((row for row in ACTIVATIONS.values() if row.fun is inner), None)
    if isinstance(f, str) and row is not None and row.example:
        fun = activation(f, **row.example)
    return fun, row.kinks if row else ()


def _quadrature(kinks: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and Gaussian weights on panels of [-14, 14] that are split at the kinks."""
    # Halved again and again towards 0: at large q that is where a saturating function bends.
    halved = _REACH * 0.5 ** np.arange(16)
    edges = np.unique([*np.linspace(-_REACH, _REACH, 29), *halved, *-halved, *(k for k in kinks if abs(k) < _REACH)])
    nodes, weights = np.polynomial.legendre.leggauss(_PANEL_NODES)
    half = np.diff(edges)[:, None] / 2
    points = ((edges[:-1, None] + edges[1:, None]) / 2 + half * nodes).ravel()
    density = np.exp(-(points**2) / 2) / np.sqrt(2 * np.pi)
    return points, (half * weights).ravel() * density
