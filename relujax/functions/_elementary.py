"""Elementary functions for formulas.

On CPUs XLA's own exp and log1p take longer than memory does. There, in float32, they are polynomials here, whose
coefficients are near to the best ones in the relative error, in operations that XLA fuses and vectorises. Other devices
have instructions for them.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

# e^r for |r| < 0.376: 7e-9 off.
_EXP = (1, 1, 0.5, 0.16666485369205475, 0.04166747257113457, 0.00837333407253027, 0.0013858118327334523)
# log(1 + e) by e, for 0 < e < 1: 9e-9 off.
_LOG1P = (
    1,
    -0.4999998211860657,
    0.33332559466362,
    -0.24987271428108215,
    0.19890747964382172,
    -0.16105690598487854,
    0.12418434768915176,
    -0.08244173228740692,
    0.04147820919752121,
    -0.013407520949840546,
    0.0020302394405007362,
)
# Of float32: the exponent of 1, and the bits behind exponents.
_BIAS, _MANTISSA = 127, 23


def polynomial(x: jax.Array, coefficients: Sequence[float]) -> Any:
    """The sum of coefficients times rising powers of ``x``."""
    return functools.reduce(lambda sum, coefficient: sum * x + coefficient, reversed(coefficients))


def _chosen(x: jax.Array, by_polynomial: Callable, by_xla: Callable, *args: ArrayLike) -> jax.Array:
    """By a polynomial on CPUs, of what is float32 and not of a weak type, which bits cannot have."""
    aval: Any = jax.typeof(x)
    if x.dtype != jnp.float32 or aval.weak_type:
        return by_xla(x, *args)
    return lax.platform_dependent(x, *args, cpu=by_polynomial, default=by_xla)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def exp(x: jax.Array, rest: ArrayLike = 0.0, by: float = 1.0, power: int = 0) -> jax.Array:
    """The exponential of ``by * (x + rest)``, times ``2**power``: up to 2**128, and infinite from 2**127.5 on.

    Args:
        x: of float32 or float64.
        rest: what was rounded away of x; by times it is at most 0.029 in size.
        by: a number whose product with x is not rounded.
        power: even; positive, digits last where the exponential has none left, and negative, where it is infinite.

    Returns:
        In float32 on CPUs within 1.1 units in the last place; 0 where it is no normal number.
    """

    def by_polynomial(x: jax.Array, rest: ArrayLike) -> jax.Array:
        least = (-88 - power * math.log(2)) / by  # there the bits of the power are those of 0
        x = jnp.maximum(x, least) if by > 0 else jnp.minimum(x, least)
        exponent = jnp.round(x * np.float32(by / math.log(2)))
        coarse = float(np.float16(math.log(2) / by))
        r = (x - exponent * coarse) - exponent * (math.log(2) / by - coarse) + rest
        bits = (exponent.astype(jnp.int32) + np.int32(_BIAS + power)) << np.int32(_MANTISSA)
        y = polynomial(r, [c * by**k for k, c in enumerate(_EXP)]) * lax.bitcast_convert_type(bits, jnp.float32)
        return jnp.abs(y)  # the same: XLA would keep in memory what has two operands and several readers

    def by_xla(x: jax.Array, rest: ArrayLike) -> jax.Array:
        return jnp.square(jnp.exp(by / 2 * x) * 2.0 ** (power // 2)) * jnp.exp(by * rest)

    return _chosen(x, by_polynomial, by_xla, rest)


@exp.defjvp
def _exp_jvp(by, power, primals, tangents):
    y = exp(*primals, by, power)
    return y, by * y * tangents[0] + by * y * tangents[1]


@jax.custom_jvp
def log1p_exp(x: jax.Array) -> jax.Array:
    """The logarithm of ``1 + exp(x)``, for x at most 0."""

    def by_polynomial(x: jax.Array) -> jax.Array:
        e = exp(x)
        return e * polynomial(e, _LOG1P)

    return _chosen(x, by_polynomial, lambda x: jnp.log1p(jnp.exp(x)))


@log1p_exp.defjvp
def _log1p_exp_jvp(primals, tangents):
    [x], [tangent] = primals, tangents
    e = exp(x)
    return log1p_exp(x), e / (1 + e) * tangent


def exp_gap(x: jax.Array) -> jax.Array:
    """``1 - exp(-x)`` for x at least 0, without the cancellation near 0."""
    t = jnp.tanh(x / 2)  # XLA's expm1 takes twice as long
    return 2 * t / (1 + t)
