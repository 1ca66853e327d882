"""Batches from whatever people have: arrays, dicts, pairs, lists, generators."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

Batch = tuple[np.ndarray, np.ndarray | None]

_INPUT_KEYS, _TARGET_KEYS = ("x", "inputs", "image", "images"), ("y", "labels", "label", "targets", "target")


def as_batches(batches: Any, batch_size: int) -> Iterator[Batch]:
    """Read ``(x, y)`` pairs of arrays, checked one by one.

    Args:
        batches: one data set in memory (an array, a tuple ``(x, y)``, or a dict with ``x`` and ``y``), which is cut
            into batches; or an iterable of such batches, of any sizes.
        batch_size: examples per batch where the data set is in memory.

    Yields:
        ``(x, y)``; ``y`` is None where there is none.

    Raises:
        ValueError: for an empty batch, mismatched lengths, NaN or infinities, or arrays of objects.
        TypeError: for something that is no batch.
    """
    if batch_size < 1:
        raise ValueError(f"got batch_size={batch_size}: expected at least 1")
    if _is_one_batch(batches):
        x, y = _pair(batches, "the data")
        for start in range(0, len(x), batch_size):
            stop = start + batch_size
            yield x[start:stop], None if y is None else y[start:stop]
        return
    if not isinstance(batches, Iterable):
        raise TypeError(f"got batches of type {type(batches).__name__}: expected arrays, or an iterable of batches")
    for number, batch in enumerate(batches):
        yield _pair(batch, f"batch {number}")


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _is_one_batch(batches: Any) -> bool:
    pair = isinstance(batches, tuple) and len(batches) in (1, 2) and all(_is_array(item) for item in batches)
    return _is_array(batches) or pair or isinstance(batches, Mapping)


def _pair(batch: Any, where: str) -> Batch:
    if isinstance(batch, Mapping):
        x = next((batch[key] for key in _INPUT_KEYS if key in batch), None)
        y = next((batch[key] for key in _TARGET_KEYS if key in batch), None)
        if x is None:
            raise ValueError(f"{where}: got the keys {', '.join(map(str, batch))}: expected x, and y for a loss")
    elif isinstance(batch, (tuple, list)) and len(batch) in (1, 2):
        x, y = (*batch, None)[:2]
    elif _is_array(batch):
        x, y = batch, None
    else:
        raise TypeError(f"{where}: got {type(batch).__name__}: expected an array, a pair (x, y) or a dict")
    x = _checked(x, f"{where}, x")
    if y is None:
        return x, None
    y = _checked(y, f"{where}, y")
    if len(x) != len(y):
        raise ValueError(f"{where}: got {len(x)} inputs and {len(y)} targets: expected as many of each")
    return x, y


def _checked(array: Any, where: str) -> np.ndarray:
    array = np.asarray(array)
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise ValueError(f"{where}: got dtype {array.dtype}: expected numbers")
    if array.ndim == 0 or len(array) == 0:
        raise ValueError(f"{where}: got shape {array.shape}: expected at least one example on the first axis")
    if jnp.issubdtype(array.dtype, jnp.inexact) and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
        raise ValueError(
            f"{where}: got NaN or infinity in example {bad}: expected finite numbers; clean the data first"
        )
    return array
