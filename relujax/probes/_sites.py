"""Finding the activations of a function in its jaxpr, and naming each so that people can act on it."""

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..functions import ACTIVATIONS
from . import _jaxpr as jx

#: Calls that jax.nn and Flax make by a name of their own, and the kind they are.
_NAMED = {name: name for name, row in ACTIVATIONS.items() if row.elementwise and row.kin != "gated"}
_NAMED |= {"hard_swish": "hard_silu"}
#: Primitives that hand a parameter on without consuming it.
_CARRIERS = ("convert_element_type", "reshape", "transpose", "broadcast_in_dim", "squeeze", "copy")
#: Primitives that are an activation by themselves: nobody names tanh or the sigmoid.
_PRIMITIVES = {"tanh": "tanh", "logistic": "sigmoid"}

_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)

Path = tuple[int, ...]


@dataclass(frozen=True)
class Site:
    """One activation of a function.

    Attributes:
        name: stable and unique within the function: the path of the nearest upstream weights, or the module of the
            name stack, then the kind; for example ``layers/3/relu``.
        kind: what activation it is; a key of :data:`relujax.ACTIVATIONS` where that has it.
        path: where it stands in the jaxpr: equation numbers, outermost first.
        shape: shape of its output; the first axis is read as examples, the last as units.
        dtype: dtype of its output.
        source: ``file:line`` of the user's code that calls it, or None.
        weights: paths of the parameters consumed since the site before, in the module that names this one.
        executions: how often it runs in one call of the function.
        batched: whether the length of the axis of examples was given, and the first axis has it.
    """

    name: str
    kind: str
    path: Path
    shape: tuple[int, ...]
    dtype: str
    source: str | None
    weights: tuple[str, ...] = ()
    executions: int = 1
    batched: bool = False

    @property
    def rows(self) -> tuple[int, ...]:
        """The shape as ``(examples, ..., units)``: a bare vector is one unit of a batch, or else one example."""
        if len(self.shape) > 1:
            return self.shape
        return (*self.shape, 1) if self.batched else (1, *self.shape)

    @property
    def unit_axis(self) -> int | None:
        """The axis that counts units: the last one; None for a vector with one number per example."""
        return None if self.batched and len(self.shape) == 1 else len(self.shape) - 1

    @property
    def units(self) -> int:
        """How many units the site has."""
        return self.rows[-1]

    @property
    def size(self) -> int:
        """Elements of one example."""
        return math.prod(self.rows[1:])


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


@dataclass(frozen=True)
class Finding:
    """What :func:`find` sees: the sites in execution order, and what stayed closed."""

    sites: tuple[Site, ...]
    opaque: tuple[Opaque, ...]


