"""How statistics add: of two executions, of the shards of a mesh, and of batches, devices and runs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._measure import stable_norm
from ._sites import Site
from ._statistics import Held, Network, Signal, SiteStats, Stats, to_host

#: Statistics of a site, and the active elements of each example.
Record = tuple[SiteStats, jax.Array]
#: Statistics that are plain sums over the elements of a unit.
_PER_UNIT = ("active", "passing", "total", "square", "nonfinite")


def repeat(first: Record, second: Record) -> Record:
    """Two executions of a site on the same examples, in a loop that has no backward pass."""
    (one, active), (other, more) = first, second
    both = replace(
        jax.tree.map(jnp.add, one, other),
        examples=jnp.maximum(one.examples, other.examples),
        largest=jnp.maximum(one.largest, other.largest),
    )
    return both, active + more


def join(site: Site, stacked: Any) -> Any:
    """The record, or the signal, of the shards of ``shard_map``, which come stacked along a leading axis."""
    sizes = tuple(size for _, size, _ in site.shards)
    roles = site.roles
    if not sizes:
        return jax.tree.map(lambda value: value[0], stacked)
    apart = tuple(i for i, role in enumerate(roles) if role == "units")
    together = tuple(i for i, role in enumerate(roles) if role not in ("units", "copies"))
    copies = tuple(i for i, role in enumerate(roles) if role == "copies")
    of_examples = tuple(i for i, role in enumerate(roles) if role == "examples")

    def by_unit(value: jax.Array, reduce: Callable, of_copies: Callable = jnp.max) -> jax.Array:
        """Reduce over what shares the units, and line up what divides them."""
        value = value.reshape(*sizes, *value.shape[1:])
        value = jnp.expand_dims(of_copies(value, copies), copies)
        value = jnp.expand_dims(reduce(value, together), together)
        value = value.squeeze(tuple(i for i in range(len(sizes)) if i not in apart))
        value = jnp.moveaxis(value, tuple(range(len(apart))), tuple(range(-1 - len(apart), -1)))
        return value.reshape(*value.shape[: value.ndim - 1 - len(apart)], -1)

    def once(value: jax.Array, over: tuple[int, ...]) -> jax.Array:
        """Sum over some mesh axes; over the others it is the same."""
        value = value.reshape(*sizes, *value.shape[1:])
        return jnp.sum(value, axis=over, keepdims=True)[(0,) * len(sizes)]

    if isinstance(stacked, Signal):
        # Without types that vary, JAX gives each copy of a value an equal share of its gradient.
        behind = stacked.behind
        if behind is not None:
            behind = jnp.sum(behind.reshape(*sizes, *behind.shape[1:]), axis=copies, keepdims=True)
            behind = stable_norm(behind, tuple(range(len(sizes))))
        return Signal(
            norm=by_unit(stacked.norm, stable_norm, jnp.sum),
            zeros=tuple(by_unit(z, jnp.sum) for z in stacked.zeros),
            behind=behind,
        )
    stacked, active = stacked
    # Of the parts of an example each device has the sum.
    active = active.reshape(*sizes, *active.shape[1:])[tuple(slice(None) if r == "examples" else 0 for r in roles)]
    ahead = len(of_examples)
    active = jnp.moveaxis(active, tuple(range(ahead)), tuple(range(-1 - ahead, -1)))
    active = active.reshape(*active.shape[: active.ndim - 1 - ahead], -1)
    joined = {name: by_unit(getattr(stacked, name), jnp.sum) for name in _PER_UNIT}
    outputs = None if stacked.outputs is None else once(stacked.outputs, together + apart)
    whole = replace(
        stacked,
        **joined,
        largest=by_unit(stacked.largest, jnp.max),
        count=once(stacked.count, together),
        examples=once(stacked.examples, of_examples),
        histogram=once(stacked.histogram, of_examples),
        outputs=outputs,
    )
    return whole, active


def merge(a: Stats, b: Stats) -> Stats:
    """Add the statistics of two batches, devices or runs of the same function.

    Runs on the host in 64 bits, whatever the precision of JAX: counts are exact up to 9e18.

    Args:
        a: statistics of :func:`relujax.probe` or :func:`relujax.probe_grad`, or merged ones.
        b: others, of the same sites.

    Returns:
        Their sum, as NumPy arrays.

    Raises:
        ValueError: when the two are not of the same sites, or only one has backward statistics, gains, a histogram of
            outputs with those edges, or axes of several calls.

    >>> import relujax as rx
    >>> _, stats = rx.probe(rx.relu)(jnp.array([[-1.0, 2.0]]))
    >>> merge(stats, stats)["relu"].active.tolist()
    [0, 2]
    """
    if list(a) != list(b):
        odd = sorted(set(a) ^ set(b)) or list(a)
        raise ValueError(
            f"cannot merge statistics of different functions: got {len(a)} and {len(b)} sites that differ in "
            f"{', '.join(odd[:3])}; expected the same sites in both"
        )
    for one, other in zip(a.layout.sites, b.layout.sites, strict=True):
        _check_alike(one, other)
    if a.calls != b.calls:
        raise ValueError(
            f"cannot merge statistics of several calls with those of others: got axes {a.calls} and {b.calls} before "
            "the last one; expected the same in both. jax.tree.map(lambda value: value[i], stats) are those of one call"
        )
    if a.layout.network != b.layout.network:
        raise ValueError(
            f"cannot merge statistics of networks of {a.layout.network} and {b.layout.network} outputs per example: "
            "expected the same function, and network=True in both or in none"
        )
    add = {"sums": np.add, "largest": np.maximum, "norms": np.hypot}
    first, second = to_host(a.measures), to_host(b.measures)
    measures = [add[kind](first[..., part], second[..., part]) for kind, part in a.layout.parts.items()]
    layout = replace(a.layout, sites=tuple(map(_reached_in_either, a.layout.sites, b.layout.sites)))
    counts = to_host(a.counts) + to_host(b.counts)
    merged = replace(a, layout=layout, counts=counts, measures=np.concatenate(measures, axis=-1))
    return _as_one_network(merged, a.network, b.network)


def _reached_in_either(one: Held, other: Held) -> Held:
    """A generator's layers are cut off in its critic's step, and not in its own."""
    return replace(one, site=replace(one.site, reached=one.site.reached or other.site.reached))


def _as_one_network(merged: Stats, a: Network | None, b: Network | None) -> Stats:
    """To the spreads within two batches belongs what lies between their means (Chan, Golub and LeVeque, 1979).

    And of no examples there is no smallest number.
    """
    if a is None or b is None:
        return merged
    (n, total), (m, other) = ((to_host(part.examples), to_host(part.total)) for part in (a, b))
    between = (other / np.maximum(m, 1) - total / np.maximum(n, 1)) ** 2 * (n * m / np.maximum(n + m, 1))
    _, place, _ = merged.layout.places["", "network.spread"]
    merged.measures[..., place] += between[..., None]
    smaller = np.minimum(np.where(n > 0, a.fewest, np.inf), np.where(m > 0, b.fewest, np.inf))
    _, place, _ = merged.layout.places["", "network.fewest"]
    merged.measures[..., place] = np.where(n + m > 0, smaller, 0)[..., None]
    return merged


def _check_alike(a: Held, b: Held) -> None:
    only = a.names ^ b.names
    if (a.site.units, a.site.kind) != (b.site.units, b.site.kind):
        got = f"{a.site.units} units of {a.site.kind} and {b.site.units} of {b.site.kind}"
        expected = "the same function in both"
    elif "signal.norm" in only:
        got = "a backward signal in one and none in the other"
        expected = "both from probe, or both from probe_grad"
    elif a.edges != b.edges:
        got, expected = f"histograms with edges {a.edges} and {b.edges}", "the same edges in both"
    elif "signal.behind" in only:
        got, expected = "gains in one and none in the other", "both with gains=True, or both without"
    elif a.shapes != b.shapes:
        got = f"scans of {a.site.steps} and {b.site.steps} steps around it"
        expected = "the same function in both"
    else:
        return
    raise ValueError(f"cannot merge statistics of {a.site.name}: got {got}; expected {expected}")
