"""Types of arrays inside ``shard_map``: along which axes of the mesh they differ."""

from typing import Any

import jax
import jax.numpy as jnp


def varying(aval: Any) -> frozenset:
    """The mesh axes along which a value differs."""
    kind = getattr(aval, "manual_axis_type", None)
    return frozenset(getattr(aval, "vma", None) or getattr(kind, "varying", None) or ())


def varying_as(tree: Any, *avals: Any) -> Any:
    """Arrays that differ along the mesh axes along which a value of one of those types does too."""
    wanted = frozenset().union(*map(varying, avals))

    def cast(value: jax.Array) -> jax.Array:
        axes = tuple(wanted - varying(jax.typeof(value)))
        return jax.lax.pcast(value, axes, to="varying") if axes else value

    return jax.tree.map(cast, tree)


def zeros_of(shapes: Any) -> Any:
    """Arrays of zeros, which differ along the mesh axes along which those of these shapes do."""
    return jax.tree.map(lambda shape: varying_as(jnp.zeros(shape.shape, shape.dtype), shape), shapes)
