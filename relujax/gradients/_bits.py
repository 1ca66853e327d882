"""One bit per element: booleans packed into bytes along the last axis."""

import jax
import jax.numpy as jnp


def pack_bits(mask: jax.Array) -> jax.Array:
    """Pack a boolean array into bytes along its last axis.

    Args:
        mask: booleans of shape ``(..., n)``; a scalar counts as ``n = 1``.

    Returns:
        uint8 of shape ``(..., ceil(n / 8))``.

    >>> pack_bits(jnp.array([True, False, True])).tolist()
    [160]
    """
    return jnp.packbits(jnp.atleast_1d(mask), axis=-1)


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
    bits = jnp.unpackbits(packed, axis=-1, count=shape[-1] if shape else 1)
    return bits.astype(bool).reshape(shape)
