"""Timing on a machine that others use too: calls take turns, so that what slows one slows all."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round; every other round goes backwards, so that each follows each.

    >>> seconds = interleaved({"one": lambda: 1, "two": lambda: 2}, rounds=3)
    >>> [len(values) for values in seconds.values()]
    [3, 3]
    """
    for call in calls.values():
        jax.block_until_ready(call())  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds):
        for name in list(calls)[:: 1 if i % 2 else -1]:
            start = time.perf_counter()
            jax.block_until_ready(calls[name]())
            seconds[name].append(time.perf_counter() - start)
    return seconds
