"""What the probe costs: temporary bytes (exact), time beside the plain step and beside other tools, tracing.

Bytes: the gradient of the reference stack of benchmarks/memory.py. Time: an SGD step of an MLP of 8 layers at batch
256 (8,192 on a GPU or TPU), statistics of every activation forward and backward; the forward pass of a ResNet; the
time to find and rewrite, by that of ``jax.make_jaxpr``. Values are compared first.

python -m benchmarks.probe [--quick]
"""

import argparse
import functools
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn, nnx

import relujax as rx

from ._common import device_slug, finish
from ._timing import agree, interleaved, keep_freed_memory, normal, ratio
from .memory import BATCH, LAYERS, WIDTH, bytes_per_element, compiled_bytes, loss, temporary_bytes

ON_CPU = jax.default_backend() == "cpu"
DEPTH, EXAMPLES, IMAGES = (8, 256, 16) if ON_CPU else (8, 8192, 512)  # so that launching kernels takes no part
STEP = {256: 1.10, 1024: 1.05}
BYTES = 1.02  # of the reference stack, in both forms
# Where one step in 16 has statistics. XLA for CPU takes some 50 us more for each call of a program as large as watch's,
# whichever branch it takes, a hundredth of the step at width 256; and from process to process it has 1.00 to 1.04.
SIXTEENTH = {"two programs": 1.01, "watch": 1.05}
LEAN = {"scan": 4.95, "unrolled": 4.5}
# Where a last layer of weights follows, as in most models: of each way to keep what a gradient needs, one or two.
HEADED = {
    "jax.nn.relu": (jax.nn.relu, 1.02),
    "relujax.relu": (rx.relu, 1.02),
    "jax.nn.gelu": (jax.nn.gelu, 1.05),
    "jax.nn.silu": (jax.nn.silu, 1.02),
    "jnp.tanh": (jnp.tanh, 1.09),
    "relujax.elu": (rx.elu, 1.13),
    "relujax.leaky_relu": (rx.leaky_relu, 1.14),
}


def memory_rows() -> list[dict[str, Any]]:
    rows = []
    for form in LEAN:
        for name, act in (("jax.nn.relu", jax.nn.relu), ("relujax.relu", rx.relu)):
            model = functools.partial(loss, act, form)
            plain = bytes_per_element(act, form)
            probed = temporary_bytes(rx.probe_grad(model), form)
            lean = temporary_bytes(jax.grad(rx.lean(model)), form)
            least = LEAN[form] if ON_CPU else bytes_per_element(rx.relu, form)
            rows += [
                _row(f"bytes of probe_grad, {form}, {name}", plain, probed, BYTES),
                _row(f"bytes of lean, {form}, {name}", plain, lean, least / plain),
            ]
    return rows + [_headed_row(name, *HEADED[name]) for name in (HEADED if ON_CPU else ())]


