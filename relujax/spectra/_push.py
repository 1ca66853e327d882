"""A product of Jacobians as basis times triangle: pushed through layers, and factored before rounding eats it.

The product is held as ``basis @ product``: a well-conditioned basis of the output space, ``(n, k)``, and a matrix whose
rows have exponents of their own. Between two factorisations layers' Jacobians multiply the basis; Gaussian elimination
with row exchanges then makes it well-conditioned again and hands its triangle to the product. (Rutishauser's
Treppeniteration. QR in its place is no more precise and takes more than twice as long.)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import DTypeLike

from .._precision import widen
from ._scaled import Scaled, identity, times


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pushed:
    """The Jacobian of the first layers.

    Attributes:
        point: where the next layer is taken, a pytree.
        basis: ``(n, k)``.
        product: ``(k, inputs)``.
        rank: no more than so many singular values are not zero; from rows of zeros, such as inactive units leave.
    """

    point: Any
    basis: jax.Array
    product: Scaled
    rank: jax.Array


def started(x: Any) -> Pushed:
    """Before the first layer: directions in general position, so that no later step meets a zero by its order."""
    flat = widen(ravel_pytree(x)[0])
    size = flat.size
    return Pushed(x, _directions(size, flat.dtype), identity(size, flat.dtype), jnp.asarray(size, "int32"))


def started_narrow(layer: Callable, x: Any) -> Pushed:
    """After a first layer of fewer outputs than inputs, whose inputs are turned into its row space."""
    flat, unravel = ravel_pytree(x)
    out, pull, point = jax.vjp(lambda flat: _raveled(layer, unravel(flat)), flat, has_aux=True)
    jacobian = widen(jax.vmap(lambda row: pull(row)[0])(jnp.eye(out.size, dtype=out.dtype)))
    row_space = jnp.linalg.qr(jacobian.T, mode="r").T
    basis = row_space @ _directions(out.size, jacobian.dtype)
    return Pushed(point, basis, identity(out.size, basis.dtype), _nonzero_rows(jacobian))


def pushed(state: Pushed, layer: Callable) -> Pushed:
    """Past one more layer, a column of the basis being a tangent."""
    flat, unravel = ravel_pytree(state.point)

    def push(column: jax.Array) -> tuple:
        return jax.jvp(lambda flat: _raveled(layer, unravel(flat)), (flat,), (column,), has_aux=True)[1:]

    basis, point = jax.vmap(push, in_axes=1, out_axes=(1, None))(state.basis.astype(flat.dtype))
    basis = widen(basis)
    return Pushed(point, basis, state.product, jnp.minimum(state.rank, _nonzero_rows(basis)))


@jax.jit
def eliminated(state: Pushed) -> Pushed:
    """Factored: the lower triangle is the new basis, the upper one goes into the product."""
    columns = min(state.basis.shape)
    packed, _, order = jax.lax.linalg.lu(state.basis)
    upper = jnp.triu(packed[:columns])
    pivots = jnp.abs(jnp.diagonal(upper))
    rounding = 2 * jnp.finfo(packed.dtype).eps * jnp.max(jnp.abs(upper))
    dead = (jnp.arange(columns, dtype=jnp.int32) >= state.rank) | (pivots <= rounding)
    lower = jnp.tril(packed[:, :columns], -1) + jnp.eye(len(packed), columns, dtype=packed.dtype)
    basis = jnp.where(dead[None, :], 0, lower[jnp.argsort(order)])
    product = times(jnp.where(dead[:, None], 0, upper), state.product)
    return replace(state, basis=basis, product=product)


@jax.jit
def finished(state: Pushed) -> Scaled:
    """The Jacobian, turned in its output space: its singular values are those of the whole."""
    return times(jnp.linalg.qr(state.basis, mode="r"), state.product)


def _directions(size: int, dtype: DTypeLike) -> jax.Array:
    return jax.random.orthogonal(jax.random.key(0), size, dtype=dtype)


def _raveled(layer: Callable, point: Any) -> tuple[jax.Array, Any]:
    out = layer(point)
    return ravel_pytree(out)[0], out


def _nonzero_rows(matrix: jax.Array) -> jax.Array:
    return jnp.sum(jnp.any(matrix != 0, axis=1), dtype=jnp.int32)
