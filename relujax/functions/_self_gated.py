"""Rectifiers that multiply their input by a gate of it: smooth, not monotone, and in need of their input."""

import functools
import math

import jax
import jax.numpy as jnp

from ._rules import Wide, finite, keep_input, widened

__all__ = ["gelu", "mish", "quick_gelu", "silu", "swish"]

# Below the first number the exponent of the sigmoid is moved by it, lest it overflow before the product with x has
# underflowed, which it has at the second.
_TAIL = {"float32": (-64.0, -150.0), "float64": (-512.0, -1200.0)}


def _gated(x, u):
    """The product of ``x`` with the sigmoid of ``u``, by one exponential, down to where the product underflows."""
    start, end = _TAIL[str(u.dtype)]
    low = u < start
    # No choice between two numbers: a scan would make an array of each, outside its loop, and keep it.
    opposite = -jnp.maximum(u, end)
    e = jnp.exp(jnp.where(low, opposite + start, opposite))  # exact: there are no finer digits
    small = jnp.clip(x, -1e19, 1e19) * math.exp(start)  # at minus infinity the gate wins
    return jnp.where(low, small, x) / jnp.where(low, e, 1 + e)


def _gated_slope(v, u):
    """Its slope, where ``v`` is x times the slope of ``u``; both bounded."""
    start, _ = _TAIL[str(u.dtype)]
    low = u < start
    scale, e = jnp.where(low, math.exp(start), 1), jnp.exp(jnp.where(low, start, 0) - u)
    fraction = 1 / (scale + e)
    return (1 + v * (e * fraction)) * fraction * scale  # in this order it does not underflow early


@widened
def silu(x: Wide) -> jax.Array:
    r"""Sigmoid linear unit, also known as swish.

    .. math:: f(x) = x \sigma(x), \qquad f'(x) = \sigma(x) \left(1 + x \sigma(-x)\right)

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The limit 0 at minus
        infinity, where :func:`jax.nn.silu` gives NaN.

    Cost: keeps its input: the function is not monotone, so its output does not tell the slope.

    Reference: Elfwing et al., `2018 <https://arxiv.org/abs/1702.03118>`_.

    >>> silu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(silu)(0.0).item()
    ([-0.2689, 0.0, 1.7616], 0.5)
    """
    return _gated(x, x)


keep_input(silu, slope=lambda x: _swish_slope(x, 1))


@widened
def swish(x: Wide, beta: Wide = 1.0) -> jax.Array:
    r"""Swish: a :func:`silu` whose gate has a slope of its own, fixed or learnt.

    .. math:: f(x) = x \sigma(\beta x), \qquad f'(x) = \sigma(\beta x) \left(1 + \beta x \sigma(-\beta x)\right)

    Args:
        x: array of any shape; integers become floats.
        beta: :math:`\beta`, a scalar or an array that broadcasts against the trailing axes of ``x``: 0 is x / 2, large
            values approach :func:`relu`.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Cost: keeps its input.

    Reference: Ramachandran et al., `2017 <https://arxiv.org/abs/1710.05941>`_.

    >>> swish(jnp.array([-1.0, 0.0, 2.0]), 2.0).tolist(), jax.grad(swish)(0.0).item()
    ([-0.1192, 0.0, 1.964], 0.5)
    """
    return _gated(x, beta * finite(x))


def _swish_slope(x, beta):
    u = _within(beta * x)
    return _gated_slope(u, u)


def _within(u):
    """Bounded where the slope has reached its limits; in NaN stays NaN."""
    end = _TAIL[str(u.dtype)][-1]
    return jnp.clip(u, end, -end)


keep_input(swish, slope=_swish_slope)


