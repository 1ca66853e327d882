"""Finding the activations of a function in its jaxpr, and naming each so that people can act on it."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from ..functions import ACTIVATIONS
from . import _jaxpr as jx
from ._forms import Form, recognise
from ._graph import Node, Path, Region, Step, build
from ._sites import Finding, Match, Opaque, Site

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
_CARRIERS = ("convert_element_type", "reshape", "transpose", "broadcast_in_dim", "squeeze", "copy")
#: Primitives with weights.
_WEIGHING = ("dot_general", "conv_general_dilated", "ragged_dot", "ragged_dot_general")
_REDUCING = ("reduce_sum", "reduce_max", "reduce_min", "reduce_window_sum", "psum", "psum_invariant")
#: Calls of code that is not JAX's.
_UNREADABLE = ("pallas", "ffi", "custom_call", "callback", "triton")
#: Whoever calls these on the way to a scalar, and to nothing else, is computing a loss.
_OF_LOSSES = ("log_sigmoid", "softplus")


def sites(fun: Callable, *args: Any) -> tuple[Site, ...]:
    """Every activation that ``fun(*args)`` calls, from its jaxpr alone.

    Args:
        fun: any JAX function.
        *args: its arguments, or their shapes and dtypes. Names come from the tree paths of the first one, where that
            is a tree of parameters.

    Returns:
        The sites in execution order.

    Finds activations called by name (relujax's, ``jax.nn``'s), and those that are written out as equations, told by
    the values that they compute: ``maximum(x, 0)``, ``where(x > 0, x, a * x)``, ``x * (x > 0)``, ``x * sigmoid(x)``,
    GELU in both forms, and so on. Looks inside ``jit``, ``checkpoint``, ``scan``, ``while_loop``, ``cond`` and
    ``shard_map``; what is inside other calls is listed in ``Stats.opaque``. The clamp of a variance, random numbers,
    and what only a scalar loss depends on are no sites. Cost: one trace, no FLOPs.

    >>> import relujax as rx
    >>> params = {"hidden": jnp.zeros((4, 8), "float32"), "out": jnp.zeros((8, 2), "float32")}
    >>> fun = lambda params, x: rx.relu(x @ params["hidden"]) @ params["out"]
    >>> [site] = sites(fun, params, jax.ShapeDtypeStruct((16, 4), jnp.float32))
    >>> site.name, site.kind, site.shape
    ('hidden/relu', 'relu', (16, 8))
    """
    closed, _ = jx.trace(fun, args)
    return find(closed, parameter_names(args)).sites


def parameter_names(args: tuple) -> tuple[str, ...]:
    """A name for each flat argument: its tree path in the first argument, "" elsewhere."""
    named = [_path_name(path) for path, _ in jax.tree.leaves_with_path(args[0])] if args else []
    rest = len(jax.tree.leaves(args)) - len(named)
    return (*named, *[""] * rest)


def _path_name(path: tuple) -> str:
    # Flax NNX states end in a Variable's own "value"; "params" only says that it is a Linen tree of parameters.
    parts = [p for p in jax.tree_util.keystr(path, simple=True, separator="/").split("/") if p]
    parts = parts[:-1] if parts[-1:] == ["value"] else parts
    return "/".join(parts[1:] if parts[:1] == ["params"] else parts)


@dataclass(frozen=True)
class _Found:
    """What a step ends: kind, operands that are its input, form, and what sort of gate."""

    kind: str
    at: tuple[int, ...]
    form: Form | None = None
    gate: bool | None = None


@dataclass(frozen=True)
class _Origin:
    """A parameter that a value was computed from since the last site, and when it was consumed."""

    order: int
    name: str
    ndim: int


#: Marks what depends on an argument that is no parameter, however far back.
_DATA = _Origin(0, "", 0)


def _only_hands_on(eqn: Any, name: str) -> bool:
    """Whether a ``jit`` has the name of what it calls, or of a formula that has no call of its own.

    Then what is inside knows more: the slope that a partial has bound, or which form of GELU it is.
    """
    if eqn.primitive.name not in jx.INLINED:
        return False
    if name == "gelu" and not jx.is_from_relujax(eqn):
        return True
    return any((jx.call_name(e) or "").lstrip("_") == name for e in jx.open_jaxpr(jx.body(eqn)).eqns)


@dataclass(frozen=True)
class _Place:
    """Where a region is: what surrounds every site in it."""

    steps: tuple[int, ...] = ()
    layers: tuple[bool, ...] = ()
    scans: tuple[int, ...] = ()
    counted: bool = True
    backward: bool = False
    mesh: Mapping[str, int] = field(default_factory=dict)
    typed: bool = True
    stack: str = ""
    source: str | None = None


class _Finder:
    """One pass over a jaxpr in execution order, carrying for each value the parameters behind it, and the data."""

    def __init__(self, batch: int | None) -> None:
        self.batch = batch
        self.matches: list[Match] = []
        self.opaque: list[Opaque] = []
        self.names: set[str] = set()
        self.order = 0

    def region(self, jaxpr: Any, inputs: list[Node], feeds: Sequence[bool], path: Path, place: _Place) -> list[Node]:
        """Find what is in a jaxpr; returns its outputs. ``feeds``: which of them lead to more than a scalar."""
        region = build(jaxpr, inputs, path, _is_plain_call)
        _spread_feeds(region, feeds)
        activations = _activations(region)
        for step in region.steps:
            self.order += 1
            merged = frozenset().union(
                *(i.origins if step.eqn.primitive.name in _CARRIERS else self._consume(i.origins) for i in step.inputs)
            )
            merged = frozenset() if step.eqn.primitive.name == "random_bits" else merged  # the parameter was a key
            for output in step.outputs:
                output.origins = merged
            found = activations.get(step.path)
            if found is None:
                self._enter(step, place)
            elif match := self._match(found, step, merged, place):
                self.matches.append(match)
                step.outputs[0].origins = merged & {_DATA}
        return region.outputs

    def _consume(self, origins: frozenset) -> frozenset:
        return frozenset(replace(o, order=self.order) if o.order < 0 else o for o in origins)

    def _match(self, found: _Found, step: Step, origins: frozenset, place: _Place) -> Match | None:
        kind, node = found.kind, step.outputs[0]
        x = found.form.x if found.form else step.inputs[found.at[0]]
        if place.backward or step.goes_backward or jx.from_optax(step.eqn):
            return None
        if not _is_activation(kind, node, x, named=found.form is None):
            return None
        name = jx.call_name(step.eqn) or step.eqn.primitive.name
        source = step.source or place.source
        if not node.data and not (node.noise and any(o.name for o in origins)):
            if node.noise:
                return None  # how random numbers are drawn
            why = "it is a function of the parameters alone, not of the data"
            self.opaque.append(Opaque(name, (kind,), why, source))
            return None
        first = node.aval.shape[0] * math.prod(n for _, n, role in _shards(node, place) if role == "examples")
        if self.batch is not None and first != self.batch:
            why = f"its first axis is {first} long, not the {self.batch} of the examples"
            self.opaque.append(Opaque(name, (kind,), why, source))
            return None
        return Match(self._site(step, kind, origins, source, place), step.eqn, found.at, found.form, found.gate)

    def _site(self, step: Step, kind: str, origins: frozenset, source: str | None, place: _Place) -> Site:
        module, weights = _nearest_module(origins)
        name = "/".join(part for part in (module or _joined(place.stack, step.stack), kind) if part)
        candidates = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1)))
        unique = next(candidate for candidate in candidates if candidate not in self.names)
        self.names.add(unique)
        node = step.outputs[0]
        shape, shards = list(node.aval.shape), _shards(node, place)
        for _, size, role in shards:
            if role != "copies":
                shape[{"examples": 0, "positions": 1 if len(shape) > 2 else 0, "units": -1}[role]] *= size
        return Site(
            unique,
            kind,
            step.path,
            tuple(shape),
            str(node.aval.dtype),
            source,
            weights,
            executions=math.prod(place.steps) if place.counted else None,
            batched=self.batch is not None,
            steps=place.steps,
            layers=place.layers,
            scans=place.scans,
            shards=shards,
        )

    def _enter(self, step: Step, place: _Place) -> None:
        eqn, name = step.eqn, step.eqn.primitive.name
        if not any(True for _ in jx.inner_jaxprs(eqn)):
            if any(word in name for word in _UNREADABLE):
                why = f"{name} has no jaxpr to look into"
                self.opaque.append(Opaque(name, (), why, step.source or place.source))
            return
        inside = replace(
            place,
            stack=_joined(place.stack, step.stack),
            source=step.source or place.source,
            backward=place.backward or step.goes_backward,
        )
        feeds = [o.feeds for o in step.outputs]
        if name in jx.CHECKPOINTS:
            _leave(step, self._inside(eqn.params["jaxpr"], step.inputs, feeds, step.path, inside))
        elif name == "scan":
            consts, carry = jx.scan_counts(eqn)
            over = step.inputs[consts + carry :]
            is_layers = any(o.name and o.ndim >= 2 for x in over for o in x.origins) and bool(over)
            inside = replace(
                inside,
                steps=(*inside.steps, eqn.params["length"]),
                layers=(*inside.layers, is_layers),
                scans=(*inside.scans, len(step.path)),
            )
            given = [*step.inputs[:consts], *_mixed(step.inputs[consts : consts + carry], step.inputs), *over]
            _leave(step, self._inside(eqn.params["jaxpr"], given, feeds, step.path, inside))
        elif name == "while":
            test, body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
            self._closed(step, "the test of a while loop is not measured", inside, [eqn.params["cond_jaxpr"]])
            given = [*step.inputs[test : test + body], *_mixed(step.inputs[test + body :], step.inputs)]
            inside = replace(inside, counted=False)
            _leave(step, self._inside(eqn.params["body_jaxpr"], given, feeds, step.path, inside))
        elif name == "cond":
            branches = enumerate(eqn.params["branches"])
            _leave(step, *(self._inside(b, step.inputs[1:], feeds, (*step.path, i), inside) for i, b in branches))
        elif name == "shard_map" and not place.mesh:
            sizes = dict(eqn.params["mesh"].shape)
            given = [_sharded(i, spec) for i, spec in zip(step.inputs, eqn.params["in_specs"], strict=True)]
            inside = replace(inside, mesh=sizes, typed=eqn.params["check_vma"])
            _leave(step, self._inside(eqn.params["jaxpr"], given, feeds, step.path, inside))
        else:
            self._closed(step, f"the probe does not look inside {name}", inside, list(jx.inner_jaxprs(eqn)))

    def _inside(
        self, jaxpr: Any, given: Sequence[Node], feeds: Sequence[bool], path: Path, place: _Place
    ) -> list[Node]:
        inner = jx.open_jaxpr(jaxpr)
        inputs = [
            Node(
                order=i,
                aval=var.aval,
                number=outer.number,
                data=outer.data,
                noise=outer.noise,
                fixed=outer.fixed,
                roles=outer.roles,
                origins=outer.origins,
            )
            for i, (var, outer) in enumerate(zip(inner.invars, given, strict=True))
        ]
        return self.region(jaxpr, inputs, feeds, path, place)

    def _closed(self, step: Step, reason: str, place: _Place, jaxprs: Iterable[Any]) -> None:
        kinds = tuple(kind for jaxpr in jaxprs for kind in _kinds_inside(jaxpr))
        if kinds:
            self.opaque.append(Opaque(step.eqn.primitive.name, kinds, reason, place.source))


def _joined(*scopes: str) -> str:
    return "/".join(scope for scope in scopes if scope)


def _leave(step: Step, *results: list[Node]) -> None:
    """What a call returns comes from what its body returned, or any of its branches."""
    for output, *ends in zip(step.outputs, *results, strict=True):
        output.origins = frozenset().union(*(end.origins for end in ends))


def _kinds_inside(jaxpr: Any) -> Iterator[str]:
    finder = _Finder(None)
    inner = jx.open_jaxpr(jaxpr)
    inputs = [Node(order=i, aval=var.aval, data=True, origins=frozenset({_DATA})) for i, var in enumerate(inner.invars)]
    finder.region(jaxpr, inputs, [True] * len(inner.outvars), (), _Place())
    yield from (match.site.kind for match in finder.matches)
    for part in finder.opaque:
        yield from part.kinds


def _mixed(carried: Sequence[Node], operands: Sequence[Node]) -> list[Node]:
    """What a loop carries depends, from the second turn on, on everything else that goes in."""
    data, noise = any(o.data for o in operands), any(o.noise for o in operands)
    roles = frozenset().union(*(o.roles for o in operands))
    return [
        Node(
            order=0, aval=c.aval, data=data, noise=noise, roles=roles, origins=c.origins | ({_DATA} if data else set())
        )
        for c in carried
    ]


def _sharded(node: Node, spec: Any) -> Node:
    """An input of ``shard_map``, with what its mesh axes divide."""
    roles = set()
    for dim, names in enumerate(spec):
        for name in names if isinstance(names, tuple) else (names,) if names is not None else ():
            roles.add((name, ("examples" if dim == 0 else "positions") if node.data else "units"))
    return Node(
        order=0,
        aval=node.aval,
        number=node.number,
        data=node.data,
        noise=node.noise,
        fixed=node.fixed,
        roles=frozenset(roles),
        origins=node.origins,
    )


def _shards(node: Node, place: _Place) -> tuple[tuple[str, int, str], ...]:
    """Over which mesh axes a value differs; where data and parameters disagree on what an axis divides, data wins."""
    roles = {} if place.typed else dict.fromkeys(place.mesh, "copies")
    for role in ("units", "positions", "examples"):
        roles |= {name: role for name, r in node.roles if r == role}
    if place.typed:
        roles = {name: roles.get(name, "examples") for name in jx.varying(node.aval)}
    return tuple((name, place.mesh[name], roles[name]) for name in place.mesh if name in roles)


def _is_plain_call(eqn: Any) -> bool:
    """Whether a call is read from the inside, as if its equations stood in its place."""
    return eqn.primitive.name in jx.INLINED and _called(eqn) is None


def _called(eqn: Any) -> tuple[str, tuple[int, ...], bool | None] | None:
    """Kind, operands that are the input, and what sort of gate, of a call that has an activation's name."""
    name = (jx.call_name(eqn) or "").lstrip("_")
    if (name not in _NAMED and name not in _GATED) or len(eqn.outvars) != 1:
        return None
    if _only_hands_on(eqn, name):
        return None
    out = eqn.outvars[0].aval
    if not getattr(out, "shape", ()) or not jnp.issubdtype(out.dtype, jnp.floating):
        return None  # scalars and integers are bookkeeping, not layers
    if name in _GATED:
        at, kind, product = _GATED[name]
        return (kind, (at,), product) if len(eqn.invars) > at else None
    kind = _NAMED[name]
    changes_shape = not ACTIVATIONS[kind].elementwise
    for index, atom in enumerate(eqn.invars):  # passed by keyword the input need not come first
        aval = atom.aval
        if not jnp.issubdtype(getattr(aval, "dtype", jnp.int32), jnp.floating):
            continue
        if aval.shape == out.shape or (changes_shape and aval.shape):
            return kind, (index,), None
    return None  # a function of another kind that happens to have an activation's name


