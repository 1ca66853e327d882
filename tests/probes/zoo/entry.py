"""What an entry of the zoo is, and how a model of each library becomes a function of shapes."""

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import haiku as hk
import jax
import jax.numpy as jnp
from flax import nnx


@dataclass(frozen=True, eq=False)
class Entry:
    """A model, and the activations that its author would count in it.

    Attributes:
        name: what the model is.
        build: gives the function and its arguments; shapes do.
        kinds: how many activations of each kind it has, worked out by hand from the architecture.
        executions: how often they run in one call, all together, where a scan makes that more than their number.
    """

    name: str
    build: Callable[[], tuple[Callable, tuple]]
    kinds: Counter
    executions: int | None


def expect(executions: int | None = None, **kinds: int) -> Callable[[Callable], Entry]:
    """Makes an entry of a builder."""
    return lambda build: Entry(build.__name__, build, Counter(kinds), executions)


def f32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def i32(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.int32)


def key() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(jax.random.key, 0)


def of_nnx(make, *inputs, method=lambda model, *inputs: model(*inputs), train=True):
    """``fun(state, *inputs)``, which returns the new state too, as a train step would use it."""
    model = nnx.eval_shape(make)
    model.train() if train else model.eval()
    graph, state = nnx.split(model)

    def fun(state, *inputs):
        model = nnx.merge(graph, state)
        return method(model, *inputs), nnx.state(model)

    return fun, (state, *inputs)


def of_linen(model, *inputs, **options):
    """``fun(variables, key, *inputs)``, which returns the new batch statistics too."""
    init = functools.partial(model.init, **options)
    variables = jax.eval_shape(init, {"params": key(), "dropout": key()}, *inputs)

    def fun(variables, key, *inputs):
        return model.apply(variables, *inputs, rngs={"dropout": key}, mutable=["batch_stats"], **options)

    return fun, (variables, key(), *inputs)


def of_haiku(forward, *inputs):
    """``fun(params, state, key, *inputs)``."""
    model = hk.transform_with_state(forward)
    params, state = jax.eval_shape(model.init, key(), *inputs)
    return model.apply, (params, state, key(), *inputs)


def of_equinox(make, *inputs, call=lambda model, *inputs: jax.vmap(model)(*inputs)):
    """``fun(params, *inputs)`` of the model that ``make(key)`` gives."""
    model = eqx.filter_eval_shape(make, key())
    params, static = eqx.partition(model, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    return lambda params, *inputs: call(eqx.combine(params, static), *inputs), (params, *inputs)


def of_plain(fun, init, *inputs):
    """``fun(params, *inputs)`` with the parameters that ``init(key)`` gives."""
    return fun, (jax.eval_shape(init, key()), *inputs)
