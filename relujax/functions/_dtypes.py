"""What is no real float: integers, bool and complex numbers are answered as ``jax.nn`` answers them."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# Looked up now: whoever puts ours in their place does so later.
JAX_NN = {name: getattr(jax.nn, name) for name in dir(jax.nn)}


def as_jax_nn(fun: Callable, name: str) -> Callable:
    """``fun`` for other dtypes too, as the function of that name in ``jax.nn`` where there is one.

    >>> as_jax_nn(jnp.negative, "silu")(jnp.complex64(0)).dtype
    dtype('complex64')
    """
    return _for_every_dtype(fun, name, JAX_NN.get(name))


def real_only(fun: Callable, name: str) -> Callable:
    """``fun`` for integers and bool too, and an error for complex numbers."""
    return _for_every_dtype(fun, name, None)


def _for_every_dtype(fun: Callable, name: str, twin: Callable | None) -> Callable:
    """``fun``, which is written for real floats, for other dtypes too: as ``twin`` of ``jax.nn``, where that answers.

    Integers and bool get its result dtype, so that they stay integers only where they do there; the values are ours,
    which do not wrap around. Complex numbers get its whole answer, and without one an error.
    """

    def answer(x: Any, *rest: Any, **named: Any) -> jax.Array:
        dtype: Any = jnp.result_type(x)
        if jnp.issubdtype(dtype, jnp.floating):
            return fun(x, *rest, **named)
        x, like = jnp.asarray(x), None
        # Strict promotion is about what callers mix, and not about the numbers inside jax.nn's functions.
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            # Not every one has an answer for every dtype, nor every argument that ours has.
            if twin:
                with contextlib.suppress(TypeError, ValueError):
                    like = jax.eval_shape(lambda x, theirs=twin: theirs(x, *rest, **named), x)
            if jnp.issubdtype(dtype, jnp.complexfloating):
                if like is None or twin is None:
                    raise TypeError(f"{name} got {dtype}: expected a real dtype; cast with .real or jnp.abs first")
                return twin(x, *rest, **named)
            if like is not None and like.weak_type:
                x = x * like.dtype.type(1).item()
            elif like is not None or jnp.issubdtype(dtype, jnp.bool_):
                x = x.astype(like.dtype if like is not None else int)
        y = fun(x, *rest, **named)
        return y if like is None or y.dtype == like.dtype else y.astype(like.dtype)

    return answer
