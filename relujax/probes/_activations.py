"""Which equations of a region are activations: by name or by form, and what only looks like one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..functions import ACTIVATIONS
from . import _jaxpr as jx
from ._forms import Form, recognise
from ._graph import RETURNED, Node, Path, Region, is_floating

#: Calls that jax.nn, Flax and relujax make by a name of their own, and the kind they are.
_NAMED = {name: name for name, row in ACTIVATIONS.items() if row.kin != "gated"} | {"hard_swish": "hard_silu"}
#: Gated units of relujax in one call: which operand is the gate, its activation, and whether the rest is a product.
_GATED = {
    "gated_by_sigmoid": (1, "sigmoid", True),
    "reglu": (0, "relu", True),
    "geglu": (0, "gelu", True),
    "swiglu": (0, "silu", True),
    "clamped_swiglu": (0, "silu", False),
    "drelu": (0, "relu", False),
}
#: Primitives that hand a parameter on without consuming it.
CARRIERS = ("convert_element_type", "reshape", "transpose", "broadcast_in_dim", "squeeze", "copy")
#: Primitives that are no linear function of an operand.
_BENDING = frozenset(
    (
        *("exp", "exp2", "expm1", "log", "log1p", "tanh", "logistic", "erf", "erfc", "sin", "cos", "sqrt", "rsqrt"),
        *("abs", "square", "integer_pow", "pow", "cumprod", "reduce_prod", "lgamma", "digamma"),
    )
)
#: Primitives with weights.
_WEIGHING = ("dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general")
_REDUCING = ("reduce_sum", "reduce_max", "reduce_min", "reduce_window_sum", "psum", "psum_invariant", "scatter-add")
#: Terms of a loss, where they are only added up.
_OF_LOSSES = ("log_sigmoid", "softplus")
#: Terms of a loss, of another value's distance from a constant.
_HINGES = ("relu", "relu_squared")
#: Terms of a loss, where they are written out and only a scalar depends on them.
_PIECEWISE = ("relu", "relu6", "leaky_relu", "prelu", "hard_sigmoid", "soft_shrink")
#: What is done with a scale or a rate before.
_SCALING = (
    *("add", "sub", "mul", "div", "max", "square", "integer_pow", "select_n"),
    *("split", "slice", "dynamic_slice", "gather", "concatenate", "pad"),
)
#: What a likelihood does with a scale or a rate, and no loss with its own terms.
_OF_LIKELIHOODS = ("log", "lgamma", "digamma")


@dataclass(frozen=True)
class Found:
    """What a step ends: kind, operands that are its input, form, and what sort of gate."""

    kind: str
    at: tuple[int, ...]
    form: Form | None = None
    gate: bool | None = None


def is_plain_call(eqn: Any) -> bool:
    """Whether a call is read from the inside, as if its equations stood in its place."""
    return eqn.primitive.name in jx.INLINED and _called(eqn) is None


def _called(eqn: Any) -> Found | None:
    """What a call is that has an activation's name."""
    name = (jx.call_name(eqn) or "").lstrip("_")
    if (name not in _NAMED and name not in _GATED) or len(eqn.outvars) != 1:
        return None
    if _only_hands_on(eqn, name):
        return None
    out = eqn.outvars[0].aval
    if not getattr(out, "shape", ()) or not is_floating(out.dtype):
        return None  # scalars and integers are bookkeeping, not layers
    if name in _GATED:
        at, kind, product = _GATED[name]
        return Found(kind, (at,), gate=product) if len(eqn.invars) > at else None
    kind = _NAMED[name]
    changes_shape = not ACTIVATIONS[kind].elementwise
    for index, atom in enumerate(eqn.invars):  # passed by keyword the input need not come first
        aval = atom.aval
        if not hasattr(aval, "dtype") or not is_floating(aval.dtype):
            continue
        if aval.shape == out.shape or (changes_shape and aval.shape):
            return Found(kind, (index,))
    return None  # a function of another kind that happens to have an activation's name


def _only_hands_on(eqn: Any, name: str) -> bool:
    """Whether a ``jit`` has the name of what it calls, or of a formula that has no call of its own.

    Then what is inside knows more: the slope that a partial has bound, or which form of GELU it is.
    """
    if eqn.primitive.name not in jx.INLINED:
        return False
    if name == "gelu" and not jx.is_from_relujax(eqn):
        return True
    return any((jx.call_name(e) or "").lstrip("_") == name for e in jx.open_jaxpr(jx.body(eqn)).eqns)


