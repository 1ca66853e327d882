"""The interpreter: a function in, the same function with statistics of its activations as extra outputs out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from . import _jaxpr as jx
from ._sites import Finding, Path, Site, find, input_index, parameter_names
from ._statistics import Signal, SiteStats, Stats, empty_signal, measure, measure_signal, with_signal

Observe = Callable[[Site, Any, list], tuple[Any, Any]]


@dataclass(frozen=True)
class Instrumented:
    """A traced function, ready to be evaluated with something done at every site."""

    closed: Any
    out_tree: Any
    finding: Finding

    def run(self, args: tuple, observe: Observe) -> tuple[Any, dict[Path, Any]]:
        """Evaluate on ``args`` with ``observe(site, eqn, inputs) -> (output, record)`` at the sites."""
        by_path = {site.path: site for site in self.finding.sites}
        out, records = _run(self.closed, jx.constants(self.closed), jax.tree.leaves(args), (), by_path, observe)
        return jax.tree.unflatten(self.out_tree, out), records


def instrument(fun: Callable, args: tuple, batch: int | None = None) -> Instrumented:
    """Trace ``fun(*args)`` and find its sites."""
    closed, out_tree = jx.trace(fun, args)
    return Instrumented(closed, out_tree, find(closed, parameter_names(args), batch))


def _run(jaxpr: Any, consts: list, args: list, path: Path, by_path: Mapping, observe: Observe) -> tuple[list, dict]:
    records: dict[Path, Any] = {}

    def step(index: int, eqn: Any, values: list) -> list:
        here = (*path, index)
        if here in by_path:
            out, records[here] = observe(by_path[here], eqn, values)
            return [out]
        if not any(p[: len(here)] == here for p in by_path):
            return jx.bind(eqn, values)
        inner = jx.body(eqn)

        def call(*values: Any) -> tuple[list, dict]:
            return _run(inner, jx.constants(inner), list(values), here, by_path, observe)

        if eqn.primitive.name in jx.CHECKPOINTS:
            call = jax.checkpoint(call, policy=eqn.params["policy"], prevent_cse=eqn.params["prevent_cse"])
        out, found = call(*values)
        records.update(found)
        return out

    return jx.evaluate(jaxpr, consts, args, step), records


def _evaluate_site(site: Site, eqn: Any, inputs: list) -> tuple[Any, SiteStats]:
    """The site's output by its own rules, and its forward statistics."""
    [y] = jx.bind(eqn, inputs)
    at = input_index(eqn)
    assert at is not None, "site_kind accepts no equation without an input"
    # For an elementwise function the vector-Jacobian product with ones is the derivative, whatever its rule keeps.
    x = jax.lax.stop_gradient(inputs[at])
    still, pull = jax.vjp(lambda x: jx.bind(eqn, [*inputs[:at], x, *inputs[at + 1 :]])[0], x)
    [slope] = pull(jnp.ones_like(still))
    return y, measure(site, jax.lax.stop_gradient(y), jax.lax.stop_gradient(slope))


def _by_name(records: dict[Path, Any], finding: Finding) -> dict[str, Any]:
    return {site.name: records[site.path] for site in finding.sites}


def probe(fun: Callable, *, batch: int | None = None) -> Callable:
    """The same function, with statistics of every activation as a second output.

    Args:
        fun: any JAX function; it is not edited, only traced. The first axis of an activation is read as examples and
            its last as units.
        batch: length of the axis of examples, where it is known: then a vector of that length is one unit, and an
            activation that does not begin with that axis is listed in ``Stats.opaque``, not misread.

    Returns:
        ``probed(*args) -> (fun(*args), Stats)``, pure, jittable and differentiable; the values are the same to
        rounding. Keyword arguments: bind them with :func:`functools.partial`.

    Cost: a few reductions per activation.

    >>> import relujax as rx
    >>> _, stats = rx.probe(lambda x: jax.nn.relu(x) * 2)(jnp.array([[-1.0, 2.0], [-3.0, -4.0]]))
    >>> stats["relu"].active.tolist(), stats["relu"].total.tolist()
    ([0, 1], [0.0, 2.0])
    """

    def probed(*args: Any) -> tuple[Any, Stats]:
        traced = instrument(fun, args, batch)
        out, records = traced.run(args, _evaluate_site)
        return out, Stats(_by_name(records, traced.finding), traced.finding.opaque)

    return probed


