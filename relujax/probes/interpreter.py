"""The interpreter: a traced function, evaluated again with something done at every site."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from .._meshes import zeros_of
from ..functions import ACTIVATIONS
from . import _jaxpr as jx
from ._find import are_bare, find, parameter_names
from ._forms import WRITTEN
from ._graph import Node, Path
from ._sites import Finding, Match, Site

Records = dict[Path, Any]


@dataclass(frozen=True)
class Use:
    """A site at the moment when it is evaluated.

    Attributes:
        match: the site, and how it is written.
        x: its input.
        operands: what its equation is applied to; None stands for what was left out, as the site is exchanged.
        value: a parameter's value, for a form that has one.
    """

    match: Match
    x: jax.Array
    operands: list
    value: Callable[[Node], Any]

    @property
    def site(self) -> Site:
        """Which one."""
        return self.match.site

    def output(self) -> jax.Array:
        """The output, by the rules that the function has."""
        return jx.bind(self.match.eqn, self.operands)[0]

    def of(self, x: jax.Array) -> jax.Array:
        """The same activation of another input: of a gated unit, the gate alone."""
        match = self.match
        if (match.form is not None and not match.at) or match.gate is not None:
            return self.registered(x)
        at = match.at
        return jx.bind(match.eqn, [x if i in at else v for i, v in enumerate(self.operands)])[0]

    def registered(self, x: jax.Array) -> jax.Array:
        """The registry's function of that kind and of these parameters."""
        if self.match.form is not None and not self.match.form.always:
            return WRITTEN[self.site.kind](x, **self.options)
        return ACTIVATIONS[self.site.kind].fun(x, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """Parameters of an activation that is written out, as the registry's function calls them."""
        options = self.match.form.options if self.match.form else {}
        return {name: self.value(v) if isinstance(v, Node) else v for name, v in options.items()}

    @property
    def arguments(self) -> list:
        """What the call of an activation is given beside its input, in order."""
        return [v for i, v in enumerate(self.operands) if i not in self.match.at]


@dataclass(frozen=True)
class Verb:
    """What is done at the sites.

    Attributes:
        observe: ``observe(use, token) -> (output, record)``; the output takes the place of the site's own.
        tokens: per site, an array or tree of arrays that ``observe`` gets, with the lengths of the scans around the
            site as leading axes, and before them the number of shards.
        repeat: ``repeat(first, second) -> record`` of two executions in a ``while`` loop.
        join: ``join(site, record) -> record`` of all shards; they come stacked along a leading axis.
        exchanged: the sites whose output ``observe`` takes from their input and their parameters alone; what only they
            are written out with is left out.
    """

    observe: Callable[[Use, Any], tuple[Any, Any]]
    tokens: Mapping[Path, Any] = field(default_factory=dict)
    repeat: Callable[[Any, Any], Any] = lambda first, second: second
    join: Callable[[Site, Any], Any] = lambda site, record: record
    exchanged: frozenset[Path] = frozenset()


@dataclass(frozen=True)
class Instrumented:
    """A traced function, ready to be evaluated with something done at every site."""

    closed: Any
    out_tree: Any
    finding: Finding

    def run(self, args: tuple, verb: Verb) -> tuple[Any, Records]:
        """Evaluate on ``args``; returns the outputs and a record per site."""
        runner = _Runner({match.site.path: match for match in self.finding.matches}, verb)
        out, records = runner.region(self.closed, jax.tree.leaves(args), (), dict(verb.tokens))
        return jax.tree.unflatten(self.out_tree, out), records


def instrument(fun: Callable, args: tuple, batch: int | None = None) -> Instrumented:
    """Trace ``fun(*args)`` and find its sites."""
    closed, out_tree = jx.trace(fun, args)
    first = len(jax.tree.leaves(args[:1]))
    return Instrumented(closed, out_tree, find(closed, parameter_names(args), batch, first, are_bare(args)))


class _Runner:
    def __init__(self, matches: Mapping[Path, Match], verb: Verb) -> None:
        self.matches = matches
        self.verb = verb
        self.on_the_way = {path[:i] for path in matches for i in range(len(path))}
        forms = [m.form for m in matches.values() if m.form is not None]
        nodes = [n for form in forms for n in (form.x, *form.options.values()) if isinstance(n, Node)]
        self.wanted = {n.key for n in nodes}
        # What a form is made of may come out of a plain call in which there is no site.
        self.on_the_way |= {key[0][:i] for key in self.wanted if key for i in range(1, len(key[0]) + 1)}
        self.left_out = {path for end in verb.exchanged for path in _only_for(matches[end])}
        self.on_the_way |= {path[:i] for path in self.left_out for i in range(len(path))}

    def region(self, jaxpr: Any, args: list, path: Path, tokens: dict) -> tuple[list, Records]:
        """Evaluate a jaxpr, and the plain calls in it; returns the outputs and the records of its sites."""
        kept: dict[Any, Any] = {}
        records: Records = {}

        def keep(path: Path, variables: list, values: list) -> None:
            for variable, value in zip(variables, values, strict=True):
                if (path, variable) in self.wanted:
                    kept[path, variable] = value

        def frame(jaxpr: Any, args: list, path: Path) -> list:
            def step(index: int, eqn: Any, values: list) -> list:
                with jx.as_written(eqn), eqn.ctx.manager:
                    out = one((*path, index), eqn, values)
                keep(path, eqn.outvars, out)
                return out

            inner = jx.open_jaxpr(jaxpr)
            consts = jx.constants(jaxpr)
            keep(path, [*inner.constvars, *inner.invars], [*consts, *args])
            return jx.evaluate(inner, consts, args, step)

        def value(node: Node) -> Any:
            return node.number if node.key is None else kept[node.key]

        def one(here: Path, eqn: Any, values: list) -> list:
            match = self.matches.get(here)
            if match is not None:
                x = value(match.form.x) if match.form is not None and not match.at else values[match.at[0]]
                out, records[here] = self.verb.observe(Use(match, x, values, value), tokens.get(here))
                return [out]
            if here in self.left_out:
                return [None] * len(eqn.outvars)
            if here not in self.on_the_way:
                return jx.bind(eqn, values)
            if eqn.primitive.name in jx.INLINED:
                return frame(jx.body(eqn), values, here)
            within = {p: t for p, t in tokens.items() if p[: len(here)] == here}
            out, found = _CALLS[eqn.primitive.name](self, eqn, values, here, within)
            records.update(found)
            return out

        return frame(jaxpr, args, path), records

    def checkpoint(self, eqn: Any, values: list, here: Path, tokens: dict) -> tuple[list, Records]:
        def call(*values: Any) -> tuple[list, Records]:
            return self.region(eqn.params["jaxpr"], list(values), here, tokens)

        policy, prevent_cse = eqn.params["policy"], eqn.params["prevent_cse"]
        return jax.checkpoint(call, policy=policy, prevent_cse=prevent_cse)(*values)

    def scan(self, eqn: Any, values: list, here: Path, tokens: dict) -> tuple[list, Records]:
        consts, carry = jx.scan_counts(eqn)
        body = eqn.params["jaxpr"]
        fixed, init, over = values[:consts], values[consts : consts + carry], values[consts + carry :]

        def turn(state: list, given: tuple[list, dict]) -> tuple[list, tuple[list, Records]]:
            slices, tokens = given
            out, records = self.region(body, [*fixed, *state, *slices], here, tokens)
            return out[:carry], (out[carry:], records)

        options = {name: eqn.params[name] for name in ("length", "reverse", "unroll")}

        def turned(tree: dict) -> dict:
            """From the order of execution, which tokens and records have, to that of slices, and back."""
            return jax.tree.map(jnp.flipud, tree) if options["reverse"] else tree

        state, (stacked, records) = jax.lax.scan(turn, init, (over, turned(tokens)), **options)
        return [*state, *stacked], turned(records)

    def loop(self, eqn: Any, values: list, here: Path, tokens: dict) -> tuple[list, Records]:
        test, body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
        of_test, of_body, init = values[:test], values[test : test + body], values[test + body :]
        goes_on = eqn.params["cond_jaxpr"]

        def turn(state: list) -> tuple[list, Records]:
            return self.region(eqn.params["body_jaxpr"], [*of_body, *state], here, {})

        def more(carried: tuple[list, Records]) -> jax.Array:
            inputs = [*of_test, *carried[0]]
            [out] = jx.evaluate(goes_on, jx.constants(goes_on), inputs, lambda _, eqn, values: jx.bind(eqn, values))
            return out

        def again(carried: tuple[list, Records]) -> tuple[list, Records]:
            state, before = carried
            state, records = turn(state)
            return state, {path: self.verb.repeat(before[path], records[path]) for path in records}

        nothing = zeros_of(jax.eval_shape(turn, init)[1])
        return jax.lax.while_loop(more, again, (init, nothing))

    def switch(self, eqn: Any, values: list, here: Path, tokens: dict) -> tuple[list, Records]:
        index, *operands = values

        def branch(number: int) -> Callable:
            def call(*operands: Any) -> tuple[list, Records]:
                return self.region(eqn.params["branches"][number], list(operands), (*here, number), tokens)

            return call

        branches = [branch(i) for i in range(len(eqn.params["branches"]))]
        shapes: Records = {}
        for call in branches:
            shapes |= jax.eval_shape(call, *operands)[1]

        def union(call: Callable) -> Callable:
            def of_all(*operands: Any) -> tuple[list, Records]:
                out, records = call(*operands)
                return out, {path: records.get(path, zeros_of(shapes[path])) for path in shapes}

            return of_all

        return jax.lax.switch(index, [union(call) for call in branches], *operands)

    def shard_map(self, eqn: Any, values: list, here: Path, tokens: dict) -> tuple[list, Records]:
        params = eqn.params
        sites = {path: match.site for path, match in self.matches.items() if path[: len(here)] == here}
        names = {path: tuple(name for name, _, _ in site.shards) for path, site in sites.items()}
        axes = {path: PartitionSpec(names[path] or None) for path in sites}

        def call(values: list, tokens: dict) -> tuple[list, Records]:
            tokens = {p: jax.tree.map(lambda token: token[0], t) if sites[p].shards else t for p, t in tokens.items()}
            out, records = self.region(params["jaxpr"], values, here, tokens)
            return out, jax.tree.map(lambda record: jnp.asarray(record)[None], records)

        specs = {path: axes[path] if sites[path].shards else PartitionSpec() for path in tokens}
        mesh = params["mesh"]
        tokens = {p: jax.tree.map(lambda token, p=p: placed(token, mesh, names[p]), t) for p, t in tokens.items()}
        out, records = jax.shard_map(
            call,
            mesh=mesh,
            in_specs=(list(params["in_specs"]), specs),
            out_specs=(list(params["out_specs"]), axes),
            axis_names=set(jx.manual_axes(eqn)),
            check_vma=params["check_vma"],
        )(values, tokens)
        joined = {path: self.verb.join(sites[path], record) for path, record in records.items()}
        if set(mesh.axis_types) == {AxisType.Auto}:  # or XLA divides them as what they are put beside
            whole = NamedSharding(mesh, PartitionSpec())
            joined = jax.tree.map(lambda value: jax.lax.with_sharding_constraint(value, whole), joined)
        return out, joined


_CALLS = {
    **dict.fromkeys(jx.CHECKPOINTS, _Runner.checkpoint),
    "scan": _Runner.scan,
    "while": _Runner.loop,
    "cond": _Runner.switch,
    "shard_map": _Runner.shard_map,
}


def _only_for(match: Match) -> set[Path]:
    """The equations that write an activation out, and that nothing else depends on."""
    only: set[Path] = set()
    if match.form is None:
        return only
    for node in sorted(match.form.inside, key=lambda node: node.order, reverse=True):
        if node is match.form.x or node.observed:
            continue
        if all(user.path == match.site.path or user.path in only for user in node.users):
            only.add(node.path)
    return only


def placed(x: jax.Array, mesh: Any, names: tuple[str, ...] = ()) -> jax.Array:
    """The array, its first axis divided by those of the mesh's axes that are explicit; where none is, as it came."""
    explicit = jx.explicit_axes(mesh)
    spec = PartitionSpec(tuple(name for name in names if name in explicit) or None)
    return jax.sharding.reshard(x, NamedSharding(mesh, spec)) if explicit else x