def sites(fun: Callable, *args: Any) -> tuple[Site, ...]:
    """Every activation that ``fun(*args)`` calls, from its jaxpr alone.

    Args:
        fun: any JAX function.
        *args: its arguments, or their shapes and dtypes. Names come from the tree paths of the first one, where that
            is a tree of parameters.

    Returns:
        The sites in execution order.

    Finds activations called by name (relujax's, ``jax.nn``'s), and bare ``tanh`` and ``logistic``. Looks inside
    ``jit`` and ``checkpoint``; what is inside other calls is listed by :func:`relujax.diagnose` as opaque. Cost: one
    trace, no FLOPs.

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
class _Origin:
    """A parameter that a value was computed from since the last site, and when it was consumed."""

    order: int
    name: str
    ndim: int


#: Marks what depends on an argument that is no parameter, however far back.
_DATA = _Origin(0, "", 0)


class _Finder:
    """One pass over a jaxpr in execution order, carrying for each value the parameters behind it, and the data."""

    def __init__(self, batch: int | None) -> None:
        self.batch = batch
        self.sites: list[Site] = []
        self.opaque: list[Opaque] = []
        self.order = 0

    def walk(self, jaxpr: Any, inputs: list[frozenset], path: Path, caller: str | None = None) -> list[frozenset]:
        inner = jx.open_jaxpr(jaxpr)
        gates = _gelu_gates(inner)

        def step(index: int, eqn: Any, origins: list) -> list:
            here = (*path, index)
            self.order += 1
            carries = eqn.primitive.name in _CARRIERS
            merged = frozenset().union(*(o if carries else self._consume(o) for o in origins))
            source = jx.source_line(eqn) or caller
            kind = site_kind(eqn)
            unread = self._unread(kind, index in gates, eqn, inner, of_data=_DATA in merged)
            if unread is not None:
                self.opaque.append(replace(unread, source=source))
                return [merged]
            if kind is not None:
                self.sites.append(self._site(eqn, kind, here, merged, source))
                return [merged & {_DATA}] * len(eqn.outvars)
            if enters(eqn):
                return self.walk(jx.body(eqn), origins, here, source)
            self._note_closed(eqn, source)
            return [merged] * len(eqn.outvars)

        consts = [frozenset()] * len(inner.constvars)
        return jx.evaluate(inner, consts, inputs, _literals_to_nothing(step))

    def _unread(self, kind: str | None, is_gate: bool, eqn: Any, jaxpr: Any, of_data: bool) -> Opaque | None:
        """An activation that is seen, but not one that can be measured."""
        name = eqn.primitive.name
        if is_gate or name == "erfc":
            why = f"a GELU in {'tanh' if is_gate else 'exact'} form, which is written as plain equations"
            return Opaque("gelu", ("gelu",), why, None)
        if kind is None:
            bare = self._is_bare_relu(eqn, jaxpr)
            return Opaque("maximum", ("relu",), "a ReLU written as a maximum with 0", None) if bare else None
        if not of_data:
            why = "it is a function of the parameters alone, not of the data"
            return Opaque(jx.call_name(eqn) or name, (kind,), why, None)
        first = eqn.outvars[0].aval.shape[0]
        if self.batch is not None and first != self.batch:
            why = f"its first axis is {first} long, not the {self.batch} of the examples"
            return Opaque(jx.call_name(eqn) or name, (kind,), why, None)
        return None

    def _is_bare_relu(self, eqn: Any, jaxpr: Any) -> bool:
        if eqn.primitive.name != "max" or not _has_literal(eqn, 0.0):
            return False
        aval = eqn.outvars[0].aval
        shaped = len(aval.shape) > 1 and math.prod(aval.shape[1:]) > 1 and self.batch in (None, aval.shape[0])
        return shaped and jnp.issubdtype(aval.dtype, jnp.floating) and not _reaches_root(jaxpr, eqn.outvars[0])

    def _consume(self, origins: frozenset) -> frozenset:
        return frozenset(replace(o, order=self.order) if o.order < 0 else o for o in origins)

    def _note_closed(self, eqn: Any, source: str | None) -> None:
        name = eqn.primitive.name
        inside = tuple(_kinds_inside(eqn))
        if inside:
            reason = f"the probe does not look inside {name} yet"
        elif any(word in name for word in ("pallas", "ffi", "custom_call", "callback", "triton")):
            reason = f"{name} has no jaxpr to look into"
        else:
            return
        self.opaque.append(Opaque(name, inside, reason, source))

    def _site(self, eqn: Any, kind: str, path: Path, origins: frozenset, source: str | None) -> Site:
        module, weights = _nearest_module(origins)
        stack = str(eqn.source_info.name_stack)
        name = "/".join(part for part in (module or stack, kind) if part)
        taken = {site.name for site in self.sites}
        candidates = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1)))
        unique = next(candidate for candidate in candidates if candidate not in taken)
        aval = eqn.outvars[0].aval
        batched = self.batch is not None
        return Site(unique, kind, path, tuple(aval.shape), str(aval.dtype), source, weights, batched=batched)


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


def _literals_to_nothing(step: Callable) -> Callable:
    """Literals carry no origins: in the finder's world of sets, a number stands for the empty one."""
    return lambda index, eqn, values: step(index, eqn, [v if isinstance(v, frozenset) else frozenset() for v in values])


