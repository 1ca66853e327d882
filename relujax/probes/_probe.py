"""The same function with statistics of its activations as extra outputs, forward and backward."""

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._meshes import varying, varying_as
from .._precision import is_half
from ._graph import Path
from ._measure import empty_signal, measure, measure_network, measure_signal, with_signal
from ._merge import Record, join, repeat
from ._sites import Match, Site, nearest
from ._statistics import Signal, Stats
from .interpreter import Instrumented, Use, Verb, instrument, placed

#: Kinds through which a gradient passes where the output is positive, and nowhere else.
_PASSING_WHERE_ACTIVE = ("relu", "crelu", "relu_squared", "relu_power")


def _with_overrides(traced: Instrumented, unit_axis: Mapping[str, int] | int | None, mask: Any) -> Instrumented:
    """The finding with the unit axes that the user says; sites that are named there or for a mask must exist."""
    names = [site.name for site in traced.finding.sites]
    for option, value in (("unit_axis", unit_axis), ("mask", mask)):
        for name in value if isinstance(value, Mapping) else ():
            if name not in names:
                raise ValueError(
                    f"got {option} for a site {name!r} that is not there: expected a site's name, such as "
                    f"{nearest(name, names)}"
                )
    if unit_axis is None:
        return traced
    axes = dict.fromkeys(names, unit_axis) if isinstance(unit_axis, int) else dict(unit_axis)

    def turned(site: Site) -> Site:
        axis, rank = axes.get(site.name), len(site.shape)
        if axis is None:
            return site
        if not -rank <= axis < rank:
            raise ValueError(
                f"got unit_axis={axis} for {site.name} of shape {site.shape}: expected {-rank} to {rank - 1}"
            )
        return replace(site, axis=axis % rank)

    matches = tuple(replace(m, site=turned(m.site)) for m in traced.finding.matches)
    return replace(traced, finding=replace(traced.finding, matches=matches))


def _mask_of(site: Site, mask: Any, y: jax.Array) -> jax.Array | None:
    """The positions of one site that count, ``(examples, ...)``."""
    if isinstance(mask, Mapping):
        mask = mask.get(site.name)
    if mask is None:
        return None
    shape = site.rows[:-1]
    mask = jnp.asarray(mask, bool)
    try:
        mask = jnp.broadcast_to(mask.reshape(*mask.shape, *(1,) * (len(shape) - mask.ndim)), shape)
    except ValueError as error:
        raise ValueError(
            f"got a mask of shape {mask.shape} for {site.name}: expected one of the positions {shape}, or of the first "
            "of their axes"
        ) from error
    here = site.in_rows(jax.ShapeDtypeStruct(y.shape, y.dtype)).shape
    for divided in range(len(site.shape)):  # in shard_map: the part of this device
        names = tuple(name for name, _, axis in site.shards if axis == divided)
        if not names or site.role(divided) == "units":
            continue
        axis = site.row_axis(divided)
        mask = jax.lax.dynamic_slice_in_dim(mask, jax.lax.axis_index(names) * here[axis], here[axis], axis)
    return mask


