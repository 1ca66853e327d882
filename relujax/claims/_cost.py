"""Whether ReLU is cheaper: JAX's own functions, timed in turns, in the cache, out of it, and in a layer."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from .._clock import interleaved
from ..functions import activation
from ._claim import Claim, Effects
from ._lab import Lab
from ._rule import Criterion

_ROUNDS, _TURNS = 11, 3
_BATCH, _WIDTH = 256, 512
_PEERS = ("sigmoid", "tanh")
#: JAX's own, as most people call them; and this library's ReLU, whose backward pass has a rule of its own.
_FUNCTIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relujax.relu": activation("relu")}


def _measure(lab: Lab) -> Effects:
    effects = {}
    for place, times, arrays in _places(lab):
        for way, timed in (("forward", _forward), ("backward", _backward)):
            calls = {
                name: functools.partial(timed(f, times, layer=len(arrays) > 1), *arrays)
                for name, f in _FUNCTIONS.items()
                if name in ("relu", *_PEERS) or (way, place) == ("backward", "out of cache")
            }
            rounds = max(lab.pick(_ROUNDS, 3), lab.seeds)
            best = {name: _best(values) for name, values in interleaved(calls, rounds * _TURNS).items()}
            for ours in (name for name in calls if name not in _PEERS):
                for peer in _PEERS:
                    of = "" if ours == "relu" else f"{ours} "
                    effects[f"{way}, {place}, {of}against {peer}"] = (best[peer] / best[ours]).tolist()
    return effects


def _best(seconds: list[float]) -> np.ndarray:
    """Of the turns of each round the one that nothing got in the way of."""
    return np.reshape(seconds, (-1, _TURNS)).min(axis=1)


def _places(lab: Lab) -> list[tuple[str, int, tuple[jax.Array, ...]]]:
    """Where, how often per call, and on what."""

    def normal(*shape: int) -> jax.Array:
        return jax.random.normal(jax.random.key(0), shape, jnp.float32)

    width = lab.pick(_WIDTH, 8)
    return [
        ("in cache", lab.pick(200, 2), (normal(lab.pick(2**14, 2**6)),)),
        ("out of cache", 2, (normal(lab.pick(2**23, 2**6)),)),
        ("fused into a layer", lab.pick(4, 2), (normal(lab.pick(_BATCH, 8), width), normal(width, width) / width**0.5)),
    ]


def _forward(f: Callable, times: int, layer: bool) -> Callable:
    """Again and again on its own output, so that nothing can be left out; shifted, so that it stays in range."""

    def body(_: int, x: jax.Array, *weights: jax.Array) -> jax.Array:
        return f(x @ weights[0] - 0.5) if layer else f(x) - 0.5

    return jax.jit(lambda x, *w: jax.lax.fori_loop(0, times, lambda i, x: body(i, x, *w), x))


def _backward(f: Callable, times: int, layer: bool) -> Callable:
    """The pullback alone, from what the forward pass has kept."""

    def run(x: jax.Array, *weights: jax.Array) -> jax.Array:
        inside = (lambda x: f(x @ weights[0])) if layer else f
        y, pull = jax.vjp(inside, x)
        kept, tree = jax.tree.flatten(pull)

        def body(_: int, g: jax.Array) -> jax.Array:
            # Tied to g, or the compiler would compute the slopes once for all times.
            now, g = jax.lax.optimization_barrier((kept, g))
            [back] = jax.tree.unflatten(tree, now)(g)
            return back + 1.0

        return jax.lax.fori_loop(0, times, body, y)

    return jax.jit(run)


CLAIM = Claim(
    name="cheap",
    statement="ReLU is cheaper than sigmoid and tanh",
    measured="time of jax.nn.sigmoid or jnp.tanh over that of jax.nn.relu (or of relujax.relu, where it is named), of "
    "compiled float32 calls that take turns, the best of three in each round; 1.05 is what a clock can tell",
    unit="times ReLU's time",
    criterion=Criterion(1.05),
    experiment=_measure,
    weight=9,
)
