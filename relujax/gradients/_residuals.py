"""What reverse mode really keeps, counted without running anything."""

import math
from collections.abc import Callable
from typing import Any

import jax


def residual_bytes(fun: Callable, *args: Any) -> int:
    """Count the bytes that ``jax.vjp(fun, *args)`` keeps for its backward pass.

    Only traces: :class:`jax.ShapeDtypeStruct` arguments do, and no FLOPs are spent. Two residuals that are one
    array count twice. What XLA keeps inside a jitted step can differ; ``compile().memory_analysis()`` tells that.

    Args:
        fun: any differentiable function of arrays.
        *args: arrays, or their shapes and dtypes.

    Returns:
        Bytes, the sum over the residual arrays.

    >>> import jax.numpy as jnp, relujax as rx
    >>> x = jax.ShapeDtypeStruct((1024, 128), jnp.float32)
    >>> rx.residual_bytes(rx.relu, x), rx.residual_bytes(rx.tanh, x)  # 1 bit, 32 bits per element
    (16384, 524288)
    """
    kept = jax.eval_shape(lambda *values: jax.vjp(fun, *values)[1], *args)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))
