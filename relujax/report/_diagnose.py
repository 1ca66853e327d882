"""The verb: a model and batches in, a diagnosis out."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..health import SiteSummary, Summary, alarms, summarize
from ..probes import Stats, merge, parameter_names, probe, probe_grad, sites, stable_norm
from ..spectra import layer_spectra, numerical_rank
from ._batches import as_batches
from ._diagnosis import Diagnosis
from ._losses import Loss, check_targets, cross_entropy, resolve
from ._models import as_function, output_shape

Progress = Callable[[int], None]

#: A Jacobian of more numbers than this, per example and over all sites, is not built.
JACOBIAN_LIMIT = 20_000_000


def diagnose(
    model: Any,
    batches: Any,
    *,
    loss: str | Loss | None = None,
    params: Any = None,
    batch_size: int = 256,
    spectrum_examples: int = 8,
    title: str | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Measure how signals and gradients travel through a model, over all the data.

    Args:
        model: a Flax NNX module (in the mode that it is in), a Linen ``(module, variables)`` pair, or a function
            ``model(x)``; with ``params``, ``model(params, x)``. Its first axis is read as examples.
        batches: arrays ``x`` or ``(x, y)``, or an iterable of batches of any sizes, such as a generator; it is read
            once, in constant memory.
        loss: "cross_entropy" (integer labels), "mse", or a function ``loss(outputs, y)`` that returns one number per
            example (one number in all is read as their mean). Without it nothing is measured backward.
        params: parameters of a plain function.
        batch_size: examples per batch where the data come as arrays.
        spectrum_examples: over how many examples of the first batch the singular values are taken; 0 for none.
        title: a name for the report.
        progress: called with the number of examples done so far.

    Returns:
        A :class:`Diagnosis`: ``.summary``, ``.alarms``, ``.to_html()``, ``.to_json()``, ``.figure()``; it shows itself
        in a notebook.

    Raises:
        TypeError: for a model or batches of a type that is not known.
        ValueError: for bad data, a model that cannot be called on them, or one in which no activation is found.

    Cost: forward and backward once per batch with a few reductions per site; for the singular values one forward-mode
    pass per input element and example.

    >>> import jax.numpy as jnp, relujax as rx
    >>> w = jnp.array([[1.0, -1.0], [0.0, 2.0]])
    >>> result = diagnose(lambda w, x: rx.relu(x @ w), (jnp.eye(2), jnp.array([0, 1])), params=w, loss="cross_entropy")
    >>> result.summary[0].active_fraction, result.accuracy
    (0.5, 1.0)
    """
    apply, params = as_function(model, params)
    loss = resolve(loss)
    stats, gradient, total_loss, right, seen, first = None, None, 0.0, 0, 0, None
    for x, y in as_batches(batches, batch_size):
        _check_batch(apply, params, loss, x, y, first)
        if loss is None:
            found = _forward(apply, params, x)
        else:
            (value, correct), grads, found = _forward_backward(apply, loss, params, x, y)
            total_loss, right = total_loss + float(value), right + int(correct)
            gradient = grads if gradient is None else jax.tree.map(jnp.add, gradient, grads)
        if not len(found):
            raise ValueError(_nothing_found(found))
        found = jax.device_get(found)
        # Batches may differ in size, and then in the shapes that their sites were traced with.
        stats = found if stats is None else merge(stats, _with_sites_of(found, stats))
        first = x[:64] if first is None else first
        seen += len(x)
        if progress is not None:
            progress(seen)
    if stats is None or first is None:
        raise ValueError("got no batch: expected at least one")
    summary = summarize(stats)
    notes: list[str] = [_opaque_note(part) for part in stats.opaque]
    if gradient is None:
        notes.append("no loss was given: nothing was measured backward")
    else:
        summary = _with_weight_gradients(summary, stats, jax.tree.map(lambda g: g / seen, gradient))
    summary, note = _with_spectra(summary, apply, params, first, spectrum_examples)
    return Diagnosis(
        summary=summary,
        alarms=alarms(summary),
        examples=seen,
        loss=None if loss is None else total_loss / seen,
        accuracy=right / seen if loss is cross_entropy else None,
        notes=(*notes, *note),
        title=title or _title(model),
    )


def _title(model: Any) -> str:
    model = model[0] if isinstance(model, tuple) else model
    return getattr(model, "__name__", type(model).__name__)


def _check_batch(apply: Callable, params: Any, loss: Loss | None, x: Any, y: Any, first: Any) -> None:
    if first is not None and x.shape[1:] != first.shape[1:]:
        raise ValueError(f"got a batch of shape {x.shape} after {first.shape}: expected the same shape per example")
    outputs = output_shape(apply, params, x)
    if loss is not None:
        check_targets(loss, outputs, y)