def probe(
    fun: Callable,
    *,
    batch: int | None = None,
    unit_axis: Mapping[str, int] | int | None = None,
    mask: Any = None,
    edges: Any = None,
    network: bool = False,
) -> Callable:
    """The same function, with statistics of every activation as a second output.

    Args:
        fun: any JAX function; it is not edited, only traced. The first axis of an activation is read as examples and
            its last as units. Inside ``lax.scan`` there is a row of statistics per step, and so per layer of a stack
            that is scanned; inside ``vmap`` of the probed function, per example.
        batch: length of the axis of examples, where it is known: then a vector of that length is one unit, what
            ``vmap`` has left with another axis first is read by its examples all the same, and an activation that has
            no such axis is listed in ``Stats.opaque``, not misread. Where lengths alone do not tell the axis it is
            followed from the data: all behind a first argument that is a tree; where the first is a bare array, the
            bare arrays, the later ones first.
        unit_axis: the axis that counts units, of all sites or by site name, where it is not the last.
        mask: positions that count, ``(examples, ...)``, such as those of a sentence that are no padding; one for all
            sites, or by site name. An example of which nothing counts is no example.
        edges: ascending numbers, known when traced, for a histogram of the outputs of each site.
        network: also count the active outputs of all sites together, per example: ``Stats.network``. Until all are
            there it keeps 4 bytes per example and site. Steps of a scan are executions on the same examples.

    Returns:
        ``probed(*args) -> (fun(*args), Stats)``, pure, jittable and differentiable; the values are the same to
        rounding. Keyword arguments: bind them with :func:`functools.partial`.

    Raises:
        TypeError: for a function that cannot be traced.
        ValueError: for a site that is not there, an axis or a mask that does not fit, edges that do not ascend, or a
            mask with ``network``.

    Counts are exact up to 2**31 per unit in one call; :func:`merge` adds calls in 64 bits. Cost: a few reductions per
    activation.

    >>> import relujax as rx
    >>> _, stats = rx.probe(lambda x: jax.nn.relu(x) * 2)(jnp.array([[-1.0, 2.0], [-3.0, -4.0]]))
    >>> stats["relu"].active.tolist(), stats["relu"].total.tolist()
    ([0, 1], [0.0, 2.0])
    """
    checked = _checked_edges(edges)
    _check_network(network, mask)

    def probed(*args: Any) -> tuple[Any, Stats]:
        traced = _with_overrides(instrument(fun, args, batch), unit_axis, mask)
        verb = Verb(lambda use, _: _observed(use, checked, mask)[:2], repeat=repeat, join=join)
        out, records = traced.run(args, verb)
        return out, _stats(traced, records, {}, network)

    return probed


def _checked_edges(edges: Any) -> tuple[float, ...] | None:
    if edges is None:
        return None
    values = tuple(map(float, edges))
    if not values or not np.all(np.diff(values) > 0) or not np.all(np.isfinite(values)):
        raise ValueError(f"got edges={values}: expected at least one finite number, in ascending order")
    return values


def _check_network(network: bool, mask: Any) -> None:
    if network and mask is not None:
        raise ValueError(
            "got network=True and a mask, under which examples are of different sizes: expected one of them"
        )


def _observed(use: Use, edges: Any, mask: Any) -> tuple[Any, Record, jax.Array | None]:
    """The site's output by its own rules, the record of it, and the positions that that is of."""
    site, y = use.site, use.output()
    still, x = jax.lax.stop_gradient((y, use.x))
    if use.match.gate is not None:
        still = use.of(x)
    slope = None if site.kind in _PASSING_WHERE_ACTIVE else _slope(use, x)
    within = _mask_of(site, mask, still)
    return y, measure(site, still, slope, edges, within), within


def _slope(use: Use, x: jax.Array) -> Callable[[], jax.Array]:
    """Gives the activation's derivative: of the vector-Jacobian product with ones, whatever its rule keeps.

    It is made whenever it is asked for: of what the rule keeps, which is there until the backward pass anyway; where
    that is as much as two inputs, of the input, anew.
    """
    # A primitive hands on a derivative that it has worked out, where the family's rule hands on the output. In half
    # precision they differ: where the output is rounded to its limit the primitive passes no gradient.
    primitive = use.match.eqn.primitive.name in ("tanh", "logistic") and not is_half(x)
    fun = use.registered if primitive else use.of
    out, pull = jax.vjp(fun, x)
    kept = sum(leaf.dtype.itemsize for leaf in jax.tree.leaves(pull) if leaf.shape == x.shape)  # bits are packed
    anew = kept >= 2 * x.dtype.itemsize

    def slope() -> jax.Array:
        # Behind a barrier XLA does not know that the backward pass asks for the same, and keeps it until then.
        behind = jax.lax.optimization_barrier(x if anew else pull)
        [of_input] = (jax.vjp(fun, behind)[1] if anew else behind)(jnp.ones_like(out))
        # Each output of maxout is one of the inputs, and hands its gradient on.
        return of_input if of_input.shape == out.shape else jnp.ones_like(out)

    return slope


