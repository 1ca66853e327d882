"""Finding the activations of a function in its jaxpr, and naming each so that people can act on it."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax

from .._meshes import varying
from . import _jaxpr as jx
from ._activations import (
    CARRIERS,
    Found,
    activations,
    doubt,
    is_activation,
    is_plain_call,
    spread_feeds,
    weighs,
)
from ._graph import Node, Path, Step, build
from ._shards import Division, divisions
from ._sites import Finding, Match, Opaque, Site

#: Calls of code that is not JAX's.
_UNREADABLE = ("pallas", "ffi", "custom_call", "callback", "triton")
#: What the axis of examples is called where it is followed, as a mesh axis that divides values is.
_EXAMPLES = "examples"


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
    and the terms of a loss are no sites: what is written out and only a scalar depends on, a softplus that is added up
    to a scalar or to one number per example, a hinge. A softplus that is a scale, a rate or a bound is one.
    Cost: one trace, no FLOPs.

    >>> import jax.numpy as jnp, relujax as rx
    >>> params = {"hidden": jnp.zeros((4, 8), "float32"), "out": jnp.zeros((8, 2), "float32")}
    >>> fun = lambda params, x: rx.relu(x @ params["hidden"]) @ params["out"]
    >>> [site] = sites(fun, params, jax.ShapeDtypeStruct((16, 4), jnp.float32))
    >>> site.name, site.kind, site.shape
    ('hidden/relu', 'relu', (16, 8))
    """
    closed, _ = jx.trace(fun, args)
    return find(closed, parameter_names(args)).sites


def parameter_names(args: tuple) -> tuple[str, ...]:
    """A name for each flat argument: its tree path in the first argument, "" elsewhere.

    Where two paths read the same, the later one gets a number.

    >>> parameter_names(({"up": {"kernel": 1.0, "bias": 0.0}}, 2.0))
    ('up/bias', 'up/kernel', '')
    >>> parameter_names(({"up": {"bias": 0.0}, "up/bias": 1.0},))
    ('up/bias', 'up/bias_1')
    """
    paths = [_path_name(path) for path, _ in jax.tree.leaves_with_path(args[0])] if args else []
    taken: set[str] = set()
    named = [_unique(path, taken) if path else path for path in paths]
    rest = len(jax.tree.leaves(args)) - len(named)
    return (*named, *[""] * rest)


def _unique(name: str, taken: set[str]) -> str:
    """A name, with a number where it is taken; from then on it is."""
    candidates = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1)))
    unique = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(unique)
    return unique


def _path_name(path: tuple) -> str:
    # Flax NNX states end in the attribute "value" of a Variable; "params" only says that it is a Linen tree.
    if path and isinstance(path[-1], jax.tree_util.GetAttrKey) and path[-1].name == "value":
        path = path[:-1]
    parts = [p for p in jax.tree_util.keystr(path, simple=True, separator="/").split("/") if p]
    return "/".join(parts[1:] if parts[:1] == ["params"] else parts)


class _Origin(NamedTuple):
    """A parameter that a value was computed from since the last site, and when it was consumed."""

    order: int
    name: str
    ndim: int


#: Marks what depends on an argument that is no parameter, however far back.
_DATA = _Origin(0, "", 0)


@dataclass(frozen=True)
class _Place:
    """Where a region is: what surrounds every site in it."""

    steps: tuple[int, ...] = ()
    layers: tuple[bool, ...] = ()
    scans: tuple[int, ...] = ()
    counted: bool = True
    backward: bool = False
    differentiated: bool = False
    mesh: Mapping[str, int] = field(default_factory=dict)
    divided: Mapping[tuple[Path, Any], Division] = field(default_factory=dict)
    typed: bool = True
    stack: str = ""
    source: str | None = None


