"""Singular values of matrices whose rows differ by thousands of orders of magnitude, each to its own precision."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from ._scaled import Scaled, log_row_norms, normalized, times_power, with_column_exponents

#: Cosine between two rows below which their lengths are the singular values: to its square, or to it in a tie.
_COUPLING = 3e-4
_MOST_SWEEPS = 30
_QR_SWEEPS = 2
_WINDOW = 16  # rows that meet each other, where only neighbours are coupled


@jax.jit
def log_singular_values(matrix: Scaled) -> jax.Array:
    """Logarithms of all singular values, descending, ``-inf`` beyond the rank.

    Alternate QR factorisations of the matrix and of its transpose (Stewart's QLP) part what is far apart, each sweep by
    another power of the ratio of neighbours; rotations of pairs of rows (one-sided Jacobi, which keeps the relative
    precision of small values) part what is close.
    """
    for _ in range(_QR_SWEEPS):
        matrix = _transposed_twice(_sorted(matrix))
    matrix = _rotated(_sorted(matrix))
    return -jnp.sort(-log_row_norms(matrix), axis=-1)


def _sorted(matrix: Scaled) -> Scaled:
    order = jnp.argsort(-matrix.exponents)
    return Scaled(matrix.exponents[order], matrix.rows[order])


def _transposed_twice(matrix: Scaled) -> Scaled:
    """The triangle of the triangle of the transpose: two QR steps, the exponents falling along the rows throughout."""
    upper = jnp.linalg.qr(matrix.rows.T, mode="r")
    exponents = matrix.exponents
    lower = times_power(upper.T, exponents[:, None] - exponents[None, :])  # at most 1 in size; what vanishes may
    lower = jnp.tril(lower)
    return normalized(with_column_exponents(jnp.linalg.qr(lower, mode="r"), exponents))


def _rotated(matrix: Scaled) -> Scaled:
    """Rotates pairs of rows until all are orthogonal: those of neighbours, where no others are coupled, else all.

    The rows of a deep stack are coupled to a few neighbours each, once the QR sweeps are done.
    """
    size = len(matrix.rows)
    if padding := -size % (2 if size <= _WINDOW else _WINDOW):  # rows of zeros, which stay the last
        nothing = normalized(jax.tree.map(lambda a: jnp.zeros((padding, *a.shape[1:]), a.dtype), matrix))
        matrix = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), matrix, nothing)
    state = matrix, _largest_cosines(matrix.rows), 0

    def swept(sweep: Callable, state: tuple) -> tuple:
        matrix = _sorted(normalized(sweep(state[0])))
        return matrix, _largest_cosines(matrix.rows), state[2] + 1

    def coupled(state: tuple) -> jax.Array:
        return (jnp.maximum(*state[1]) > _COUPLING) & (state[2] < _MOST_SWEEPS)

    def coupled_to_neighbours(state: tuple) -> jax.Array:
        return coupled(state) & (state[1][1] <= _COUPLING)

    if size > _WINDOW:
        state = jax.lax.while_loop(coupled_to_neighbours, partial(swept, _rotate_neighbours), state)
    matrix = jax.lax.while_loop(coupled, partial(swept, _rotate_all_pairs), state)[0]
    return jax.tree.map(lambda a: a[:size], matrix)


def _largest_cosines(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Between rows that share a window, and between all others."""
    norms = jnp.linalg.norm(rows, axis=-1, keepdims=True)
    unit = rows / jnp.where(norms == 0, 1, norms)
    cosines = jnp.abs(unit @ unit.T)
    near, far = jnp.triu(cosines, 1), jnp.triu(cosines, _WINDOW // 2 + 1)
    return jnp.max(near - far), jnp.max(far)


def _rotate_neighbours(matrix: Scaled) -> Scaled:
    """All pairs within windows, then within windows half a window on: any rows no more than half a window apart."""
    matrix = _rotate_in_windows(matrix)
    half = _WINDOW // 2
    inner = _rotate_in_windows(jax.tree.map(lambda a: a[half:-half], matrix))
    return jax.tree.map(lambda a, b: jnp.concatenate([a[:half], b, a[-half:]]), matrix, inner)


def _rotate_in_windows(matrix: Scaled) -> Scaled:
    windows = jax.tree.map(lambda a: a.reshape(-1, _WINDOW, *a.shape[1:]), matrix)
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), jax.vmap(_rotate_all_pairs)(windows))


def _rotate_all_pairs(matrix: Scaled) -> Scaled:
    """Round-robin: in each round every row meets another, until each has met all."""
    return jax.lax.scan(lambda m, _: (_rotate_round(m), None), matrix, length=len(matrix.rows) - 1)[0]


def _rotate_round(matrix: Scaled) -> Scaled:
    """The first half of the rows meet the second, then all but the first move on by one."""
    half = len(matrix.rows) // 2
    first = Scaled(matrix.exponents[:half], matrix.rows[:half])
    second = Scaled(matrix.exponents[half:][::-1], matrix.rows[half:][::-1])
    first, second = _rotate(first, second)
    return jax.tree.map(lambda a, b: jnp.concatenate([a[:1], b[:1], a[1:], b[1:][::-1]]), first, second)


def _rotate(a: Scaled, b: Scaled) -> tuple[Scaled, Scaled]:
    """Makes row ``i`` of ``a`` and row ``i`` of ``b`` orthogonal, for each ``i``."""
    aa, bb, ab = (jnp.sum(x * y, axis=-1) for x, y in ((a.rows, a.rows), (b.rows, b.rows), (a.rows, b.rows)))
    gap = b.exponents - a.exponents
    swap = bb * times_power(jnp.ones_like(aa), gap) ** 2 > aa
    cos, up, down = _angle(jnp.where(swap, bb, aa), jnp.where(swap, aa, bb), ab, jnp.where(swap, -gap, gap))
    to_a, to_b = jnp.where(swap, -down, up), jnp.where(swap, up, -down)
    rows_a = cos[:, None] * a.rows + to_a[:, None] * b.rows
    rows_b = cos[:, None] * b.rows + to_b[:, None] * a.rows
    return Scaled(a.exponents, rows_a), Scaled(b.exponents, rows_b)


def _angle(larger: jax.Array, smaller: jax.Array, inner: jax.Array, gap: jax.Array) -> tuple[jax.Array, ...]:
    """The cosine, and what the larger row gains of the smaller one and the smaller loses of it, in their own units.

    The smaller row's unit is ``2**gap`` of the larger's: the second is the sine times it, the third divided by it.
    """
    ratio = times_power(jnp.ones_like(inner), gap)
    difference = larger - smaller * ratio**2
    hypotenuse = jnp.hypot(difference, 2 * inner * ratio)
    hypotenuse = jnp.where(hypotenuse == 0, 1, hypotenuse)
    cos = jnp.sqrt((1 + difference / hypotenuse) / 2)
    down = inner / (hypotenuse * cos)
    return cos, down * ratio**2, down
