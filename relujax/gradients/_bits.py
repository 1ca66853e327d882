"""One bit per element: booleans packed into bytes along the last axis."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def pack_bits(mask: jax.Array) -> jax.Array:
    """Pack a boolean array into bytes along its last axis.

    Args:
        mask: booleans of shape ``(..., n)``; a scalar counts as ``n = 1``.

    Returns:
        uint8 of shape ``(..., ceil(n / 8))``. On an explicit mesh whose shards would cut a byte, the booleans as they
        are: moving bits between devices costs more than it saves.

    >>> pack_bits(jnp.array([True, False, True])).tolist()
    [160]
    """
    # jnp.packbits sums in 32 or 64 bits, and on jax 0.10 XLA keeps that wide sum: here everything is a byte.
    mask = jnp.atleast_1d(mask)
    if _cuts_a_byte(mask):
        return mask
    padded = jnp.pad(mask, [(0, 0)] * (mask.ndim - 1) + [(0, -mask.shape[-1] % 8)]).astype(jnp.uint8)
    grouped = padded.reshape(*mask.shape[:-1], padded.shape[-1] // 8, 8)
    places = np.array([128, 64, 32, 16, 8, 4, 2, 1], np.uint8).reshape((1,) * mask.ndim + (8,))
    # A sum, where XLA divides a byte among devices: no collective takes the bitwise or.
    return jax.lax.reduce(grouped * places, np.uint8(0), jax.lax.add, (mask.ndim,))


def _cuts_a_byte(mask: jax.Array) -> bool:
    sharding: Any = jax.typeof(mask).sharding  # its axes are None except on an explicit mesh
    axes = sharding.spec[-1] or ()
    shards = math.prod(sharding.mesh.shape[axis] for axis in ((axes,) if isinstance(axes, str) else axes))
    return shards > 1 and mask.shape[-1] // shards % 8 != 0


def unpack_bits(packed: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Undo :func:`pack_bits`.

    Args:
        packed: uint8 of shape ``(..., ceil(n / 8))``.
        shape: shape of the booleans, ``(..., n)`` or ``()``.

    Returns:
        Booleans of that shape.

    >>> unpack_bits(jnp.array([160], jnp.uint8), (3,)).tolist()
    [True, False, True]
    """
    if packed.dtype == jnp.bool_:
        return packed.reshape(shape)
    spread = jnp.broadcast_to(packed[..., None], (*packed.shape, 8))
    # Each byte with the wanted bit on top, where it is the sign. A table of places, which jnp.unpackbits has, would be
    # loaded from memory, and taken out of a scan's loop: 20 times slower on a CPU.
    place = jax.lax.broadcasted_iota(jnp.uint8, spread.shape, packed.ndim)
    bits = jax.lax.bitcast_convert_type(spread << place, jnp.int8) < 0
    return bits.reshape(*packed.shape[:-1], 8 * packed.shape[-1])[..., : shape[-1] if shape else 1].reshape(shape)