@functools.partial(jax.jit, static_argnums=0)
def _forward(apply: Callable, params: Any, x: Any) -> Stats:
    return probe(apply)(params, x)[1]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward_backward(apply: Callable, loss: Loss, params: Any, x: Any, y: Any) -> tuple[Any, Any, Stats]:
    """Loss *summed* over the batch, so that the signal of an example does not depend on the batch's size."""

    def total(params: Any) -> tuple[jax.Array, jax.Array]:
        outputs = apply(params, x)
        values = loss(outputs, y)
        summed = jnp.sum(values) if values.ndim else values * len(x)
        if loss is not cross_entropy:
            return summed, jnp.int32(0)
        hit = jnp.argmax(outputs, axis=-1) == y
        return summed, jnp.sum(hit) / hit[0].size

    ((value, right), grads), stats = probe_grad(total, has_aux=True)(params)
    return (value, right), grads, stats


def _with_sites_of(found: Stats, stats: Stats) -> Stats:
    by_site = {n: replace(s, site=stats[n].site) if n in stats else s for n, s in found.by_site.items()}
    return Stats(by_site, stats.opaque)


def _nothing_found(stats: Stats) -> str:
    inside = sorted({kind for part in stats.opaque for kind in part.kinds})
    closed = f"; {', '.join(inside)} stand inside {', '.join(sorted({p.primitive for p in stats.opaque}))}, which the "
    return (
        "got a model in which no activation was found"
        + (closed + "probe cannot enter yet" if inside else "")
        + ": expected calls of relujax or jax.nn activations, tanh or the sigmoid"
    )


def _opaque_note(part: Any) -> str:
    kinds = ", ".join(part.kinds)
    what = f"{kinds} in {part.primitive}" if kinds not in ("", part.primitive) else part.primitive
    return f"not measured: {what}{f' at {part.source}' if part.source else ''}: {part.reason}"


def _with_weight_gradients(summary: Summary, stats: Stats, gradient: Any) -> Summary:
    leaves = dict(zip(parameter_names((gradient,)), jax.tree.leaves(gradient), strict=True))

    def norm(row: SiteSummary) -> float | None:
        norms = [float(stable_norm(leaves[name])) for name in stats[row.name].site.weights if name in leaves]
        return float(np.linalg.norm(norms)) if norms else None

    return replace(summary, rows=tuple(replace(row, weight_gradient_norm=norm(row)) for row in summary))


def _with_spectra(
    summary: Summary, apply: Callable, params: Any, batch: np.ndarray, examples: int
) -> tuple[Summary, tuple[str, ...]]:
    examples = min(examples, len(batch))
    if examples < 1:
        return summary, ("singular values were not asked for",)
    if not jnp.issubdtype(batch.dtype, jnp.floating):
        return summary, (f"no singular values: the input is {batch.dtype}, and only floats have a Jacobian",)
    numbers = batch[0].size * sum(site.size for site in sites(apply, params, batch[:1]))
    if numbers > JACOBIAN_LIMIT:
        note = f"no singular values: their Jacobians hold {numbers:.1g} numbers per example, over {JACOBIAN_LIMIT:.0e}"
        return summary, (note,)
    coupled = bool(_is_coupled(apply, params, batch))
    try:
        spectra = _example_spectra(apply, examples, coupled, params, batch)
    except TypeError as error:
        return summary, (f"no singular values: forward mode is refused ({str(error).splitlines()[0]})",)
    rows = tuple(_with_spectrum(row, np.asarray(spectra[row.name]), batch[0].size) for row in summary)
    note = "singular values: examples depend on each other (BatchNorm), so each is taken within its batch"
    return replace(summary, rows=rows), (note,) if coupled else ()


@functools.partial(jax.jit, static_argnums=0)
def _is_coupled(apply: Callable, params: Any, batch: jax.Array) -> jax.Array:
    """Whether the first example's output depends on the others, as under BatchNorm in training mode."""
    among = jax.tree.leaves(apply(params, batch))[0][0]
    alone = jax.tree.leaves(apply(params, jnp.broadcast_to(batch[:1], batch.shape)))[0][0]
    return jnp.max(jnp.abs(among - alone)) > 1e-3 * jnp.max(jnp.abs(among))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _example_spectra(apply: Callable, examples: int, coupled: bool, params: Any, batch: jax.Array) -> dict:
    """Per site ``(examples, values)``: of each example alone, or within its batch where examples are coupled."""

    def of_example(index: jax.Array) -> dict:
        def run(params: Any, x: jax.Array) -> Any:
            return apply(params, batch.at[index].set(x) if coupled else x[None])

        here = index if coupled else 0
        return layer_spectra(run, argnum=1, select=lambda y: y[here])(params, batch[index])

    return jax.vmap(of_example)(jnp.arange(examples))


def _with_spectrum(row: SiteSummary, values: np.ndarray, inputs: int) -> SiteSummary:
    size = max(inputs, values.shape[-1])
    ranks = np.asarray(numerical_rank(jnp.asarray(values), size))
    rank = float(np.median(ranks))
    medians = np.median(values, axis=0)[: int(rank)]
    return replace(row, singular_values=tuple(float(v) for v in medians), rank=rank)
