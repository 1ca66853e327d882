"""Half precision computes inside in float32 and rounds once. No promotion rules: they differ between strict and lax."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def is_half(x: ArrayLike) -> bool:
    """Whether ``x`` is float16, bfloat16 or smaller: too coarse to take a slope from a rounded output.

    >>> is_half(jnp.bfloat16(1)), is_half(jnp.float32(1))
    (True, False)
    """
    dtype = jnp.result_type(x)
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32


def widen(x: ArrayLike) -> jax.Array:
    """``x`` as an inexact array of at least float32; integers become the default float. Weak types stay weak.

    >>> widen(jnp.float16(1)).dtype, widen(3).dtype.kind
    (dtype('float32'), 'f')
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return x.astype(float)
    return x.astype(jnp.float32) if is_half(x) else x


def narrow(y: jax.Array, like: ArrayLike) -> jax.Array:
    """Round ``y`` once to the dtype of ``like``, where that is an inexact one.

    >>> narrow(jnp.float32(1), jnp.float16(1)).dtype
    dtype('float16')
    """
    dtype: Any = jnp.result_type(like)
    return y.astype(dtype) if jnp.issubdtype(dtype, jnp.inexact) and dtype != y.dtype else y


def align(parameter: ArrayLike, wide: jax.Array) -> jax.Array:
    """A parameter at the rank of ``wide`` and in its dtype, so that no promotion rule is needed.

    >>> align(jnp.array([1, 2]), jnp.zeros((4, 3, 2))).shape
    (1, 1, 2)
    """
    parameter = jnp.asarray(parameter)
    if parameter.dtype != wide.dtype:
        parameter = parameter.astype(wide.dtype)
    return parameter.reshape((1,) * (wide.ndim - parameter.ndim) + parameter.shape)


def spread(value: jax.Array, like: jax.Array) -> jax.Array:
    """``value`` at the shape of ``like``, and at its sharding where types hold it: what is broadcast alone has none.

    >>> spread(jnp.array([1.0, 2.0]), jnp.zeros((2, 2))).tolist()
    [[1.0, 2.0], [1.0, 2.0]]
    """
    if value.shape == like.shape:
        return value
    return value.reshape((1,) * (like.ndim - value.ndim) + value.shape) * jnp.ones_like(like, value.dtype)


def in_full_precision(fun: Callable) -> Callable:
    """``fun`` with its products in their dtype's own precision, where it does not say which.

    By default GPUs round the factors of float32 products to TF32 (11 bits), TPUs to bfloat16 (8 bits): singular values
    are then off by as much, and the small ones are noise.

    >>> str(jax.make_jaxpr(in_full_precision(lambda x: x @ x))(jnp.ones((2, 2)))).count("HIGHEST")
    2
    """

    @functools.wraps(fun)
    def precise(*args: Any, **kwargs: Any) -> Any:
        with jax.default_matmul_precision("highest"):
            return fun(*args, **kwargs)

    return precise
