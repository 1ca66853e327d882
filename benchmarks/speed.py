"""Time of relujax beside jax.nn's and PyTorch's in one run, on the same cores; values are compared first.

A training step: the gradient of the stack of benchmarks/memory.py in a scan, at batch 1024 and width 512, with 4 layers
instead of 16 (each is like the others). Value and gradient: jit of (f(x), vjp(g)) of 16 M float32 numbers, and how much
of the bandwidth of a compiled copy, timed between them, its four arrays make. Eager: one call on 64 numbers.

python -m benchmarks.speed [--quick] [--only NAME ...]
"""

import argparse
import functools
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import relujax as rx

from ._common import finish, members, peer
from ._timing import agree, decided, keep_freed_memory, normal, value_and_gradient
from .memory import loss

# Else torch's threads turn in circles for milliseconds after its call, on the cores of whichever comes next.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
try:
    import torch  # type: ignore[import-not-found]
except ImportError:
    torch = None

LAYERS, BATCH, WIDTH = 4, 1024, 512
SHAPE = (16_000, 1_000)
EAGER_MICROSECONDS, EAGER_TIMES = 15.0, 10.0
STEP = 1.02
CLOCK = 1.02  # "at most 1.0x", as far as clocks here can tell: jax.nn beside itself is 0.98 to 1.02

# What the peer's name is in torch.nn.functional or torch, and its further arguments.
_TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("relu", {}),
    "relu6": ("relu6", {}),
    "leaky_relu": ("leaky_relu", {}),
    "threshold": ("threshold", {"threshold": 0.5, "value": 0.25}),
    "hard_tanh": ("hardtanh", {}),
    "hard_sigmoid": ("hardsigmoid", {}),
    "soft_shrink": ("softshrink", {}),
    "hard_shrink": ("hardshrink", {}),
    "elu": ("elu", {}),
    "celu": ("celu", {}),
    "selu": ("selu", {}),
    "gelu": ("gelu", {"approximate": "tanh"}),
    "exact gelu": ("gelu", {}),
    "silu": ("silu", {}),
    "mish": ("mish", {}),
    "softplus": ("softplus", {}),
    "log_sigmoid": ("logsigmoid", {}),
    "hard_silu": ("hardswish", {}),
    "sigmoid": ("sigmoid", {}),
    "tanh": ("tanh", {}),
    "soft_sign": ("softsign", {}),
}

_PACKING = "packing bits reads x once more; XLA's CPU loops have one output. In the step it pays"
_STREAMS = "as many bytes as torch, in three loops for its two"
# Rows that miss "at most 1.0x": what is asserted of them instead, with room for the clock, and why. Lanes of 4 to 128
# elements, sums of 32 bits, selects instead of products, and a tree of shifts pack no faster: a loop in C that only
# packs takes as long.
_EXCEPTIONS: dict[tuple[str, str], tuple[float, str]] = {
    ("relu", "jax.nn"): (1.1, f"0.99 to 1.08: {_PACKING}"),
    ("relu6", "jax.nn"): (1.08, f"0.97 to 1.04: {_PACKING}"),
    ("leaky_relu", "jax.nn"): (1.15, f"0.94 to 1.11: {_PACKING}"),
    ("hard_tanh", "jax.nn"): (1.15, f"1.01 to 1.12: {_PACKING}"),
    ("hard_sigmoid", "jax.nn"): (1.12, f"0.96 to 1.07: {_PACKING}"),
    ("sparse_sigmoid", "jax.nn"): (1.15, f"0.98 to 1.12: {_PACKING}"),
    ("sparse_plus", "jax.nn"): (1.1, "0.92 to 1.10: as many loops as jax.nn, the same arithmetic"),
    ("relu", "torch"): (1.12, f"0.99 to 1.08: {_STREAMS}"),
    ("relu6", "torch"): (1.12, f"1.00 to 1.08: {_STREAMS}"),
    ("leaky_relu", "torch"): (1.25, f"1.03 to 1.21: {_STREAMS}"),
    ("hard_tanh", "torch"): (1.2, f"1.02 to 1.16: {_STREAMS}"),
    ("hard_sigmoid", "torch"): (1.1, f"0.99 to 1.06: {_STREAMS}"),
    ("threshold", "torch"): (1.3, f"1.08 to 1.28: {_STREAMS}"),
    ("soft_shrink", "torch"): (1.2, f"1.03 to 1.16: {_STREAMS}"),
    ("hard_shrink", "torch"): (1.25, f"1.03 to 1.19: {_STREAMS}"),
    ("sigmoid", "torch"): (1.1, "1.00 to 1.07: as many loops and bytes as torch"),
    ("silu", "torch"): (1.15, "1.01 to 1.08: more arithmetic, so that its tail keeps its digits"),
    ("exact gelu", "torch"): (1.3, "1.14 to 1.28: its tail keeps its digits, where torch's loses them all"),
}