def capture(fun: Callable, *, batch: int | None = None) -> Callable:
    """The outputs of every activation: ``captured(*args) -> {site name: output}``.

    >>> import relujax as rx
    >>> capture(lambda x: rx.relu(x) * 2)(jnp.array([-1.0, 2.0]))["relu"].tolist()
    [0.0, 2.0]
    """

    def captured(*args: Any) -> dict[str, jax.Array]:
        traced = instrument(fun, args, batch)
        _, records = traced.run(args, lambda site, eqn, inputs: (jx.bind(eqn, inputs)[0],) * 2)
        return _by_name(records, traced.finding)

    return captured


def probe_grad(
    loss: Callable,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    head: Callable = lambda out: out,
    batch: int | None = None,
) -> Callable:
    """Value and gradients of a loss, with forward and backward statistics of every activation.

    Args:
        loss: a scalar function, the model's and the loss's equations in one; with ``has_aux``, ``(scalar, aux)``.
        argnums: which arguments to differentiate with respect to.
        has_aux: as in :func:`jax.value_and_grad`.
        head: applied to what ``loss`` returns, and not probed: with a model as ``loss`` and the loss as ``head``, an
            activation inside the loss does not count as a layer.
        batch: as in :func:`probe`.

    Returns:
        ``probed(*args) -> ((loss, grads), Stats)``; with ``has_aux``, ``(((loss, aux), grads), Stats)``. The signal at
        a site is the gradient of the loss with respect to its output; it costs O(units) memory, because the
        statistics arrive as the gradients of small zero tokens.

    Raises:
        TypeError: when the loss is not a scalar.
        ValueError: for an argument number out of range.

    >>> import relujax as rx
    >>> loss = lambda w, x: rx.relu(x @ w).sum()
    >>> (value, grad), stats = rx.probe_grad(loss)(jnp.eye(2), jnp.array([[-1.0, 2.0]]))
    >>> value.item(), stats["relu"].signal.norm.tolist()
    (2.0, [1.0, 1.0])
    """

    def probed(*args: Any) -> tuple[Any, Stats]:
        numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        if any(not -len(args) <= n < len(args) for n in numbers):
            raise ValueError(f"got argnums={argnums} for {len(args)} arguments: expected numbers of existing ones")
        traced = instrument(loss, args, batch)
        tokens = {site.path: empty_signal(site) for site in traced.finding.sites}

        def tapped(tokens: dict, *args: Any) -> tuple[Any, Any]:
            def observe(site: Site, eqn: Any, inputs: list) -> tuple[Any, SiteStats]:
                y, stats = _evaluate_site(site, eqn, inputs)
                return _tap(y.reshape(site.rows), tokens[site.path]).reshape(y.shape), stats

            out, records = traced.run(args, observe)
            out = head(out)
            value, aux = out if has_aux else (out, None)
            return value, (aux, records)

        shifted = (n % len(args) + 1 for n in numbers)  # the tokens come first
        grad = jax.value_and_grad(tapped, argnums=(0, *shifted), has_aux=True)
        (value, (aux, records)), (signals, *grads) = grad(tokens, *args)
        stats = {site.name: with_signal(records[site.path], signals[site.path]) for site in traced.finding.sites}
        gradients = grads[0] if isinstance(argnums, int) else tuple(grads)
        return ((value, aux) if has_aux else value, gradients), Stats(stats, traced.finding.opaque)

    return probed


@jax.custom_vjp
def _tap(x: jax.Array, token: Signal) -> jax.Array:
    """The identity; going back it hands the cotangent on, and its statistics to the token."""
    return x


_tap.defvjp(lambda x, token: (x, None), lambda _, g: (g, measure_signal(g)))
