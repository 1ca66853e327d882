"""Log singular values of stacks of any depth: the product of a thousand Jacobians spans thousands of nats."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from .._checks import whole
from .._meshes import varying_as
from .._precision import in_full_precision
from ._checks import check_point
from ._graded import log_singular_values
from ._push import (
    Pushed,
    eliminated,
    finished,
    pushed,
    relative_precision,
    started,
    started_narrow,
    with_doubled_basis,
)

_NARROW = 32  # numbers in a point, up to which twice the precision takes a few milliseconds for a hundred layers
_ERROR = 5e-3  # nats that rounding may take from, or add to, the smallest value of a whole stack factored in groups
_MEMORY = 0.9  # per factorisation, of the largest spread seen


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Scan:
    """A stack of equal layers, as :func:`jax.lax.scan` runs it.

    Attributes:
        body: ``body(h, params) -> h``, one layer, whose output has the shapes of its input. A body of
            :func:`jax.lax.scan`, which returns ``(h, anything)``, does too.
        params: a pytree of arrays whose first axis is that of layers.

    >>> Scan(lambda h, w: jax.nn.relu(w @ h), jnp.ones((1000, 8, 8))).depth
    1000
    """

    body: Callable = field(metadata={"static": True})
    params: Any

    @property
    def depth(self) -> int:
        """How many layers there are."""
        lengths = {leaf.shape[0] if jnp.ndim(leaf) else 0 for leaf in jax.tree.leaves(self.params)}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"got params whose first axes are {sorted(lengths)}: expected one number of layers, at least 1, for "
                "all; stack the layers' arrays along a new first axis"
            )
        return int(lengths.pop())

    def layer(self, params: Any) -> Callable:
        """One of the layers, as a function of ``h``."""

        def run(h: Any) -> Any:
            out = self.body(h, params)
            shapes = jax.tree.map(jnp.shape, h)
            if isinstance(out, tuple) and len(out) == 2 and jax.tree.map(jnp.shape, out[0]) == shapes:
                out = out[0]
            if jax.tree.map(jnp.shape, out) == shapes:
                return jax.tree.map(lambda new, old: varying_as(new, jax.typeof(old)), out, h)
            raise ValueError(
                f"got a body that turns shapes {shapes} into {jax.tree.map(jnp.shape, out)}: expected the same, as "
                "layers in a scan follow each other; pass layers that change shape as a list of callables"
            )

        return run


def stack_spectrum(
    layers: Sequence[Callable] | Scan, *, interval: int | None = None, compensated: bool | None = None
) -> Callable:
    r"""Logarithms of all singular values of the Jacobian of a stack, at any depth.

    .. math:: \log \sigma_i(J_L \cdots J_2 J_1)

    A product of matrices in floating point keeps its largest singular value and loses the others to rounding within a
    few layers. Here it is factored every few layers, sizes are kept as integer exponents, and the values are parted by
    QR sweeps and Jacobi rotations: each to its own precision. Rounding one layer costs the smallest value it passes on
    some ``eps`` times the layer's condition number. In float32, after 1,000 leaky layers of width 16, all values of
    eight networks are right to 2e-3 nats (their layers' own rounding), without ``compensated`` to 1e-2.

    Args:
        layers: callables, each applied to the output of the one before, or a :class:`Scan`, which compiles in the same
            time at any depth.
        interval: layers between two factorisations. By default a :class:`Scan` takes as many as part directions by so
            little that the errors of all groups of more than one together stay below 5e-3 nats, and no group loses more
            than half of the digits: in float32 four of 64 layers by 7.9 nats, four of 1,000 by 5.1 (12 where
            ``compensated``, 18 in float64). It predicts their number from the spread it has met, and takes fewer where
            they part more. Gaussian layers of width 128 part theirs by some 7 nats each, and are factored one by one;
            orthogonal ones in groups of four or five, which takes half the time: in float32 all values of 64 leaky ones
            are right to 2e-3 nats, with ``interval=1`` to 1e-4. Examples under one ``jax.vmap`` decide together. A list
            is factored at every layer. A number that is too large loses the smallest values, which come out as
            ``-inf``.
        compensated: whether bases are kept in twice the precision, and layers' Jacobians taken without them, whole; by
            default in float32 where no layer has more than 32 inputs or outputs (inputs of a narrowing first layer
            aside).

    Returns:
        ``log_singular_values(x)``: as many as the lesser of inputs and outputs, descending, ``-inf`` beyond the rank;
        NaN where something is not finite. Directions that one factorisation finds further below its largest than the
        digits reach, about 15 nats (23 where ``compensated``; 35 and 53 in float64), are ``-inf`` too, though they may
        not be zero: of one layer ``diag(1e20, 1, ..., 1, 1e-20)`` all but the first. ``jax.vmap`` it over examples;
        where explicit axes of a mesh divide them, that in ``jax.sharding.auto_axes(..., out_sharding=P(axis))``, for
        loops under ``vmap`` do not know such axes. Divided by the depth they are Lyapunov exponents:
        :func:`relujax.spectra.lyapunov_exponents`.

    Raises:
        ValueError: for no layers, an interval below 1, weights that are not finite, a body that changes shapes.
        TypeError: for a point that is not floating.

    Units that a layer does not pass on are counted exactly. A layer that is singular in another way is told by pivots
    at rounding: where they are above it by chance, its lost directions come out as values some 16 nats down (36 in
    float64). Forward mode only (a narrowing first layer aside), and not differentiable itself. Cost, at a least width
    ``k``: ``k`` forward-mode passes (one per input of each layer where ``compensated``), ``8 k**3 / 3`` operations per
    factorisation, and a few ``(k, k)`` matrices. LAPACK's factorisations take most of the time: on CPUs, 64 layers of
    width 128 take 10 times as long as their passes alone where each is factored. LAPACK's threads wait for each other:
    where other processes use the same cores, set ``OPENBLAS_NUM_THREADS=1``.

    Reference: Stewart, `1999 <https://doi.org/10.1137/S1064827597319519>`_ (the sweeps); Drmač and Veselić,
    `2008 <https://doi.org/10.1137/050639193>`_ (the rotations); Dekker,
    `1971 <https://doi.org/10.1007/BF01397083>`_ (twice the precision).

    >>> halving = Scan(lambda h, w: w * h, jnp.tile(jnp.array([0.5, 0.0]), (2000, 1)))
    >>> stack_spectrum(halving)(jnp.ones(2)).tolist()  # log(0.5) * 2000
    [-1386.29, -inf]
    """
    if interval is not None:
        whole("interval", interval)
    if isinstance(layers, Scan):
        _check_finite(layers.params)
    elif not layers:
        raise ValueError("got no layers: expected at least one callable; the empty product is the identity")

    @in_full_precision
    def log_values(x: Any) -> jax.Array:
        check_point(x)
        x = jax.tree.map(jnp.asarray, x)
        if isinstance(layers, Scan):
            x = _as_carried(layers, x)
        sizes = [_size(x)] if isinstance(layers, Scan) else _sizes(layers, x)
        narrowing = len(sizes) > 1 and sizes[1] < sizes[0]
        narrow = max(sizes[narrowing:]) <= _NARROW

        def start(state: Pushed) -> Pushed:
            by_default = narrow and state.spread.dtype == jnp.float32
            return with_doubled_basis(state) if (by_default if compensated is None else compensated) else state

        if isinstance(layers, Scan):
            state = _through_scan(layers, interval, start(started(x)))
        elif narrowing:
            state = _through_list(layers[1:], interval, start(started_narrow(layers[0], x)), since=1)
        else:
            state = _through_list(layers, interval, start(started(x)), since=0)
        values = log_singular_values(finished(state))
        beyond = min(_size(x), _size(state.point)) - len(values)
        values = jnp.pad(values, (0, beyond), constant_values=-jnp.inf)
        finite = jax.tree.reduce(jnp.logical_and, jax.tree.map(lambda y: jnp.all(jnp.isfinite(y)), state.point))
        return jnp.where(finite & ~jnp.any(jnp.isnan(values)), values, jnp.nan)

    return log_values


def lyapunov_exponents(
    layers: Sequence[Callable] | Scan, *, interval: int | None = None, compensated: bool | None = None
) -> Callable:
    r"""Growth per layer of perturbations, in nats: :func:`relujax.stack_spectrum` over depth, in the limit of depth.

    .. math:: \lambda_i = \frac{1}{L} \log \sigma_i(J_L \cdots J_1)

    Args:
        layers: as there.
        interval: as there.
        compensated: as there.

    Returns:
        ``exponents(x)``: descending, ``-inf`` beyond the rank.

    >>> lyapunov_exponents(Scan(lambda h, w: w * h, jnp.full((100, 1), 0.5)))(jnp.ones(1)).tolist()
    [-0.693147]
    """
    spectrum = stack_spectrum(layers, interval=interval, compensated=compensated)
    depth = layers.depth if isinstance(layers, Scan) else len(layers)
    return lambda x: spectrum(x) / depth


def _as_carried(stack: Scan, x: Any) -> Any:
    """The point, which inside ``shard_map`` differs where the output of a layer does, as a loop asks for."""
    last = stack.depth - 1
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return x
    layer = stack.layer(jax.tree.map(lambda a: a[last], stack.params))
    return varying_as(x, *jax.tree.leaves(jax.eval_shape(layer, x)))


def _check_finite(params: Any) -> None:
    for leaf in jax.tree.leaves(params):
        if isinstance(leaf, Tracer) or not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            continue
        # By NumPy, as a trace that is under way would make a tracer of the answer; other processes' parts stay there.
        shards = leaf.addressable_shards if isinstance(leaf, jax.Array) else None
        parts = [leaf] if shards is None else [shard.data for shard in shards if shard.replica_id == 0]
        if not all(np.isfinite(np.asarray(part)).all() for part in parts):
            raise ValueError("got params that are not finite: expected numbers; look for where training went wrong")


def _sizes(layers: Sequence[Callable], x: Any) -> list[int]:
    """Of the points before and after each layer."""
    points = itertools.accumulate(layers, lambda point, layer: jax.eval_shape(layer, point), initial=x)
    return [_size(point) for point in points]


def _through_list(layers: Sequence[Callable], interval: int | None, state: Pushed, since: int) -> Pushed:
    for layer in layers:
        state, since = pushed(state, layer), since + 1
        outputs, columns = state.basis.shape
        if outputs < columns or since >= (interval or 1):
            state, since = eliminated(state), 0
    return eliminated(state) if since else state


def _through_scan(stack: Scan, interval: int | None, state: Pushed) -> Pushed:
    if interval is None:
        return _in_groups_that_fit(stack, state)
    depth = stack.depth
    interval = min(interval, depth)
    whole = depth - depth % interval

    def group(state: Pushed, params: Any) -> tuple[Pushed, None]:
        state, _ = jax.lax.scan(lambda state, one: (pushed(state, stack.layer(one)), None), state, params)
        return eliminated(state), None

    grouped = jax.tree.map(lambda a: a[:whole].reshape(-1, interval, *a.shape[1:]), stack.params)
    state, _ = jax.lax.scan(group, state, grouped)
    if whole < depth:
        state, _ = group(state, jax.tree.map(lambda a: a[whole:], stack.params))
    return state


def _in_groups_that_fit(stack: Scan, state: Pushed) -> Pushed:
    """Tries as many layers at once as the spread met so far predicts to fit, and fewer where they do not."""
    params, depth = jax.tree.map(jnp.asarray, stack.params), stack.depth
    precision = relative_precision(state)

    def layer(index: jax.Array, state: Pushed) -> Pushed:
        return pushed(state, stack.layer(jax.tree.map(lambda a: a[index], params)))

    def group(carry: tuple) -> tuple:
        first, size, per_layer, state = carry
        last = jnp.minimum(first + size, depth)
        trial = eliminated(jax.lax.fori_loop(first, last, layer, state))
        spread = _largest_of_examples(trial.spread)
        limit = _largest_spread((last - first).astype(spread.dtype), depth, precision)
        fits, size, per_layer = _planned(spread, last - first, size, per_layer, limit)
        state = jax.tree.map(lambda new, old: jnp.where(fits, new, old), trial, state)
        return jnp.where(fits, last, first), size, per_layer, state

    plan = jnp.int32(0), jnp.int32(1), jnp.zeros((), state.spread.dtype)
    first, size, per_layer = varying_as(plan, jax.typeof(state.spread))
    start = first, size, per_layer, state
    return jax.lax.while_loop(lambda carry: carry[0] < depth, group, start)[3]


def _largest_spread(size: jax.Array, depth: int, precision: float) -> jax.Array:
    """Nats by which a group of ``size`` layers may part directions: its share of the error is ``exp`` of them."""
    of_one_layer = math.log(_ERROR / depth / precision)
    return jnp.minimum(of_one_layer + jnp.log(size), math.log(1 / precision) / 2)


def _planned(
    spread: jax.Array, tried: jax.Array, size: jax.Array, per_layer: jax.Array, limit: jax.Array | float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whether a group of ``tried`` layers fits, the size of the next, and the spread that one layer is taken to add."""
    fits = (spread <= limit) | (tried == 1)
    per_layer = jnp.maximum(spread / tried.astype(spread.dtype), _MEMORY * per_layer)
    room = jnp.clip(limit / per_layer, 1, 2 * size.astype(spread.dtype)).astype(size.dtype)
    room = jnp.where(fits, room, jnp.minimum(room, tried - 1))  # the quotient may round to what was tried
    size = jnp.where(jnp.isfinite(spread), room, 1)
    return fits, size, jnp.where(jnp.isfinite(spread), per_layer, 0)


@jax.custom_batching.custom_vmap
def _largest_of_examples(x: jax.Array) -> jax.Array:
    """Over all of a ``vmap``: examples that decided each for itself would all compute both sides of a decision."""
    return x


@_largest_of_examples.def_vmap
def _(_: int, __: list, xs: jax.Array) -> tuple[jax.Array, bool]:
    return _largest_of_examples(jnp.max(xs, initial=-jnp.inf)), False


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
