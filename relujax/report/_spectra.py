"""Singular values of a model per example: from the input to each activation, and to the output."""

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .._checks import whole
from .._precision import widen
from ..health import SiteSummary, Summary
from ..probes import in_order
from ..probes.interpreter import instrument
from ..spectra import effective_rank, layer_spectra, numerical_rank, spectrum, stable_rank
from ._batches import as_batches
from ._models import Model, output_shape, read_model
from ._progress import Progress, showing

#: A Jacobian of more numbers than this, per example and over all sites, is not built.
JACOBIAN_LIMIT = 20_000_000
#: So many examples are run at once, where fewer are asked for.
BATCH = 64
#: Of so many examples Jacobians are held at once.
_AT_ONCE = 8


def model_spectra(
    model: Any,
    x: Any,
    *,
    params: Any = None,
    examples: int = 8,
    num: int | None = None,
    layers: bool = False,
    progress: Progress | bool = False,
) -> dict[str, np.ndarray]:
    """Singular values of the Jacobian of a model's output in its input, example by example.

    Args:
        model: as for :func:`relujax.diagnose`.
        x: inputs ``(examples, ...)``, floating.
        params: parameters of a plain function.
        examples: of how many of them, the first ones.
        num: how many values, the largest, without building the matrix; all by default.
        layers: also those from the input to each activation site; not with ``num``.
        progress: as for :func:`relujax.diagnose`.

    Returns:
        ``{"output": values}``, and by name of each layer, in the order of execution; arrays ``(examples, values)``,
        descending. Where examples depend on each other (BatchNorm in training mode), each is taken within the first 64,
        or all that are asked for.

    Raises:
        ValueError: for Jacobians of more than 2e7 numbers without ``num``, and bad numbers.
        TypeError: for inputs that are not floating.

    Cost: as :func:`relujax.spectrum` and :func:`relujax.layer_spectra`, once per example.

    >>> model_spectra(lambda x: jax.nn.relu(3 * x), jnp.array([[1.0, -1.0]]))["output"].tolist()
    [[3.0, 0.0]]
    """
    whole("examples", examples)
    if layers and num is not None:
        raise ValueError(f"got layers=True with num={num}: expected one of them, as all sites share full Jacobians")
    read = read_model(model, params)
    batch, _ = next(iter(as_batches(x, max(examples, BATCH))))
    if not jnp.issubdtype(batch.dtype, jnp.floating):
        raise TypeError(f"got {batch.dtype} inputs: expected floating ones, as a Jacobian is a derivative")
    outputs = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(output_shape(read, batch)))
    coupled = examples_are_coupled(read, batch)
    names = []
    if layers:
        traced = instrument(read.apply, (read.params, read.rest, batch), len(batch))
        outputs += sum(site.size * math.prod(site.steps) for site in traced.finding.sites)
        names = [name for _, _, name in in_order(traced.finding.sites)]
    numbers = batch[0].size * outputs * (len(batch) if coupled else 1)
    if num is None and numbers > JACOBIAN_LIMIT:
        raise ValueError(
            f"got a Jacobian of {numbers:.1g} numbers per example: expected at most {JACOBIAN_LIMIT:.0e}; ask for the "
            "largest values only, by num"
        )

    def of_examples(indices: jax.Array) -> dict:
        found = {"output": _to_output(read.apply, coupled, num, read.params, read.rest, batch, indices)}
        return found | (_to_sites(read.apply, coupled, read.params, read.rest, batch, indices) if layers else {})

    with showing(progress) as show:
        found = _in_parts(of_examples, min(examples, len(batch)), show)
    return {name: found[name] for name in ("output", *names)}  # jit has sorted them


def with_spectra(summary: Summary, model: Model, batch: np.ndarray, examples: int) -> tuple[Summary, tuple[str, ...]]:
    """The summary with singular values to each site, and notes; what stands against them is such a note."""
    examples = min(examples, len(batch))
    if examples < 1:
        return summary, ("singular values were not asked for",)
    if not jnp.issubdtype(batch.dtype, jnp.floating):
        return summary, (f"no singular values: the input is {batch.dtype}, and only floats have a Jacobian",)
    coupled = examples_are_coupled(model, batch)
    numbers = batch[0].size * sum(map(_entries, summary)) * (len(batch) if coupled else 1)
    if numbers > JACOBIAN_LIMIT:
        note = f"no singular values: their Jacobians hold {numbers:.1g} numbers per example, over {JACOBIAN_LIMIT:.0e}"
        return summary, (note,)
    try:

        def of_examples(indices: jax.Array) -> dict:
            return _to_sites(model.apply, coupled, model.params, model.rest, batch, indices)

        spectra = _in_parts(of_examples, examples, lambda _: None)
    except TypeError as error:
        return summary, (f"no singular values: forward mode is refused ({str(error).splitlines()[0]})",)
    rows = tuple(
        _with_spectrum(row, np.asarray(spectra[row.name]), batch[0]) if row.name in spectra else row for row in summary
    )
    note = "singular values: examples depend on each other (BatchNorm), so each is taken within its batch"
    return replace(summary, rows=rows), (note,) if coupled else ()


