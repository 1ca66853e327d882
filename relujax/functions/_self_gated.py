"""Rectifiers that multiply their input by a gate of it: smooth, not monotone, and in need of their input."""

import math

import jax
import jax.numpy as jnp

from ._elementary import exp, polynomial
from ._rules import Wide, finite, keep_input, widened

__all__ = ["gelu", "mish", "quick_gelu", "silu", "swish"]

# A power of 2 by which exp(-u) is divided, so that neither that nor the sigmoid times the power runs out of digits
# before a product with x has vanished; and the u where slopes have their limits, 1% before the quotient is infinite.
_SHIFT = {"float32": (8, 93.5), "float64": (128, 796.0)}


def _gated(x, u, by=1.0):
    """The product of ``x`` with the sigmoid of ``by * u``, by one exponential, down to where the product underflows."""
    power, end = _SHIFT[str(u.dtype)]
    e, unit = exp(jnp.maximum(u, -1.01 * end / by), by=-by, power=-power), 2.0**-power
    y = jnp.maximum(x, -1e28) / (unit + e) * unit  # at minus infinity the gate wins
    return jnp.where(e == 0, x, y)  # where x is so large that its quotient overflows


def _gated_slope(v, u, by=1.0):
    """Its slope, where ``v`` is x times the slope of ``by * u``; both bounded, as by :func:`_within`."""
    power, _ = _SHIFT[str(u.dtype)]
    e, unit = exp(u, by=-by, power=-power), 2.0**-power
    fraction = 1 / (unit + e)
    return (1 + v * (e * fraction)) * fraction * unit  # in this order it does not underflow early


def _within(u, by=1.0):
    """Bounded where the slope has reached its limits; in NaN stays NaN."""
    end = _SHIFT[str(u.dtype)][1] / by
    return jnp.clip(u, -end, end)


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
    bounded = finite(x)
    u = beta * bounded
    # With a small or negative beta large x may have an open gate: by two halves the product cannot overflow.
    half = exp(jnp.where(u < 0, -u, u), by=-0.5)
    y = jnp.where(u < 0, bounded * half * half, bounded) / (1 + half * half)
    return y + (jnp.where(u < 0, bounded, x) - bounded)  # infinite where x is, unless the gate is shut


def _swish_slope(x, beta):
    u = _within(beta * finite(x))
    return _gated_slope(u, u)


keep_input(swish, slope=_swish_slope)


_QUICK = 1.702


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
    return _gated(x, x, _QUICK)


def _quick_gelu_slope(x):
    x = _within(x, _QUICK)
    return _gated_slope(_QUICK * x, x, _QUICK)


keep_input(quick_gelu, slope=_quick_gelu_slope)


# The tanh in the approximation of the normal distribution function, as a sigmoid: 2 sqrt(2 / pi) (x + c x^3).
_GELU_LINEAR = 2 * math.sqrt(2 / math.pi)
_GELU_CUBIC = 0.044715 * _GELU_LINEAR
# Where the slope of that has reached its limits.
_GELU_END = {"float32": 10.26, "float64": 22.0}


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
    far, scaled = _half_density(x)
    y = jnp.maximum(x, 0) - _far_by_density(far) * scaled * _UNIT
    return jnp.where(_is_near(far), x * (0.5 + _odd(x, _GELU_NEAR)), y)


def _gelu_slope(x, approximate):
    if approximate:
        end = _GELU_END[str(x.dtype)]
        near = jnp.clip(x, -end, end)
        square = near * near
        u = near * (_GELU_LINEAR + _GELU_CUBIC * square)
        return _gated_slope(near * (_GELU_LINEAR + 3 * _GELU_CUBIC * square), u)
    far, scaled = _half_density(x)
    beyond = _far_slope_by_density(far) * scaled * _UNIT
    near = 0.5 + _odd(jnp.clip(x, -1, 1), _GELU_SLOPE_NEAR)  # bounded: it is differentiated also where it is not taken
    return jnp.where(_is_near(far), near, jnp.where(x > 0, 1 - beyond, beyond))


# The exact GELU by x and its slope, less 1/2, by x, as polynomials in x^2 for |x| < 3/4. With them the GELU is 3e-9 of
# itself off, and its slope 5e-9.
_GELU_NEAR = (
    0.3989422619342804,
    -0.06648989766836166,
    0.009969851933419704,
    -0.0011754175648093224,
    9.832517389440909e-05,
)
_GELU_SLOPE_NEAR = (
    0.7978845238685608,
    -0.265959769487381,
    0.05982193350791931,
    -0.0094144893810153,
    0.0009957888396456838,
)


