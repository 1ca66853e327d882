"""The probe with the signature of Flax NNX's own gradients: a model in, gradients for its optimizer out."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from . import probes


def probe_grad(loss: Callable, has_aux: bool = False, *, wrt: Any = nnx.Param, **options: Any) -> Callable:
    """``nnx.value_and_grad``, with statistics of every activation.

    Args:
        loss: ``loss(model, *args)``, a scalar; with ``has_aux``, ``(scalar, aux)``.
        has_aux: as in ``nnx.value_and_grad``.
        wrt: which variables to differentiate with respect to; the optimizer's ``wrt``.
        **options: those of :func:`relujax.probe_grad`: ``head``, ``batch``, ``unit_axis``, ``mask``, ``edges``,
            ``gains``.

    Returns:
        ``probed(model, *args) -> ((loss, grads), Stats)``. What the model writes into itself, such as running
        statistics of BatchNorm, is written as it is under ``nnx.value_and_grad``.

    Raises:
        TypeError: for a module, ``nnx.Rngs`` or a variable among ``args``: what it writes would be lost.

    >>> import jax.numpy as jnp, optax, relujax as rx
    >>> class Model(nnx.Module):
    ...     def __init__(self, rngs):
    ...         self.hidden, self.out = nnx.Linear(2, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)
    ...     def __call__(self, x):
    ...         return self.out(nnx.relu(self.hidden(x)))
    >>> model = Model(nnx.Rngs(0))
    >>> optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)
    >>> @nnx.jit
    ... def step(model, optimizer, x):
    ...     (value, grads), stats = rx.nnx.probe_grad(lambda model, x: (model(x) ** 2).mean())(model, x)
    ...     optimizer.update(model, grads)
    ...     return value, stats
    >>> value, stats = step(model, optimizer, jnp.ones((4, 2), "float32"))
    >>> list(stats), rx.summarize(stats).scalars()["hidden/relu/nonfinite"]
    (['hidden/relu'], 0.0)
    """

    def probed(model: Any, *args: Any) -> tuple[Any, Any]:
        pure, given, (params, rest) = _pure(model, args, loss, has_aux, wrt, options)
        run = probes.probe_grad(pure, has_aux=True, **given)
        return _updated(model, has_aux, run(params, rest, *args))

    return probed


def watch(loss: Callable, has_aux: bool = False, *, every: int, wrt: Any = nnx.Param, **options: Any) -> Callable:
    """``nnx.value_and_grad``, with statistics of every activation at every so many steps.

    Args:
        loss: ``loss(model, *args)``, a scalar; with ``has_aux``, ``(scalar, aux)``.
        has_aux: as in ``nnx.value_and_grad``.
        every: measure at the steps that this number divides, 0 among them.
        wrt: which variables to differentiate with respect to; the optimizer's ``wrt``.
        **options: those of :func:`relujax.probe_grad`.

    Returns:
        ``watched(step, model, *args) -> ((loss, grads), Stats)``; see :func:`relujax.watch`.

    >>> import jax.numpy as jnp, relujax as rx
    >>> model = nnx.Sequential(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(3, 1, rngs=nnx.Rngs(1)))
    >>> watched = nnx.jit(watch(lambda model, x: (model(x) ** 2).mean(), every=10))
    >>> [len(rx.summarize(watched(step, model, jnp.ones((4, 2), "float32"))[1]).scalars()) > 0 for step in (9, 10, 11)]
    [False, True, False]
    """
    probes.watch(loss, every=every, **options)  # what is wrong with these is told now, not at the first step

    def watched(step: Any, model: Any, *args: Any) -> tuple[Any, Any]:
        pure, given, (params, rest) = _pure(model, args, loss, has_aux, wrt, options)
        run = probes.watch(pure, has_aux=True, every=every, **given)
        return _updated(model, has_aux, run(step, params, rest, *args))

    return watched


def _is_mutable(value: Any) -> bool:
    return isinstance(value, (nnx.Pytree, nnx.Variable))


def _pure(
    model: Any, args: tuple, loss: Callable, has_aux: bool, wrt: Any, options: dict[str, Any]
) -> tuple[Callable, dict[str, Any], tuple]:
    """The loss as a function of arrays that also returns what the model wrote; options for it; and the arrays."""
    for arg in jax.tree.leaves(args, is_leaf=_is_mutable):
        if _is_mutable(arg):
            raise TypeError(
                f"got {type(arg).__name__} beside the model, and what it writes into itself would be lost: expected "
                "arrays; make it an attribute of the model, as nnx.Dropout does with its rngs"
            )
    graphdef, params, rest = nnx.split(model, wrt, ...)
    head = options.get("head", lambda out: out)

    def pure(params: Any, rest: Any, *args: Any) -> tuple[Any, Any]:
        copy = nnx.merge(graphdef, params, rest, copy=True)
        out = loss(copy, *args)
        return out, nnx.split(copy, wrt, ...)[2]

    def finish(given: tuple[Any, Any]) -> tuple[Any, tuple[Any, Any]]:
        out, written = given
        value, aux = head(out) if has_aux else (head(out), None)
        return value, (aux, written)

    return pure, options | {"head": finish}, (params, rest)


def _updated(model: Any, has_aux: bool, found: tuple) -> tuple[Any, Any]:
    ((value, (aux, written)), grads), stats = found
    nnx.update(model, written)
    return ((value, aux) if has_aux else value, grads), stats