def find(closed: Any, names: tuple[str, ...], batch: int | None = None) -> Finding:
    """The sites and the closed parts of a traced function whose flat inputs have these names.

    With ``batch``, the length of the axis of examples, a site that does not begin with it is listed as opaque.
    """
    invars = jx.open_jaxpr(closed).invars
    # Without a nameless argument there are no parameters apart from the data: every argument may be either.
    both = {_DATA} if all(names) else set()
    inputs = [
        frozenset({_Origin(-1, name, len(var.aval.shape)), *both} if name else {_DATA})
        for name, var in zip(names, invars, strict=True)
    ]
    finder = _Finder(batch)
    finder.walk(closed, inputs, ())
    return Finding(tuple(finder.sites), tuple(finder.opaque))


def site_kind(eqn: Any) -> str | None:
    """The kind of activation that an equation is, or None."""
    if len(eqn.outvars) != 1:
        return None
    aval = eqn.outvars[0].aval
    if not getattr(aval, "shape", ()) or not jnp.issubdtype(aval.dtype, jnp.floating):
        return None  # scalars and integers are bookkeeping, not layers
    if input_index(eqn) is None:
        return None  # a function of another kind that happens to have an activation's name
    return _NAMED.get(jx.call_name(eqn) or "") or _PRIMITIVES.get(eqn.primitive.name)


def input_index(eqn: Any) -> int | None:
    """Which operand is the activation's input: the first floating one of the output's shape.

    Passed by keyword it need not come first; without one the call is not elementwise.
    """
    out = eqn.outvars[0].aval
    for index, atom in enumerate(eqn.invars):
        aval = atom.aval
        if getattr(aval, "shape", None) == out.shape and jnp.issubdtype(aval.dtype, jnp.floating):
            return index
    return None


def enters(eqn: Any) -> bool:
    """Whether the interpreter evaluates this equation from the inside."""
    return eqn.primitive.name in (*jx.INLINED, *jx.CHECKPOINTS)


def _kinds_inside(eqn: Any) -> Iterable[str]:
    for jaxpr in jx.inner_jaxprs(eqn):
        inner = jx.open_jaxpr(jaxpr)
        gates = _gelu_gates(inner)
        for index, inside in enumerate(inner.eqns):
            kind = site_kind(inside)
            if kind is not None:
                yield "gelu" if index in gates else kind
            else:
                yield from _kinds_inside(inside)


def _gelu_gates(jaxpr: Any) -> set[int]:
    """The ``tanh`` equations that are the inside of a GELU: 1 is added to them, and sqrt(2/pi) multiplied before."""
    makers = {var: eqn for eqn in jaxpr.eqns for var in eqn.outvars}
    gates = set()
    for index, eqn in enumerate(jaxpr.eqns):
        if eqn.primitive.name != "tanh" or jx.is_literal(eqn.invars[0]):
            continue
        users = [e for e in jaxpr.eqns if any(a is eqn.outvars[0] for a in e.invars)]
        plus_one = len(users) == 1 and users[0].primitive.name == "add" and _has_literal(users[0], 1.0)
        maker = makers.get(eqn.invars[0])
        if plus_one and maker is not None and maker.primitive.name == "mul" and _has_literal(maker, _SQRT_2_OVER_PI):
            gates.add(index)
    return gates


def _reaches_root(jaxpr: Any, var: Any) -> bool:
    """Whether a value goes into a square root, through nothing but sums and shapes: a variance, clamped."""
    reached = {var}
    for eqn in jaxpr.eqns:
        if any(not jx.is_literal(a) and a in reached for a in eqn.invars):
            if eqn.primitive.name in ("sqrt", "rsqrt"):
                return True
            if eqn.primitive.name in (*_CARRIERS, "add"):
                reached.update(eqn.outvars)
    return False


def _has_literal(eqn: Any, value: float) -> bool:
    return any(jx.is_literal(a) and np.ndim(a.val) == 0 and abs(float(a.val) - value) < 1e-2 for a in eqn.invars)