def _activations(region: Region) -> dict[Path, _Found]:
    """What is called by name or written out, by the path of the equation that it ends in; the outermost counts."""
    found: dict[Path, _Found] = {}
    inside: set[int] = set()
    for step in reversed(region.steps):
        if len(step.outputs) != 1 or step.outputs[0].order in inside:
            continue
        if called := _called(step.eqn):
            found[step.path] = _Found(*called[:2], gate=called[2])
        elif form := recognise(step.outputs[0], lambda node: _called(node.eqn) is not None):
            whole = not form.inside and not any(isinstance(v, Node) for v in form.options.values())
            at = tuple(i for i, node in enumerate(step.inputs) if node is form.x) if whole else ()
            found[step.path] = _Found(form.kind, at, form)
            inside.update(node.order for node in form.inside)
    return found


def _is_activation(kind: str, node: Node, x: Node, named: bool) -> bool:
    """Whether what computes an activation is one, and not the clamp of a variance, or a part of a loss."""
    if not node.feeds and (kind in _OF_LOSSES or _is_margin(x) or not (named or kind in ("sigmoid", "tanh"))):
        return False
    return named or not (_clamps_a_variance(node, x) or _is_bounded(node) or _is_overlap(x))


def _is_margin(x: Node) -> bool:
    """Whether a value is another one's distance from a constant, as in a hinge loss."""
    return x.primitive in ("add", "sub") and any(i.fixed for i in x.inputs)