def activations(region: Region) -> tuple[dict[Path, Found], set[int]]:
    """What is called by name or written out, by the path of the equation that it ends in; the outermost counts.

    And the order of the nodes that are inside of what is written out.
    """
    found: dict[Path, Found] = {}
    inside: set[int] = set()
    for step in reversed(region.steps):
        if len(step.outputs) != 1 or step.outputs[0].order in inside:
            continue
        if called := _called(step.eqn):
            found[step.path] = called
        elif form := recognise(step.outputs[0], _is_named):
            if form.kind == "log_sigmoid" and _is_exponent(step.outputs[0]):
                continue  # the derivative of softplus is written like that; what is inside may be one
            whole = not form.inside and not any(isinstance(v, Node) for v in form.options.values())
            at = tuple(i for i, node in enumerate(step.inputs) if node is form.x) if whole else ()
            found[step.path] = Found(form.kind, at, form)
            inside.update(node.order for node in form.inside)
    return found, inside


def _is_named(node: Node) -> bool:
    """Whether a value is that of an activation called by name, of which no other one is made."""
    called = _called(node.eqn)
    return called is not None and called.kind != "relu6"  # hard sigmoid is


def is_activation(kind: str, node: Node, x: Node, named: bool) -> bool:
    """Whether what computes an activation is one, and not the clamp of a variance, or a part of a loss."""
    if _is_term(kind, node, x, named) or (named and _is_variance(x) and _clamps_a_variance(node, x)):
        return False
    return named or not (x.counts or _clamps_a_variance(node, x) or _is_bounded(node) or _is_overlap(x))


def doubt(kind: str, node: Node, x: Node) -> str | None:
    """Why what is called by name is taken for a term of a loss, where it may be a last layer as well."""
    if kind in _HINGES and _is_margin(x) and (not node.feeds or _is_of_one_example(node)):
        return "its input is a distance from a constant and no layer follows, as in a hinge loss"
    if kind in _OF_LOSSES and (node.feeds or kind == "softplus") and _is_added_up(node, x):
        return "it is only added up and no layer follows, as in a likelihood"
    return None


def _is_term(kind: str, node: Node, x: Node, named: bool) -> bool:
    """Whether a value is a term of a loss, or of a likelihood."""
    if doubt(kind, node, x):
        return True
    if kind in _OF_LOSSES:
        return not node.feeds and _is_added_up(node, x)
    return not node.feeds and (_is_probability(node) or (not named and kind in _PIECEWISE))


def _is_added_up(node: Node, x: Node) -> bool:
    """Whether a softplus goes into a sum as it is: into that of each example, or into a scalar if that is all."""
    ends = _ends(node)
    if node.feeds:
        only_added = "summed" in ends and ends <= {"summed", "scalar"}
    else:
        only_added = "divides" not in ends and ends != {"bent"}
    return only_added and not _is_scale(node) and not _is_bound(node, x)


def _ends(node: Node) -> set[str]:
    """Where a value leads, over all that is linear in it and has no weights.

    Returns:
        Of "bent", where something is no linear function of it; "divides", where something is divided by it; "weighed",
        where it meets weights; "summed", where it becomes one number per example, and that meets none; "scalar";
        "returned" as it is; "called", in a loop.
    """
    ends: set[str] = set()
    seen, todo = {node.order}, [node]
    while todo:
        here = todo.pop()
        for user in here.users:
            if user is RETURNED:
                ends.add("returned")
            elif not user.aval.shape:
                ends.add("scalar")
            elif user.primitive == "div" and user.inputs[1] is here:
                ends.add("divides")
            elif _bends(user):
                ends.add("bent")
            elif user.primitive in _WEIGHING or weighs(user.eqn):
                ends.add("weighed")
            elif user.primitive == "reduce_sum" and len(user.aval.shape) == 1 and 0 not in user.eqn.params["axes"]:
                ends.add("weighed" if _reaches(user, "users", _WEIGHING, None) else "summed")
            elif user.primitive in ("scan", "while", "cond"):
                ends.add("called")
            elif user.order not in seen:
                seen.add(user.order)
                todo.append(user)
    return ends


def _bends(user: Node) -> bool:
    """Whether what is computed from an operand is no linear function of it."""
    return user.primitive in _BENDING or _is_square(user) or _called(user.eqn) is not None


def _is_of_one_example(node: Node) -> bool:
    """Whether a value is one number per example, or only added up to that, and meets no weights."""
    ends = _ends(node)
    return bool(ends) and ends <= {"summed", "scalar", *(["returned"] if len(node.aval.shape) == 1 else [])}


