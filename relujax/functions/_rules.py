"""Gradient rules that kin groups share: keep one bit, the output, or the input.

A rule belongs to a function made by :func:`widened`, whose formula is written for wide arguments of equal rank. The
slope with respect to ``x`` is declared; the slopes with respect to hyperparameters are autodiff's, of the formula.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._precision import align, narrow, spread, widen
from ..gradients import Rectifier, pack_bits, rectifier, unpack_bits
from ._checks import fitted
from ._dtypes import JAX_NN, as_jax_nn, real_only

#: What a formula gets: an array of at least float32.
Wide = Any

#: Arguments that choose a formula, and are no numbers.
_FLAGS = (bool, str, type(None))


def member(
    fun: Callable, prepare: Callable | None = None, derivative: bool = True, check: Callable | None = None
) -> Rectifier:
    """A rectifier whose dtypes are those of ``jax.nn``. ``check(fun)`` checks its numbers, see :mod:`._checks`."""
    prepare = prepare or fitted(fun, JAX_NN.get(fun.__name__))
    return rectifier(fun, prepare, derivative, as_jax_nn, check and check(fun))


def whole(fun: Callable, static: Sequence[str] = (), dtypes: Callable = real_only) -> Callable:
    """A member that is no rectifier, jitted under its name, with autodiff's gradient of what it is made of."""
    return jax.jit(functools.wraps(fun)(dtypes(fun, fun.__name__)), static_argnames=static)


def widened(
    formula: Callable, derivative: bool = True, dtypes: Callable = as_jax_nn, check: Callable | None = None
) -> Rectifier:
    """A rectifier that computes ``formula`` in at least float32, hyperparameters aligned, and rounds once.

    Where the formula says :data:`Wide`, callers may pass any ``ArrayLike``. ``derivative`` and ``dtypes`` as for
    :func:`rectifier`, ``check`` as for :func:`member`.
    """

    @functools.wraps(formula)
    def fun(x: ArrayLike, *hyperparameters: ArrayLike) -> jax.Array:
        wide = widen(x)
        return narrow(formula(wide, *_aligned(hyperparameters, wide)), like=x)

    signature = inspect.signature(formula)
    loose = [p.replace(annotation=ArrayLike) if p.annotation is Wide else p for p in signature.parameters.values()]
    fun.__signature__ = signature.replace(parameters=loose)  # type: ignore[attr-defined]
    prepare = fitted(fun, JAX_NN.get(fun.__name__))
    return rectifier(fun, prepare, derivative, dtypes, check and check(fun))


def _aligned(hyperparameters: Sequence, wide: jax.Array) -> list:
    """Numbers and arrays are aligned; flags stay as they are."""
    return [p if isinstance(p, _FLAGS) else align(p, wide) for p in hyperparameters]


def _formula(fun: Rectifier) -> Callable:
    return fun.__wrapped__.__wrapped__  # type: ignore[attr-defined]


def _cotangents(formula: Callable, slope: Callable | None, x: jax.Array, hyperparameters: Sequence, g: jax.Array):
    """``g`` times every slope of the formula, from the input."""
    x = widen(x)
    values = _aligned(hyperparameters, x)
    numeric = [i for i, value in enumerate(values) if not isinstance(value, _FLAGS)]

    def of(x: jax.Array, *numbers: jax.Array) -> jax.Array:
        every = list(values)
        for i, number in zip(numeric, numbers, strict=True):
            every[i] = number
        return formula(x, *every)

    # At full size, so that each cotangent comes out elementwise: who broadcast it sums it.
    numbers = [spread(values[i], g) for i in numeric]
    of_x = slope(x, *values) * g if slope else jax.vjp(lambda x: of(x, *numbers), spread(x, g))[1](g)[0]
    of_numbers = jax.vjp(functools.partial(of, x), *numbers)[1](g) if numbers else ()
    rest = dict(zip(numeric, of_numbers, strict=True))
    return (of_x, *(rest.get(i) for i in range(len(values))))