def _stats(
    traced: Instrumented,
    records: Mapping[Path, Record],
    signals: Mapping[Path, Signal],
    network: bool,
    reached: Collection[Path] = (),
) -> Stats:
    sites = traced.finding.sites
    stats, active = zip(*(records[site.path] for site in sites), strict=True) if sites else ((), ())
    stats = [
        with_signal(of, signals[of.site.path], of.site.path in reached) if of.site.path in signals else of
        for of in stats
    ]
    return Stats.of(stats, traced.finding.opaque, measure_network(sites, active) if network else None)


def capture(fun: Callable, *, batch: int | None = None) -> Callable:
    """The outputs of every activation: ``captured(*args) -> {site name: output}``, with ``batch`` the examples first.

    >>> import relujax as rx
    >>> capture(lambda x: rx.relu(x) * 2)(jnp.array([-1.0, 2.0]))["relu"].tolist()
    [0.0, 2.0]
    """

    def captured(*args: Any) -> dict[str, jax.Array]:
        traced = instrument(fun, args, batch)
        _, records = traced.run(args, Verb(lambda use, _: ((y := use.output()), y), join=_unsharded))
        return {site.name: site.examples_first(records[site.path]) for site in traced.finding.sites}

    return captured


def _unsharded(site: Site, stacked: jax.Array) -> jax.Array:
    """The output of all shards."""
    y = placed(stacked, jax.typeof(stacked).sharding.mesh)
    y = y.reshape(*(size for _, size, _ in site.shards), *y.shape[1:])
    for k in reversed(range(len(site.shards))):  # the minor mesh axis first
        axis = site.shards[k][2]
        parts = list(jnp.moveaxis(y, k, 0))
        y = parts[0] if axis is None else jnp.concatenate(parts, axis=axis - len(site.shape))
    return y


def probe_grad(
    loss: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    head: Callable = lambda out: out,
    batch: int | None = None,
    unit_axis: Mapping[str, int] | int | None = None,
    mask: Any = None,
    edges: Any = None,
    network: bool = False,
    gains: bool = False,
) -> Callable:
    """Value and gradients of a loss, with forward and backward statistics of every activation.

    Args:
        loss: a scalar function, the model's and the loss's equations in one; with ``has_aux``, ``(scalar, aux)``.
        argnums: which arguments to differentiate with respect to.
        has_aux: as in :func:`jax.value_and_grad`.
        head: applied to what ``loss`` returns, and not probed: with a model as ``loss`` and the loss as ``head``, an
            activation inside the loss does not count as a layer.
        batch: as in :func:`probe`; so are ``unit_axis``, ``mask``, ``edges`` and ``network``.
        unit_axis: see there.
        mask: see there; the norm of the backward signal is that of all positions.
        edges: see there.
        network: see there.
        gains: also measure what each activation makes of the signal, so that a summary can tell how much of its change
            comes from the slopes of activations and how much from the weights; keeps what the activation's own rule
            keeps, such as 1 bit per element.

    Returns:
        ``probed(*args) -> ((loss, grads), Stats)``; with ``has_aux``, ``(((loss, aux), grads), Stats)``. The signal at
        a site is the gradient of the loss with respect to its output; it costs O(units) memory, because the
        statistics arrive as the gradients of small zero tokens. A site in a ``while`` loop, through which there is no
        backward pass, has no signal. That of a site on which the loss does not depend, or behind ``stop_gradient``
        alone, as on those of a target network, is 0; its ``site.reached`` says so.

    Raises:
        TypeError: when the loss is not a scalar, or is differentiated with respect to what is no float.
        ValueError: for an argument number out of range.

    >>> import relujax as rx
    >>> loss = lambda w, x: rx.relu(x @ w).sum()
    >>> (value, grad), stats = rx.probe_grad(loss)(jnp.eye(2), jnp.array([[-1.0, 2.0]]))
    >>> value.item(), stats["relu"].signal.norm.tolist()
    (2.0, [1.0, 1.0])
    """
    checked = _checked_edges(edges)
    _check_network(network, mask)
    one = not isinstance(argnums, Sequence)
    numbers = (operator.index(argnums),) if one else tuple(argnums)

    def probed(*args: Any) -> tuple[Any, Stats]:
        if any(not -len(args) <= n < len(args) for n in numbers):
            raise ValueError(f"got argnums={argnums} for {len(args)} arguments: expected numbers of existing ones")
        for n in numbers:
            _check_differentiable(args[n], n)
        traced = _with_overrides(instrument(loss, args, batch), unit_axis, mask)
        # A while loop has no backward pass, and a token in it would ask for one.
        backward = [match for match in traced.finding.matches if match.site.executions is not None]
        tokens = {match.site.path: _token(match, gains) for match in backward}
        reached: set[Path] = set()

        def tapped(tokens: dict, *args: Any) -> tuple[Any, Any]:
            def observe(use: Use, token: Signal | None) -> tuple[Any, Record]:
                y, record, within = _observed(use, checked, mask)
                if token is None:
                    return y, record
                pull = None
                if token.behind is not None:
                    _, pull = jax.vjp(use.of, jax.lax.stop_gradient(use.x))
                return _tapping(use.site, reached)(y, token, pull, within), record

            out, records = traced.run(args, Verb(observe, tokens=tokens, repeat=repeat, join=join))
            out = head(out)
            value, aux = out if has_aux else (out, None)
            for site in traced.finding.sites[-1:]:
                count = records[site.path][0].active
                if varying(jax.typeof(count)) <= varying(jax.typeof(value)):  # no mesh has summed it
                    value = _when_measured(value, count)
            return value, (aux, records)

        shifted = (n % len(args) + 1 for n in numbers)  # the tokens come first
        grad = jax.value_and_grad(tapped, argnums=(0, *shifted), has_aux=True)
        (value, (aux, records)), (signals, *grads) = grad(tokens, *args)
        for site in (match.site for match in backward if match.site.shards):
            signals[site.path] = join(site, signals[site.path])
        gradients = grads[0] if one else tuple(grads)
        return ((value, aux) if has_aux else value, gradients), _stats(traced, records, signals, network, reached)

    return probed