def _is_margin(x: Node) -> bool:
    """Whether a value is another one's distance from a constant, as in a hinge loss."""
    x = _behind_shapes(x)
    return x.primitive in ("add", "sub") and any(_behind_shapes(i).number for i in x.inputs)  # a bias is an array


def _is_bound(node: Node, x: Node) -> bool:
    """Whether a softplus keeps a value on one side of another: ``least + softplus(x - least)``."""
    x = _behind_shapes(x)
    if x.primitive != "sub":
        return False
    value, least = map(_behind_shapes, x.inputs)
    for user in node.users:
        sides = {"add": [(least, user.inputs)], "sub": [(value, user.inputs[:1])]}.get(user.primitive, [])
        if any(_is_same(bound, _behind_shapes(i)) for bound, others in sides for i in others):
            return True
    return False


def _is_same(a: Node, b: Node) -> bool:
    return a is b or (a.number is not None and a.number == b.number)


def _is_probability(node: Node) -> bool:
    """Whether all that is done with a sigmoid is to take its difference from another: what is between two cuts."""
    return node.primitive == "logistic" and all(
        user.primitive == "sub" and all(i.primitive == "logistic" for i in user.inputs) and _is_scale(user)
        for user in node.users
    )


def _is_variance(x: Node) -> bool:
    """Whether a value is another one less a square."""
    x = _behind_shapes(x)
    return x.primitive == "sub" and _is_square(_behind_shapes(x.inputs[1]))


def _is_square(node: Node) -> bool:
    if node.primitive == "mul":
        return node.inputs[0] is node.inputs[1]
    return node.primitive == "square" or (node.primitive == "integer_pow" and node.eqn.params["y"] == 2)


def _is_overlap(x: Node) -> bool:
    """Whether a value is what two intervals share: the smaller of their ends less the larger of their beginnings."""
    x = _behind_shapes(x)
    if x.primitive != "sub" or any(i.eqn is None for i in x.inputs):
        return False
    return [_behind_shapes(i).primitive for i in x.inputs] == ["min", "max"]


def _behind_shapes(node: Node) -> Node:
    """The value that another one is, or some elements of, in whatever order."""
    while node.primitive in (*CARRIERS, "slice", "split", "gather") and node.inputs:
        node = node.inputs[0]
    return node


def _is_bounded(node: Node) -> bool:
    """Whether all that is done with a value is to cut it at a constant: a clip to an interval."""
    return bool(node.users) and all(u.primitive == "min" and any(i.fixed for i in u.inputs) for u in node.users)


def _is_exponent(node: Node) -> bool:
    """Whether all that is done with a value is to exponentiate it."""
    return bool(node.users) and all(u.primitive == "exp" for u in node.users)


def _is_scale(node: Node) -> bool:
    """Whether a value, up to a floor and a factor, goes into a logarithm: a deviation or a rate in a likelihood."""
    return _reaches(node, "users", _OF_LIKELIHOODS, (*CARRIERS, *_SCALING))


def _clamps_a_variance(node: Node, x: Node) -> bool:
    """Whether a value descends from a sum, with no weights in between, and goes into a root."""
    return _reaches(node, "users", ("sqrt", "rsqrt"), (*CARRIERS, "add")) and _reaches(x, "inputs", _REDUCING, None)


def _reaches(node: Node, direction: str, goals: tuple[str, ...], through: tuple[str, ...] | None) -> bool:
    """Whether one comes from a node to one of these primitives, through those (None: all without weights)."""
    seen, todo = set(), list(getattr(node, direction)) if direction == "users" else [node]
    while todo:
        here = todo.pop()
        if here.order in seen:
            continue
        seen.add(here.order)
        if here.primitive in goals:
            return True
        if here.primitive in through if through is not None else here.primitive not in _WEIGHING:
            todo += getattr(here, direction)
    return False


def spread_feeds(region: Region, feeds: Sequence[bool]) -> None:
    """Mark what leads to an output that is more than a scalar, or into a product with weights."""
    for output, fed in zip(region.outputs, feeds, strict=True):
        output.feeds = output.feeds or fed
    for step in reversed(region.steps):
        fed = step.eqn.primitive.name in _WEIGHING or any(o.feeds for o in step.outputs)
        if fed or weighs(step.eqn):
            for operand in step.inputs:
                operand.feeds = True


def weighs(eqn: Any) -> bool:
    """Whether a call multiplies by weights anywhere inside."""
    return any(
        inner.primitive.name in _WEIGHING or weighs(inner)
        for jaxpr in jx.inner_jaxprs(eqn)
        for inner in jx.open_jaxpr(jaxpr).eqns
    )
