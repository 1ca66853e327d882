"""How statistics add: of two executions, of the shards of a mesh, and of batches, devices and runs."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._measure import stable_norm
from ._sites import Site
from ._statistics import Signal, SiteStats, Stats, to_host

#: Statistics that are plain sums over the elements of a unit.
_PER_UNIT = ("active", "passing", "total", "square", "nonfinite")


def repeat(first: SiteStats, second: SiteStats) -> SiteStats:
    """Two executions of a site on the same examples."""
    return _combined(first, second, jnp.maximum, jnp.add, examples=jnp.maximum)


def join(site: Site, stacked: Any) -> Any:
    """The statistics, or the signal, of the shards of ``shard_map``, which come stacked along a leading axis."""
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
    joined = {name: by_unit(getattr(stacked, name), jnp.sum) for name in _PER_UNIT}
    outputs = None if stacked.outputs is None else once(stacked.outputs, together + apart)
    return replace(
        stacked,
        **joined,
        largest=by_unit(stacked.largest, jnp.max),
        count=once(stacked.count, together),
        examples=once(stacked.examples, of_examples),
        histogram=once(stacked.histogram, of_examples),
        outputs=outputs,
    )


def merge(a: Stats, b: Stats) -> Stats:
    """Add the statistics of two batches, devices or runs of the same function.

    Runs on the host in 64 bits, whatever the precision of JAX: counts are exact up to 9e18.

    Args:
        a: statistics of :func:`relujax.probe` or :func:`relujax.probe_grad`, or merged ones.
        b: others, of the same sites.

    Returns:
        Their sum, as NumPy arrays.

    Raises:
        ValueError: when the two are not of the same sites, or only one has backward statistics, gains, or a histogram
            of outputs with those edges.

    >>> import relujax as rx
    >>> _, stats = rx.probe(rx.relu)(jnp.array([[-1.0, 2.0]]))
    >>> merge(stats, stats)["relu"].active.tolist()
    [0, 2]
    """
    if a.in_order() != b.in_order():
        odd = sorted(set(a) ^ set(b)) or a.in_order()
        raise ValueError(
            f"cannot merge statistics of different functions: got {len(a)} and {len(b)} sites that differ in "
            f"{', '.join(odd[:3])}; expected the same sites in both"
        )
    return Stats({name: _merge_site(a[name], b[name]) for name in a}, a.opaque)


def _merge_site(a: SiteStats, b: SiteStats) -> SiteStats:
    if a.site.units != b.site.units or a.site.kind != b.site.kind:
        raise ValueError(
            f"cannot merge statistics of {a.site.name}: got {a.site.units} units of {a.site.kind} and {b.site.units} "
            f"of {b.site.kind}; expected the same function in both"
        )
    if (a.signal is None) != (b.signal is None):
        raise ValueError(
            f"cannot merge statistics of {a.site.name}: got a backward signal in one and none in the other; "
            "expected both from probe, or both from probe_grad"
        )
    if a.edges != b.edges:
        raise ValueError(
            f"cannot merge statistics of {a.site.name}: got histograms with edges {a.edges} and {b.edges}; expected "
            "the same edges in both"
        )
    if a.signal is not None and b.signal is not None and (a.signal.behind is None) != (b.signal.behind is None):
        raise ValueError(
            f"cannot merge statistics of {a.site.name}: got gains in one and none in the other; expected both with "
            "gains=True, or both without"
        )
    return _combined(a, b, np.maximum, np.add, examples=np.add, of=to_host)


def _combined(
    a: SiteStats, b: SiteStats, largest: Callable, add: Callable, examples: Callable, of: Callable = lambda value: value
) -> SiteStats:
    special = {"largest": largest, "examples": examples}
    merged = {
        f.name: special.get(f.name, add)(of(getattr(a, f.name)), of(getattr(b, f.name)))
        for f in fields(SiteStats)
        if f.name not in ("signal", "site", "outputs", "edges")
    }
    outputs = None if a.outputs is None or b.outputs is None else add(of(a.outputs), of(b.outputs))
    signal = None
    if a.signal is not None and b.signal is not None:
        behind = None
        if a.signal.behind is not None and b.signal.behind is not None:
            behind = np.hypot(of(a.signal.behind), of(b.signal.behind))
        signal = Signal(
            norm=np.hypot(of(a.signal.norm), of(b.signal.norm)),
            zeros=add(of(a.signal.zeros), of(b.signal.zeros)),
            behind=behind,
        )
    return replace(a, **merged, outputs=outputs, signal=signal)
