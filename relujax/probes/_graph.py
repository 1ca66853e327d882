"""The data flow of a jaxpr: what each value is computed from, across the calls that are read from the inside."""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from . import _jaxpr as jx

Path = tuple[int, ...]

#: Most elements of a constant array that are compared, to see whether they are all one number.
_SMALL = 4096


@dataclass(eq=False, slots=True)
class Node:
    """One value of a region: an input, a constant, or what an equation returns.

    Attributes:
        order: its place in the order of execution.
        aval: shape and dtype.
        key: frame and variable that hold it when the region is evaluated.
        inputs: what it is computed from.
        users: what is computed from it; :data:`RETURNED` among them where the region returns it.
        eqn: the equation that makes it, or None.
        path: where that stands.
        number: its value where that is one known number.
        data: whether it depends on an argument that is no parameter.
        noise: whether it depends on random bits.
        fixed: whether it depends on neither data, parameters nor noise.
        counts: whether it is computed of integers and truth values alone.
        origins: the parameters behind it, filled in by the finder.
        feeds: whether something other than a scalar depends on it, filled in by the finder.
        observed: whether an equation without outputs takes it, as a debug print does.
    """

    order: int
    aval: Any
    key: tuple[Path, Any] | None = None
    inputs: tuple["Node", ...] = ()
    users: list["Node"] = field(default_factory=list)
    eqn: Any = None
    path: Path = ()
    number: float | None = None
    data: bool = False
    noise: bool = False
    fixed: bool = False
    counts: bool = False
    origins: frozenset = frozenset()
    feeds: bool = False
    observed: bool = False

    @property
    def primitive(self) -> str:
        """What makes it; "" for an input."""
        return self.eqn.primitive.name if self.eqn is not None else ""

    @property
    def varies(self) -> bool:
        """Whether it may differ from call to call with the same parameters."""
        return self.data or self.noise


#: Stands among the users of a value that a region returns.
RETURNED = Node(-1, None)


@dataclass(eq=False, slots=True)
class Step:
    """One equation of a region, or of a call that is read from the inside.

    Attributes:
        eqn: the equation.
        path: where it stands.
        inputs: its operands.
        outputs: its results.
        callers: the calls around it within the region, outermost first.
        jaxprs: those among the equation's parameters.
    """

    eqn: Any
    path: Path
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    callers: tuple[Any, ...]
    jaxprs: tuple[Any, ...]

    @property
    def stack(self) -> str:
        """The name scopes around it."""
        return jx.joined(*map(jx.scope, (*self.callers, self.eqn)))

    @property
    def goes_backward(self) -> bool:
        """Whether it belongs to a backward pass, or to what that computes again."""
        return any(map(jx.goes_backward, (*self.callers, self.eqn)))

    @property
    def is_differentiated(self) -> bool:
        """Whether its derivative is a part of the function."""
        return any(map(jx.is_differentiated, (*self.callers, self.eqn)))

    @property
    def source(self) -> str | None:
        """``file:line`` of the user's code."""
        return next(filter(None, map(jx.source_line, (self.eqn, *reversed(self.callers)))), None)


@dataclass(eq=False, slots=True)
class Region:
    """Equations that are evaluated in one go: a jaxpr, and the plain calls in it.

    Attributes:
        steps: in the order of execution.
        outputs: what it returns.
    """

    steps: list[Step]
    outputs: list[Node]


def build(jaxpr: Any, inputs: Sequence[Node], path: Path, enters: Callable[[Any], bool]) -> Region:
    """The region of a jaxpr.

    Args:
        jaxpr: open or closed.
        inputs: a node for each of its inputs; they get the keys that they have inside.
        path: where it stands.
        enters: which equations are calls to be read from the inside.
    """
    steps: list[Step] = []
    orders = itertools.count(len(inputs) + 1)

    def operands(eqn: Any, env: dict[Any, Node]) -> tuple[Node, ...]:
        return tuple([literal(atom) if jx.is_literal(atom) else env[atom] for atom in eqn.invars])

    def literal(atom: Any) -> Node:
        return Node(next(orders), atom.aval, number=_number(atom.val), fixed=True)

    def frame(jaxpr: Any, arguments: Sequence[Node], path: Path, callers: tuple) -> list[Node]:
        inner = jx.open_jaxpr(jaxpr)
        env: dict[Any, Node] = dict(zip(inner.invars, arguments, strict=True))
        for var, argument in env.items():
            argument.key = argument.key or (path, var)
        for var, value in zip(inner.constvars, jx.constants(jaxpr), strict=True):
            env[var] = Node(next(orders), var.aval, (path, var), number=_number(value), fixed=True)
        for index, eqn in enumerate(inner.eqns):
            here, taken = (*path, index), operands(eqn, env)
            if enters(eqn):
                made = frame(jx.body(eqn), taken, here, (*callers, eqn))
            else:
                known = ([], eqn, here, None, *_flags(eqn, taken))
                made = tuple([Node(next(orders), var.aval, (path, var), taken, *known) for var in eqn.outvars])
                for operand in taken:
                    operand.users.extend(made)
                    operand.observed |= not made
                steps.append(Step(eqn, here, taken, made, callers, tuple(jx.inner_jaxprs(eqn))))
            env.update(zip(eqn.outvars, made, strict=True))
        return [literal(atom) if jx.is_literal(atom) else env[atom] for atom in inner.outvars]

    outputs = frame(jaxpr, inputs, path, ())
    for output in outputs:
        output.users.append(RETURNED)
    return Region(steps, outputs)


def _flags(eqn: Any, inputs: tuple[Node, ...]) -> tuple[bool, bool, bool, bool]:
    """Whether what an equation returns depends on data, on random bits, or on neither of them nor on parameters.

    And whether it is computed of integers, truth values and single numbers alone.
    """
    if eqn.primitive.name == "random_bits":  # what it depends on is a key
        return False, True, False, False
    data, noise, fixed, counts = False, False, bool(inputs), bool(inputs)
    for node in inputs:
        data, noise, fixed = data or node.data, noise or node.noise, fixed and node.fixed
        counts = counts and (
            node.counts
            or (node.number is not None and node.aval.shape == ())
            or _is_whole(getattr(node.aval, "dtype", None))
        )
    return data, noise, fixed, counts


def _number(value: Any) -> float | None:
    """The one number that a constant consists of, or None."""
    if isinstance(value, Tracer) or (not hasattr(value, "dtype") and not np.isscalar(value)):
        return None
    size = np.size(value)
    if size == 0 or size > _SMALL or not _is_numeric(jax.typeof(value).dtype):
        return None
    flat = np.asarray(value).reshape(-1)
    same = flat[0] == flat[0] if size == 1 else np.all(flat == flat[0])
    return float(flat[0].real) if same else None


@functools.cache
def is_floating(dtype: Any) -> bool:
    """Whether values of a dtype, extended ones among them, are real numbers that are rounded."""
    return jnp.issubdtype(dtype, jnp.floating)


@functools.cache
def _is_whole(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.bool_)


@functools.cache
def _is_numeric(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)