def _input_pair(fun: Rectifier, slope: Callable | None):
    formula = _formula(fun)

    def fwd(x, *hyperparameters):
        values = [p.value for p in hyperparameters]
        flags = tuple(p if isinstance(p, _FLAGS) else None for p in values)
        numbers = [None if flag is not None else p for flag, p in zip(flags, values, strict=True)]
        return fun(x.value, *values), (x.value, numbers, _Static(flags))

    def bwd(residual, g):
        x, numbers, flags = residual
        values = [p if flag is None else flag for flag, p in zip(flags.value, numbers, strict=True)]
        return _cotangents(formula, slope, x, values, g)

    return fwd, bwd


@jax.tree_util.register_static
class _Static:
    """Flags in a residual, which are part of the program and no data."""

    def __init__(self, value: tuple):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


def keep_input(fun: Rectifier, slope: Callable | None = None) -> None:
    """Declare ``slope(x, *hyperparameters)``, or autodiff's of the formula, from the input."""
    fun.defvjp(*_input_pair(fun, slope), symbolic_zeros=True)


def keep_bits(fun: Rectifier, active: Callable, inside: float = 1.0, outside: float = 0.0) -> None:
    """Declare one of two slopes, told apart by one bit: whether ``active(x, *hyperparameters)``.

    The input is kept instead where a hyperparameter is differentiated too.
    """
    from_input, of_input = _input_pair(
        fun, lambda x, *hyperparameters: jnp.where(active(x, *hyperparameters), inside, outside).astype(x.dtype)
    )

    def fwd(x, *hyperparameters):
        if any(p.perturbed for p in hyperparameters):
            y, residual = from_input(x, *hyperparameters)
            return y, (None, residual)
        wide = widen(x.value)
        bits = pack_bits(active(wide, *_aligned([p.value for p in hyperparameters], wide)))
        return fun(x.value, *(p.value for p in hyperparameters)), (bits, None)

    def bwd(residual, g):
        bits, kept = residual
        if bits is None:
            return of_input(kept, g)
        # Plain 1 and 0 take no multiplication, and an infinite g stays out of where the slope is 0.
        scaled = [g if s == 1 else jnp.zeros_like(g) if s == 0 else s * g for s in (inside, outside)]
        return (jnp.where(unpack_bits(bits, g.shape), *scaled),)

    fun.defvjp(fwd, bwd, symbolic_zeros=True)


def keep_output(fun: Rectifier, of_output: Callable, of_input: Callable, tells: Callable = lambda *_: True) -> None:
    """Declare the slope ``of_output(y, *hyperparameters)`` where the output tells it, else that of the input.

    The input is kept in half precision, where the output is rounded too coarsely, and where a hyperparameter is
    passed: it could be differentiated, or be one for which ``tells(*hyperparameters)`` is false.
    """
    from_input, bwd_of_input = _input_pair(fun, of_input)

    def fwd(x, *hyperparameters):
        values = [p.value for p in hyperparameters]
        if not all(isinstance(p, (int, float)) for p in values) or not tells(*values):
            y, residual = from_input(x, *hyperparameters)
            return y, (None, residual)
        y = fun(x.value, *values)
        return y, ((y, _aligned(values, widen(x.value))), None)

    def bwd(residual, g):
        output, kept = residual
        if output is None:
            return bwd_of_input(kept, g)
        y, hyperparameters = output
        return (of_output(y, *hyperparameters) * g,)

    fun.defvjp(fwd, bwd, symbolic_zeros=True, input_rule=(from_input, bwd_of_input))


def one_unless_nan(x: jax.Array) -> jax.Array:
    """A slope of 1 through which NaN passes, and an infinity leaves no trace."""
    return 1 + 0 * jnp.clip(x, -1, 1)


def finite(x: jax.Array) -> jax.Array:
    """The last finite number for an infinite one: where a factor vanishes there, inf * 0 would make NaN of a limit."""
    largest = float(jnp.finfo(x.dtype).max)  # a Python number leaves a weak type weak
    return jnp.clip(x, -largest, largest)


def step(x: jax.Array) -> jax.Array:
    """1 above 0, else 0, to multiply with: in the body of a scan a where costs jax 0.10 a buffer."""
    return jnp.sign(jnp.maximum(x, 0))
