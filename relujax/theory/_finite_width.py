"""Exact moments of a Jacobian at finite width, where slopes are independent of everything but a sign."""

import numpy as np


def trace_moments(squared: np.ndarray, depth: int, width: int, gaussian: bool) -> tuple[float, float]:
    r"""Second and third moment, :math:`E \operatorname{tr}(J J^\top)^k / N` of :math:`J = \prod D_l W_l`.

    The squared slopes on ``D`` are independent fair coins between the two numbers in ``squared``, of mean 1: flipping
    the sign of a row of ``W`` flips the coin, and leaves :math:`C = W B W^\top` as it was but for signs that cancel.
    So one layer maps :math:`(E \operatorname{tr} B^2, E (\operatorname{tr} B)^2)` linearly, and likewise the three
    products of degree 3, by sums over equal and over different rows.
    """
    moment2, moment3 = (float(np.mean(np.power(squared, k))) for k in (2, 3))
    # Of (tr B^2, tr^2 B): E sum_i C_ii^2, and the rest of E tr C^2 and of E tr^2 C.
    one = np.array([2.0, 1.0]) * (1 / width if gaussian else 1 / (width + 2))
    rest = np.eye(2) * (1 - 1 / width) if gaussian else np.eye(2) - one
    second = moment2 * one + rest
    # Of (tr B^3, tr B tr B^2, tr^3 B): sums over i of C_ii^3, over i != j of C_ii C_ij^2 and of C_ii^2 C_jj.
    cube, pair, split = np.array([8.0, 6.0, 1.0]), np.array([2.0, 1.0, 0.0]), np.array([0.0, 2.0, 1.0])
    if gaussian:
        cube, pair, split = cube / width**2, pair * (width - 1) / width**2, split * (width - 1) / width**2
        different = np.eye(3) * (1 - 1 / width) * (1 - 2 / width)
    else:
        cube = cube / ((width + 2) * (width + 4))
        pair, split = pair / (width + 2) - cube, split / (width + 2) - cube
        different = np.eye(3) - np.stack([cube + 3 * pair, cube + 2 * pair + split, cube + 3 * split])
    third = moment3 * cube + moment2 * np.stack([3 * pair, 2 * pair + split, 3 * split]) + different
    start = float(width) ** np.arange(3)
    return (
        float(np.linalg.matrix_power(second, depth)[0] @ start[:2]),
        float(np.linalg.matrix_power(third, depth)[0] @ start),
    )


def mean_nullity(depth: int, width: int) -> float:
    """The mean part of the directions that half-dead layers kill: all but the least number active in a layer."""
    from scipy.special import bdtrc

    active = bdtrc(np.arange(width), width, 0.5)  # a layer has more than 0, 1, ... of them
    return float(1 - np.mean(active**depth))
