"""Which activation some equations write out: told by the values of the function, not by how it is spelt."""

import functools
import heapq
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from . import _jaxpr as jx
from ._graph import Node, is_floating

#: Where a function is compared with the activations that are known.
_NEGATIVE = [-1, -40, -9, -5, -3.3, -2.7, -1.9, -0.6, -0.3, -0.04]
_POINTS = np.array([1.3, *_NEGATIVE, 0.04, 0.2, 0.5, 0.9, 2.2, 2.9, 3.3, 4.6, 5.5, 7, 40, 500, 1e-6, -1e-6])
#: The numbers that stand for a parameter, such as the slope of PReLU; the first is a usual one.
_PARAMETERS = (0.25, 1.5, -0.5)
#: How far the search for an activation's input goes back, in equations.
_FAR = 40

_erf = np.vectorize(math.erf, otypes=[float])
_erfc = np.vectorize(math.erfc, otypes=[float])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _hard_sigmoid(x: np.ndarray) -> np.ndarray:
    return np.clip(x + 3, 0, 6) / 6


#: Activations of one array and no parameter. GELU stands in both forms.
_KNOWN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": _relu,
    "relu6": lambda x: np.clip(x, 0, 6),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda x: x * _hard_sigmoid(x),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "exact gelu": lambda x: 0.5 * x * _erfc(-x / math.sqrt(2)),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "softplus": _softplus,
    "log_sigmoid": lambda x: -_softplus(-x),
    "soft_sign": lambda x: x / (1 + np.abs(x)),
    "squareplus": lambda x: (x + np.sqrt(x**2 + 4)) / 2,
    "sparse_plus": lambda x: np.where(x > 1, x, np.maximum(x + 1, 0) ** 2 / 4),
    "sparse_sigmoid": lambda x: np.clip(x + 1, 0, 2) / 2,
    "elu": _elu,
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * _elu(x)),
}
_REGISTRY = {"exact gelu": ("gelu", {"approximate": False}), "gelu": ("gelu", {"approximate": True})}
_NAMES = tuple(_KNOWN)


