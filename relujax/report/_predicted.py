"""What theory says of a model that is a plain stack of dense layers; that it is one is seen on a batch."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import theory
from .._precision import in_full_precision
from ..functions import ACTIVATIONS
from ..health import SiteSummary, Summary
from ..probes import parameter_names
from ..probes.interpreter import Use, Verb, instrument
from ._diagnosis import Diagnosis
from ._models import Model

#: Two numbers that came by different ways are the same within this share of the largest, in float32.
_SAME = 1e-3
#: So many examples say whether the model is a plain stack.
_EXAMPLES = 16


class _NotPlain(Exception):
    """Why there is no prediction."""


@dataclass(frozen=True)
class _Dense:
    """One layer, ``fun(before @ kernel + bias)``."""

    fun: Callable
    kernel: np.ndarray
    bias: np.ndarray


def with_prediction(found: Diagnosis, model: Model, batch: Any, mean_square: float) -> Diagnosis:
    r"""The diagnosis with what theory says of this stack, or with a note why it says nothing.

    .. math::

        q_l = \overline{W_l^2} N_{l-1} E f(\sqrt{q_{l-1}} z)^2 + \overline{b_l^2}, \qquad
        \|g_{l-1}\|^2 = \overline{W_l^2} N_{l-1} E f'(\sqrt{q_l} z)^2 \|g_l\|^2

    with the mean squares of the weights and biases that the model has, :math:`N_{l-1}` inputs per unit, and the mean
    square of the inputs in the place of the first expectation: the mean field of :func:`relujax.theory.stack_law`. It
    holds for wide layers of weights of mean 0 that do not depend on each other, such as those of a model that was not
    trained yet; back, for activations whose backward pass is that of their derivative.

    Args:
        found: of all the data.
        model: what was diagnosed.
        batch: some of them.
        mean_square: of all of them.
    """
    try:
        layers = _dense_layers(found.summary, model, batch)
        predicted = _predicted(layers, found.summary, mean_square)
    except _NotPlain as why:
        note = f"no prediction beside it: theory has one for a plain stack of dense layers, and {why}"
        return replace(found, notes=(*found.notes, note))
    return replace(found, predicted=predicted)


def _predicted(layers: Sequence[_Dense], summary: Summary, mean_square: float) -> dict[str, tuple[float, ...]]:
    weights = [layer.kernel.shape[0] * float(np.mean(layer.kernel**2)) for layer in layers]
    biases = [float(np.mean(layer.bias**2)) for layer in layers]
    q = weights[0] * mean_square + biases[0]
    try:
        law = theory.stack_law([layer.fun for layer in layers], len(layers), weights, biases, q)
    except ValueError as error:
        raise _NotPlain(f"it refuses this one ({' '.join(str(error).split())})") from error
    derived = all(ACTIVATIONS[row.kind].forward_mode for row in summary)  # not by a rule of another kind
    last = summary[-1].signal_norm if derived else None
    return {"output_rms": law.output_rms} | ({} if last is None else {"signal_norm": law.signal_norms(last)})


def _dense_layers(summary: Summary, model: Model, batch: Any) -> list[_Dense]:
    """Kernel, bias and activation of each layer.

    Raises:
        _NotPlain: where the model is anything else.
    """
    if not jnp.issubdtype(batch.dtype, jnp.floating):
        raise _NotPlain(f"the input is {batch.dtype}")
    leaves = dict(zip(parameter_names((model.params,)), jax.tree.leaves(model.params), strict=True))
    weights = [_weights_of(row, leaves) for row in summary]
    batch = batch[:_EXAMPLES]
    last = summary[-1].site, summary[-1].step
    seen, outputs, others = _look(model.apply, last, model.params, model.rest, batch)
    before, layers = np.asarray(batch, np.float64).reshape(len(batch), -1), []
    for row, (kernel, bias) in zip(summary, weights, strict=True):
        one = jax.tree.map(lambda value, step=row.step: np.asarray(value)[step], seen[row.site])
        layers.append(_dense(row, kernel, bias, before, one))
        before = one["y"].astype(np.float64)
    for a, b in zip(jax.tree.leaves(outputs), jax.tree.leaves(others), strict=True):
        if not _same(np.asarray(a), np.asarray(b)):
            raise _NotPlain("its output does not follow from the last activation alone")
    return layers


def _weights_of(row: SiteSummary, leaves: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias before an activation, where there are no others; looked at before anything runs."""
    found = [np.asarray(value, np.float64) for value in row.weights_in(leaves).values()]
    kernels = [value for value in found if value.ndim == 2 and row.units in value.shape]
    biases = [value for value in found if value.shape == (row.units,)]
    scalars = [value for value in found if value.ndim == 0]  # a slope that is learnt
    elementwise = row.kind in ACTIVATIONS and ACTIVATIONS[row.kind].elementwise
    known = len(kernels) == 1 and len(biases) <= 1 and len(found) == len(kernels) + len(biases) + len(scalars)
    layered = len(row.shape) == 2 and row.executions is not None and len(row.step) == len(row.steps)
    if not (known and layered and elementwise):
        raise _NotPlain(f"{row.name} is not what follows one dense layer")
    return kernels[0], biases[0] if biases else np.zeros(row.units)