def _is_overlap(x: Node) -> bool:
    """Whether a value is what two intervals share: the smaller of their ends less the larger of their beginnings."""
    if x.primitive != "sub" or any(i.eqn is None for i in x.inputs):
        return False
    return [_behind_shapes(i).primitive for i in x.inputs] == ["min", "max"]


def _behind_shapes(node: Node) -> Node:
    while node.primitive in (*_CARRIERS, "slice", "split") and node.inputs:
        node = node.inputs[0]
    return node


def _is_bounded(node: Node) -> bool:
    """Whether all that is done with a value is to cut it at a constant: a clip to an interval."""
    return bool(node.users) and all(u.primitive == "min" and any(i.fixed for i in u.inputs) for u in node.users)


def _clamps_a_variance(node: Node, x: Node) -> bool:
    """Whether a value descends from a sum, with no weights in between, and goes into a root."""
    return _reaches(node, "users", ("sqrt", "rsqrt"), (*_CARRIERS, "add")) and _reaches(x, "inputs", _REDUCING, None)


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


def _spread_feeds(region: Region, feeds: Sequence[bool]) -> None:
    """Mark what leads to an output that is more than a scalar, or into a product with weights."""
    for output, fed in zip(region.outputs, feeds, strict=True):
        output.feeds = output.feeds or fed
    for step in reversed(region.steps):
        fed = step.eqn.primitive.name in _WEIGHING or any(o.feeds for o in step.outputs)
        if fed or _weighs(step.eqn):
            for operand in step.inputs:
                operand.feeds = True


