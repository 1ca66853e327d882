"""A few bits per element: booleans, or codes of 2 or 4 bits, packed into bytes along the last axis."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def pack_bits(values: jax.Array, bits: int = 1) -> jax.Array:
    """Pack an array into bytes along its last axis.

    Args:
        values: of shape ``(..., n)``; a scalar counts as ``n = 1``. Booleans where ``bits`` is 1, else uint8 below
            ``2**bits``.
        bits: of each element: 1, 2, 4 or 8.

    Returns:
        uint8 of shape ``(..., ceil(n * bits / 8))``. On an explicit mesh whose shards would cut a byte, the values as
        they are: moving bits between devices costs more than it saves.

    >>> pack_bits(jnp.array([True, False, True])).tolist()
    [160]
    >>> pack_bits(jnp.array([1, 0, 3], jnp.uint8), 2).tolist()
    [76]
    """
    # jnp.packbits sums in 32 or 64 bits, and on jax 0.10 XLA keeps that wide sum: here everything is a byte.
    values, count = jnp.atleast_1d(values), 8 // bits
    if count == 1 or _cuts_a_byte(values, count):
        return values
    padding = [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % count)]
    padded = jnp.pad(values, padding).astype(jnp.uint8)
    grouped = padded.reshape(*values.shape[:-1], padded.shape[-1] // count, count)
    places = (2 ** np.arange(8 - bits, -1, -bits)).astype(np.uint8).reshape((1,) * values.ndim + (count,))
    # A sum, where XLA divides a byte among devices: no collective takes the bitwise or.
    return jax.lax.reduce(grouped * places, np.uint8(0), jax.lax.add, (values.ndim,))


def _cuts_a_byte(values: jax.Array, count: int) -> bool:
    sharding: Any = jax.typeof(values).sharding  # its axes are None except on an explicit mesh
    axes = sharding.spec[-1] or ()
    shards = math.prod(sharding.mesh.shape[axis] for axis in ((axes,) if isinstance(axes, str) else axes))
    return shards > 1 and values.shape[-1] // shards % count != 0


def unpack_bits(packed: jax.Array, shape: tuple[int, ...], bits: int = 1) -> jax.Array:
    """Undo :func:`pack_bits`.

    Args:
        packed: uint8 of shape ``(..., ceil(n * bits / 8))``.
        shape: shape of what was packed, ``(..., n)`` or ``()``.
        bits: of each element.

    Returns:
        Booleans of that shape where ``bits`` is 1, else uint8.

    >>> unpack_bits(jnp.array([160], jnp.uint8), (3,)).tolist()
    [True, False, True]
    >>> unpack_bits(jnp.array([76], jnp.uint8), (3,), 2).tolist()
    [1, 0, 3]
    """
    if packed.shape == shape and (bits == 8 or packed.dtype == jnp.bool_ or shape[-1] > 1):
        return packed  # the values as they are
    count = 8 // bits
    spread = jnp.broadcast_to(packed[..., None], (*packed.shape, count))
    # Each byte with the wanted bits on top. A table of places, which jnp.unpackbits has, would be loaded from memory,
    # and taken out of a scan's loop: 20 times slower on a CPU.
    top = spread << np.uint8(bits) * jax.lax.broadcasted_iota(jnp.uint8, spread.shape, packed.ndim)
    values = jax.lax.bitcast_convert_type(top, jnp.int8) < 0 if bits == 1 else top >> np.uint8(8 - bits)
    return values.reshape(*packed.shape[:-1], count * packed.shape[-1])[..., : shape[-1] if shape else 1].reshape(shape)