@widened
def quick_gelu(x: Wide) -> jax.Array:
    r"""Quick GELU: a :func:`swish` that is near to :func:`gelu`.

    .. math:: f(x) = x \sigma(1.702 x), \qquad f'(x) = \sigma(1.702 x) \left(1 + 1.702 x \sigma(-1.702 x)\right)

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Cost: keeps its input: the function is not monotone, so its output does not tell the slope.

    Reference: Hendrycks and Gimpel, `2016 <https://arxiv.org/abs/1606.08415>`_.

    >>> quick_gelu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(quick_gelu)(0.0).item()
    ([-0.1542, 0.0, 1.9357], 0.5)
    """
    return _gated(x, 1.702 * x)


keep_input(quick_gelu, slope=lambda x: _swish_slope(x, 1.702))


# The tanh in the approximation of the normal distribution function, as a sigmoid: 2 sqrt(2 / pi) (x + c x^3).
_GELU_LINEAR = 2 * math.sqrt(2 / math.pi)
_GELU_CUBIC = 0.044715 * _GELU_LINEAR
# Where the slope of that has reached its limits.
_GELU_END = {"float32": 10.5, "float64": 22.0}


@widened
def gelu(x: Wide, approximate: bool = True) -> jax.Array:
    r"""Gaussian error linear unit.

    .. math:: f(x) = x \Phi(x), \qquad f'(x) = \Phi(x) + x \phi(x); \qquad \text{approximate: }
        \Phi(x) \approx \sigma\!\left(2 \sqrt{2/\pi} \, (x + 0.044715 x^3)\right)

    Args:
        x: array of any shape; integers become floats.
        approximate: the sigmoid formula (the same numbers as the usual one with tanh), or the exact one.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The limit 0 at minus
        infinity, where :func:`jax.nn.gelu` gives NaN, and a left tail that keeps its digits.

    Cost: keeps its input: the function is not monotone, so its output does not tell the slope.

    Reference: Hendrycks and Gimpel, `2016 <https://arxiv.org/abs/1606.08415>`_.

    >>> gelu(jnp.array([-1.0, 0.0, 2.0])).tolist(), gelu(-1.0, approximate=False).item()
    ([-0.1588, 0.0, 1.9546], -0.1587)
    >>> jax.grad(gelu)(0.0).item()
    0.5
    """
    if approximate:
        return _gated(x, x * (_GELU_LINEAR + _GELU_CUBIC * x * x))
    far, ratio, root = _normal_tail(x)
    y = jnp.maximum(x, 0) - far * ratio * root * root
    return jnp.where(_is_near_zero(x), x * (0.5 + _odd(x, _GELU_NEAR)), y)


def _gelu_slope(x, approximate):
    if approximate:
        end = _GELU_END[str(x.dtype)]
        near = jnp.clip(x, -end, end)
        square = near * near
        u = near * (_GELU_LINEAR + _GELU_CUBIC * square)
        return _gated_slope(near * (_GELU_LINEAR + 3 * _GELU_CUBIC * square), u)
    far, ratio, root = _normal_tail(x)
    beyond = root * (ratio - far) * root  # in this order it does not underflow early
    return jnp.where(_is_near_zero(x), 0.5 + _odd(x, _GELU_SLOPE_NEAR), jnp.where(x > 0, 1 - beyond, beyond))


# The exact GELU by x and its slope, less 1/2, by x, as polynomials in x^2 for |x| < 1: 3e-10 and 7e-11 off.
_GELU_NEAR = (
    0.3989422801349408,
    -0.0664903607711736,
    0.009973330107748977,
    -0.001186348532241377,
    0.0001135074795237223,
    -7.662608658165481e-06,
)
_GELU_SLOPE_NEAR = (
    0.7978845607389266,
    -0.26596151397148016,
    0.05984124067366227,
    -0.009498011903039581,
    0.001152569202749376,
    -0.00011066908115253683,
    7.294990007267188e-06,
)


def _is_near_zero(x):
    return (jnp.abs(x) < 1) if x.dtype == jnp.float32 else jnp.zeros(x.shape, bool)


