"""The largest singular values of a Jacobian, matrix-free."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._precision import widen
from ._checks import check_count, check_key, check_point
from ._jacobian import jacobian, raveled

_EXTRA = 4  # directions beside those asked for: what is asked for converges by its gap to what comes after them
_RESIDUAL = 2e-4  # of the singular vectors, relative; the values are right to about its square
_MOST_ROUNDS = 100


def largest_singular_values(fun: Callable, num: int) -> Callable:
    r"""``values(x, key)``: the largest ``num`` singular values of the Jacobian of ``fun`` at ``x``, descending.

    Block subspace iteration in the space of the current right singular vectors, their last change, and their residuals
    :math:`J^\top J v - \sigma^2 v`: as few rounds as conjugate gradients need (LOBPCG). All bases are from Householder
    QR, which gives orthonormal columns whatever the rank.
    """

    def values(x: Any, key: Any = None) -> jax.Array:
        check_point(x)
        check_key(key)
        flat_fun, flat = raveled(fun, x)
        outputs = jax.eval_shape(flat_fun, flat)
        check_count("num", num, min(flat.size, outputs.size))
        if 3 * (num + _EXTRA) >= min(flat.size, outputs.size):
            return jnp.linalg.svd(widen(jacobian(flat_fun, flat)), compute_uv=False)[:num]
        left, right = _singular_vectors(flat_fun, flat, key, num)
        push = jax.vmap(lambda v: jax.jvp(flat_fun, (flat,), (v,))[1], in_axes=1, out_axes=1)
        # The gradient of a singular value is u^T dJ v: no derivative of u and v is needed.
        rayleigh = jnp.sum(left * widen(push(right.astype(flat.dtype))), axis=0)
        return -jnp.sort(-rayleigh)

    return values


def _singular_vectors(fun: Callable, x: jax.Array, key: jax.Array, num: int) -> tuple[jax.Array, jax.Array]:
    """The left and right singular vectors, constants for differentiation, parameters that ``fun`` closes over too."""
    pure, closed_over = jax.closure_convert(fun, x)
    x, closed_over = jax.lax.stop_gradient((x, closed_over))
    out, pull = jax.vjp(lambda x: pure(x, *closed_over), x)
    _, push = jax.linearize(lambda x: pure(x, *closed_over), x)

    def forward(columns: jax.Array) -> jax.Array:
        return widen(jax.vmap(push, in_axes=1, out_axes=1)(columns.astype(x.dtype)))

    def backward(columns: jax.Array) -> jax.Array:
        return widen(jax.vmap(lambda u: pull(u)[0], in_axes=1, out_axes=1)(columns.astype(out.dtype)))

    block = num + _EXTRA
    start = jax.random.normal(key, (x.size, 3 * block), widen(x).dtype)
    return jax.lax.stop_gradient(_iterate(forward, backward, start, num, block))


def _iterate(
    forward: Callable, backward: Callable, start: jax.Array, num: int, block: int
) -> tuple[jax.Array, jax.Array]:
    eps = jnp.finfo(start.dtype).eps

    def round_(state: tuple) -> tuple:
        space, _, _, _, number = state
        space = jnp.linalg.qr(space)[0]
        image = forward(space)
        values, turn = _small_svd(image)
        right = space @ turn[:, :block]
        image = image @ turn[:, :block]
        residual = backward(image) - right * values[:block] ** 2
        change = space[:, block:] @ turn[block:, :block]
        lengths = jnp.linalg.norm(residual, axis=0)
        done = jnp.all(lengths[:num] <= _RESIDUAL * values[:num] ** 2 + 4 * eps * values[0] ** 2)
        left = image[:, :num] / jnp.where(values[:num] == 0, 1, values[:num])
        space = jnp.concatenate([right, residual / jnp.where(lengths == 0, 1, lengths), change], axis=1)
        return space, left, right[:, :num], done | ~jnp.isfinite(values[0]), number + 1

    def running(state: tuple) -> jax.Array:
        return ~state[3] & (state[4] < _MOST_ROUNDS)

    outputs = jax.eval_shape(forward, start).shape[0]
    empty = jnp.zeros((outputs, num), start.dtype), jnp.zeros((len(start), num), start.dtype)
    _, left, right, _, _ = jax.lax.while_loop(running, round_, (start, *empty, jnp.asarray(False), 0))
    return left, right


def _small_svd(tall: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Singular values and right singular vectors, as columns."""
    _, values, turn = jnp.linalg.svd(jnp.linalg.qr(tall, mode="r"), full_matrices=False)
    return values, turn.T
