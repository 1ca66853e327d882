"""Where a function is not smooth: found by bisection, from nothing but values and slopes."""

from collections.abc import Callable

import numpy as np

from ._quadrature import NODES, REACH, density, panels, roughness

_MOST = 1000  # panels that may be in doubt at once: more is noise, as of a function that computes in float32
_KINK = 2.0**-10  # what is not smooth on so narrow a panel is taken for a kink, beside the scale of x
_SAME = 1e-5  # two findings so near are one: a jump in a third derivative is found no better
_PEAK = 0.01  # of the steepest slope: its rounding is none of a kink where slopes are flat
_ZOOMS = 6  # each to a hundredth
_FALL = 32.0  # more than halving a panel around a kink takes off its last coefficients, up to a third derivative
_SHARP = 1e-12  # a kink is sharp still at this distance, beside the scale of x
_FINEST = 1e-7  # beside an algebraic singularity, which no panel resolves

Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def features(evaluate: Evaluate, deviation: float, known: tuple[float, ...]) -> tuple[tuple[float, ...], tuple]:
    """Kinks, and all edges of panels on which value and slope are smooth, within reach of ``N(0, deviation^2)``.

    Args:
        evaluate: ``x -> (value, slope)``.
        deviation: at least 1.
        known: kinks that are known already.
    """
    reach = REACH * deviation
    scale, known = _scale(evaluate, deviation), tuple(k for k in known if abs(k) < reach)
    kinks = set(known)
    # Off the round numbers, and twice: a kink that lies on an edge, or beyond the last node before it, goes unseen.
    for grid in (_grid(reach, known, 1.0137), _grid(reach, known, 1.0823)):
        found = _bisect(evaluate, grid, scale, reach * 1e-16)[1]
        kinks |= {k for k in found if not _near(k, kinks) and _bends(evaluate, k, scale)}
    # An edge may hide what is merely steep from both panels beside it: none where nothing is sharp, and another grid.
    sharp = (*known, *(k for k in kinks if k not in known and _sharp(evaluate, k, scale)))
    refined, other = (_grid(reach, sharp, factor) for factor in (1.0137, 1.0823))
    cuts = {*_bisect(evaluate, refined, scale, _FINEST)[0], *_bisect(evaluate, other, scale, _FINEST)[0]} - {*other}
    return tuple(sorted(kinks)), tuple(sorted({*map(float, refined), *map(float, cuts), *kinks}))


def _grid(reach: float, kinks: tuple[float, ...], factor: float) -> np.ndarray:
    """Edges that crowd towards 0, where a wide Gaussian sees most functions bend."""
    dyadic = factor * reach * 0.5 ** np.arange(np.ceil(np.log2(reach / 0.4)) + 1)
    return np.unique([*dyadic, *(-1.0137 * dyadic), *kinks])


def _scale(evaluate: Evaluate, deviation: float) -> tuple[float, float]:
    """Root mean squares of value and slope, roughly."""
    z = np.linspace(-6.03, 6, 601)
    weights = density(z) * (z[1] - z[0])
    with np.errstate(over="ignore", invalid="ignore"):
        value, slope = (float(np.sqrt(weights @ y**2)) for y in evaluate(z * deviation))
        slope = max(slope, _PEAK * _steepest(evaluate, z[np.abs(z) < 3] * deviation))
    return (value if np.isfinite(value) else 0.0), (slope if np.isfinite(slope) else 0.0)


def _steepest(evaluate: Evaluate, x: np.ndarray) -> float:
    """The slope where values rise most; a steep part may lie between two points."""
    steepest = 0.0
    for _ in range(_ZOOMS):
        y, slope = evaluate(x)
        at = int(np.argmax(np.nan_to_num(np.abs(np.diff(y)), posinf=0)))
        steepest = max(steepest, float(np.abs(slope[at : at + 2]).max()))
        x = np.linspace(x[at], x[at + 1], 101)
    return steepest


def _bisect(
    evaluate: Evaluate, grid: np.ndarray, scale: tuple[float, float], narrowest: float
) -> tuple[list[float], list[float]]:
    """Cut panels that are not smooth until they are, or are narrow: all edges, and where a narrow one stood."""
    left, right = grid[:-1], grid[1:]
    doubt = ~_smooth(evaluate, left, right, scale)
    left, right, edges, kinks = left[doubt], right[doubt], [*grid], []
    while 0 < left.size <= _MOST:
        last = right - left <= np.maximum(narrowest, 4e-16 * np.abs(left))
        kinks += [*((left + right) / 2)[last]]
        left, right = left[~last], right[~last]
        inner = _halves_in_doubt(evaluate, left, right, scale, 0.5)
        # Neither half is in doubt: the kink lies beyond the last node of one, or is lost in rounding, or there is none.
        lost = ~inner.any(axis=0)
        cut = np.where(lost, 0.4, 0.5)
        if lost.any():
            inner[:, lost] = _halves_in_doubt(evaluate, left[lost], right[lost], scale, 0.4)
            gone = lost & ~inner.any(axis=0) & (right - left < _KINK * np.maximum(1, np.abs(left)))
            kinks += [*((left + right) / 2)[gone]]
        middle = left + cut * (right - left)
        edges += [*middle]
        left, right = np.concatenate([left, middle])[inner.ravel()], np.concatenate([middle, right])[inner.ravel()]
    return (edges, _merged(kinks)) if left.size <= _MOST else ([*grid], [])


def _halves_in_doubt(
    evaluate: Evaluate, left: np.ndarray, right: np.ndarray, scale: tuple[float, float], cut: float
) -> np.ndarray:
    """Whether the left and the right part of each panel are not smooth, ``(2, panels)``."""
    middle = left + cut * (right - left)
    return ~_smooth(evaluate, np.concatenate([left, middle]), np.concatenate([middle, right]), scale).reshape(2, -1)


def _smooth(evaluate: Evaluate, left: np.ndarray, right: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    return _roughness(evaluate, left, right, scale) <= 1


def _roughness(evaluate: Evaluate, left: np.ndarray, right: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    points, _ = panels(np.stack([left, right], axis=-1))
    value, slope = evaluate(points.reshape(-1, NODES))
    rounding = np.finfo(float).eps * np.maximum(np.abs(left), np.abs(right)) / (right - left)
    return np.maximum(roughness(value, scale[0], rounding), roughness(slope, scale[1], rounding))


def _sharp(evaluate: Evaluate, kink: float, scale: tuple[float, float]) -> bool:
    around = _SHARP * max(1.0, abs(kink))
    return not _smooth(evaluate, np.array([kink - around]), np.array([kink + around]), scale)[0]


def _bends(evaluate: Evaluate, kink: float, scale: tuple[float, float]) -> bool:
    """Whether roughness around it falls by no more than a power of the width: at a steep part it goes at once."""
    around = max(1.0, abs(kink)) * 0.5 ** np.arange(2, 40)
    rough = _roughness(evaluate, kink - around, kink + around, scale)
    well_above = np.flatnonzero(rough > 100)
    last = well_above.max(initial=0)
    return not well_above.size or last + 1 == rough.size or bool(rough[last] < _FALL * rough[last + 1])


def _near(k: float, others: set[float]) -> bool:
    return any(abs(k - other) < _SAME * max(1.0, abs(other)) for other in others)


def _merged(kinks: list[float]) -> list[float]:
    """One of each, and 0 where rounding put a tiny number."""
    kept: list[float] = []
    for k in sorted(0.0 if abs(k) < 1e-14 else k for k in kinks):
        if not kept or k - kept[-1] > _SAME * max(1.0, abs(k)):
            kept.append(float(k))
    return kept
