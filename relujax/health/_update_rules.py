"""The rule about updates: how far one step moves the weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._precision import widen
from ..probes import parameter_names
from ._findings import Alarm, Findings, Severity, Skipped
from ._site_summary import SiteSummary
from ._summary import Summary

RULE = "update/weight ratio"
#: mean |update| / mean |weight| that TheDeepChecker takes for healthy, 10^-4 to 10^-1.
SLOW, FAST = 1e-4, 1e-1
#: The same for SageMaker Debugger: beyond it is critical.
STILL, WILD = 1e-8, 10.0


@dataclass(frozen=True)
class _Moved:
    """A weight matrix, and how far it moved for its size."""

    name: str
    ratio: float
    row: SiteSummary | None


def update_ratio(summary: Summary, params: Any, updates: Any) -> Findings:
    """How far one step moves the weights, for their size; in matrices and kernels, whose size means something.

    Biases and scales, which have one axis, and weights that are all 0 are left out.
    """
    if params is None and updates is None:
        yield Skipped(RULE, "no params and updates were given")
        return
    weights, moves = _named("params", params), _named("updates", updates)
    _check(params, updates, weights, moves)
    moved = list(_moved(summary, weights, moves))
    if not moved:
        yield Skipped(RULE, "params holds no weight matrix that is not all 0")
    yield from _alarm([m for m in moved if not math.isfinite(m.ratio)], "not finite")
    yield from _alarm([m for m in moved if FAST < m.ratio < math.inf], "above 0.1", worst=max)
    yield from _alarm([m for m in moved if m.ratio < SLOW], "below 1e-4", worst=min)


def _named(what: str, tree: Any) -> dict[str, Any]:
    leaves = jax.tree.leaves(tree)
    odd = [type(leaf).__name__ for leaf in leaves if not hasattr(leaf, "dtype") and not isinstance(leaf, (int, float))]
    if odd:
        raise ValueError(f"got {what} with a leaf of type {odd[0]}: expected a tree of arrays")
    return dict(zip(parameter_names((tree,)), leaves, strict=True))


def _check(params: Any, updates: Any, weights: Mapping[str, Any], moves: Mapping[str, Any]) -> None:
    if params is None or updates is None:
        given, missing = ("updates", "params") if params is None else ("params", "updates")
        raise ValueError(f"got {given} and no {missing}: expected both, as optax's update returns updates for params")
    if weights.keys() != moves.keys():
        odd = sorted(weights.keys() ^ moves.keys())
        raise ValueError(
            f"got params with {len(weights)} arrays and updates with {len(moves)}, which differ in "
            f"{', '.join(map(repr, odd[:3]))}: expected trees of the same structure"
        )
    for name, weight in weights.items():
        if np.shape(weight) != np.shape(moves[name]):
            raise ValueError(
                f"got {name!r} of shape {np.shape(weight)} in params and {np.shape(moves[name])} in updates: expected "
                "the same shapes"
            )


def _moved(summary: Summary, weights: Mapping[str, Any], moves: Mapping[str, Any]) -> Iterator[_Moved]:
    """In order of execution, then what stands before no activation."""
    told: set[str] = set()
    for row in summary:
        mine = row.weights_in(weights)
        told.update(row.weights)
        yield from _ratios(mine, row.weights_in(moves), row)
    rest = [name for name in weights if name not in told]
    yield from _ratios({name: weights[name] for name in rest}, moves, None)


def _ratios(weights: Mapping[str, Any], moves: Mapping[str, Any], row: SiteSummary | None) -> Iterator[_Moved]:
    for name, weight in weights.items():
        if np.ndim(weight) >= 2 and jnp.issubdtype(jnp.result_type(weight), jnp.inexact):
            size = _mean(weight)
            if size != 0:
                yield _Moved(name, _mean(moves[name]) / size, row)


def _mean(x: Any) -> float:
    return float(jnp.mean(jnp.abs(widen(x))))


def _alarm(bad: Sequence[_Moved], how: str, worst: Any = max) -> Iterator[Alarm]:
    if not bad:
        return
    first, most = bad[0], worst(bad, key=lambda m: m.ratio)
    more = f"; most so in {most.name} with {most.ratio:.2g}" if most is not first else ""
    others = f"; {len(bad)} weights in all" if len(bad) > 1 else ""
    yield Alarm(
        RULE,
        _severity(most.ratio),
        first.row.name if first.row else None,
        first.row.source if first.row else None,
        f"{first.name or 'params'}: one step changes the weights by {_share(first.ratio)}, {how}{more}{others}",
        _remedy(most.ratio),
        "mean |update| / mean |weight| in 1e-4 to 1e-1: TheDeepChecker (Ben Braiek & Khomh 2023); critical outside "
        "1e-8 to 10: SageMaker Debugger WeightUpdateRatio",
    )


def _severity(ratio: float) -> Severity:
    return "warning" if STILL <= ratio <= WILD else "critical"


def _share(ratio: float) -> str:
    if ratio == 0:
        return "nothing"
    return f"{ratio:.2g} of their size"


def _remedy(ratio: float) -> str:
    if not math.isfinite(ratio):
        return "look at the gradient and at the optimiser's state; skip steps that are not finite"
    if ratio > FAST:
        return "a lower learning rate, a warm-up, clipping of the update"
    if ratio == 0:
        return "see whether a gradient arrives there; what is frozen on purpose can be left out of both trees"
    return "a higher learning rate, or an optimiser that scales each weight's step (Adam)"