def _entries(row: SiteSummary) -> int:
    """Outputs for one example, in all steps of a scan over time."""
    times = (row.executions or 1) // math.prod(row.steps)
    return math.prod(row.shape[1:]) * times


def _in_parts(of_examples: Callable[[jax.Array], dict], count: int, show: Progress) -> dict[str, np.ndarray]:
    """Of the first ``count`` examples, a few at a time, by one program; ``show`` gets how many are done."""
    size = min(count, _AT_ONCE)
    parts = []
    for start in range(0, count, size):
        indices = np.minimum(np.arange(start, start + size), count - 1)  # the last one again, to fill the last part
        parts.append(jax.tree.map(np.asarray, of_examples(jnp.asarray(indices))))
        show(min(start + size, count))
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}


def examples_are_coupled(model: Model, batch: Any) -> bool:
    """Whether the first example's output depends on the others, as under BatchNorm in training mode."""
    return bool(_is_coupled(model.apply, model.params, model.rest, batch))


@functools.partial(jax.jit, static_argnums=0)
def _is_coupled(apply: Callable, params: Any, rest: Any, batch: jax.Array) -> jax.Array:
    def outputs(batch: jax.Array) -> list[jax.Array]:
        leaves = jax.tree.leaves(apply(params, rest, batch))
        return [widen(y[0]) for y in leaves if jnp.shape(y)[:1] == batch.shape[:1]]

    among, alone = outputs(batch), outputs(jnp.broadcast_to(batch[:1], batch.shape))
    # What is finite in the batch and not finite alone has moved too: a deviation of 0 was divided by.
    same = [
        jnp.all((jnp.abs(a - b) <= 1e-3 * jnp.max(jnp.abs(a))) | ~jnp.isfinite(a))
        for a, b in zip(among, alone, strict=True)
    ]
    return ~jnp.all(jnp.array(same, bool))


def _of_one(apply: Callable, coupled: bool, rest: Any, batch: jax.Array, index: jax.Array) -> tuple[Callable, Any, int]:
    """``run(params, x, batch)`` of one example ``x[0]``, alone or in its place; where its output is; the batch size.

    The batch is an argument, so that its axis of examples can be followed.
    """

    def alone(params: Any, x: jax.Array, _: Any) -> Any:
        return apply(params, rest, x)

    def among(params: Any, x: jax.Array, batch: jax.Array) -> Any:
        return apply(params, rest, batch.at[index].set(x[0]))

    return (among, index, len(batch)) if coupled else (alone, 0, 1)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _to_sites(apply: Callable, coupled: bool, params: Any, rest: Any, batch: jax.Array, indices: jax.Array) -> dict:
    """Per site ``(examples, values)``."""

    def of_example(index: jax.Array) -> dict:
        run, here, size = _of_one(apply, coupled, rest, batch, index)
        spectra = layer_spectra(run, argnum=1, select=lambda y: y[here], batch=size)
        return spectra(params, batch[index][None], batch)

    return jax.vmap(of_example)(indices)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _to_output(
    apply: Callable, coupled: bool, num: int | None, params: Any, rest: Any, batch: jax.Array, indices: jax.Array
) -> jax.Array:
    """``(examples, values)``."""

    def of_example(index: jax.Array) -> jax.Array:
        run, here, _ = _of_one(apply, coupled, rest, batch, index)

        def outputs(x: jax.Array) -> jax.Array:
            return ravel_pytree(jax.tree.map(lambda y: y[here], run(params, x, batch)))[0]

        values, x = spectrum(outputs, num=num), batch[index][None]
        return values(x) if num is None else values(x, jax.random.key(0))

    return jax.vmap(of_example)(indices)


def _with_spectrum(row: SiteSummary, values: np.ndarray, example: np.ndarray) -> SiteSummary:
    size = max(example.size, math.prod(row.shape[1:]))
    dtype = max(row.dtype, example.dtype, key=lambda dtype: jnp.finfo(dtype).eps)
    ranks = np.asarray(numerical_rank(jnp.asarray(values), size, dtype))
    above = [one[:rank].astype(np.float64) for one, rank in zip(values, ranks, strict=True)]
    rank = float(np.median(ranks))
    medians = np.median(values, axis=0)[: int(rank)]
    return replace(
        row,
        singular_values=tuple(float(v) for v in medians),
        rank=rank,
        effective_rank=float(np.median(np.asarray(effective_rank(values)))),
        stable_rank=float(np.median(np.asarray(stable_rank(values)))),
        condition_number=_median(one[0] / one[-1] for one in above if len(one)),
        log_volume=_median(np.log(one).sum() for one in above if len(one)),
    )


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.median(found)) if found else None
