"""The data flow of a jaxpr: what each value is computed from, across the calls that are read from the inside."""

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
        users: what is computed from it.
        eqn: the equation that makes it, or None.
        path: where that stands.
        number: its value where that is one known number.
        data: whether it depends on an argument that is no parameter.
        noise: whether it depends on random bits.
        fixed: whether it depends on neither data, parameters nor noise.
        origins: the parameters behind it, filled in by the finder.
        feeds: whether something other than a scalar depends on it, filled in by the finder.
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
    origins: frozenset = frozenset()
    feeds: bool = False

    @property
    def primitive(self) -> str:
        """What makes it; "" for an input."""
        return self.eqn.primitive.name if self.eqn is not None else ""

    @property
    def varies(self) -> bool:
        """Whether it may differ from call to call with the same parameters."""
        return self.data or self.noise


@dataclass(eq=False, slots=True)
class Step:
    """One equation of a region, or of a call that is read from the inside.

    Attributes:
        eqn: the equation.
        path: where it stands.
        inputs: its operands.
        outputs: its results.
        callers: the calls around it within the region, outermost first.
    """

    eqn: Any
    path: Path
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    callers: tuple[Any, ...]

    @property
    def stack(self) -> str:
        """The name scopes around it."""
        return jx.joined(*map(jx.scope, (*self.callers, self.eqn)))

    @property
    def goes_backward(self) -> bool:
        """Whether it belongs to a backward pass, or to what that computes again."""
        return any(map(jx.goes_backward, (*self.callers, self.eqn)))

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
    count = len(inputs)

    def node(**fields: Any) -> Node:
        nonlocal count
        count += 1
        return Node(order=count, **fields)

    def frame(jaxpr: Any, arguments: Sequence[Node], path: Path, callers: tuple) -> list[Node]:
        inner = jx.open_jaxpr(jaxpr)
        for var, argument in zip(inner.invars, arguments, strict=True):
            argument.key = argument.key or (path, var)
        consts = [
            node(aval=var.aval, key=(path, var), number=_number(value), fixed=True)
            for var, value in zip(inner.constvars, jx.constants(jaxpr), strict=True)
        ]

        def step(index: int, eqn: Any, operands: list) -> Sequence[Node]:
            here = (*path, index)
            if enters(eqn):
                arguments = [o if isinstance(o, Node) else literal(o) for o in operands]
                return frame(jx.body(eqn), arguments, here, (*callers, eqn))
            taken = tuple(o if isinstance(o, Node) else literal(o) for o in operands)
            flags = _flags(eqn, taken)
            made = tuple(
                node(aval=v.aval, key=(path, v), inputs=taken, eqn=eqn, path=here, **flags) for v in eqn.outvars
            )
            for operand in taken:
                operand.users.extend(made)
            steps.append(Step(eqn, here, taken, made, callers))
            return made

        return [o if isinstance(o, Node) else literal(o) for o in jx.evaluate(inner, consts, list(arguments), step)]

    def literal(value: Any) -> Node:
        return node(aval=jax.typeof(value), number=_number(value), fixed=True)

    return Region(steps, frame(jaxpr, inputs, path, ()))


def _flags(eqn: Any, inputs: tuple[Node, ...]) -> dict[str, Any]:
    if eqn.primitive.name == "random_bits":  # what it depends on is a key
        return {"noise": True}
    return {
        "data": any(i.data for i in inputs),
        "noise": any(i.noise for i in inputs),
        "fixed": bool(inputs) and all(i.fixed for i in inputs),
    }


def _number(value: Any) -> float | None:
    """The one number that a constant consists of, or None."""
    if isinstance(value, Tracer) or (not hasattr(value, "dtype") and not np.isscalar(value)):
        return None
    if np.size(value) == 0 or np.size(value) > _SMALL or not _is_numeric(value):
        return None
    flat = np.asarray(value).reshape(-1)
    return float(flat[0].real) if np.all(flat == flat[0]) else None


def _is_numeric(value: Any) -> bool:
    dtype = jnp.result_type(value)
    return jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)
