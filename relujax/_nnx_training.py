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
        ``probed(model, *args) -> ((loss, grads), Stats)``. What the model, and modules, ``nnx.Rngs`` and variables
        among ``args``, write into themselves, such as running statistics of BatchNorm, is written as it is under
        ``nnx.value_and_grad``.

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
        split = _Split(model, args, wrt)
        pure, given = split.pure(loss, has_aux, options)
        run = probes.probe_grad(pure, has_aux=True, **given)
        return split.updated(has_aux, run(*split.arrays))

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
        split = _Split(model, args, wrt)
        pure, given = split.pure(loss, has_aux, options)
        run = probes.watch(pure, has_aux=True, every=every, **given)
        return split.updated(has_aux, run(step, *split.arrays))

    return watched


def _is_mutable(value: Any) -> bool:
    return isinstance(value, (nnx.Pytree, nnx.Variable))


class _Split:
    """A model and other arguments as arrays, of which what is trained comes first.

    Attributes:
        arrays: parameters, what else the objects hold, and the arguments that are no objects.
    """

    def __init__(self, model: Any, args: tuple, wrt: Any) -> None:
        leaves, self._tree = jax.tree.flatten(args, is_leaf=_is_mutable)
        self._places = [i for i, leaf in enumerate(leaves) if _is_mutable(leaf)]
        # Together, for one may be a part of another.
        self._objects = (model, *(leaves[i] for i in self._places))
        self._filters = (nnx.All(wrt, lambda path, _: path[0] == 0), ...)
        self._graphdef, trained, rest = nnx.split(self._objects, *self._filters)
        rest_of_leaves = [leaf for i, leaf in enumerate(leaves) if i not in self._places]
        self.arrays = (trained.get(0, nnx.State({})), rest, rest_of_leaves)

    def pure(self, loss: Callable, has_aux: bool, options: dict[str, Any]) -> tuple[Callable, dict[str, Any]]:
        """The loss as a function of :attr:`arrays` that also returns what the objects wrote; and options for it."""
        head = options.get("head", lambda out: out)

        def pure(params: Any, rest: Any, leaves: list) -> tuple[Any, Any]:
            copies = nnx.merge(self._graphdef, nnx.State({0: params}), rest, copy=True)
            leaves = list(leaves)
            for place, copy in zip(self._places, copies[1:], strict=True):
                leaves.insert(place, copy)
            out = loss(copies[0], *jax.tree.unflatten(self._tree, leaves))
            return out, nnx.split(copies, *self._filters)[2]

        def finish(given: tuple[Any, Any]) -> tuple[Any, tuple[Any, Any]]:
            out, written = given
            value, aux = head(out) if has_aux else (head(out), None)
            return value, (aux, written)

        return pure, options | {"head": finish}

    def updated(self, has_aux: bool, found: tuple) -> tuple[Any, Any]:
        """What was found, after the objects got what they wrote."""
        ((value, (aux, written)), grads), stats = found
        nnx.update(self._objects, written)
        return ((value, aux) if has_aux else value, grads), stats