def _odd(x, coefficients):
    return x * _polynomial(x * x, coefficients)


def _polynomial(x, coefficients):
    return functools.reduce(lambda sum, coefficient: sum * x + coefficient, reversed(coefficients))


# Where the exact GELU has reached its limits.
_NORMAL_END = {"float32": 14.5, "float64": 40.0}
# The tail of the normal distribution by its density, times 1 + |x| / 2, as a polynomial in |x| / (|x| + 2): 6e-8 off.
_MILLS = (
    1.2533142125604364,
    -0.7466993202986568,
    -0.23965878544195296,
    0.10201669377715689,
    0.15797041513559107,
    -0.01965587349724271,
    0.0939452065207502,
    -0.06859032188082073,
    -0.09769807243000446,
    0.06510766800419307,
)


def _normal_tail(x):
    """``|x|``, the tail of the normal distribution beyond it by its density there, and the root of that density."""
    far = jnp.minimum(jnp.where(x > 0, x, -x), _NORMAL_END[str(x.dtype)])  # not abs, which has no slope at 0
    # x^2 in two parts, the first of which is exact: rounded, its error would be that of the exponent.
    info = jnp.finfo(x.dtype)
    coarse = jax.lax.reduce_precision(far, exponent_bits=info.nexp, mantissa_bits=info.nmant // 2)
    rest = (coarse - far) * (coarse + far) / 4
    root = jnp.exp(coarse * coarse / -4) * (1 + rest * (1 + rest * (1 / 2 + rest / 6)))
    return far, _mills_ratio(far), root / (2 * math.pi) ** 0.25


def _mills_ratio(far):
    if far.dtype == jnp.float32:
        s = 1 / (1 + far / 2)
        v = 1 - s  # exact near 0, where most inputs are
        return s * _polynomial(v, _MILLS)
    s = 1 / jnp.square(jnp.maximum(far, 20))
    fraction = jnp.maximum(far, 20) * s / (1 + s / (1 + 2 * s / (1 + 3 * s / (1 + 4 * s / (1 + 5 * s)))))
    near = jnp.minimum(far, 20)
    below = jnp.exp(near * near / 2) * jax.lax.erfc(near / math.sqrt(2)) * math.sqrt(math.pi / 2)
    return jnp.where(far < 20, below, fraction)


keep_input(gelu, slope=_gelu_slope)


@widened
def mish(x: Wide) -> jax.Array:
    r"""Mish.

    .. math:: f(x) = x \tanh(\log(1 + e^x)) = x \, \frac{e^{2x} + 2 e^x}{e^{2x} + 2 e^x + 2}

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The limit 0 at minus
        infinity, where :func:`jax.nn.mish` gives NaN.

    Cost: keeps its input: the function is not monotone, so its output does not tell the slope.

    Reference: Misra, `2020 <https://arxiv.org/abs/1908.08681>`_.

    >>> mish(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(mish)(0.0).item()
    ([-0.3034, 0.0, 1.944], 0.6)
    """
    low = jnp.clip(x, -1500, 0)
    half = jnp.exp(low / 2)
    e = half * half
    t = jnp.exp(-jnp.maximum(x, 0))
    below = half * (low * half) * (e + 2) / (e * (e + 2) + 2)
    return jnp.where(x < 0, below, x * ((1 + 2 * t) / (1 + 2 * t + 2 * t * t)))


def _mish_slope(x):
    low, high = jnp.clip(x, -1500, 0), jnp.clip(x, 0, 1500)
    half = jnp.exp(low / 2)
    e = half * half
    n = e * (e + 2) + 2
    below = half * ((e + 2) + 4 * low * (1 + e) / n) * half / n
    t = jnp.exp(-high)
    d = 1 + 2 * t + 2 * t * t
    return jnp.where(x < 0, below, (1 + 2 * t) / d + 4 * high * t * (t * (1 + t)) / (d * d))


keep_input(mish, slope=_mish_slope)
