"""The verb: a model and batches in, a diagnosis out."""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._precision import widen
from ..health import SiteSummary, Summary, alarms, summarize
from ..probes import Stats, parameter_names, probe, probe_grad, stable_norm
from ._batches import as_batches
from ._diagnosis import Diagnosis
from ._losses import Loss, check_targets, cross_entropy, resolve
from ._models import Model, output_shape, read_model
from ._predicted import with_prediction
from ._progress import Progress, showing
from ._run import PARTIAL
from ._spectra import BATCH, with_spectra
from ._sums import Kept, Sums

Edges = tuple[float, ...] | None


def diagnose(
    model: Any,
    batches: Any,
    *,
    loss: str | Loss | None = None,
    params: Any = None,
    batch_size: int = 256,
    spectrum_examples: int = 8,
    edges: Iterable[float] | None = None,
    title: str | None = None,
    progress: Progress | bool = False,
    resume: str | os.PathLike | None = None,
    watch: Callable[[Diagnosis], None] | None = None,
    predict: bool = True,
) -> Diagnosis:
    """Measure how signals and gradients travel through a model, over all the data.

    Args:
        model: a Flax NNX module (in the mode that it is in), a Linen ``(module, variables)`` pair, a ``(function,
            params)`` pair, or a function ``model(x)``; with ``params``, ``model(params, x)``. Its first axis is read as
            examples.
        batches: arrays ``x`` or ``(x, y)``, or an iterable of batches of any sizes, such as a generator; it is read
            once, in constant memory.
        loss: "cross_entropy" (integer labels), "mse", or a function ``loss(outputs, y)`` that returns one number per
            example (one number in all is read as their mean). Without it nothing is measured backward.
        params: parameters of a plain function.
        batch_size: examples per batch where the data come as arrays.
        spectrum_examples: over how many examples of the first batch the singular values are taken; 0 for none.
        edges: ascending numbers, for a histogram of the outputs of each layer; none by default.
        title: a name for the report.
        progress: True for a bar in the terminal or the notebook (needs the ``report`` extra), or a function that is
            called with the number of examples done so far.
        resume: a file that keeps the sums, written every few seconds and at the end, whole or not at all. Where it is
            there already, the batches that are in it are read from ``batches`` but not measured again: a run that was
            killed ends with the numbers of one that was not. The equations that JAX traces, the weights and every
            number of those batches must be the same as then, and so must the edges.
        watch: called with what was measured until then, every few seconds and when the run is interrupted (Ctrl-C). It
            has no singular values yet, and a note that says that it is partial.
        predict: also say what theory has of a stack of these activations, and of independent weights of this size and
            of mean 0, where the model is a plain stack of dense layers, which is seen on the first batch; a note says
            where it is not.

    Returns:
        A :class:`Diagnosis`: ``.summary``, ``.alarms``, ``.to_html()``, ``.to_json()``, ``.figure()``; it shows itself
        in a notebook.

    Raises:
        TypeError: for a model or batches of a type that is not known.
        ValueError: for bad data, a model that cannot be called on them, or one in which no activation is found; for
            a file to resume from that was kept for something else.

    Cost: forward and backward once per batch with a few reductions per site; for the singular values one forward-mode
    pass per input element and example.

    >>> import jax.numpy as jnp, relujax as rx
    >>> w = jnp.array([[1.0, -1.0], [0.0, 2.0]])
    >>> result = diagnose(lambda w, x: rx.relu(x @ w), (jnp.eye(2), jnp.array([0, 1])), params=w, loss="cross_entropy")
    >>> result.summary[0].active_fraction, result.accuracy
    (0.5, 1.0)
    """
    read, loss = read_model(model, params), resolve(loss)
    edges = _read_edges(edges)
    kept, first = None, None
    squares, numbers = jnp.zeros((), jnp.float32), 0

    def concluded(total: Sums, seen: int) -> Diagnosis:
        return _concluded(read, loss, total, seen, title or _title(model))

    with showing(progress) as show, _watching(watch, concluded) as look:
        for x, y in as_batches(batches, batch_size):
            _check_batch(read, loss, x, y, first)
            if predict and jnp.issubdtype(x.dtype, jnp.floating):
                squares, numbers = squares + _sum_of_squares(x), numbers + x.size
            if kept is None:
                first = x
                kept = Kept(resume, read, loss, x, y, edges)
            if kept.holds(x, y):
                continue
            if loss is None:
                found = _forward(read.apply, edges, read.params, read.rest, x)
            else:
                found = _forward_backward(read.apply, loss, edges, read.params, read.rest, x, y)
            if not len(found.stats):
                raise ValueError(_nothing_found(found.stats))
            kept.add(found, len(x))
            show(kept.seen)
            look(kept)
        if kept is None or first is None:
            raise ValueError("got no batch: expected at least one")
        found = concluded(kept.done(), kept.seen)
        summary, note = with_spectra(found.summary, read, first[:BATCH], spectrum_examples)
        found = replace(found, summary=summary, alarms=alarms(summary), notes=(*found.notes, *note))
        return with_prediction(found, read, first, float(squares) / max(numbers, 1)) if predict else found


@jax.jit
def _sum_of_squares(x: Any) -> jax.Array:
    return jnp.sum(x.astype(jnp.float32) ** 2)


#: Seconds between two looks at a run.
_LOOK_EVERY = 2.0


