"""What the probe reads of a jaxpr: names of calls, inner jaxprs, lines of code. The one file that knows versions."""

import contextlib
import functools
import os
import re
import sysconfig
from collections.abc import Callable, Iterator
from typing import Any

import jax

from .._checks import check_arrays

_INSTALLED = tuple(os.path.realpath(sysconfig.get_path(p)) + os.sep for p in ("purelib", "platlib", "stdlib"))
#: Name scopes that JAX makes.
_STRUCTURE = r"while|body|cond|scan|checkpoint|rematted_computation|remat|closed_call|branch_\d+_fun|shard_map|jit|pjit"
_JAX_NN = os.path.join(os.sep, "nn", "functions.py")
_LOSSES = os.path.join(os.sep, "optax", "losses") + os.sep
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
        if _is_users(frame.file_name):
            return f"{frame.file_name}:{frame.line_num}"
    return None


@functools.lru_cache(maxsize=4096)
def _is_users(file_name: str) -> bool:
    installed = os.path.realpath(file_name).startswith((*_INSTALLED, _RELUJAX))
    return not installed and not file_name.startswith("<")


def is_from_jax_nn(eqn: Any) -> bool:
    """Whether a call is of a function that ``jax.nn`` defines."""
    return _defined_in(eqn).endswith(_JAX_NN)


def is_from_relujax(eqn: Any) -> bool:
    """Whether a call is of a function that relujax defines."""
    return os.path.realpath(_defined_in(eqn)).startswith(_RELUJAX)


def _defined_in(eqn: Any) -> str:
    debug_info = getattr(open_jaxpr(body(eqn)), "debug_info", None)
    return getattr(debug_info, "func_filename", None) or ""


def scope(eqn: Any) -> str:
    """The names that the user or a module gave to where an equation stands, without those of transformations."""
    parts = str(eqn.source_info.name_stack).split("/")
    plain = (re.sub(r"^(?:\w+\()+|\)+$", "", part) for part in parts)
    return joined(*(part for part in plain if not re.fullmatch(_STRUCTURE, part)))


def joined(*scopes: str) -> str:
    """Name scopes, outermost first, as one."""
    return "/".join(filter(None, scopes))


def goes_backward(eqn: Any) -> bool:
    """Whether an equation is a part of a backward pass."""
    return "transpose(" in str(eqn.source_info.name_stack)


def is_differentiated(eqn: Any) -> bool:
    """Whether the derivative of an equation stands beside it."""
    return "jvp(" in str(eqn.source_info.name_stack)


def from_optax(eqn: Any) -> bool:
    """Whether one of optax's losses made the equation."""
    traceback = eqn.source_info.traceback
    return any(_LOSSES in frame.file_name for frame in (traceback.frames if traceback is not None else ()))


def axis_names(eqn: Any) -> tuple:
    """The mesh axes that a collective works over."""
    names = eqn.params.get("axes", eqn.params.get("axis_name", ()))
    return tuple(names) if isinstance(names, (tuple, list, frozenset)) else (names,)


def manual_axes(eqn: Any) -> tuple[str, ...]:
    """The mesh axes over which a ``shard_map`` maps, major first."""
    names = eqn.params.get("newly_manual_axes", eqn.params.get("manual_axes"))
    return tuple(name for name in eqn.params["mesh"].shape if name in names)


def explicit_axes(mesh: Any) -> tuple[str, ...]:
    """The axes of a mesh that the types of arrays name."""
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    return tuple(name for name, kind in kinds if kind == jax.sharding.AxisType.Explicit)


def scan_counts(eqn: Any) -> tuple[int, int]:
    """How many operands of a ``scan`` are constants, and how many are carried."""
    if "num_consts" in eqn.params:
        return eqn.params["num_consts"], eqn.params["num_carry"]
    consts, carry, _ = eqn.params["ft_in"].unpack()
    return len(consts), len(carry)


def as_written(eqn: Any) -> contextlib.AbstractContextManager:
    """What is traced inside gets the name scope and the line of code of the equation; ``eqn.ctx`` has its settings."""
    from jax.extend import source_info_util  # imports much that most users of relujax do not need

    info = eqn.source_info
    return source_info_util.user_context(
        info.traceback, name_stack=source_info_util.current_name_stack() + info.name_stack
    )


def bind(eqn: Any, values: list) -> list:
    """Evaluate one equation as it is: its own rules and parameters stay."""
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
        values = [atom.val if is_literal(atom) else env[atom] for atom in eqn.invars]
        env.update(zip(eqn.outvars, step(index, eqn, values), strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def trace(fun: Callable, args: tuple) -> tuple[Any, Any]:
    """``(closed jaxpr, output tree)`` of ``fun(*args)``; arguments may be shapes.

    Raises:
        TypeError: for a function that JAX cannot trace, and an argument that is no tree of arrays.
    """
    check_arrays(args)
    try:
        closed, shapes = jax.make_jaxpr(fun, return_shape=True)(*args)
    except jax.errors.JAXTypeError as error:
        name = getattr(fun, "__name__", type(fun).__name__)
        why = str(error).strip().splitlines()[0]
        raise TypeError(
            f"got {name}, which JAX cannot trace ({why}): expected a function that jax.jit accepts; what decides the "
            "course of Python must be bound beforehand, with functools.partial"
        ) from error
    return closed, jax.tree.structure(shapes)