def _weighs(eqn: Any) -> bool:
    return any(
        inner.primitive.name in _WEIGHING or _weighs(inner)
        for jaxpr in jx.inner_jaxprs(eqn)
        for inner in jx.open_jaxpr(jaxpr).eqns
    )


def _nearest_module(origins: Iterable[_Origin]) -> tuple[str, tuple[str, ...]]:
    """The module whose weight matrix was consumed last, and its parameters among the origins."""
    named = sorted((o for o in origins if o.name), key=lambda o: (o.order, o.name))
    matrices = [o for o in named if o.ndim >= 2]
    if not named:
        return "", ()
    nearest = (matrices or named)[-1].name
    module, _, leaf = nearest.rpartition("/")
    if not module:
        return leaf, (nearest,)
    return module, tuple(sorted({o.name for o in named if o.name.rpartition("/")[0] == module}))


def find(closed: Any, names: tuple[str, ...], batch: int | None = None) -> Finding:
    """The sites and the closed parts of a traced function whose flat inputs have these names.

    With ``batch``, the length of the axis of examples, a site that does not begin with it is listed as opaque.
    """
    inner = jx.open_jaxpr(closed)
    # Without a nameless argument there are no parameters apart from the data: every argument may be either.
    both = all(names)
    inputs = [
        Node(
            order=i,
            aval=var.aval,
            data=both or not name,
            origins=frozenset(
                {_Origin(-1, name, len(var.aval.shape)), *({_DATA} if both else ())} if name else {_DATA}
            ),
        )
        for i, (name, var) in enumerate(zip(names, inner.invars, strict=True))
    ]
    finder = _Finder(batch)
    feeds = [bool(getattr(var.aval, "shape", ())) for var in inner.outvars]
    finder.region(closed, inputs, feeds, (), _Place())
    return Finding(tuple(finder.matches), tuple(finder.opaque))