class _Finder:
    """One pass over a jaxpr in execution order, carrying for each value the parameters behind it, and the data."""

    def __init__(self, batch: int | None, examples: Callable[[], Mapping] = dict) -> None:
        self.batch = batch
        self.examples = examples
        self.matches: list[Match] = []
        self.opaque: list[Opaque] = []
        self.names: set[str] = set()
        self.order = 0

    def region(self, jaxpr: Any, inputs: list[Node], feeds: Sequence[bool], path: Path, place: _Place) -> list[Node]:
        """Find what is in a jaxpr; returns its outputs. ``feeds``: which of them lead to more than a scalar."""
        region = build(jaxpr, inputs, path, is_plain_call)
        spread_feeds(region, feeds)
        found_at, claimed = activations(region)
        for step in region.steps:
            self.order += 1
            merged = self._origins(step)
            for output in step.outputs:
                output.origins = merged
            found = found_at.get(step.path)
            if found is None:
                if not any(output.order in claimed for output in step.outputs):
                    self._enter(step, place)
            elif match := self._match(found, step, merged, place):
                self.matches.append(match)
                step.outputs[0].origins = merged & {_DATA}
        return region.outputs

    def _origins(self, step: Step) -> frozenset[_Origin]:
        """The parameters behind what a step returns; those that it takes as they came are consumed by it."""
        name = step.eqn.primitive.name
        if name == "random_bits":  # the parameter was a key
            return frozenset()
        merged = frozenset()
        for operand in step.inputs:
            merged = merged | operand.origins if merged else operand.origins
        if name in CARRIERS or all(origin.order >= 0 for origin in merged):
            return merged
        return frozenset(o._replace(order=self.order) if o.order < 0 else o for o in merged)

    def _match(self, found: Found, step: Step, origins: frozenset, place: _Place) -> Match | None:
        kind, node = found.kind, step.outputs[0]
        x = found.form.x if found.form else step.inputs[found.at[0]]
        if place.backward or step.goes_backward or jx.from_optax(step.eqn):
            return None
        name = jx.call_name(step.eqn) or step.eqn.primitive.name
        source = step.source or place.source
        if not is_activation(kind, node, x, named=found.form is None):
            if node.data and found.form is None and (why := doubt(kind, node, x)):
                self.opaque.append(Opaque(name, (kind,), why, source))
            return None
        if not node.data and not (node.noise and any(o.name for o in origins)):
            if node.noise:
                return None  # how random numbers are drawn
            why = "it is a function of the parameters alone, not of the data"
            self.opaque.append(Opaque(name, (kind,), why, source))
            return None
        shards, lost = _shards(node, place)
        if lost:
            why = f"which of its axes is divided by {lost} is not known"
            self.opaque.append(Opaque(name, (kind,), why, source))
            return None
        shape = list(node.aval.shape)
        for _, size, axis in shards:
            if axis is not None:
                shape[axis] *= size
        examples_axis = self._examples_axis(node, shape)
        if examples_axis is None:
            why = f"its first axis is {shape[0]} long, not the {self.batch} of the examples"
            if self.batch in shape:
                why = f"which of its axes is that of the {self.batch} examples is not known"
            self.opaque.append(Opaque(name, (kind,), why, source))
            return None
        site = self._site(step, kind, origins, source, place)
        site = replace(site, shape=tuple(shape), examples_axis=examples_axis, shards=shards)
        differentiated = place.differentiated or step.is_differentiated
        return Match(site, step.eqn, found.at, found.form, found.gate, differentiated)

    def _examples_axis(self, node: Node, shape: Sequence[int]) -> int | None:
        """Which axis counts examples: the first, where lengths do not speak against it; None where none is known to."""
        if self.batch is None or (shape[0] == self.batch and shape.count(self.batch) == 1):
            return 0
        if self.batch not in shape:
            return None
        found = self.examples().get(node.key, {})
        if _EXAMPLES not in found:  # nothing that begins with the examples leads here
            return 0 if shape[0] == self.batch else None
        axis = found[_EXAMPLES]
        return axis if axis is not None and shape[axis] == self.batch else None

    def _site(self, step: Step, kind: str, origins: frozenset, source: str | None, place: _Place) -> Site:
        module, weights = _nearest_module(origins)
        unique = _unique(jx.joined(module or jx.joined(place.stack, step.stack), kind), self.names)
        node = step.outputs[0]
        return Site(
            unique,
            kind,
            step.path,
            node.aval.shape,
            str(node.aval.dtype),
            source,
            weights,
            executions=math.prod(place.steps) if place.counted else None,
            batched=self.batch is not None,
            steps=place.steps,
            layers=place.layers,
            scans=place.scans,
        )

    def _enter(self, step: Step, place: _Place) -> None:
        """Look inside a call; what cannot be looked into is noted."""
        eqn, name = step.eqn, step.eqn.primitive.name
        jaxprs = step.jaxprs
        if _is_unreadable(name):
            kinds = tuple(kind for jaxpr in jaxprs for kind in _inside_closed(jaxpr)[0])
            why = f"{name} runs code that is not JAX's"
            self.opaque.append(Opaque(name, kinds, why, step.source or place.source))
            return
        if not jaxprs:
            return
        inside = replace(
            place,
            stack=jx.joined(place.stack, step.stack),
            source=step.source or place.source,
            backward=place.backward or step.goes_backward,
            differentiated=place.differentiated or step.is_differentiated,
        )
        bodies, given = jaxprs, step.inputs
        if name == "scan":
            consts, carry = jx.scan_counts(eqn)
            over = step.inputs[consts + carry :]
            inside = replace(
                inside,
                steps=(*inside.steps, eqn.params["length"]),
                layers=(*inside.layers, any(o.name and o.ndim >= 2 for x in over for o in x.origins)),
                scans=(*inside.scans, len(step.path)),
            )
            counting = _mixed(over, step.inputs)  # a constant differs from turn to turn, as a counter does
            over = [o if o.origins or o.noise else mixed for o, mixed in zip(over, counting, strict=True)]
            given = [*step.inputs[:consts], *_mixed(step.inputs[consts : consts + carry], step.inputs), *over]
        elif name == "while":
            test, body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
            self._closed(step, "the test of a while loop is not measured", inside, [eqn.params["cond_jaxpr"]])
            bodies = [eqn.params["body_jaxpr"]]
            given = [*step.inputs[test : test + body], *_mixed(step.inputs[test + body :], step.inputs)]
            inside = replace(inside, counted=False)
        elif name == "cond":
            bodies, given = eqn.params["branches"], step.inputs[1:]
        elif name == "shard_map" and not place.mesh:
            mesh = {name: eqn.params["mesh"].shape[name] for name in jx.manual_axes(eqn)}
            divided = divisions(jaxprs[0], eqn.params["in_specs"], list(mesh), step.path)
            inside = replace(inside, mesh=mesh, divided=divided, typed=eqn.params["check_vma"])
        elif name not in jx.CHECKPOINTS:
            self._closed(step, f"the probe does not look inside {name}", inside, jaxprs)
            return
        # What a loop carries goes, on its next turn, into the weights of its body.
        feeds = [o.feeds or (name in ("scan", "while") and o.aval.shape != () and weighs(eqn)) for o in step.outputs]
        paths = [(*step.path, i) for i in range(len(bodies))] if name == "cond" else [step.path]
        ends = [self._inside(body, given, feeds, path, inside) for body, path in zip(bodies, paths, strict=True)]
        for output, *results in zip(step.outputs, *ends, strict=True):  # of any branch
            output.origins = frozenset().union(*(result.origins for result in results))

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
                counts=outer.counts,
                origins=outer.origins,
            )
            for i, (var, outer) in enumerate(zip(inner.invars, given, strict=True))
        ]
        return self.region(jaxpr, inputs, feeds, path, place)

    def _closed(self, step: Step, reason: str, place: _Place, jaxprs: Iterable[Any]) -> None:
        found = [_inside_closed(jaxpr) for jaxpr in jaxprs]
        if kinds := tuple(kind for kinds, _ in found for kind in kinds):
            self.opaque.append(Opaque(step.eqn.primitive.name, kinds, reason, place.source))
        self.opaque += [replace(part, source=part.source or place.source) for _, parts in found for part in parts]