def _check_differentiable(argument: Any, number: int) -> None:
    """Integers and random keys, such as those that NNX modules hold, have no gradient."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(argument):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"got {dtype} at {jax.tree_util.keystr(path) or 'the top'} of argument {number}, of which gradients "
                "are asked: expected floats; give what is not as another argument (relujax.nnx.probe_grad parts an "
                "NNX module itself)"
            )


def _token(match: Match, gains: bool) -> Signal:
    """What the signal at a site arrives in."""
    token = empty_signal(match.site, behind=gains and match.gate is None)
    inside = not match.site.shards  # of no shard_map in the function, but maybe of one around it
    return varying_as(token, match.eqn.outvars[0].aval) if inside else token


@jax.custom_vjp
def _when_measured(value: jax.Array, count: jax.Array) -> jax.Array:
    """The loss, whose backward pass waits for a count at the last site: until then the output is kept for that."""
    return value


def _begun(count: jax.Array, g: jax.Array) -> tuple[jax.Array, None]:
    # Always true, but XLA cannot know: it would run the rare careful sums when it has nothing better to do.
    return jnp.where(jnp.all(count.reshape(-1)[:1] >= 0), g, jnp.zeros_like(g)), None


_when_measured.defvjp(lambda value, count: (value, count), _begun)


def _tapping(site: Site, reached: set[Path]) -> Callable:
    """The identity; going back it hands the cotangent on, and its statistics to the token.

    JAX traces the way back through it only where a cotangent comes: the site is added to ``reached`` then.
    """

    @jax.custom_vjp
    def tap(y: jax.Array, token: Signal, pull: Callable | None, within: jax.Array | None) -> jax.Array:
        return y

    def measured(kept: tuple, g: jax.Array) -> tuple[jax.Array, Signal, None, None]:
        reached.add(site.path)
        pull, within = kept
        behind = None if pull is None else pull(g)[0]
        signal = measure_signal(site, g, within, behind)
        if g.size:
            # Always true, but XLA cannot know: it measures first, and then writes the next cotangent over this one.
            g = jnp.where(signal.zeros[1].reshape(-1)[0] >= 0, g, jnp.zeros_like(g))
        return g, signal, None, None

    tap.defvjp(lambda y, token, pull, within: (y, (pull, within)), measured)
    return tap