def _is_near(far):
    return (far < 0.75) if far.dtype == jnp.float32 else jnp.zeros(far.shape, bool)


def _odd(x, coefficients):
    return x * polynomial(x * x, coefficients)


# A power of 2 that keeps the digits of an exponential where it has none left, until its product with x has vanished.
_POWER = 32
_UNIT = 2.0**-_POWER
# Where the exact GELU has reached its limits, and a number times which |x| is rounded, so that its square is exact.
_NORMAL_END = {"float32": 14.5, "float64": 40.0}
_COARSE = {"float32": 2.0**8, "float64": 2.0**20}


def _half_density(x):
    """``|x|``, and ``exp(-x^2 / 2)`` times ``2**_POWER``."""
    far = jnp.minimum(jnp.where(x > 0, x, -x), _NORMAL_END[str(x.dtype)])  # not abs, which has no slope at 0
    # x^2 in two parts, the first of which is exact: rounded, its error would be that of the exponent.
    coarse = jnp.round(far * _COARSE[str(x.dtype)]) / _COARSE[str(x.dtype)]
    return far, exp(coarse * coarse, (far - coarse) * (far + coarse), by=-0.5, power=_POWER)


# The tail of the normal distribution beyond |x|, by exp(-x^2 / 2), for 3/4 < |x| < 14.5; s is 1 / (1 + |x| / 2). That
# times |x|, as a polynomial in 5/8 - s: 4e-8 off. That by s, likewise: 1e-7 off.
_FAR = (
    0.28368353843688965,
    0.5022331476211548,
    -0.6750013828277588,
    0.10909095406532288,
    0.30385664105415344,
    0.05101674422621727,
    -0.11467094719409943,
    -0.34428587555885315,
    0.29370012879371643,
)
_FAR_SLOPE = (
    0.3782447278499603,
    -0.33900782465934753,
    0.004020256455987692,
    0.1345859169960022,
    0.046821728348731995,
    -0.04948163032531738,
    -0.08862194418907166,
    -0.001594805740751326,
    0.06894154846668243,
)


def _far_by_density(far):
    """``|x|`` times the tail of the normal distribution beyond it, by ``exp(-x^2 / 2)``."""
    if far.dtype == jnp.float32:
        return polynomial(5 / 8 - 1 / (1 + far / 2), _FAR)
    return far * _tail_by_density(far)


def _far_slope_by_density(far):
    """The slope of ``|x|`` times the tail of the normal distribution beyond it, by ``exp(-x^2 / 2)``."""
    if far.dtype == jnp.float32:
        s = 1 / (1 + far / 2)
        tail = s * polynomial(5 / 8 - s, _FAR_SLOPE)
    else:
        tail = _tail_by_density(far)
    return tail - far / math.sqrt(2 * math.pi)


def _tail_by_density(far):
    """The tail of the normal distribution beyond ``|x|``, by ``exp(-x^2 / 2)``, in float64."""
    s = 1 / jnp.square(jnp.maximum(far, 20))
    fraction = jnp.maximum(far, 20) * s / (1 + s / (1 + 2 * s / (1 + 3 * s / (1 + 4 * s / (1 + 5 * s)))))
    near = jnp.minimum(far, 20)
    below = jnp.exp(near * near / 2) * jax.lax.erfc(near / math.sqrt(2)) / 2
    return jnp.where(far < 20, below, fraction / math.sqrt(2 * math.pi))


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
    scaled = _decay(x)
    e = scaled * _UNIT
    below = jnp.maximum(x, -1e28) * scaled * _UNIT  # at minus infinity the gate wins
    above = jnp.where(x > 0, x * (1 + 2 * e), below * (2 + e))
    return above / (1 + 2 * e + jnp.where(x > 0, 2 * e * e, 1 + e * e))


def _decay(x):
    """``exp(-|x|)``, times ``2**_POWER``."""
    return exp(jnp.where(x > 0, x, -x), by=-1.0, power=_POWER)  # not abs, which has no slope at 0


def _mish_slope(x):
    x = jnp.clip(x, -1500, 1500)
    scaled = _decay(x)
    e = scaled * _UNIT
    fraction = 1 / (1 + 2 * e + jnp.where(x > 0, 2 * e * e, 1 + e * e))
    gate = jnp.where(x > 0, 1 + 2 * e, 2 + e)
    above = (gate + 4 * x * (1 + e) * jnp.where(x > 0, e * e, 1) * fraction) * fraction
    return jnp.where(x > 0, above, above * scaled * _UNIT)


keep_input(mish, slope=_mish_slope)
