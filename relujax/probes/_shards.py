"""Which axis of each value runs along an axis of the inputs: one that ``shard_map`` divides, or that of examples."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from . import _jaxpr as jx
from ._graph import Path

#: Per mesh axis along which a value differs, the axis of the value that it divides; None where that is not known.
Division = Mapping[str, int | None]

#: Collectives after which a value no longer differs along the axes that they name.
_JOINING = ("psum", "psum_invariant", "pmax", "pmin", "all_gather", "all_gather_invariant")


def divisions(jaxpr: Any, specs: Sequence[Any], axes: Sequence[str], path: Path) -> dict[tuple[Path, Any], Division]:
    """How every value in the body of a ``shard_map``, or in a whole function, is divided.

    Args:
        jaxpr: the body.
        specs: how its inputs are divided, a ``PartitionSpec`` each, or names by axis.
        axes: names of the mesh axes, major first.
        path: where the ``shard_map`` stands.

    Returns:
        For each path of a call and variable in it, what divides it.
    """
    found: dict[tuple[Path, Any], Division] = {}
    _frame(jaxpr, [_of_spec(spec, axes) for spec in specs], path, found)
    return found


def _of_spec(spec: Any, axes: Sequence[str]) -> Division:
    division: dict[str, int | None] = {}
    for dim, names in enumerate(spec):
        names = names if isinstance(names, tuple) else (names,) if names is not None else ()
        # Several axes on one: their parts are put together in the order of the mesh, and in no other.
        ordered = list(names) == sorted(names, key=axes.index)
        division |= dict.fromkeys(names, dim if ordered else None)
    return division


def _frame(jaxpr: Any, inputs: Sequence[Division], path: Path, found: dict) -> list[Division]:
    inner = jx.open_jaxpr(jaxpr)
    found.update(((path, var), division) for var, division in zip(inner.invars, inputs, strict=True))

    def read(atom: Any) -> Division:
        return {} if jx.is_literal(atom) else found.get((path, atom), {})

    for index, eqn in enumerate(inner.eqns):
        outputs = _outputs(eqn, [read(atom) for atom in eqn.invars], (*path, index), found)
        found.update(((path, var), division) for var, division in zip(eqn.outvars, outputs, strict=True))
    return [read(atom) for atom in inner.outvars]


def _outputs(eqn: Any, inputs: list[Division], here: Path, found: dict) -> Sequence[Division]:
    name = eqn.primitive.name
    if name == "scan":
        return _scan(eqn, inputs, here, found)
    if name == "while":
        test, body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
        fixed, start = inputs[test : test + body], inputs[test + body :]
        return _repeated(eqn.params["body_jaxpr"], fixed, start, [], here, found)
    if name == "cond":
        ends = [_frame(b, inputs[1:], (*here, i), found) for i, b in enumerate(eqn.params["branches"])]
        return [_union(results) for results in zip(*ends, strict=True)]
    if name in (*jx.INLINED, *jx.CHECKPOINTS, *jx.CUSTOM_CALLS, "shard_map"):
        return _frame(jx.body(eqn), inputs, here, found)
    return [_leaf(eqn, inputs, var.aval.shape) for var in eqn.outvars]


def _scan(eqn: Any, inputs: list[Division], here: Path, found: dict) -> list[Division]:
    consts, carry = jx.scan_counts(eqn)
    slices = [_shifted(division, -1) for division in inputs[consts + carry :]]
    ends = _repeated(eqn.params["jaxpr"], inputs[:consts], inputs[consts : consts + carry], slices, here, found)
    return [*ends[:carry], *(_shifted(division, 1) for division in ends[carry:])]


def _repeated(
    body: Any, fixed: list[Division], carried: list[Division], over: list[Division], here: Path, found: dict
) -> list[Division]:
    """A loop: what is carried is divided as its start is, or as the end of the body, until nothing changes."""
    while True:
        ends = _frame(body, [*fixed, *carried, *over], here, found)
        joined = [_turned(start, end) for start, end in zip(carried, ends, strict=False)]
        if joined == carried:
            return ends
        carried = joined


def _turned(start: Division, end: Division) -> Division:
    """What divides a carried value on its next turn; once they disagree it stays unknown, so that this ends."""
    return {name: dim if end.get(name, dim) == dim else None for name, dim in {**end, **start}.items()}


def _shifted(division: Division, by: int) -> Division:
    return {name: None if dim is None or dim + by < 0 else dim + by for name, dim in division.items()}


def _union(divisions: Sequence[Division]) -> Division:
    """What divides a value that depends on several; None where they disagree."""
    dims: dict[str, set[int]] = {}
    for division in divisions:
        for name, dim in division.items():
            dims.setdefault(name, set()).update(() if dim is None else (dim,))
    return {name: next(iter(known)) if len(known) == 1 else None for name, known in dims.items()}


def _leaf(eqn: Any, inputs: list[Division], shape: tuple[int, ...]) -> Division:
    name, params = eqn.primitive.name, eqn.params
    moved = _union(
        [
            {axis: None if dim is None else _moved(eqn, i, dim, shape) for axis, dim in division.items()}
            for i, division in enumerate(inputs)
        ]
    )
    if name == "axis_index":
        return dict.fromkeys(jx.axis_names(eqn), None)
    if name in _JOINING:
        return {axis: dim for axis, dim in moved.items() if axis not in jx.axis_names(eqn)}
    if name in ("reduce_scatter", "all_to_all"):
        dim = params["scatter_dimension"] if name == "reduce_scatter" else params["split_axis"]
        dim = dim if params["tiled"] else None  # else that axis goes, or another comes
        return {**moved, **dict.fromkeys(jx.axis_names(eqn), dim)}
    return moved


def _moved(eqn: Any, operand: int, dim: int, shape: tuple[int, ...]) -> int | None:
    """Which axis of the output, of this shape, runs along an axis of an operand; None for none, or an unknown one."""
    params, old = eqn.params, eqn.invars[operand].aval.shape
    match eqn.primitive.name:
        case "transpose":
            return params["permutation"].index(dim)
        case "broadcast_in_dim":
            new = params["broadcast_dimensions"][dim]
            return new if shape[new] == old[dim] else None
        case "reshape":
            return _reshaped(old, dim, shape)
        case "squeeze":
            return _without(dim, params["dimensions"])
        case "dot_general":
            return _contracted(params["dimension_numbers"], operand, dim, len(eqn.invars[0].aval.shape))
        case "conv_general_dilated":
            return _convolved(params, operand, dim)
        case "gather":
            return _gathered(params["dimension_numbers"], operand, dim, len(shape))
        case "concatenate":
            return None if dim == params["dimension"] else dim
        case name if name.startswith(("reduce_window", "select_and_")):
            return dim
        case name if name.startswith(("reduce_", "arg")) and "axes" in params:
            return _without(dim, params["axes"])
        case _:
            return dim if len(old) == len(shape) and old[dim] == shape[dim] else None


def _without(dim: int, dropped: Sequence[int]) -> int | None:
    return None if dim in dropped else dim - sum(d < dim for d in dropped)


def _reshaped(old: tuple[int, ...], dim: int, new: tuple[int, ...]) -> int | None:
    """The same axis; or the first of those that it is split into; or the one that it is the first part of."""
    before = math.prod(old[:dim])
    starts = [i for i in range(len(new)) if math.prod(new[:i]) == before]
    ones = [i for i in starts if new[i] == 1]
    if old[dim] == 1 and ones:  # one of several axes of length 1: told by its place among them, where none is new
        was = [i for i in range(len(old)) if old[i] == 1 and math.prod(old[:i]) == before]
        return ones[was.index(dim)] if len(ones) == len(was) else None
    for candidate in starts:
        size = new[candidate]
        if size > 1 and (size % old[dim] == 0 or old[dim] % size == 0):
            return candidate
    return None


def _contracted(numbers: Any, operand: int, dim: int, rank: int) -> int | None:
    contract, batch = numbers
    if dim in batch[operand]:
        return list(batch[operand]).index(dim)
    if dim in contract[operand]:
        return None
    before = len(batch[0]) + (rank - len(batch[0]) - len(contract[0]) if operand else 0)
    return before + dim - sum(d < dim for d in (*batch[operand], *contract[operand]))


def _convolved(params: Mapping[str, Any], operand: int, dim: int) -> int | None:
    numbers = params["dimension_numbers"]
    of_input, of_kernel, of_output = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    if operand == 1:
        return of_output[1] if dim == of_kernel[0] else None
    if dim == of_input[1]:  # channels: summed over, unless each has a kernel of its own
        return of_output[1] if params["feature_group_count"] > 1 else None
    return of_output[list(of_input).index(dim)]


def _gathered(numbers: Any, operand: int, dim: int, rank: int) -> int | None:
    of_slice = list(numbers.offset_dims)
    if operand == 1:  # the indices, which lie along the last axis
        of_batch = [d for d in range(rank) if d not in of_slice]
        return of_batch[dim] if dim < len(of_batch) else None
    dropped = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = _without(dim, sorted(dropped))
    return None if kept is None or dim in numbers.start_index_map else of_slice[kept]
