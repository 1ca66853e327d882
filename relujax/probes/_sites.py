"""What an activation of a function is called, where it stands, and how it is written."""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._forms import Form
from ._graph import Path


def layer_suffix(step: tuple[int, ...]) -> str:
    """What follows a site's name for one of its layers.

    >>> layer_suffix((3, 0)), layer_suffix(())
    ('[3,0]', '')
    """
    return f"[{','.join(map(str, step))}]" if step else ""


@dataclass(frozen=True)
class Site:
    """One activation of a function.

    Attributes:
        name: stable and unique within the function: the path of the nearest upstream weights, or the module of the
            name stack, then the kind; for example ``layers/3/relu``.
        kind: what activation it is; a key of :data:`relujax.ACTIVATIONS`. A gated unit is of the kind of its gate.
        path: where it stands in the jaxpr: equation numbers, outermost first.
        shape: shape of its output in one execution, over all devices.
        dtype: dtype of its output.
        source: ``file:line`` of the user's code that calls it, or None.
        weights: paths of the parameters consumed since the site before, in the module that names this one.
        executions: how often it runs in one call of the function; None inside a ``while`` loop.
        batched: whether the length of the axis of examples was given.
        steps: lengths of the scans around it, outermost first; its statistics have these as leading axes.
        layers: for each of them, whether it scans over parameters, so that its steps are layers; else they are time.
        scans: for each of them, how many entries of ``path`` lead to its equation.
        axis: the axis that counts units, where the user has said so.
        examples_axis: the axis that counts examples: the first, but for what ``vmap`` has left elsewhere.
        shards: in ``shard_map``, the mesh axes along which its output differs: ``(name, size, axis)``, with the axis of
            the output that each divides; without types that vary (``check_vma=False``) also those along which there are
            copies, with None.
        reached: in statistics of a gradient, whether there is a way for it from the loss to this site; there is none
            behind ``stop_gradient`` or whole numbers alone. All layers and calls of a site count together; one in a
            ``while`` loop has no signal, and counts as reached.
    """

    name: str
    kind: str
    path: Path
    shape: tuple[int, ...]
    dtype: str
    source: str | None
    weights: tuple[str, ...] = ()
    executions: int | None = 1
    batched: bool = False
    steps: tuple[int, ...] = ()
    layers: tuple[bool, ...] = ()
    scans: tuple[int, ...] = ()
    axis: int | None = None
    examples_axis: int = 0
    shards: tuple[tuple[str, int, int | None], ...] = ()
    reached: bool = True

    @property
    def unit_axis(self) -> int | None:
        """Which axis counts units, by default the last one of an example; None for one number per example."""
        if self.axis is not None:
            return self.axis
        rank = len(self.shape)
        if rank == 1:
            return None if self.batched else 0
        return rank - 2 if self.examples_axis == rank - 1 else rank - 1

    @property
    def rows(self) -> tuple[int, ...]:
        """The shape as ``(examples, ..., units)``: a bare vector is one unit of a batch, or else one example."""
        return self.in_rows(jax.ShapeDtypeStruct(self.shape, self.dtype)).shape

    @property
    def _order(self) -> tuple[int, ...]:
        """The axes as :attr:`rows` has them."""
        first, last = self.examples_axis, self.unit_axis
        between = (i for i in range(len(self.shape)) if i not in (first, last))
        return tuple(i for i in (*((first,) if first != last else ()), *between, last) if i is not None)

    def in_rows(self, y: Any) -> Any:
        """An array of the site's rank as ``(examples, ..., units)``."""
        order = self._order
        new = tuple(y.shape[i] for i in order)
        if self.unit_axis is None:
            new = (*new, 1)
        elif self.unit_axis == self.examples_axis:  # units first: there is no axis of examples
            new = (1, *new)
        if isinstance(y, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(new, y.dtype)
        return (y if order == tuple(range(len(order))) else y.transpose(order)).reshape(new)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The shape with the axis of examples first."""
        rest = (n for i, n in enumerate(self.shape) if i != self.examples_axis)
        return (self.shape[self.examples_axis], *rest) if self.shape else ()

    def examples_first(self, y: Any) -> Any:
        """An array of the site's shape, and of further axes before it, with the examples as the first axis of it."""
        rank = len(self.shape)
        return jnp.moveaxis(y, self.examples_axis - rank, -rank) if self.examples_axis else y

    @property
    def layer_axes(self) -> tuple[int, ...]:
        """Which of the axes of ``steps`` count layers."""
        return tuple(axis for axis, is_layer in enumerate(self.layers) if is_layer)

    @property
    def layer_steps(self) -> tuple[tuple[int, ...], ...]:
        """Its layers by their number in each scan over layers; ``((),)`` where it stands in none."""
        return tuple(np.ndindex(*(self.steps[axis] for axis in self.layer_axes)))

    def order(self, step: tuple[int, ...]) -> tuple[int, ...]:
        """When a layer of it runs: its path, with the layer's number behind that of its scan's equation.

        Two sites in one scan take turns.
        """
        key, start = (), 0
        for axis, number in zip(self.layer_axes, step, strict=True):
            depth = self.scans[axis]
            key, start = (*key, *self.path[start:depth], number), depth
        return (*key, *self.path[start:])

    @property
    def units(self) -> int:
        """How many units the site has."""
        return self.rows[-1]

    @property
    def size(self) -> int:
        """Elements of one example."""
        return math.prod(self.rows[1:])

    def role(self, axis: int | None) -> str:
        """What an axis of the output counts: "examples", "positions" of an example, or "units"; None has "copies"."""
        if axis is None:
            return "copies"
        if axis == self.unit_axis:
            return "units"
        return "examples" if axis == self.examples_axis else "positions"

    @property
    def roles(self) -> tuple[str, ...]:
        """What each of the mesh axes divides."""
        return tuple(self.role(axis) for _, _, axis in self.shards)

    def row_axis(self, axis: int) -> int:
        """Where an axis of the output, not that of its units, is in :attr:`rows`."""
        return self._order.index(axis) + (self.unit_axis == self.examples_axis)


def in_order(sites: Iterable[Site]) -> list[tuple[Site, tuple[int, ...], str]]:
    """Every layer of every site as it is executed: site, number of the layer in each scan over layers, and name.

    >>> import relujax as rx
    >>> scanned = lambda p, x: jax.lax.scan(lambda h, w: (rx.tanh(rx.relu(h @ w)), None), x, p["w"])[0]
    >>> [name for _, _, name in in_order(rx.sites(scanned, {"w": jnp.ones((2, 3, 3))}, jnp.ones((1, 3))))]
    ['w/relu[0]', 'tanh[0]', 'w/relu[1]', 'tanh[1]']
    """
    layers = [(site, step) for site in sites for step in site.layer_steps]
    layers.sort(key=lambda layer: layer[0].order(layer[1]))
    return [(site, step, site.name + layer_suffix(step)) for site, step in layers]


@dataclass(frozen=True)
class Opaque:
    """A part of a function that is not measured: the probe could not enter it, or cannot tell what it is.

    Attributes:
        primitive: the JAX primitive that it is, or the name of the call.
        kinds: the activations seen there, or ``()`` where it cannot be looked into.
        reason: why it is not measured.
        source: ``file:line`` of the user's code, or None.
    """

    primitive: str
    kinds: tuple[str, ...]
    reason: str
    source: str | None


@dataclass(frozen=True, eq=False)
class Match:
    """How a site is written.

    Attributes:
        site: the site.
        eqn: the equation that it ends in.
        at: the operands of that equation that are the input, where it is the whole activation; else ``()``.
        form: what several equations write out together, or None.
        gate: for a gated unit in one call, whether it is the product of the gate and its other operand; else None.
        differentiated: whether the function takes a derivative of it inside.
    """

    site: Site
    eqn: Any
    at: tuple[int, ...] = ()
    form: Form | None = None
    gate: bool | None = None
    differentiated: bool = False


@dataclass(frozen=True)
class Finding:
    """What :func:`find` sees: the sites in execution order, and what stayed closed."""

    matches: tuple[Match, ...]
    opaque: tuple[Opaque, ...]

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites alone."""
        return tuple(match.site for match in self.matches)


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message about a name that does not exist: those that do and look like it."""
    names = list(dict.fromkeys(names))
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[:3]
    return ", ".join(repr(n) for n in close) or "none: no activation was found"
