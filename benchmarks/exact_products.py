"""Truth for deep products: exact integers, then an SVD in mpmath with digits for the whole spread."""

from collections.abc import Iterable
from typing import Any

import mpmath
import numpy as np


def exact_log_singular_values(matrices: Iterable[np.ndarray], digits: int) -> np.ndarray:
    """Logarithms of the singular values of ``matrices[-1] @ ... @ matrices[0]``, of float64 entries, taken exactly."""
    product, exponent = None, 0
    for matrix in matrices:
        least = int(np.frexp(matrix)[1].min()) - 53
        integers: Any = np.vectorize(int, otypes=[object])(np.ldexp(matrix, -least))
        product = integers if product is None else integers.dot(product)
        exponent += least
    assert product is not None, "no matrices"
    with mpmath.workdps(digits):
        values: Any = mpmath.svd_r(mpmath.matrix(product.tolist()), compute_uv=False)
        return np.array([float(mpmath.log(v) + exponent * mpmath.log(2)) for v in values])


def layer_jacobians(weights: np.ndarray, x: np.ndarray, slope: float) -> list[np.ndarray]:
    """``diag(slopes) W`` per layer of a leaky stack in float64, without rounding: both factors have 24 bits."""
    jacobians, smallest, slope = [], np.inf, float(np.float32(slope))
    for weight in weights:
        z = np.float64(weight) @ x
        smallest = min(smallest, np.abs(z).min() / np.abs(z).max())
        slopes = np.where(z > 0, 1.0, slope)
        jacobians.append(slopes[:, None] * np.float64(weight))
        x = slopes * z
    assert smallest > 1e-6, "a pre-activation so small that float32 may see another sign: take another seed"
    return jacobians
