"""Rectifiers that multiply their input by a gate of it: smooth, not monotone, and in need of their input."""

import math

import jax
import jax.numpy as jnp

from ._rules import Wide, keep_input, widened

__all__ = ["gelu", "mish", "quick_gelu", "silu", "swish"]

# Below this exp(u) is taken in two halves: the whole of it underflows before its product with x does. There the sigmoid
# of u is exp(u) to the last place.
_TAIL = {"float32": -18.0, "float64": -40.0}


def _gated(x, u):
    """The product of ``x`` with the sigmoid of ``u``, down to where the product underflows."""
    tail = _TAIL[str(u.dtype)]
    half = jnp.exp(jnp.minimum(u - tail, 0) / 2)  # 1 above the tail
    finite = jnp.maximum(x, float(jnp.finfo(x.dtype).min))  # at minus infinity the gate wins
    return finite * jax.lax.logistic(jnp.maximum(u, tail)) * half * half


def _gated_slope(v, u):
    """Its slope, where ``v`` is x times the slope of ``u``."""
    in_tail = u < _TAIL[str(u.dtype)]
    low, near = (jnp.clip(u, a, b) for a, b in ((-1500, _TAIL[str(u.dtype)]), (_TAIL[str(u.dtype)], 1500)))
    half, gate = jnp.exp(low / 2), jax.lax.logistic(near)
    tail = half * (1 + jnp.where(in_tail, v, 0)) * half
    return jnp.where(in_tail, tail, gate + jnp.where(in_tail, 0, v) * gate * jax.lax.logistic(-near))


@widened
def silu(x: Wide, /) -> jax.Array:
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


def _silu_slope(x):
    x = jnp.clip(x, -1500, 1500)
    return _gated_slope(x, x)


keep_input(silu, slope=_silu_slope)


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
    return _gated(x, beta * x)


def _swish_slope(x, beta):
    u = jnp.clip(beta * x, -1500, 1500)
    return _gated_slope(u, u)


keep_input(swish, slope=_swish_slope)


@widened
def quick_gelu(x: Wide, /) -> jax.Array:
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
        near = jnp.clip(x, -40, 40)
        return _gated(x, near * (_GELU_LINEAR + _GELU_CUBIC * near * near))
    start = _GELU_TAIL[str(x.dtype)]
    low = jnp.clip(x, -40, start)
    half = jnp.exp((start - low) * (start + low) / 4)  # the density at x by that at the start of the tail; 1 above it
    finite = jnp.maximum(x, float(jnp.finfo(x.dtype).min))  # at minus infinity the gate wins
    ratio = jnp.where(x < start, _mills_ratio(low) / _mills_ratio(start), 1)
    return finite * (jax.lax.erfc(-jnp.maximum(x, start) / math.sqrt(2)) / 2 * ratio) * half * half


def _gelu_slope(x, approximate):
    near = jnp.clip(x, -40, 40)
    if approximate:
        square = near * near
        u = near * (_GELU_LINEAR + _GELU_CUBIC * square)
        return _gated_slope(near * (_GELU_LINEAR + 3 * _GELU_CUBIC * square), u)
    start = _GELU_TAIL[str(x.dtype)]
    # x^2 in two parts, the first of which is exact: rounded, its error would be that of the exponent.
    info = jnp.finfo(x.dtype)
    coarse = jax.lax.reduce_precision(near, exponent_bits=info.nexp, mantissa_bits=info.nmant // 2)
    density = jnp.exp(coarse * coarse / -4) * jnp.exp((near - coarse) * (near + coarse) / -4)  # the root of it
    # In the tail both terms are tiny and cancel: the density is taken out of them, as two roots.
    tail = density * ((near + _mills_ratio(jnp.minimum(near, start))) / _ROOT_OF_TAU) * density
    above = jax.lax.erfc(-near / math.sqrt(2)) / 2 + near / _ROOT_OF_TAU * density * density
    return jnp.where(near < start, tail, above)


_ROOT_OF_TAU = math.sqrt(2 * math.pi)
# Where the tail of the exact GELU starts: the distribution function itself underflows further down.
_GELU_TAIL = {"float32": -9.0, "float64": -30.0}


def _mills_ratio(x):
    """The normal distribution function by the density, for x in the tail: a continued fraction in 1 / x^2."""
    s = 1 / (x * x)
    return -1 / x / (1 + s / (1 + 2 * s / (1 + 3 * s / (1 + 4 * s / (1 + 5 * s)))))


keep_input(gelu, slope=_gelu_slope)


@widened
def mish(x: Wide, /) -> jax.Array:
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