@functools.cache
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values of what is known, by kind and point, and how far another function's may be off.

    By a number, because constants are written with six or seven digits, and the tails of smooth functions cancel; by
    how many roundings of the dtype as well, because a constant of bfloat16 has three digits.
    """
    values = np.stack([fun(_POINTS) for fun in _KNOWN.values()])
    smooth = np.array([[float(name not in ("relu", "relu6"))] for name in _NAMES])
    return values, 4e-6 * smooth + 1e-6 * np.abs(values), smooth * (1 + np.abs(values))


_NUMPY: dict[str, Callable] = {
    "add": np.add,
    "add_any": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "neg": np.negative,
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "exp2": np.exp2,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "tanh": np.tanh,
    "logistic": _sigmoid,
    "erf": _erf,
    "erfc": _erfc,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "square": np.square,
    "pow": np.power,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "is_finite": np.isfinite,
    "clamp": lambda low, x, high: np.clip(x, low, high),
    "select_n": lambda which, *cases: np.choose(np.asarray(which, int), np.broadcast_arrays(*cases), mode="clip"),
    **dict.fromkeys(("copy", "copy_p", "stop_gradient", "pvary", "pcast", "sharding_constraint"), lambda x: x),
}
#: They say how a value is laid out; of a constant, and of an array whose shape stays, they are the identity. The order
#: of axes is followed.
_SHAPING = ("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose")
#: How the first of some conditions that holds is told: they are put side by side along a new axis, here the first.
_AMONG_CASES: dict[str, Callable] = {
    **dict.fromkeys(("stack", "concatenate"), lambda *cases: np.concatenate([_rows(case) for case in cases])),
    "cumsum": lambda x: np.cumsum(x, axis=0),
    "argmax": lambda x: np.argmax(x, axis=0),
}
#: An equation of another kind does not bend its input: sums and products are not what makes an activation.
_COMPARING = ("gt", "ge", "lt", "le", "max", "min", "select_n", "clamp", "abs", "sign")
_BENDING = frozenset((*_COMPARING, "tanh", "logistic", "erf", "erfc", "exp", "exp2", "expm1", "log1p", "sqrt"))
#: What an activation may end in.
_LAST = frozenset(
    ("max", "min", "select_n", "clamp", "mul", "div", "add", "sub", "neg", "tanh", "logistic", "log", "log1p")
)


def _rows(case: Any) -> np.ndarray:
    """One condition, or some, as rows."""
    return np.broadcast_to(case, (len(case) if np.ndim(case) == 2 else 1, len(_POINTS)))


class _NotElementwise(Exception):
    pass


@dataclass(frozen=True)
class Form:
    """An activation that some equations write out.

    Attributes:
        kind: its name, a key of :data:`relujax.ACTIVATIONS`.
        x: its input.
        options: arguments of the registry's function that make it the same; a node where that is a parameter.
        inside: the equations in between, which are no activations by themselves.
        always: whether it is the same for every value of the parameter; else it is what :data:`WRITTEN` has.
    """

    kind: str
    x: Node
    options: Mapping[str, Any]
    inside: tuple[Node, ...]
    always: bool = True


#: What people write that is an activation of the registry for the usual values of a parameter only: PReLU for slopes up
#: to 1, and a threshold that is not negative. ``on`` is the library of arrays.
WRITTEN: dict[str, Callable] = {
    "prelu": lambda x, slope, on=jnp: on.maximum(x, slope * x),
    "soft_shrink": lambda x, lambd, on=jnp: on.sign(x) * on.maximum(on.abs(x) - lambd, 0),
}


def _apply(eqn: Any, values: list) -> Any:
    """One equation on NumPy arrays of sample points."""
    name = eqn.primitive.name
    if name == "integer_pow":
        return values[0] ** eqn.params["y"]
    if name == "convert_element_type":
        dtype = eqn.params["new_dtype"]
        return np.asarray(values[0]).astype(float if is_floating(dtype) else dtype)
    if name in jx.CUSTOM_CALLS or name in jx.INLINED:
        known = _KNOWN.get(jx.call_name(eqn) or "")
        if known is not None and len(values) == 1:
            return known(values[0])
        inner = jx.body(eqn)
        steps = functools.partial(jx.evaluate, inner, jx.constants(inner), values)
        [out] = steps(lambda _, inside, operands: [_apply(inside, operands)])
        return out
    if name in _SHAPING:
        return values[0]
    if name == "slice":  # of some conditions
        shapes = zip(eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape, strict=True)
        [axis] = (i for i, (before, after) in enumerate(shapes) if before != after)
        return values[0][eqn.params["start_indices"][axis] : eqn.params["limit_indices"][axis]]
    of_numpy = _NUMPY.get(name) or _AMONG_CASES.get(name)
    if of_numpy is None:
        raise _NotElementwise(name)
    return of_numpy(*values)


def _expands(node: Node) -> bool:
    """Whether a node is an elementwise function of its inputs, up to the order of axes."""
    eqn = node.eqn
    if eqn is None or len(eqn.outvars) != 1:
        return False
    name = eqn.primitive.name
    if name in _SHAPING:
        return node.fixed or name == "transpose" or node.inputs[0].aval.shape == node.aval.shape
    if name in jx.CUSTOM_CALLS or name in jx.INLINED:
        return all(i.fixed or i.aval.shape == node.aval.shape for i in node.inputs)
    if name == "argmax":
        return _cases(node) is not None
    return name in _NUMPY or name in ("integer_pow", "convert_element_type")


def _operands(node: Node) -> tuple[Node, ...]:
    """What a node is an elementwise function of."""
    return (_cases(node) or ()) if node.primitive == "argmax" else node.inputs


def _cases(node: Node) -> tuple[Node, ...] | None:
    """The conditions of which a node tells the first that holds, as in ``jnp.select``, ``jnp.piecewise``; or None."""
    axis: int = node.eqn.params["axes"][0]
    cases: list[Node] = []
    todo = list(node.inputs)
    while todo:
        here = todo.pop()
        params = here.eqn.params if here.eqn is not None else {}
        if here.aval.shape == node.aval.shape or (here.fixed and here.aval.shape[axis : axis + 1] in ((), (1,))):
            cases.append(here)
        elif here.primitive == "broadcast_in_dim":
            others = tuple(i for i in range(len(here.aval.shape)) if i != axis)
            if params["broadcast_dimensions"] != others or here.aval.shape[axis] != 1:
                return None
            todo += here.inputs
        elif here.primitive == "slice":
            before, after = list(here.inputs[0].aval.shape), list(here.aval.shape)
            if before[:axis] + before[axis + 1 :] != after[:axis] + after[axis + 1 :] or params["strides"] is not None:
                return None
            todo += here.inputs
        elif here.primitive == "convert_element_type" or axis in (params.get("axis"), params.get("dimension")):
            todo += here.inputs
        else:
            return None
    return tuple(cases)


def bends(node: Node) -> bool:
    """Whether an equation can be a part of an activation that is more than sums and products."""
    name = node.primitive
    return name in _BENDING or name in jx.CUSTOM_CALLS or name in jx.INLINED


def _inputs(node: Node) -> Iterator[tuple[Node, Node | None, list[Node], list[Node]]]:
    """Nodes that all paths from the data to ``node`` go through, nearest first.

    Each with the value of it that has its axes in the order of ``node``, the parameters met on the way, and the
    equations in between. ``vmap`` transposes what has the mapped axis elsewhere, on all paths alike: one that has its
    axes in two orders ends the search.
    """
    straight = tuple(range(len(node.aval.shape)))
    frontier: dict[int, Node] = {}
    heap: list[int] = []
    orders: dict[int, tuple[int, ...]] = {}  # which axis of a node is each axis of the last one
    parameters: dict[int, Node] = {}
    between: list[Node] = []

    def add(nodes: tuple[Node, ...], order: tuple[int, ...]) -> bool:
        for n in nodes:
            if n.fixed:
                continue
            if not n.varies:
                parameters[n.order] = n
                if order != straight and n.aval.shape:
                    return False
            elif orders.setdefault(n.order, order) != order:
                return False
            elif n.order not in frontier:
                frontier[n.order] = n
                heapq.heappush(heap, -n.order)
        return True

    consistent = add(_operands(node), straight)
    for _ in range(_FAR):
        if not consistent:
            return
        if len(frontier) == 1:
            x = next(iter(frontier.values()))
            turned = (b for b in between if b.primitive == "transpose" and b.inputs[0] is x)
            same = (v for v in (x, *turned) if orders[v.order] == straight)
            yield x, next(same, None), list(parameters.values()), list(between)
        if not frontier or len(parameters) > 1:
            return
        last = frontier.pop(-heapq.heappop(heap))
        if not _expands(last):
            return
        between.append(last)
        order = orders[last.order]
        if last.primitive == "transpose":
            order = tuple(last.eqn.params["permutation"][axis] for axis in order)
        consistent = add(_operands(last), order)


def _sampled(node: Node, known: dict[int, Any]) -> Any:
    """The value of a node at the sample points of its input."""
    if node.order in known:
        return known[node.order]
    if node.number is not None:
        return node.number
    if node.eqn is None or len(node.eqn.outvars) != 1:
        raise _NotElementwise(node.primitive)
    known[node.order] = value = _apply(node.eqn, [_sampled(i, known) for i in node.inputs])
    return value


def _values(node: Node, x: Node, parameters: list[Node], number: float) -> np.ndarray:
    """What a node is at the sample points of its input, where its parameters have this value."""
    known = {x.order: _POINTS} | {p.order: number for p in parameters}
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(_sampled(node, known), float), _POINTS.shape)


def _hands_on(node: Node, values: np.ndarray, x: Node, parameters: list[Node], number: float) -> bool:
    """Whether a node is one of its operands wherever that is finite: then that one is the activation."""
    operands = (i for i in node.inputs if i.varies and i is not x)
    return any(np.array_equal(values, _values(i, x, parameters, number)) for i in operands)


def recognise(node: Node, is_named: Callable[[Node], bool]) -> Form | None:
    """The activation that ends in this equation, or None; one that ``is_named`` is not looked behind."""
    aval = node.aval
    if not node.varies or not (node.primitive in _LAST or node.primitive in jx.CUSTOM_CALLS):
        return None
    if not getattr(aval, "shape", ()) or not is_floating(aval.dtype) or not _expands(node):
        return None  # scalars and integers are bookkeeping, not layers
    for x, same, parameters, between in _inputs(node):
        alike = is_floating(x.aval.dtype) and (bends(node) or any(map(bends, between)))
        if alike and same is not None and same.aval.shape == aval.shape:
            numbers = _PARAMETERS if parameters else _PARAMETERS[:1]
            try:
                values = [_values(node, x, parameters, number) for number in numbers]
            except (_NotElementwise, TypeError, ValueError):
                return None
            if parameters:
                first, *others = map(_with_parameter, values, numbers)
                if first is not None:
                    kind, option = first
                    always = all(other == first for other in others)
                    if _hands_on(node, values[0], x, parameters, numbers[0]):
                        return None
                    if always or all(map(functools.partial(_is_written, kind), values, numbers)):
                        return Form(kind, same, {option: parameters[0]}, tuple(between), always)
            elif found := _without(values[0], float(jnp.finfo(aval.dtype).eps)):
                if _hands_on(node, values[0], x, parameters, numbers[0]):
                    return None
                kind, options = found
                if kind == "log_sigmoid" and node.primitive == "log":
                    return None  # the logarithm of a sigmoid, which is one
                if kind == "relu" and x.primitive == "min" and any(i.fixed for i in x.inputs):
                    continue  # the lower end of an interval
                return Form(kind, same, options, tuple(between))
        if x.eqn is not None and is_named(x):
            return None
    return None


def _without(values: np.ndarray, rounding: float) -> tuple[str, dict[str, Any]] | None:
    known, tolerances, roundings = _table()
    off = np.abs(values - known)
    same = np.all(off <= tolerances + rounding * roundings, axis=1)
    if same.any():
        name = _NAMES[int(np.argmin(np.where(same, np.max(off, axis=1), np.inf)))]
        return _REGISTRY.get(name, (name, {}))
    if not _same(values[_POINTS > 0], _POINTS[_POINTS > 0]):
        return _shifted_or_sharpened(values)
    slope, alpha = -values[1], -values[2]
    if (
        slope > 0
        and not np.isclose(slope, 1, rtol=1e-6)
        and _same(values, np.where(_POINTS > 0, _POINTS, slope * _POINTS))
    ):
        return "leaky_relu", {"negative_slope": float(np.float32(slope))}
    if alpha > 0 and np.allclose(values, np.where(_POINTS > 0, _POINTS, alpha * _elu(_POINTS)), rtol=1e-5, atol=1e-6):
        return "elu", {"alpha": float(np.float32(alpha))}
    if alpha > 0 and np.allclose(values, alpha * _elu(_POINTS / alpha), rtol=1e-5, atol=1e-6):
        return "celu", {"alpha": float(np.float32(alpha))}
    return None


def _shifted_or_sharpened(values: np.ndarray) -> tuple[str, dict[str, Any]] | None:
    """The soft threshold, or the swish of a number, that has these values."""
    threshold = 5.5 - values[_POINTS == 5.5].item()
    if 0 < threshold < 5.5 and _same(values, _shrunk(threshold), 1e-6):
        return "soft_shrink", {"lambd": float(np.float32(threshold))}
    share = values[0] / _POINTS[0]  # sigmoid(beta x)
    if not 0.5 < share < 1 or not values[1] < 0:
        return None
    beta = math.log(share / (1 - share)) / _POINTS[0]
    if np.allclose(values, _POINTS * _sigmoid(beta * _POINTS), rtol=1e-5, atol=1e-6):
        return "swish", {"beta": float(np.float32(beta))}
    return None


def _is_written(kind: str, values: np.ndarray, number: float) -> bool:
    """Whether a function with a parameter is what people write for that kind."""
    return kind in WRITTEN and _same(values, WRITTEN[kind](_POINTS, number, on=np))


def _shrunk(threshold: float) -> np.ndarray:
    return _POINTS - np.minimum(np.maximum(_POINTS, -threshold), threshold)


def _with_parameter(values: np.ndarray, number: float) -> tuple[str, str] | None:
    """The kind whose values these are at that value of its parameter, and what that is called."""
    if _same(values, np.where(_POINTS > 0, _POINTS, number * _POINTS)):
        return "prelu", "slope"
    if _same(values, _shrunk(number)):
        return "soft_shrink", "lambd"
    if np.allclose(values, _POINTS * _sigmoid(number * _POINTS), rtol=1e-5, atol=1e-6):
        return "swish", "beta"
    return None


def _same(a: np.ndarray, b: np.ndarray, more: float = 0) -> bool:
    return bool(np.all(np.abs(a - b) <= 1e-6 * np.abs(b) + more))
