"""Matrices whose rows have exponents of their own: products of thousands of layers neither overflow nor vanish."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

_DEAD = -(2**28)  # the exponent of a row of zeros: below any other, and sums of a few still fit 32 bits
_LOG_2 = (0.693359375, -2.12194440e-4)  # ten bits and the rest, so that an exponent times the first is exact


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scaled:
    r"""The matrix :math:`\operatorname{diag}(2^e)\, T`.

    Attributes:
        exponents: integers ``(k,)``.
        rows: ``(k, n)``; once :func:`normalized`, the largest entry of each is between 1/2 and 1 in size, or 0.
    """

    exponents: jax.Array
    rows: jax.Array


def identity(size: int, dtype: DTypeLike) -> Scaled:
    """The identity matrix."""
    return Scaled(jnp.ones(size, jnp.int32), jnp.eye(size, dtype=dtype) / 2)


def times_power(x: jax.Array, exponents: jax.Array) -> jax.Array:
    """``x * 2**exponents``, exact; too small a power is 0. From bits: ``exp2`` rounds and ``ldexp`` is a ``pow``."""
    info = jnp.finfo(x.dtype)
    bias = info.maxexp - 1
    integer: Any = {32: jnp.int32, 64: jnp.int64}[info.bits]
    bits = (jnp.clip(exponents, -bias, bias) + bias).astype(integer) << info.nmant
    return x * jax.lax.bitcast_convert_type(bits, x.dtype)


def normalized(matrix: Scaled) -> Scaled:
    """Moves the size of each row into its exponent."""
    largest = jnp.max(jnp.abs(matrix.rows), axis=-1)
    more = jnp.frexp(largest)[1]
    exponents = jnp.where(largest == 0, _DEAD, matrix.exponents + more)
    return Scaled(exponents, times_power(matrix.rows, -more[:, None]))


def exponent_of(size: jax.Array) -> jax.Array:
    """By which ``size / 2**exponent`` is between 2 and 4: the inverse of a larger power may be no normal number."""
    return jnp.frexp(size)[1] - 2


def with_column_exponents(matrix: jax.Array, exponents: jax.Array) -> Scaled:
    r"""The matrix :math:`M \operatorname{diag}(2^e)`, its rows being of the size of their largest entry."""
    exponents = exponents[None, :]
    sizes = jnp.where(matrix == 0, _DEAD, jnp.frexp(matrix)[1] + exponents)
    largest = jnp.max(sizes, axis=-1)
    return Scaled(largest, times_power(matrix, exponents - largest[:, None]))


def times(left: jax.Array, right: Scaled) -> Scaled:
    """The product ``left @ right``, normalized."""
    weights = with_column_exponents(left, right.exponents)
    return normalized(Scaled(weights.exponents, weights.rows @ right.rows))


def log_row_norms(matrix: Scaled) -> jax.Array:
    """Logarithms of the lengths of the rows, ``-inf`` for zeros."""
    log = jnp.log(jnp.linalg.norm(matrix.rows, axis=-1))
    exponents = matrix.exponents.astype(log.dtype)
    return jnp.where(log == -jnp.inf, log, exponents * _LOG_2[0] + (exponents * _LOG_2[1] + log))