@functools.partial(jax.jit, static_argnums=(0, 1))
@in_full_precision
def _look(apply: Callable, last: tuple[str, tuple[int, ...]], params: Any, rest: Any, batch: Any) -> tuple:
    """What each activation does, and the outputs: as they are, and where all but the last one give something else."""
    args = (params, rest, batch)
    traced = instrument(apply, args, len(batch))
    sites = traced.finding.sites
    if any(site.shards for site in sites):
        raise _NotPlain("it runs in shard_map")

    def observe(use: Use, _: Any) -> tuple[Any, dict]:
        y = use.output()
        return y, {"x": use.x, "y": y, **_parameters(use)}

    outputs, records = traced.run(args, Verb(observe))
    tokens = {}
    for site in sites:
        y = records[site.path]["y"]
        name, step = last
        tokens[site.path] = (2 * y + 1).at[step].set(y[step]) if site.name == name else 2 * y + 1
    others, _ = traced.run(args, Verb(lambda use, y: (y, None), tokens))
    seen = {
        site.name: {name: site.examples_first(v) if name in "xy" else v for name, v in records[site.path].items()}
        for site in sites
    }
    return seen, outputs, others


def _parameters(use: Use) -> dict[str, Any]:
    """What an activation is given beside its input: by name where it is written out, else in the order of the call."""
    written_out = use.match.form is not None and not use.match.at
    named = {name: jnp.asarray(v) for name, v in use.options.items()} if written_out else {}
    given = [] if written_out else list(map(jnp.asarray, use.arguments))
    number = all(jnp.issubdtype(v.dtype, jnp.floating) for v in given) and all(
        v.size == 1 for v in (*named.values(), *given)
    )
    if use.match.gate is not None or not number:
        raise _NotPlain(f"{use.site.name} has a parameter that is not one number")
    return {"named": named, "given": given}


def _dense(row: SiteSummary, kernel: np.ndarray, bias: np.ndarray, before: np.ndarray, seen: dict) -> _Dense:
    for oriented in (kernel, kernel.T):  # Flax has inputs first, Equinox units
        if oriented.shape == (before.shape[1], row.units) and _same(seen["x"], before @ oriented + bias):
            return _Dense(_function(row, seen), oriented, bias)
    # Rows of a scan come in the order of execution, which is that of its weights unless it runs in reverse.
    why = ", or the scan that it is in runs in reverse" if row.step else ""
    raise _NotPlain(f"{row.name} is not of one dense layer's output{why}")


def _function(row: SiteSummary, seen: dict) -> Callable:
    """The registry's function with the parameters that it had: the first reading of them that gives what was seen."""
    fun = ACTIVATIONS[row.kind].fun
    names = list(inspect.signature(fun).parameters)[1:]
    given = [value.item() for value in seen["given"]]
    # Arguments by keyword come in alphabetical order.
    for order in (names, sorted(names)):
        options = {name: value.item() for name, value in seen["named"].items()} | dict(zip(order, given, strict=False))
        bound = functools.partial(fun, **options) if options else fun
        try:
            y = np.asarray(bound(jnp.asarray(seen["x"])))
        except (ValueError, TypeError):
            continue  # numbers that it refuses, in this order
        if _same(seen["y"], y):
            return bound
    raise _NotPlain(f"{row.name} has parameters that were not read")


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two ways to one array differ by rounding alone."""
    within = max(_SAME, 8 * float(jnp.finfo(a.dtype).eps)) if jnp.issubdtype(a.dtype, jnp.floating) else 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = bool(np.isfinite(a).all() and np.isfinite(b).all())
    return finite and bool(np.max(np.abs(a - b), initial=0.0) <= within * np.max(np.abs(a), initial=0.0))
