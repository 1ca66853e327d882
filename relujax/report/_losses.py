"""Losses per example, and the accuracy that goes with them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Loss = Callable[[Any, Any], jax.Array]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Softmax cross entropy of integer labels, one number per example (a mean over any positions within it).

    Args:
        logits: ``(examples, ..., classes)``.
        labels: integers ``(examples, ...)``.

    >>> cross_entropy(jnp.zeros((1, 2)), jnp.array([0])).tolist()
    [0.6931]
    """
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)
    return _per_example(-picked)


def mse(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Mean squared error, one number per example.

    >>> mse(jnp.array([[1.0, 3.0]]), jnp.zeros((1, 2))).tolist()
    [5.0]
    """
    return _per_example((outputs - targets.astype(outputs.dtype)) ** 2)


def _per_example(values: jax.Array) -> jax.Array:
    return jnp.mean(values.reshape(values.shape[0], -1), axis=-1)


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "mse": mse}


def resolve(loss: str | Loss | None) -> Loss | None:
    """A loss by name, or as it is.

    Raises:
        ValueError: for an unknown name.
    """
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"unknown loss {loss!r}: expected one of {', '.join(LOSSES)}, or a function")
        return LOSSES[loss]
    return loss


def check_targets(loss: Loss, outputs: Any, y: Any) -> None:
    """Say what is wrong with targets before a loss fails on them or, worse, does not.

    Raises:
        ValueError: for missing targets, a model with several outputs, or shapes, dtypes or labels that do not fit.
    """
    if y is None:
        raise ValueError("got a loss but no targets: expected batches of (x, y)")
    if loss not in (cross_entropy, mse):
        return
    if not hasattr(outputs, "shape"):
        raise ValueError("got a model with several outputs: expected one array, or a loss function of your own")
    if loss is mse:
        if y.shape != outputs.shape:
            raise ValueError(f"got targets of shape {y.shape}: expected the outputs' shape {outputs.shape} for mse")
        return
    if not outputs.shape:
        raise ValueError("got outputs of shape (): expected an axis of classes for cross_entropy")
    classes = outputs.shape[-1]
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise ValueError(
            f"got labels of dtype {y.dtype}: expected integers for cross_entropy; y.argmax(-1) of one-hot ones"
        )
    if y.shape != outputs.shape[:-1]:
        raise ValueError(
            f"got labels of shape {y.shape}: expected {outputs.shape[:-1]} for outputs of shape {outputs.shape}"
        )
    if y.size and not (int(y.min()) >= 0 and int(y.max()) < classes):
        raise ValueError(f"got labels from {y.min()} to {y.max()}: expected 0 to {classes - 1} for {classes} outputs")
