"""The Jacobian of a function between pytrees as one matrix, from whichever side is cheaper, in chunks where asked."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from .._meshes import varying_as
from ._checks import check_outputs


def raveled(fun: Callable, x: Any) -> tuple[Callable, jax.Array]:
    """``fun`` from vector to vector, and the vector ``x``, which inside ``shard_map`` differs where its image does."""
    flat, unravel = ravel_pytree(x)

    def flat_fun(flat: jax.Array) -> jax.Array:
        out = fun(unravel(flat))
        check_outputs(out)
        return ravel_pytree(out)[0]

    return flat_fun, varying_as(flat, jax.eval_shape(flat_fun, flat))


def jacobian(fun: Callable, x: jax.Array, chunk: int | None = None) -> jax.Array:
    """The matrix ``(m, n)`` of ``fun`` from vector to vector, ``chunk`` columns or rows at a time.

    Columns in forward mode where the inputs are fewer, else rows in reverse mode: the faster in a tie.
    """
    out = jax.eval_shape(fun, x)
    if x.size < out.size:
        _, push = jax.linearize(fun, x)
        return _each(push, x, chunk).T
    out, pull = jax.vjp(fun, x)
    return _each(lambda row: pull(row)[0], out, chunk)


def magnitude(x: jax.Array) -> jax.Array:
    """The power of two at or below the largest entry, by which to divide what is squared; 1 for zeros and no numbers.

    >>> magnitude(jnp.array([3e-30, -5e-30])).item() == 2.0**-98
    True
    """
    largest = jnp.max(jnp.abs(x), initial=0)
    usual = jnp.isfinite(largest) & (largest > 0)
    exponent = jnp.frexp(jnp.where(usual, largest, 1))[1] - 1
    least = jnp.finfo(x.dtype).minexp  # so that one over it is a number too
    return jax.lax.stop_gradient(jnp.ldexp(jnp.ones((), x.dtype), jnp.clip(exponent, least, -least)))


def unit_vectors(space: jax.Array) -> jax.Array:
    """Those of the space of an array, one row each."""
    return varying_as(jnp.eye(space.size, dtype=space.dtype), jax.typeof(space))


def _each(linear: Callable, space: jax.Array, chunk: int | None) -> jax.Array:
    """What a linear map makes of the unit vectors of a space: one row each."""
    if chunk is None or chunk >= space.size:
        return jax.vmap(linear)(unit_vectors(space))

    def one(index: jax.Array) -> jax.Array:  # of an index, so that the unit vectors never stand together
        return linear(varying_as((jnp.arange(space.size) == index).astype(space.dtype), jax.typeof(space)))

    return jax.lax.map(one, jnp.arange(space.size), batch_size=chunk)