def functions() -> dict[str, tuple[Callable, Callable | None]]:
    """Each elementwise member, and jax.nn's."""
    rows = {name: (fun, peer(name)) for name, fun in members().items()}
    exact = {"approximate": False}
    rows["exact gelu"] = (functools.partial(rx.gelu, **exact), functools.partial(jax.nn.gelu, **exact))
    return rows


def step_ratio(ours: Callable, theirs: Callable, name: str, rounds: int) -> float:
    """Of the gradient of the reference stack."""
    weights, x = normal(0, (LAYERS, WIDTH, WIDTH)) / WIDTH**0.5, normal(1, (BATCH, WIDTH))
    steps = {
        side: jax.jit(jax.grad(functools.partial(loss, act, "scan")))
        for side, act in (("relujax", ours), ("jax.nn", theirs))
    }
    agree(steps["relujax"](weights, x), steps["jax.nn"](weights, x), name, tolerance=1e-4)
    calls = {side: functools.partial(step, weights, x) for side, step in steps.items()}
    return decided(calls, rounds, {"jax.nn": STEP})[0]["jax.nn"]


def torch_call(name: str, x: jax.Array, g: jax.Array) -> Callable | None:
    """Value and gradient by torch."""
    if torch is None or name not in _TORCH:
        return None
    attribute, arguments = _TORCH[name]
    differentiate = torch.autograd.grad
    fun = getattr(torch.nn.functional, attribute, None) or getattr(torch, attribute)
    given, cotangent = (torch.from_numpy(np.array(array)) for array in (x, g))

    def call() -> tuple[Any, Any]:
        leaf = given.detach().requires_grad_()
        y = fun(leaf, **arguments)
        return y.detach(), differentiate(y, leaf, cotangent)[0]

    return call


def sides(name: str, ours: Callable, theirs: Callable | None, x: jax.Array, g: jax.Array) -> dict[str, Callable]:
    """What is timed, after a check that all give the same."""
    calls: dict[str, Callable] = {"relujax": functools.partial(value_and_gradient(ours), x, g)}
    if theirs:
        calls["jax.nn"] = functools.partial(value_and_gradient(theirs), x, g)
    if by_torch := torch_call(name, x, g):
        calls["torch"] = by_torch
    at_kinks = np.isin(np.asarray(x[:8]), rx.ACTIVATIONS[name].kinks if name in rx.ACTIVATIONS else ())
    for side, call in calls.items():
        if side != "relujax":
            results, others = ([np.where(at_kinks, 0, part[:8]) for part in c()] for c in (calls["relujax"], call))
            agree(results, others, name)
    return calls


def limit(name: str, peer_name: str) -> float:
    """What a row may take, by one peer's time."""
    return _EXCEPTIONS.get((name, peer_name), (CLOCK, ""))[0]


def eager_call(name: str) -> Callable[[], Any]:
    """Of 64 numbers. Parameters are arrays, as learnt ones are: jit takes 3 us more for each Python number it gets."""
    row = rx.ACTIVATIONS[name]
    numbers = {k: jnp.asarray(v) if isinstance(v, (float, np.ndarray)) else v for k, v in row.example.items()}
    return functools.partial(row.fun, normal(2, (8, 8)), **numbers)