@functools.cache
def _is_unreadable(primitive: str) -> bool:
    return any(word in primitive for word in _UNREADABLE)


def _inside_closed(jaxpr: Any) -> tuple[tuple[str, ...], list[Opaque]]:
    """The kinds of what a closed call has inside, and the code in it that cannot be read at all."""
    finder = _Finder(None)
    inner = jx.open_jaxpr(jaxpr)
    inputs = [Node(order=i, aval=var.aval, data=True, origins=frozenset({_DATA})) for i, var in enumerate(inner.invars)]
    finder.region(jaxpr, inputs, [True] * len(inner.outvars), (), _Place())
    kinds = [match.site.kind for match in finder.matches]
    kinds += [kind for part in finder.opaque for kind in part.kinds]
    return tuple(kinds), [part for part in finder.opaque if not part.kinds]


def _mixed(carried: Sequence[Node], operands: Sequence[Node]) -> list[Node]:
    """What a loop carries depends, from the second turn on, on everything else that goes in."""
    data, noise = any(o.data for o in operands), any(o.noise for o in operands)
    further = frozenset({_DATA}) if data else frozenset()
    return [replace(c, number=None, fixed=False, data=data, noise=noise, origins=c.origins | further) for c in carried]


def _shards(node: Node, place: _Place) -> tuple[tuple[tuple[str, int, int | None], ...], str]:
    """What divides which axis of a value, as :class:`Site` has it; and a mesh axis of which that is not known."""
    known = place.divided.get(node.key, {}) if node.key else {}
    axes: dict[str, int | None] = dict.fromkeys(varying(node.aval) if place.typed else known)
    axes |= {name: axis for name, axis in known.items() if name in axes}
    lost = next((name for name in place.mesh if name in axes and axes[name] is None), "")
    if not place.typed:
        axes = dict.fromkeys(place.mesh) | axes
    return tuple((name, place.mesh[name], axes[name]) for name in place.mesh if name in axes), lost


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