@contextlib.contextmanager
def _watching(
    watch: Callable[[Diagnosis], None] | None, concluded: Callable[[Sums, int], Diagnosis]
) -> Iterator[Callable[[Kept], None]]:
    """Yields what is called with the sums after each batch, and hands on a diagnosis of them every few seconds."""
    shown, kept = time.monotonic(), None

    def look(now: Kept) -> None:
        nonlocal shown, kept
        kept = now
        if watch is not None and time.monotonic() - shown >= _LOOK_EVERY:
            hand_on("still measuring")
            shown = time.monotonic()

    def hand_on(why: str) -> None:
        if watch is not None and kept is not None and kept.so_far is not None:
            found = concluded(kept.so_far, kept.seen)
            note = f"{PARTIAL}{why}, {kept.seen:,} examples until now; no singular values yet"
            watch(replace(found, notes=(note, *found.notes)))

    try:
        yield look
    except KeyboardInterrupt:
        hand_on("interrupted")
        raise


def _concluded(model: Model, loss: Loss | None, total: Sums, seen: int, title: str) -> Diagnosis:
    """What the sums say, without the spectra."""
    summary = summarize(total.stats)
    notes = list(dict.fromkeys(map(_opaque_note, summary.opaque)))
    if loss is None:
        notes.append("no loss was given: nothing was measured backward")
    elif jax.tree.leaves(model.params):
        summary = _with_weight_gradients(summary, jax.tree.map(lambda g: g / seen, total.gradient))
    else:
        notes.append("the model shows no parameters: their gradients were not measured")
    return Diagnosis(
        summary=summary,
        alarms=alarms(summary),
        examples=seen,
        loss=None if loss is None else float(total.loss) / seen,
        accuracy=int(total.hits) / int(total.labels) if loss is cross_entropy else None,
        notes=tuple(notes),
        title=title,
    )


def _read_edges(edges: Any) -> Edges:
    try:
        return None if edges is None else tuple(map(float, edges))
    except (TypeError, ValueError) as error:
        raise ValueError(f"got edges={edges!r}: expected numbers in ascending order, or None") from error


def _title(model: Any) -> str:
    model = model[0] if isinstance(model, tuple) else model
    return getattr(model, "__name__", type(model).__name__)


def _check_batch(model: Model, loss: Loss | None, x: Any, y: Any, first: Any) -> None:
    if first is not None and x.shape[1:] != first.shape[1:]:
        raise ValueError(f"got a batch of shape {x.shape} after {first.shape}: expected the same shape per example")
    outputs = output_shape(model, x)
    if loss is not None:
        check_targets(loss, outputs, y)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _forward(apply: Callable, edges: Edges, params: Any, rest: Any, x: Any) -> Sums:
    return Sums(probe(apply, batch=len(x), edges=edges, network=True)(params, rest, x)[1])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _forward_backward(apply: Callable, loss: Loss, edges: Edges, params: Any, rest: Any, x: Any, y: Any) -> Sums:
    """Sums over the batch, so that an example's share does not depend on the batch's size."""

    def head(outputs: Any) -> tuple[jax.Array, Any]:
        values = jnp.asarray(loss(outputs, y))
        if values.shape not in ((), (len(x),)):
            raise ValueError(
                f"got a loss of shape {values.shape} for {len(x)} examples: expected one number per example, or one "
                "in all"
            )
        return jnp.mean(values), (jnp.mean(widen(values)), outputs)

    # Differentiated is the mean, as in training: the gradient of a sum could overflow in half precision.
    probed = probe_grad(apply, has_aux=True, head=head, batch=len(x), edges=edges, gains=True, network=True)
    ((_, (mean, outputs)), grads), stats = probed(params, rest, x)
    # Not in the labels' own dtype: class 300 would be 44 in eight bits.
    counted = loss is cross_entropy
    hit = jnp.argmax(outputs, axis=-1).astype(jnp.int32) == y.astype(jnp.int32) if counted else jnp.zeros(1, bool)
    return Sums(
        stats=stats.with_norms(lambda norms: norms * len(x)),  # of each example's own loss, not of the mean
        loss=mean * len(x),
        hits=jnp.sum(hit),
        labels=hit.size,
        gradient=jax.tree.map(lambda g: widen(g) * len(x), grads),
    )


def _nothing_found(stats: Stats) -> str:
    seen = "".join(f"; {_opaque_note(part)}" for part in dict.fromkeys(stats.opaque))
    return (
        f"got a model in which no activation was found{seen}: expected calls of relujax or jax.nn activations, tanh or "
        "the sigmoid"
    )


def _opaque_note(part: Any) -> str:
    kinds = ", ".join(part.kinds)
    what = f"{kinds} in {part.primitive}" if kinds not in ("", part.primitive) else part.primitive
    return f"not measured: {what}{f' at {part.source}' if part.source else ''}: {part.reason}"


def _with_weight_gradients(summary: Summary, gradient: Any) -> Summary:
    leaves = dict(zip(parameter_names((gradient,)), jax.tree.leaves(gradient), strict=True))

    def measured(row: SiteSummary) -> SiteSummary:
        found = list(row.weights_in(leaves).values())
        if not found:
            return row
        norm = np.linalg.norm([float(stable_norm(g)) for g in found])
        mean = sum(np.abs(g).sum(dtype=np.float64) for g in found) / sum(np.size(g) for g in found)
        return replace(row, weight_gradient_norm=float(norm), weight_gradient_mean=float(mean))

    return replace(summary, rows=tuple(map(measured, summary)))
