"""The largest singular values of a Jacobian, matrix-free."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import whole
from .._meshes import varying_as
from .._precision import in_full_precision, widen
from ._checks import check_key, check_point
from ._jacobian import jacobian, magnitude, raveled

_EXTRA = 8  # directions beside those asked for: what is asked for converges by its gap to what comes after them
_RESIDUAL = 1e-3  # of the singular vectors, relative; the values are right to about its square
_MOST_ROUNDS = 100


def largest_singular_values(fun: Callable, num: int) -> Callable:
    r"""``values(x, key)``: the largest ``num`` singular values of the Jacobian of ``fun`` at ``x``, descending.

    Block subspace iteration in the space of the current right singular vectors, their last change, and their residuals
    :math:`J^\top J v - \sigma^2 v`: as few rounds as conjugate gradients need (LOBPCG). All bases are from Householder
    QR, which gives orthonormal columns whatever the rank.
    """

    @in_full_precision
    def values(x: Any, key: Any = None) -> jax.Array:
        check_point(x)
        check_key(key)
        flat_fun, flat = raveled(fun, x)
        outputs = jax.eval_shape(flat_fun, flat)
        whole("num", num, most=min(flat.size, outputs.size))
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
    start = jnp.linalg.qr(jax.random.normal(key, (x.size, 2 * block), widen(x).dtype))[0]
    return jax.lax.stop_gradient(_iterate(forward, backward, varying_as(start, jax.typeof(x)), num))


def _iterate(forward: Callable, backward: Callable, basis: jax.Array, num: int) -> tuple[jax.Array, jax.Array]:
    """Until the residuals are small. ``basis`` is orthonormal, ``image`` what the map makes of it, over ``size``."""
    block, eps = basis.shape[1] // 2, jnp.finfo(basis.dtype).eps
    image = forward(basis)
    size = magnitude(image)  # values are squared

    def round_(state: tuple) -> tuple:
        basis, image, new, before, _, number = state
        space = jnp.linalg.qr(jnp.concatenate([basis, new], axis=1))[0]
        basis = jnp.concatenate([basis, space[:, 2 * block :]], axis=1)
        image = jnp.concatenate([image, forward(basis[:, 2 * block :]) / size], axis=1)
        values, kept = _turned(image, block)
        basis, image = basis @ kept, image @ kept
        residual = backward(image[:, :block]) / size - basis[:, :block] * values[None, :] ** 2
        lengths = jnp.linalg.norm(residual, axis=0)
        done = jnp.all(lengths[:num] <= _RESIDUAL * values[:num] ** 2)
        # Of values far below the largest one no residual stands above its rounding: they are done when they stay.
        stay = jnp.all(jnp.abs(values[:num] - before) <= 4 * eps * values[:num])
        done = done | stay | ~jnp.isfinite(values[0])
        return basis, image, _unit(residual), values[:num], done, number + 1

    def running(state: tuple) -> jax.Array:
        return ~state[4] & (state[5] < _MOST_ROUNDS)

    image = image / size
    unknown, done = varying_as((jnp.full(num, jnp.inf, basis.dtype), jnp.asarray(False)), jax.typeof(image))
    state = basis, image, _unit(backward(image[:, :block]) / size), unknown, done, 0
    basis, image, *_ = jax.lax.while_loop(running, round_, state)
    return _unit(image[:, :num]), _unit(basis[:, :num])  # GPUs' SVD leaves lengths 1e-5 off


def _unit(columns: jax.Array) -> jax.Array:
    lengths = jnp.linalg.norm(columns, axis=0, keepdims=True)
    return columns / jnp.where(lengths == 0, 1, lengths)


def _turned(image: jax.Array, block: int) -> tuple[jax.Array, jax.Array]:
    """The largest singular values, and orthonormal coefficients of their vectors and of what changed in these."""
    _, values, turn = jnp.linalg.svd(jnp.linalg.qr(image, mode="r"), full_matrices=False)
    best = turn[:block].T
    change = best.at[:block].set(0)
    return values[:block], jnp.concatenate([best, _orthonormal_to(best, change)], axis=1)


def _orthonormal_to(best: jax.Array, change: jax.Array) -> jax.Array:
    return jnp.linalg.qr(jnp.concatenate([best, change], axis=1))[0][:, best.shape[1] :]