def are_bare(args: tuple) -> list[bool]:
    """Of each flat argument, whether it is an argument itself, not a leaf of a tree."""
    return [not path for arg in args for path, _ in jax.tree.leaves_with_path(arg)]


def find(
    closed: Any, names: tuple[str, ...], batch: int | None = None, first: int = 0, bare: Sequence[bool] = ()
) -> Finding:
    """The sites and the closed parts of a traced function whose flat inputs have these names.

    With ``batch``, the length of the axis of examples, a site that has no such axis is listed as opaque. Where another
    axis is as long, or the first is not, it is followed through the equations from the inputs that begin with it: those
    after the ``first``, which are parameters, if there are such, and no vectors, if there are others. Where the first
    argument is ``bare`` arrays are taken for data before trees; and it is followed itself where the others do not tell.
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

    def follow(begin: list[int]) -> Mapping:
        begin = [i for i in begin if len(inputs[i].aval.shape) > 1] or begin
        specs = [(_EXAMPLES,) if i in begin else () for i in range(len(inputs))]
        return divisions(closed, specs, [_EXAMPLES], ()) if begin else {}

    @functools.cache
    def examples() -> Mapping:
        begin = [i for i, v in enumerate(inputs) if v.data and v.aval.shape[:1] == (batch,)]
        if any(bare[:1]):
            begin = [i for i in begin if bare[i]] or begin
        later = [i for i in begin if i >= first] or begin
        found, otherwise = follow(later), follow([i for i in begin if i not in later])
        return {key: d if d.get(_EXAMPLES) is not None else otherwise.get(key) or d for key, d in found.items()}

    finder = _Finder(batch, examples)
    feeds = [bool(getattr(var.aval, "shape", ())) for var in inner.outvars]
    finder.region(closed, inputs, feeds, (), _Place())
    return Finding(tuple(finder.matches), tuple(finder.opaque))
