"""Gauss-Legendre panels: rules under a Gaussian, and whether a function is smooth on a panel."""

from collections.abc import Iterable

import numpy as np

REACH = 14.0  #: standard deviations; exp(-14^2 / 2) is 3e-43: what lies beyond adds nothing to a float64
NODES = 20  #: per panel: a polynomial of degree 39 is exact
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(NODES)
_DEGREES = np.arange(NODES)
#: From values at a panel's nodes to the coefficients of its Legendre series.
_SERIES = (2 * _DEGREES[:, None] + 1) / 2 * np.polynomial.legendre.legvander(_POINTS, NODES - 1).T * _WEIGHTS
_LAST = 3  # trailing coefficients that must vanish: one alone may do so by symmetry


def panels(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights between neighbouring edges (along the last axis), each ``(..., panels, NODES)``."""
    half = np.diff(edges)[..., None] / 2
    return (edges[..., :-1, None] + edges[..., 1:, None]) / 2 + half * _POINTS, half * _WEIGHTS


def density(z: np.ndarray) -> np.ndarray:
    """Of the standard Gaussian."""
    return np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def gaussian_edges(features: Iterable[float], deviation: float = 1.0) -> np.ndarray:
    """Edges of panels of N(0, 1) that are split where ``f(deviation * z)`` has a feature."""
    z = np.asarray([*features], float) / deviation
    return np.unique([*np.linspace(-REACH, REACH, 29), *z[np.abs(z) < REACH]])


def differentiate(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Slopes at the nodes of each panel, ``(panels, NODES)``, from the values there."""
    series = np.polynomial.legendre.legder(values @ _SERIES.T, axis=1)
    return series @ np.polynomial.legendre.legvander(_POINTS, NODES - 2).T * (2 / np.diff(edges)[:, None])


def smooth(values: np.ndarray, scale: float, rounding: np.ndarray, tolerance: float = 1e-13) -> np.ndarray:
    """Per panel whether its nodes suffice, as :func:`roughness` tells; arguments as there."""
    return roughness(values, scale, rounding, tolerance) <= 1


def roughness(values: np.ndarray, scale: float, rounding: np.ndarray, tolerance: float = 1e-13) -> np.ndarray:
    """Per panel how large the last coefficients are, in units of what is nothing beside the values or ``scale``.

    A panel where the function is not finite counts as smooth: more nodes would not help it.

    Args:
        values: at the nodes, ``(panels, NODES)``.
        scale: of the function as a whole.
        rounding: what rounding moves a node by, in widths of its panel.
        tolerance: what is nothing.
    """
    values = np.where(np.isfinite(values).all(axis=-1, keepdims=True), values, 0.0)
    last = np.abs(values @ _SERIES[-_LAST:].T).max(axis=-1)
    nothing = tolerance * (np.abs(values).max(axis=-1) + scale) + rounding * np.ptp(values, axis=-1)
    return last / np.where(nothing == 0, 1, nothing)  # 0 of zeros
