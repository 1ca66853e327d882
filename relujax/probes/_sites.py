"""What an activation of a function is called, where it stands, and how it is written."""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax

from ._forms import Form
from ._graph import Path


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
        batched: whether the length of the axis of examples was given, and the first axis has it.
        steps: lengths of the scans around it, outermost first; its statistics have these as leading axes.
        layers: for each of them, whether it scans over parameters, so that its steps are layers; else they are time.
        scans: for each of them, how many entries of ``path`` lead to its equation.
        axis: the axis that counts units, where the user has said so.
        shards: in ``shard_map``, the mesh axes along which its output differs: ``(name, size, axis)``, with the axis of
            the output that each divides; without types that vary (``check_vma=False``) also those along which there are
            copies, with None.
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
    shards: tuple[tuple[str, int, int | None], ...] = ()

    @property
    def unit_axis(self) -> int | None:
        """Which axis counts units, by default the last one; None for a vector with one number per example."""
        if self.axis is not None:
            return self.axis
        return None if self.batched and len(self.shape) == 1 else len(self.shape) - 1

    @property
    def rows(self) -> tuple[int, ...]:
        """The shape as ``(examples, ..., units)``: a bare vector is one unit of a batch, or else one example."""
        return self.in_rows(jax.ShapeDtypeStruct(self.shape, self.dtype)).shape

    def in_rows(self, y: Any) -> Any:
        """An array of the site's rank as ``(examples, ..., units)``."""
        shape, axis = y.shape, self.unit_axis
        if len(shape) == 1:
            order, new = (0,), (*shape, 1) if axis is None else (1, *shape)
        else:
            assert axis is not None
            order = (*(i for i in range(len(shape)) if i != axis), axis)
            new = tuple(shape[i] for i in order)
            new = new if axis else (1, *new)  # units first: there is no axis of examples
        if isinstance(y, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(new, y.dtype)
        return (y if order == tuple(range(len(shape))) else y.transpose(order)).reshape(new)

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
        return "positions" if axis or self.unit_axis == 0 else "examples"

    @property
    def roles(self) -> tuple[str, ...]:
        """What each of the mesh axes divides."""
        return tuple(self.role(axis) for _, _, axis in self.shards)

    def row_axis(self, axis: int) -> int:
        """Where an axis of the output, not that of its units, is in :attr:`rows`."""
        return axis if self.unit_axis is None or axis < self.unit_axis or self.unit_axis == 0 else axis - 1


@dataclass(frozen=True)
class Opaque:
    """A part of a function that the probe could not enter.

    Attributes:
        primitive: the JAX primitive that it is.
        kinds: the activations seen inside, or ``()`` where it cannot be looked into.
        reason: why it was not entered.
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
    """

    site: Site
    eqn: Any
    at: tuple[int, ...] = ()
    form: Form | None = None
    gate: bool | None = None


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
