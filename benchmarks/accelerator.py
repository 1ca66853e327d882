"""The tables of memory and speed on the accelerator that JAX sees, in float32 and bfloat16, beside jax.nn.

python -m benchmarks.accelerator           on a GPU or TPU
python -m benchmarks.accelerator --cpu     a quick form on the CPU, to see that it runs
"""

import argparse
import dataclasses
import functools
import itertools
import statistics
import sys
from typing import Any

import jax
import jax.numpy as jnp

from ._common import device_slug, finish, members, peer
from ._timing import interleaved, keep_freed_memory, normal, ratio, value_and_gradient
from .memory import bytes_per_element, loss

DTYPES = (jnp.float32, jnp.bfloat16)
_QUICK = ("relu", "elu", "gelu", "tanh")


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of the reference stack and of the large array, and how often each is timed."""

    layers: int
    batch: int
    width: int
    elements: int
    rounds: int


def sizes(device: Any) -> Sizes:
    """As large as the device's memory allows, so that launching a kernel takes no part of the time."""
    if device.platform == "cpu":
        return Sizes(layers=2, batch=256, width=128, elements=2**20, rounds=3)
    memory = (device.memory_stats() or {}).get("bytes_limit", 8 * 2**30)
    # Two arguments, two results of each side and the compiler's own, in float32: a twentieth of the memory each.
    elements = min(2**28, 2 ** int(memory / 20 / 4).bit_length() // 2)
    return Sizes(layers=16, batch=8192, width=1024, elements=elements, rounds=30)


def bandwidth(size: Sizes, dtype: Any) -> float:
    """Bytes per second that a compiled copy reads and writes."""
    x, copy = normal(0, (size.elements // 1024, 1024), dtype), jax.jit(jnp.negative)
    seconds = interleaved({"copy": lambda: copy(x)}, size.rounds)["copy"]
    return 2 * x.nbytes / statistics.median(seconds)


def timed(make: Any, arguments: tuple, name: str, tolerance: float, rounds: int) -> dict[str, list[float]]:
    """Seconds of what ``make`` compiles for each side, whose results must agree."""
    functions = {"relujax": make(members()[name]), "jax.nn": make(peer(name))}
    for ours, theirs in zip(*(jax.tree.leaves(fun(*arguments)) for fun in functions.values()), strict=True):
        # As a whole: rounded to another side of a kink, a single number may differ by as much as it is.
        off = jnp.linalg.norm((ours - theirs).astype(jnp.float32).ravel()) / jnp.linalg.norm(
            theirs.astype(jnp.float32).ravel()
        )
        assert off <= tolerance, f"{name}, {ours.dtype}: relujax and jax.nn differ by {off:.1%}"
    return interleaved({side: functools.partial(fun, *arguments) for side, fun in functions.items()}, rounds)


def measured(name: str, dtype: Any, size: Sizes, copied: float) -> dict[str, Any]:
    """One row of the table."""
    stack = (size.layers, size.batch, size.width)
    tolerance = 1e-2 if dtype == jnp.float32 else 0.1  # sixteen matmuls in TF32; jax.nn computes in bfloat16
    sides = {"jax.nn": peer(name), "relujax": members()[name]}
    kept = {
        form: [bytes_per_element(fun, form, dtype, *stack) for fun in sides.values()] for form in ("scan", "unrolled")
    }
    weights = (normal(0, (size.layers, size.width, size.width)) / size.width**0.5).astype(dtype)
    step = timed(
        lambda act: jax.jit(jax.grad(functools.partial(loss, act, "scan"))),
        (weights, normal(1, (size.batch, size.width), dtype)),
        name,
        tolerance,
        size.rounds,
    )
    shape = (size.elements // 1024, 1024)
    x, g = normal(0, shape, dtype), normal(1, shape, dtype)
    both = timed(value_and_gradient, (x, g), name, tolerance, size.rounds)
    return {
        "activation": name,
        "dtype": jnp.dtype(dtype).name,
        **{f"bytes, {form}, {side}": figure for form in kept for side, figure in zip(sides, kept[form], strict=True)},
        "step / jax.nn": ratio(step, "relujax", "jax.nn"),
        "value and gradient / jax.nn": ratio(both, "relujax", "jax.nn"),
        "of copy bandwidth": 4 * x.nbytes / statistics.median(both["relujax"]) / copied,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="run without an accelerator, in a quick form")
    on_cpu = parser.parse_args().cpu
    device = jax.devices("cpu" if on_cpu else None)[0]
    if device.platform == "cpu" and not on_cpu:
        parser.exit(message="got a machine without an accelerator: nothing to measure; --cpu runs a quick form here\n")
    keep_freed_memory()
    with jax.default_device(device):
        size = sizes(device)
        copied = {dtype: bandwidth(size, dtype) for dtype in DTYPES}
        names = _QUICK if on_cpu else [name for name in members() if peer(name)]
        rows = []
        for dtype, name in itertools.product(DTYPES, names):
            rows.append(measured(name, dtype, size, copied[dtype]))
            print(*rows[-1].values(), sep="\t", file=sys.stderr)  # as they come: the whole takes minutes
    claims = {
        f"{row['activation']}, {row['dtype']}, {form}: bytes at most 1.001x of jax.nn": row[f"bytes, {form}, relujax"]
        <= 1.001 * row[f"bytes, {form}, jax.nn"]  # kernels' own few bytes differ
        for row in rows
        if row["dtype"] == "float32"  # in half precision an output is too coarse, and the input is kept instead
        for form in ("scan", "unrolled")
    }
    copies = ", ".join(f"{jnp.dtype(dtype).name} {copied[dtype] / 1e9:.0f} GB/s" for dtype in DTYPES)
    title = f"{device.device_kind}: {size}; a copy: {copies}"
    finish(f"accelerator-{device_slug(device)}", rows, claims, title, versioned=False)


if __name__ == "__main__":
    main()