def _headed_row(name: str, act: Callable, limit: float) -> dict[str, Any]:
    """Bytes of the unrolled reference stack with ten outputs behind it."""

    def model(params: tuple, x: jax.Array) -> jax.Array:
        weights, head = params
        for w in weights:
            x = act(x @ w)
        return jnp.sum((x @ head) ** 2)

    def shape(*sizes: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(sizes, jnp.float32)

    args = ([shape(WIDTH, WIDTH)] * LAYERS, shape(WIDTH, 10)), shape(BATCH, WIDTH)
    plain, probed = (
        compiled_bytes(step, *args) / (LAYERS * BATCH * WIDTH) for step in (jax.grad(model), rx.probe_grad(model))
    )
    return _row(f"bytes of probe_grad, unrolled, ten outputs, {name}", plain, probed, limit)


def _row(name: str, peer: float, ours: float, limit: float | None) -> dict[str, Any]:
    return {"measured": name, "plain": peer, "relujax": ours, "ratio": ours / peer, "limit": limit}


def _timed(name: str, seconds: dict[str, list[float]], ours: str, limit: float | None) -> dict[str, Any]:
    """Best times in milliseconds; the ratio is that of interleaved pairs."""
    plain, best = (min(seconds[way]) * 1e3 for way in ("plain", ours))
    return _row(name, plain, best, limit) | {"ratio": ratio(seconds, ours, "plain")}


def mlp(act: Callable, params: list, x: jax.Array) -> jax.Array:
    for i, w in enumerate(params):
        x = act(i, x @ w)
    return jnp.mean(x**2)


def _network(width: int, act: Callable = jax.nn.relu) -> tuple[Callable, list, jax.Array]:
    """``(loss, weights, batch)`` of the MLP, with He's initialisation."""
    params = [normal(i, (width, width)) * (2 / width) ** 0.5 for i in range(DEPTH)]
    return functools.partial(mlp, lambda i, h: act(h)), params, normal(DEPTH, (EXAMPLES, width))


def _sgd(params: list, grads: list) -> list:
    return [p - 1e-4 * g for p, g in zip(params, grads, strict=True)]


def _steps(model: Callable, x: jax.Array) -> dict[str, Callable]:
    """A training step without statistics and with them."""

    def plain(params: list) -> Any:
        value, grads = jax.value_and_grad(model)(params, x)
        return _sgd(params, grads), value

    def probed(params: list) -> Any:
        (value, grads), stats = rx.probe_grad(model)(params, x)
        return _sgd(params, grads), value, stats

    return {"plain": plain, "relujax": probed}


def smooth_rows(width: int, rounds: int) -> list[dict[str, Any]]:
    """The step with activations whose derivative the probe has to work out."""
    rows = []
    for name, act in (("jax.nn.gelu", jax.nn.gelu), ("jnp.tanh", jnp.tanh)):
        model, params, x = _network(width, act)
        calls = {way: functools.partial(jax.jit(step), params) for way, step in _steps(model, x).items()}
        agree(calls["relujax"]()[:2], calls["plain"]()[:2], f"step at width {width}, {name}", tolerance=1e-4)
        seconds = interleaved(calls, rounds)
        rows.append(_timed(f"step at width {width}, {name}, ms", seconds, "relujax", None))
    return rows


def step_rows(width: int, rounds: int) -> list[dict[str, Any]]:
    """A training step with statistics, without, with a callback per site, and with Flax's own tools."""
    model, params, x = _network(width)

    def by_callback(params: list) -> Any:
        def act(i: int, h: jax.Array) -> jax.Array:
            y = jax.nn.relu(h)
            jax.debug.callback(lambda share, mean: None, jnp.mean(y > 0), jnp.mean(y))
            return y

        value, grads = jax.value_and_grad(functools.partial(mlp, act))(params, x)
        return _sgd(params, grads), value

    steps = _steps(model, x) | {"callback": by_callback} | _by_flax(width, x)
    calls = {name: functools.partial(jax.jit(step), params) for name, step in steps.items()}
    for name in calls:
        agree(calls[name]()[:2], calls["plain"]()[:2], f"step at width {width}, {name}", tolerance=1e-4)
    seconds = interleaved(calls, rounds)
    megabytes = {name: compiled_bytes(step, params) / 1e6 for name, step in steps.items()}
    peers = [name for name in steps if name != "plain"]
    limits = {"relujax": STEP[width]}
    return [_timed(f"step at width {width}, {name}, ms", seconds, name, limits.get(name)) for name in peers] + [
        _row(f"temporary bytes of a step at width {width}, {name}, MB", megabytes["plain"], megabytes[name], None)
        for name in peers
    ]


def _by_flax(width: int, x: jax.Array) -> dict[str, Callable]:
    """The step with Flax's own tools. They need an edited model: none of them sees a call of ``nn.relu``."""

    def numbers(h: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.mean(h > 0), jnp.mean(h)

    class Linen(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            for i in range(DEPTH):
                x = nn.relu(nn.Dense(width, use_bias=False, name=f"layer{i}")(x))
                x = self.perturb(f"signal{i}", x)
            return jnp.mean(x**2)

    zeros = {f"signal{i}": jnp.zeros((EXAMPLES, width)) for i in range(DEPTH)}

    def by_linen(params: list) -> Any:
        """``capture_intermediates`` of what the layers return, before the activation, and ``perturb`` behind it."""

        def loss(params: list, zeros: dict) -> tuple[jax.Array, Any]:
            variables = {"params": {f"layer{i}": {"kernel": w} for i, w in enumerate(params)}, "perturbations": zeros}
            value, state = Linen().apply(
                variables,
                x,
                capture_intermediates=lambda module, method: isinstance(module, nn.Dense),
                mutable=["intermediates"],
            )
            return value, jax.tree.map(numbers, state["intermediates"])

        (value, seen), (grads, signals) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(params, zeros)
        norms = jax.tree.map(lambda g: jnp.sqrt(jnp.sum(g * g, axis=0)), signals)
        return _sgd(params, grads), value, seen, norms

    class NNX(nnx.Module):
        def __init__(self, params: list):
            self.weights = nnx.List([nnx.Param(w) for w in params])

        def __call__(self, x: jax.Array) -> jax.Array:
            for w in self.weights:
                x = jax.nn.relu(x @ w[...])
                self.sow(nnx.Intermediate, "outputs", x)
            return jnp.mean(x**2)

    def by_nnx(params: list) -> Any:
        """``sow`` behind each activation, and ``nnx.capture``; forward only."""

        def loss(params: list) -> tuple[jax.Array, Any]:
            value, seen = nnx.capture(NNX(params), nnx.Intermediate)(x)
            return value, jax.tree.map(numbers, nnx.to_pure_dict(seen))

        (value, seen), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return _sgd(params, grads), value, seen

    return {"Linen capture_intermediates and perturb": by_linen, "nnx.capture": by_nnx}


def every_sixteenth_rows(width: int, rounds: int) -> list[dict[str, Any]]:
    """Sixteen training steps, one of them with statistics: by another program, and by ``lax.cond`` in one."""
    model, params, x = _network(width)
    plain, probed = (jax.jit(step) for step in _steps(model, x).values())

    @jax.jit
    def watched(number: int, params: list) -> Any:
        (value, grads), stats = rx.watch(model, every=16)(number, params, x)
        return _sgd(params, grads), value, stats

    ways = {
        "plain": lambda number: plain,
        "two programs": lambda number: plain if number else probed,
        "watch": lambda number: functools.partial(watched, number),
    }
    # Step by step in turns: in the time that sixteen steps take, a machine that others use too changes by more.
    steps = {(number, name): way(number) for number in range(16) for name, way in ways.items()}
    each = interleaved({str(key): functools.partial(step, params) for key, step in steps.items()}, max(3, rounds // 2))
    seconds = {
        name: [math.fsum(times) for times in zip(*(each[str((number, name))] for number in range(16)), strict=True)]
        for name in ways
    }
    return [
        _timed(f"16 steps at width {width}, statistics in one, {name}, ms", seconds, name, SIXTEENTH[name])
        for name in ways
        if name != "plain"
    ]


def resnet(params: dict, x: jax.Array) -> jax.Array:
    """Six residual blocks of 3 x 3 convolutions with group norm."""

    def conv(w: jax.Array, x: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def norm(x: jax.Array) -> jax.Array:
        grouped = x.reshape(*x.shape[:-1], 8, -1)
        mean = jnp.mean(grouped, axis=(1, 2, 4), keepdims=True)
        variance = jnp.var(grouped, axis=(1, 2, 4), keepdims=True)
        return ((grouped - mean) * jax.lax.rsqrt(variance + 1e-5)).reshape(x.shape)

    x = jax.nn.relu(conv(params["stem"], x))
    for first, second in params["blocks"]:
        x = jax.nn.relu(x + norm(conv(second, jax.nn.relu(norm(conv(first, x))))))
    return x.mean((1, 2))


def resnet_row(rounds: int) -> dict[str, Any]:
    params = {
        "stem": normal(0, (3, 3, 3, 64)) / 5,
        "blocks": [(normal(i, (3, 3, 64, 64)) / 24, normal(i + 9, (3, 3, 64, 64)) / 24) for i in range(6)],
    }
    x = normal(1, (IMAGES, 32, 32, 3))
    calls = {
        "plain": functools.partial(jax.jit(resnet), params, x),
        "relujax": functools.partial(jax.jit(rx.probe(resnet)), params, x),
    }
    agree(calls["relujax"]()[0], calls["plain"](), "resnet", tolerance=1e-4)
    seconds = interleaved(calls, rounds)
    return _timed("forward pass of a ResNet, ms", seconds, "relujax", 1.10)


def tracing_row(rounds: int) -> dict[str, Any]:
    """Finding the sites, and writing the program anew with none of them changed, by what tracing it once takes.

    What is counted is all that ``make_jaxpr`` of the rewritten function takes beyond ``make_jaxpr`` of the function:
    the search, each equation bound again, and the tracing of the activation that is put in. Tracing the function
    itself, which both do, is taken off.
    """
    params = {"stem": normal(0, (3, 3, 3, 8)), "blocks": [(normal(i, (3, 3, 8, 8)),) * 2 for i in range(12)]}
    x = normal(1, (2, 8, 8, 3))
    seconds: dict[str, list[float]] = {"plain": [], "relujax": []}
    for _ in range(max(5, rounds)):
        for name in seconds:
            fun = functools.partial(resnet)  # a new object: nothing is remembered
            start = time.perf_counter()
            jax.make_jaxpr(fun if name == "plain" else rx.swap(fun, {"relu": jax.nn.relu}))(params, x)
            seconds[name].append(time.perf_counter() - start)
    extra = np.median([b - a for a, b in zip(seconds["plain"], seconds["relujax"], strict=True)]) * 1e3
    return _row(
        "finding and rewriting beside make_jaxpr, ms", float(np.median(seconds["plain"]) * 1e3), float(extra), 1.0
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a first look, and noisy")
    rounds = 5 if parser.parse_args().quick else 25
    keep_freed_memory()
    measured = [
        functools.partial(part, width, rounds)
        for width in STEP
        for part in (step_rows, smooth_rows, every_sixteenth_rows)
    ]
    rows = []
    for part in (*measured, lambda: [resnet_row(rounds), tracing_row(rounds)], memory_rows):
        for row in part():
            print(*row.values(), sep="\t", file=sys.stderr)  # as they come: the whole takes a minute or more
            rows.append(row)
    claims = {
        f"{row['measured']}: at most {row['limit']:.3g}x": row["ratio"] <= row["limit"] for row in rows if row["limit"]
    }
    name = "probe" if ON_CPU else f"probe-{device_slug(jax.devices()[0])}"
    finish(name, rows, claims, "The probe beside the plain program", versioned=ON_CPU)


if __name__ == "__main__":
    main()
