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

_ROUNDS = 11
_BATCH, _WIDTH = 128, 512
#: Values of an array that stays in the cache (64 kB), and of one that does not (64 MB, in place).
_SMALL, _LARGE = 2**14, 2**24
_PEERS = ("sigmoid", "tanh")
#: JAX's own, as most people call them; and this library's ReLU, whose backward pass has a rule of its own.
_FUNCTIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relujax.relu": activation("relu")}


def _measure(lab: Lab) -> Effects:
    effects = {}
    for place, times, turns, arrays in _places(lab):
        for way, ready in (("forward", _forward), ("backward", _backward)):
            calls = {
                name: ready(f, times, *arrays)
                for name, f in _FUNCTIONS.items()
                if name in ("relu", *_PEERS) or (way, place) == ("backward", "out of cache")
            }
            rounds = max(lab.pick(_ROUNDS, 3), lab.seeds)
            best = {name: _best(values, turns) for name, values in interleaved(calls, rounds * turns).items()}
            for ours in (name for name in calls if name not in _PEERS):
                for peer in _PEERS:
                    of = "" if ours == "relu" else f"{ours} "
                    effects[f"{way}, {place}, {of}against {peer}"] = (best[peer] / best[ours]).tolist()
    return effects


def _best(seconds: list[float], turns: int) -> np.ndarray:
    """Of the turns of each round the one that nothing got in the way of."""
    return np.reshape(seconds, (-1, turns)).min(axis=1)


def _places(lab: Lab) -> list[tuple[str, int, int, tuple[jax.Array, ...]]]:
    """Where, how often per call, in how many turns per round, and on what: an input, and in a layer its weights."""

    def normal(*shape: int) -> jax.Array:
        return jax.random.normal(jax.random.key(0), shape, jnp.float32)

    width = lab.pick(_WIDTH, 8)
    return [
        ("in cache", lab.pick(200, 2), lab.pick(9, 2), (normal(lab.pick(_SMALL, 2**6)),)),
        ("out of cache", lab.pick(3, 2), lab.pick(3, 2), (normal(lab.pick(_LARGE, 2**6)),)),
        (
            "fused into a layer",
            2,
            lab.pick(9, 2),
            (normal(lab.pick(_BATCH, 8), width), normal(width, width) / width**0.5),
        ),
    ]


def _forward(f: Callable, times: int, x: jax.Array, *weights: jax.Array) -> Callable[[], jax.Array]:
    """Again and again on its own output, so that nothing can be left out; shifted, so that it stays in range."""

    def again(x: jax.Array, *weights: jax.Array) -> jax.Array:
        return f(x @ weights[0] - 0.5) if weights else f(x) - 0.5

    run = jax.jit(lambda x, *weights: jax.lax.fori_loop(0, times, lambda _, x: again(x, *weights), x))
    return functools.partial(run, x, *weights)


def _backward(f: Callable, times: int, x: jax.Array, *weights: jax.Array) -> Callable[[], jax.Array]:
    """The pullback to the input alone: what it needs is kept before the clock runs."""

    @jax.jit
    def kept(x: jax.Array, *weights: jax.Array) -> tuple[jax.Array, Callable]:
        return jax.vjp(lambda x: f(x @ weights[0]) if weights else f(x), x)

    @jax.jit
    def run(g: jax.Array, pull: Callable) -> jax.Array:
        def again(_: int, g: jax.Array) -> jax.Array:
            # Tied to g, or the compiler would unpack what was kept once for all times.
            now, g = jax.lax.optimization_barrier((pull, g))
            [back] = now(g)
            return back + 1.0

        return jax.lax.fori_loop(0, times, again, g)

    return functools.partial(run, *kept(x, *weights))


CLAIM = Claim(
    name="cheap",
    statement="ReLU is cheaper than sigmoid and tanh",
    measured="time of jax.nn.sigmoid or jnp.tanh over that of jax.nn.relu (or of relujax.relu, where it is named), of "
    f"compiled float32 calls that take turns, the best of some in each of {_ROUNDS} rounds; arrays of 64 kB in the "
    f"cache, of 64 MB out of it, layers of {_WIDTH} units for a batch of {_BATCH}; backward from what the forward pass "
    "has kept",
    unit="times ReLU's time",
    criterion=Criterion(1.05, reason="less is no reason to choose"),
    experiment=_measure,
    weight=15,
)
