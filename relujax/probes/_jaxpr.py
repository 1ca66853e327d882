"""What the probe reads of a jaxpr: names of calls, inner jaxprs, lines of code. The one file that knows versions."""

import os
import sysconfig
from collections.abc import Callable, Iterator
from typing import Any

import jax

_INSTALLED = tuple(os.path.realpath(sysconfig.get_path(p)) + os.sep for p in ("purelib", "platlib", "stdlib"))
_RELUJAX = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + os.sep

#: Calls that the interpreter evaluates from the inside.
INLINED = ("jit", "pjit", "closed_call", "core_call")
CHECKPOINTS = ("checkpoint", "remat", "remat2")
CUSTOM_CALLS = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


def open_jaxpr(jaxpr: Any) -> Any:
    """The jaxpr inside a closed one (jax 0.12 merged the two)."""
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    return inner if hasattr(inner, "eqns") else jaxpr


def constants(jaxpr: Any) -> list:
    """The constants of a jaxpr; none where it is an open one."""
    return list(getattr(jaxpr, "consts", ()))


def inner_jaxprs(eqn: Any) -> Iterator[Any]:
    """Every jaxpr among the parameters of an equation, closed or open, as it stands there."""
    for value in eqn.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(item, "eqns") or hasattr(getattr(item, "jaxpr", None), "eqns"):
                yield item


def body(eqn: Any) -> Any:
    """The one jaxpr that a call equation evaluates."""
    return next(inner_jaxprs(eqn))


def call_name(eqn: Any) -> str | None:
    """The name of the function that an equation calls, or None where it is no call."""
    kind = eqn.primitive.name
    if kind in INLINED:
        return eqn.params.get("name")
    if kind in CUSTOM_CALLS:
        debug_info = getattr(open_jaxpr(body(eqn)), "debug_info", None)
        return getattr(debug_info, "func_name", None) or eqn.params.get("name")
    return None


def is_literal(atom: Any) -> bool:
    """Whether an operand is a constant written into the jaxpr.

    Told by its value, not by ``jax.extend.core.Literal``: importing that imports Pallas, 5 % of ``import jax``.
    """
    return hasattr(atom, "val")


def source_line(eqn: Any) -> str | None:
    """``file:line`` of the innermost user frame that made the equation, else None.

    A user frame is one outside the installed packages and the standard library.
    """
    traceback = eqn.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        path = os.path.realpath(frame.file_name)
        if not path.startswith((*_INSTALLED, _RELUJAX)) and not frame.file_name.startswith("<"):
            return f"{frame.file_name}:{frame.line_num}"
    return None


def bind(eqn: Any, values: list) -> list:
    """Evaluate one equation as it is: its own rules and parameters stay."""
    with eqn.ctx.manager:  # compute_on, matmul precision and the like
        out = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
    return list(out) if eqn.primitive.multiple_results else [out]


def evaluate(jaxpr: Any, consts: list, args: list, step: Callable) -> list:
    """Evaluate a jaxpr, with ``step(index, eqn, values) -> outputs`` for every equation."""
    jaxpr = open_jaxpr(jaxpr)
    env: dict[Any, Any] = {}
    env.update(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if is_literal(atom) else env[atom]

    for index, eqn in enumerate(jaxpr.eqns):
        env.update(zip(eqn.outvars, step(index, eqn, [read(a) for a in eqn.invars]), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def trace(fun: Callable, args: tuple) -> tuple[Any, Any]:
    """``(closed jaxpr, output tree)`` of ``fun(*args)``; arguments may be shapes."""
    closed, shapes = jax.make_jaxpr(fun, return_shape=True)(*args)
    return closed, jax.tree.structure(shapes)
