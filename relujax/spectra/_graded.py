"""Singular values of matrices whose rows differ by thousands of orders of magnitude, each to its own precision."""

import jax
import jax.numpy as jnp

from ._scaled import Scaled, log_row_norms, normalized, times_power, with_column_exponents

#: Cosine between two rows below which their lengths are the singular values: to its square, or to it in a tie.
_COUPLING = 3e-4
_MOST_SWEEPS = 30
_QR_SWEEPS = 2


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
    """Rotates pairs of rows until all are orthogonal."""
    size = len(matrix.rows)
    if size % 2:  # a row of zeros meets the one that has no partner; it stays the last
        nothing = normalized(jax.tree.map(lambda a: jnp.zeros_like(a[:1]), matrix))
        matrix = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), matrix, nothing)

    def sweep(state: tuple) -> tuple:
        matrix, _, number = state
        matrix, cosines = jax.lax.scan(lambda m, _: _rotate_all_pairs(m), matrix, length=len(matrix.rows) - 1)
        return _sorted(normalized(matrix)), jnp.max(cosines), number + 1

    def coupled(state: tuple) -> jax.Array:
        return (state[1] > _COUPLING) & (state[2] < _MOST_SWEEPS)

    matrix = jax.lax.while_loop(coupled, sweep, (matrix, _largest_cosine(matrix.rows), 0))[0]
    return jax.tree.map(lambda a: a[:size], matrix)


def _largest_cosine(rows: jax.Array) -> jax.Array:
    norms = jnp.linalg.norm(rows, axis=-1, keepdims=True)
    unit = rows / jnp.where(norms == 0, 1, norms)
    return jnp.max(jnp.abs(jnp.triu(unit @ unit.T, 1)))


def _rotate_all_pairs(matrix: Scaled) -> tuple[Scaled, jax.Array]:
    """One round of a round-robin: the first half of the rows meet the second, then all but the first move on by one."""
    half = len(matrix.rows) // 2
    first = Scaled(matrix.exponents[:half], matrix.rows[:half])
    second = Scaled(matrix.exponents[half:][::-1], matrix.rows[half:][::-1])
    first, second, cosine = _rotate(first, second)
    moved = jax.tree.map(lambda a, b: jnp.concatenate([a[:1], b[:1], a[1:], b[1:][::-1]]), first, second)
    return moved, cosine


def _rotate(a: Scaled, b: Scaled) -> tuple[Scaled, Scaled, jax.Array]:
    """Makes row ``i`` of ``a`` and row ``i`` of ``b`` orthogonal, for each ``i``; the largest cosine before."""
    aa, bb, ab = (jnp.sum(x * y, axis=-1) for x, y in ((a.rows, a.rows), (b.rows, b.rows), (a.rows, b.rows)))
    lengths = jnp.sqrt(aa) * jnp.sqrt(bb)
    cosine = jnp.max(jnp.abs(ab) / jnp.where(lengths == 0, 1, lengths))
    gap = b.exponents - a.exponents
    swap = bb * times_power(jnp.ones_like(aa), gap) ** 2 > aa
    cos, up, down = _angle(jnp.where(swap, bb, aa), jnp.where(swap, aa, bb), ab, jnp.where(swap, -gap, gap))
    to_a, to_b = jnp.where(swap, -down, up), jnp.where(swap, up, -down)
    rows_a = cos[:, None] * a.rows + to_a[:, None] * b.rows
    rows_b = cos[:, None] * b.rows + to_b[:, None] * a.rows
    return Scaled(a.exponents, rows_a), Scaled(b.exponents, rows_b), cosine


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
