"""Truth for deep products: exact integers, then an SVD in mpmath with digits for the whole spread."""

import mpmath
import numpy as np


def exact_log_singular_values(matrices, digits):
    """Logarithms of the singular values of ``matrices[-1] @ ... @ matrices[0]``, of float64 entries, taken exactly."""
    product, exponent = None, 0
    for matrix in matrices:
        least = int(np.frexp(matrix)[1].min()) - 53
        integers = np.vectorize(int, otypes=[object])(np.ldexp(matrix, -least))
        product = integers if product is None else integers.dot(product)
        exponent += least
    with mpmath.workdps(digits):
        values = mpmath.svd_r(mpmath.matrix(product.tolist()), compute_uv=False)
        return np.array([float(mpmath.log(v) + exponent * mpmath.log(2)) for v in values])


def leaky_stack(width, depth, slope, seed, growth=0.0):
    """Float32 Gaussian weights of a leaky stack, and an input; ``growth`` nats per layer against what width costs."""
    rng = np.random.default_rng(seed)
    scale = np.sqrt(2 / (1 + slope**2) / width) * np.exp(growth)
    weights = (scale * rng.standard_normal((depth, width, width))).astype(np.float32)
    return weights, rng.standard_normal(width).astype(np.float32)


def layer_jacobians(weights, x, slope):
    """``diag(slopes) W`` per layer in float64, without rounding: both factors have 24 bits."""
    jacobians, smallest = [], np.inf
    for weight in weights:
        z = np.float64(weight) @ x
        smallest = min(smallest, np.abs(z).min() / np.abs(z).max())
        jacobians.append(np.where(z > 0, 1.0, np.float64(np.float32(slope)))[:, None] * np.float64(weight))
        x = np.where(z > 0, z, np.float64(np.float32(slope)) * z)
    assert smallest > 1e-6, "a pre-activation so small that float32 may see another sign: take another seed"
    return jacobians
