"""Statistics now and then: a training step that measures itself at every so many steps."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .._meshes import zeros_of
from ._probe import probe_grad


def watch(
    loss: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False, *, every: int, **options: Any
) -> Callable:
    """Value and gradients of a loss at every step, with statistics at some of them.

    Args:
        loss: as in :func:`relujax.probe_grad`.
        argnums: as there.
        has_aux: as there.
        every: measure at the steps that this number divides, 0 among them.
        **options: the others of :func:`relujax.probe_grad`.

    Returns:
        ``watched(step, *args) -> ((loss, grads), Stats)``, pure and jittable: one program with a :func:`jax.lax.cond`,
        so that ``step`` may be an array. At other steps the statistics are those of no examples, which
        :func:`relujax.merge` adds as nothing, and of which ``relujax.summarize(stats).scalars()`` is empty.

    Raises:
        ValueError: for ``every`` below 1.
        TypeError: for one that is not a whole number.

    Where the step is a Python number anyway, two programs, ``jax.jit(jax.value_and_grad(loss))`` and
    ``jax.jit(relujax.probe_grad(loss))``, are as good, and let XLA plan each for itself.

    >>> import relujax as rx
    >>> watched = jax.jit(watch(lambda w, x: rx.relu(x @ w).sum(), every=10))
    >>> for step in (10, 11):
    ...     (value, grad), stats = watched(step, jnp.eye(2), jnp.array([[-1.0, 2.0]]))
    ...     value.item(), len(rx.summarize(stats).scalars()) > 0
    (2.0, True)
    (2.0, False)
    """
    if operator.index(every) < 1:
        raise ValueError(f"got every={every}: expected a number of steps, at least 1")
    probed = probe_grad(loss, argnums, has_aux, **options)
    head = options.get("head", lambda out: out)
    plain = jax.value_and_grad(lambda *args: head(loss(*args)), argnums, has_aux)

    def watched(step: Any, *args: Any) -> tuple[Any, Any]:
        _, measured = jax.eval_shape(probed, *args)

        def unmeasured() -> tuple[Any, Any]:
            return plain(*args), zeros_of(measured)

        return jax.lax.cond(jnp.asarray(step) % every == 0, lambda: probed(*args), unmeasured)

    return watched
