"""Matrices in twice the precision, as sums of two floats: products of layers and their elimination, nearly exact.

Products are split so that their leading terms are exact, and sums hand on what they round away. No step relies on how
a product is rounded, so that compilers may fuse it with the sum that follows.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from .._meshes import varying_as


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Doubled:
    """The matrix ``high + low``, right to one and a half times the digits of its dtype."""

    high: jax.Array
    low: jax.Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the matrix."""
        return self.high.shape


def doubled(matrix: jax.Array) -> Doubled:
    """A matrix without a remainder."""
    return Doubled(matrix, jnp.zeros_like(matrix))


def multiplied(matrix: jax.Array, by: Doubled) -> Doubled:
    """The product ``matrix @ by``."""
    zero = doubled(jnp.zeros((matrix.shape[0], by.shape[1]), matrix.dtype))
    zero = varying_as(zero, jax.typeof(matrix), jax.typeof(by.high))

    def add(total: Doubled, term: tuple) -> tuple[Doubled, None]:
        column, high, low = term
        return _plus(total, *_product(column[:, None], Doubled(high[None, :], low[None, :]))), None

    return _normalized(jax.lax.scan(add, zero, (matrix.T, by.high, by.low))[0])


def factored(matrix: Doubled) -> tuple[Doubled, jax.Array]:
    """Gaussian elimination: factors of ``matrix``, a lower triangle with its rows in another order, and an upper one.

    In each step the row with the largest entry is taken away from all that have not been taken.
    """
    rows, columns = matrix.shape
    steps = min(rows, columns)

    def step(state: tuple, column: jax.Array) -> tuple:
        matrix, left = state
        entries = jax.tree.map(lambda a: jnp.take(a, column, axis=1), matrix)
        pivot = jnp.argmax(jnp.where(left, jnp.abs(entries.high), -1))
        taken = jnp.arange(rows) == pivot
        row = jax.tree.map(lambda a: a[pivot], matrix)
        others = left & ~taken
        quotients = _quotients(entries, jax.tree.map(lambda a: a[column], row))
        quotients = jax.tree.map(lambda a: jnp.where(others, a, 0), quotients)
        high, low = _product(-quotients.high[:, None], jax.tree.map(lambda a: a[None, :], row))
        rest = _normalized(_plus(matrix, high, low - quotients.low[:, None] * row.high[None, :]))
        lower = Doubled(jnp.where(taken, 1, quotients.high), quotients.low)
        return (rest, others), (lower, row.high)

    start = matrix, varying_as(jnp.ones(rows, bool), jax.typeof(matrix.high))
    _, (lower, upper) = jax.lax.scan(step, start, jnp.arange(steps))
    return jax.tree.map(lambda a: a.T, lower), jnp.triu(upper)


def _product(a: jax.Array, b: Doubled) -> tuple[jax.Array, jax.Array]:
    """An exact product of leading digits, and the rest."""
    (a_first, a_last), (b_first, b_last) = _halves(a), _halves(b.high)
    return a_first * b_first, a_first * b_last + a_last * b_first + (a_last * b_last + a * b.low)


def _halves(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The leading half of the digits, and the others. By bits: no sum that a compiler could simplify."""
    digits = jnp.finfo(x.dtype).nmant // 2 + 1
    integer = {32: jnp.int32, 64: jnp.int64}[jnp.finfo(x.dtype).bits]
    bits = jax.lax.bitcast_convert_type(x, integer)
    first = jax.lax.bitcast_convert_type((bits >> digits) << digits, x.dtype)
    return first, x - first


def _plus(x: Doubled, high: jax.Array, low: jax.Array) -> Doubled:
    """Knuth's sum: what it rounds away goes into the remainder."""
    total = x.high + high
    added = total - x.high
    return Doubled(total, x.low + (low + ((x.high - (total - added)) + (high - added))))


def _normalized(x: Doubled) -> Doubled:
    high = x.high + x.low
    return Doubled(high, x.low - (high - x.high))


def _quotients(numerators: Doubled, divisor: Doubled) -> Doubled:
    """Each entry by one number; by zero, 0."""
    inverse = jnp.where(divisor.high == 0, 0, 1 / jnp.where(divisor.high == 0, 1, divisor.high))
    first = numerators.high * inverse
    high, low = _product(-first, divisor)
    rest = _normalized(_plus(numerators, high, low))
    return _normalized(Doubled(first, rest.high * inverse))
