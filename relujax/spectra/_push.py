"""A product of Jacobians as basis times triangle: pushed through layers, and factored before rounding eats it.

The product is held as ``basis @ product``: a well-conditioned basis of the output space, ``(n, k)``, and a matrix whose
rows have exponents of their own. Between two factorisations layers' Jacobians multiply the basis, whose size goes into
the exponents at every layer; Gaussian elimination with row exchanges then makes it well-conditioned again and hands its
triangle to the product. (Rutishauser's Treppeniteration. QR in its place is no more precise and takes more than twice
as long.) A basis in twice the precision is multiplied by the layers' own Jacobians, which are exact where a layer
rounds each of their entries once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import DTypeLike

from .._meshes import varying_as
from .._precision import widen
from ._doubled import Doubled, doubled, factored, multiplied
from ._jacobian import unit_vectors
from ._scaled import Scaled, exponent_of, identity, times, times_power


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Pushed:
    """The Jacobian of the first layers.

    Attributes:
        point: where the next layer is taken, a pytree.
        basis: ``(n, k)``, once or twice the precision.
        product: ``(k, inputs)``.
        rank: no more than so many singular values are not zero; from rows of zeros, such as inactive units leave.
        spread: nats that the last factorisation found between directions; infinite where it lost one.
    """

    point: Any
    basis: jax.Array | Doubled
    product: Scaled
    rank: jax.Array
    spread: jax.Array


def started(x: Any) -> Pushed:
    """Before the first layer: directions in general position, so that no later step meets a zero by its order."""
    flat = widen(ravel_pytree(x)[0])
    size = flat.size
    basis = varying_as(_directions(size, flat.dtype), jax.typeof(flat))
    return _started(x, basis, jnp.asarray(size, "int32"))


def started_narrow(layer: Callable, x: Any) -> Pushed:
    """After a first layer of fewer outputs than inputs, whose inputs are turned into its row space."""
    flat, unravel = ravel_pytree(x)
    out, pull, point = jax.vjp(lambda flat: _raveled(layer, unravel(flat)), flat, has_aux=True)
    jacobian = widen(jax.vmap(lambda row: pull(row)[0])(unit_vectors(out)))
    row_space = jnp.linalg.qr(jacobian.T, mode="r").T
    basis = row_space @ _directions(out.size, jacobian.dtype)
    return _started(point, basis, _nonzero(_row_sizes(jacobian)))


def _started(point: Any, basis: jax.Array, rank: jax.Array) -> Pushed:
    beside = identity(basis.shape[1], basis.dtype), rank, jnp.zeros((), basis.dtype)
    return Pushed(point, basis, *varying_as(beside, jax.typeof(basis)))


def with_doubled_basis(state: Pushed) -> Pushed:
    """Carried on in twice the precision."""
    basis = state.basis
    return replace(state, basis=basis if isinstance(basis, Doubled) else doubled(basis))


def pushed(state: Pushed, layer: Callable) -> Pushed:
    """Past one more layer, a column of the basis being a tangent."""
    flat, unravel = ravel_pytree(state.point)

    def push(column: jax.Array) -> tuple:
        return jax.jvp(lambda flat: _raveled(layer, unravel(flat)), (flat,), (column,), has_aux=True)[1:]

    basis = state.basis
    tangents = unit_vectors(flat) if isinstance(basis, Doubled) else basis.astype(flat.dtype)
    images, point = jax.vmap(push, in_axes=1, out_axes=(1, None))(tangents)
    images = widen(images)
    row_sizes = _row_sizes(images)
    exponent = exponent_of(jnp.max(row_sizes))  # of the images first: the lower half of a tiny number is no number
    if isinstance(basis, Doubled):
        basis = multiplied(times_power(images, -exponent), basis)
        further = exponent_of(jnp.max(jnp.abs(basis.high)))
        basis, exponent = jax.tree.map(lambda a: times_power(a, -further), basis), exponent + further
    else:
        basis = times_power(images, -exponent)
    product = replace(state.product, exponents=state.product.exponents + exponent)
    return replace(state, point=point, basis=basis, product=product, rank=jnp.minimum(state.rank, _nonzero(row_sizes)))


@jax.jit
def eliminated(state: Pushed) -> Pushed:
    """Factored: the lower triangle is the new basis, the upper one goes into the product."""
    basis = state.basis
    lower, upper = factored(basis) if isinstance(basis, Doubled) else _factored(basis)
    pivots, largest = jnp.abs(jnp.diagonal(upper)), jnp.max(jnp.abs(upper))
    possible = jnp.arange(len(pivots), dtype=jnp.int32) < state.rank
    alive = possible & (pivots > 2 * relative_precision(state) * largest)
    basis = jax.tree.map(lambda a: jnp.where(alive[None, :], a, 0), lower)
    product = times(jnp.where(alive[:, None], upper, 0), state.product)
    smallest = jnp.min(jnp.where(alive, pivots, jnp.where(possible, 0, largest)))
    return replace(state, basis=basis, product=product, spread=jnp.log(largest) - jnp.log(smallest))


def relative_precision(state: Pushed) -> float:
    """Of the basis, to its largest entries."""
    eps = float(jnp.finfo(state.spread.dtype).eps)
    return eps**1.5 if isinstance(state.basis, Doubled) else eps


def _factored(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The lower triangle, its rows in the order of the matrix, and the upper one."""
    columns = min(matrix.shape)
    packed, _, order = jax.lax.linalg.lu(matrix)
    lower = jnp.tril(packed[:, :columns], -1) + jnp.eye(len(packed), columns, dtype=packed.dtype)
    return lower[jnp.argsort(order)], jnp.triu(packed[:columns])


@jax.jit
def finished(state: Pushed) -> Scaled:
    """The Jacobian, turned in its output space: its singular values are those of the whole."""
    basis = state.basis.high if isinstance(state.basis, Doubled) else state.basis
    return times(jnp.linalg.qr(basis, mode="r"), state.product)


def _directions(size: int, dtype: DTypeLike) -> jax.Array:
    return jax.random.orthogonal(jax.random.key(0), size, dtype=dtype)


def _raveled(layer: Callable, point: Any) -> tuple[jax.Array, Any]:
    out = layer(point)
    return ravel_pytree(out)[0], out


def _row_sizes(matrix: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(matrix), axis=1)


def _nonzero(x: jax.Array) -> jax.Array:
    return jnp.sum(x != 0, dtype=jnp.int32)