def eager_microseconds(call: Callable, repeats: int = 30) -> float:
    """The best of some means: what a call costs when nothing gets in its way, with more tries where that seems much."""
    jax.block_until_ready(call())
    means: list[float] = []
    while len(means) < repeats or (min(means) > EAGER_MICROSECONDS * 1e-6 and len(means) < 10 * repeats):
        start = time.perf_counter()
        for _ in range(100):
            call()
        means.append((time.perf_counter() - start) / 100)
    return min(means) * 1e6


def measured(only: list[str], quick: bool) -> list[dict[str, Any]]:
    x, g = normal(0, SHAPE), normal(1, SHAPE)
    copy = jax.jit(jnp.negative)
    rows = []
    for name, (ours, theirs) in functions().items():
        if only and name not in only:
            continue
        calls = sides(name, ours, theirs, x, g)
        rounds = 5 if quick or len(calls) == 1 else 15
        limits = {side: limit(name, side) for side in ("jax.nn", "torch")}
        ratios, seconds = decided(calls | {"copy": lambda: copy(x)}, rounds, limits)
        rows.append(
            {
                "activation": name,
                "step / jax.nn": step_ratio(ours, theirs, name, rounds) if theirs else None,
                "16 M / jax.nn": ratios.get("jax.nn"),
                "16 M / torch": ratios.get("torch"),
                "of copy bandwidth": 2 / ratios["copy"],  # four arrays to read and write, where the copy has two
                "copy, GB/s": 2e-9 * x.nbytes / min(seconds["copy"]),
                "eager, us": eager_microseconds(eager_call(name)) if name in rx.ACTIVATIONS else None,
                "known": "; ".join(f"{peer}: {why}" for (row, peer), (_, why) in _EXCEPTIONS.items() if row == name),
            }
        )
        print(f"{name}:", {k: round(v, 3) for k, v in rows[-1].items() if isinstance(v, float)}, flush=True)
    others = [name for name in rx.ACTIVATIONS if name not in functions() and (not only or name in only)]
    empty = dict.fromkeys(rows[0]) if rows else {}
    return rows + [empty | {"activation": name, "eager, us": eager_microseconds(eager_call(name))} for name in others]


def relu_eager_times() -> float:
    """How many times an eager call of jax.nn.relu costs what ours does."""
    small = normal(2, (8, 8))
    calls = (functools.partial(fun, small) for fun in (jax.nn.relu, rx.relu))
    theirs, ours = (eager_microseconds(call) for call in calls)
    return theirs / ours


def claimed(rows: list[dict[str, Any]]) -> dict[str, bool]:
    def beyond(column: str, most: Callable[[str], float]) -> list[str]:
        return [row["activation"] for row in rows if row[column] is not None and row[column] > most(row["activation"])]

    late = {
        f"a training step takes at most {STEP}x of jax.nn's": beyond("step / jax.nn", lambda _: STEP),
        f"an eager call takes at most {EAGER_MICROSECONDS:.0f} us": beyond("eager, us", lambda _: EAGER_MICROSECONDS),
    }
    for side in ("jax.nn", "torch"):
        column = f"16 M / {side}"
        number = sum(row[column] is not None for row in rows)
        late[f"16 M values and gradients take at most {CLOCK}x of {side}'s, or their exception ({number} rows)"] = (
            beyond(column, lambda name, side=side: limit(name, side))
        )
    claims = {claim + (f"; not {', '.join(names)}" if names else ""): not names for claim, names in late.items()}
    times = relu_eager_times()
    claims[f"an eager relu costs at least {EAGER_TIMES:.0f} times less than jax.nn's ({times:.1f})"] = times >= 10
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first look, and noisy")
    parser.add_argument("--only", nargs="+", default=[], choices=[*rx.ACTIVATIONS, "exact gelu"], metavar="NAME")
    options = parser.parse_args()
    keep_freed_memory()
    if torch is None:
        print("torch is NOT installed here: its column is empty.")
    else:
        torch.set_num_threads(len(os.sched_getaffinity(0)))  # as many as XLA takes
    rows = measured(options.only, options.quick)
    partial = "-partial" if options.only or options.quick else ""
    finish(f"speed{partial}", rows, claimed(rows), "Time beside the peers'")


if __name__ == "__main__":
    main()
