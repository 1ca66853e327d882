"""Half precision computes inside in float32 and rounds once. No promotion rules: they differ between strict and lax."""

import contextlib
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


def for_every_dtype(fun: Callable, name: str, twin: Any = None) -> Callable:
    """``fun``, which is written for real floats, for other dtypes too: as ``twin`` of ``jax.nn``, where that answers.

    Integers and bool get its result dtype, so that they stay integers only where they do there; the values are ours,
    which do not wrap around. Complex numbers get its whole answer, and without one an error.

    >>> for_every_dtype(jnp.negative, "silu", jax.nn.silu)(jnp.complex64(0)).dtype
    dtype('complex64')
    """

    def answer(x: Any, *rest: Any, **named: Any) -> jax.Array:
        dtype: Any = jnp.result_type(x)
        if jnp.issubdtype(dtype, jnp.floating):
            return fun(x, *rest, **named)
        x, like = jnp.asarray(x), None
        # Strict promotion is about what callers mix, and not about the numbers inside jax.nn's functions.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            # Not every one has an answer for every dtype, nor every argument that ours has.
            with contextlib.suppress(TypeError, ValueError):
                like = twin and jax.eval_shape(lambda x: twin(x, *rest, **named), x)
            if jnp.issubdtype(dtype, jnp.complexfloating):
                if like is None:
                    raise TypeError(f"{name} got {dtype}: expected a real dtype; cast with .real or jnp.abs first")
                return twin(x, *rest, **named)
            if like is not None and like.weak_type:
                x = x * like.dtype.type(1).item()
            elif like is not None or jnp.issubdtype(dtype, jnp.bool_):
                x = x.astype(like.dtype if like is not None else int)
        y = fun(x, *rest, **named)
        return y if like is None or y.dtype == like.dtype else y.astype(like.dtype)

    return answer
