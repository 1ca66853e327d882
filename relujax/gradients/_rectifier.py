"""One rule, both AD modes: the ``jax.custom_vjp`` protocol, kept for forward mode too."""

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero
from jax.typing import ArrayLike

from .._precision import is_half, spread, widen

#: A parameter annotated with one of these is part of the program, not data: jit compiles anew for each value.
_STATIC = (bool, int, str)


class Rectifier:
    """An elementwise function with a declared gradient; made by :func:`relujax.rectifier`.

    Called like the function, it takes one more argument by keyword: ``residual="input"`` keeps the arguments for the
    backward pass, and nothing else, instead of what the rule says it keeps.
    """

    __name__: str
    __qualname__: str

    def __init__(
        self,
        fun: Callable,
        prepare: Callable = lambda *args: args,
        derivative: bool = True,
        dtypes: Callable = lambda call, _: call,
        check: Callable[[Sequence, Mapping[str, Any]], None] | None = None,
    ):
        functools.update_wrapper(self, fun)
        self._fun = fun
        self._prepare = prepare
        self._derivative = derivative
        self._signature = inspect.signature(fun)
        self._rule: tuple[Callable, Callable] | None = None
        self._input_rule: tuple[Callable, Callable] | None = None
        self._symbolic_zeros = False
        self._static = [name for name, p in self._signature.parameters.items() if p.annotation in _STATIC]
        self._dtypes = dtypes
        self._check = check
        self._call = self._jitted(from_input=False)

    @functools.cached_property
    def _call_from_input(self) -> Callable:
        return self._jitted(from_input=True)

    def _jitted(self, from_input: bool) -> Callable:
        # jit is the outermost layer, named after the function: eager calls take its fast path, and a probe finds
        # the call by that name. (jax.nn.relu has custom_jvp outside: jax#22513.)
        of_any_dtype = self._dtypes(functools.partial(self._bind, from_input), self.__name__.lstrip("_"))

        def positional(*args: Any, **kwargs: Any) -> Any:
            bound = self._signature.bind(*args, **kwargs)
            return of_any_dtype(*bound.args, **bound.kwargs)

        return jax.jit(functools.wraps(self._fun)(positional), static_argnames=self._static)

    def defvjp(
        self,
        fwd: Callable,
        bwd: Callable,
        symbolic_zeros: bool = False,
        input_rule: tuple[Callable, Callable] | None = None,
    ) -> None:
        """Declare the rule, as :meth:`jax.custom_vjp.defvjp` does.

        Args:
            fwd: ``fwd(*args) -> (y, residual)``. It computes ``y`` by calling the function itself, so that higher
                derivatives use the rule again.
            bwd: ``bwd(residual, g) -> cotangents``, a tuple with one entry per argument, elementwise and linear in
                ``g``, which comes in at least float32; rounding to the function's dtype, and summing where an
                argument was broadcast, are done here. ``None`` for an argument without a gradient.
            symbolic_zeros: hand ``fwd`` objects with ``.value`` and ``.perturbed`` instead of arrays, so that it
                keeps only what the arguments being differentiated need.
            input_rule: another ``(fwd, bwd)`` that keeps the arguments, for ``residual="input"`` and for half
                precision, where a residual that was rounded with the output is too coarse. Without one,
                ``residual="input"`` runs ``fwd`` again in the backward pass.
        """
        self._rule, self._input_rule, self._symbolic_zeros = (fwd, bwd), input_rule, symbolic_zeros

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Raise for arguments that a call would refuse by their values; any may be left out."""
        if self._check:
            self._check(args, kwargs)

    def __call__(self, *args: Any, residual: str | None = None, **kwargs: Any) -> Any:
        if self._check:
            self._check(args, kwargs)
        if residual is None:
            return self._call(*args, **kwargs)
        if residual != "input":
            raise ValueError(
                f"{self.__name__} got residual={residual!r}: expected 'input' (keep the arguments for the backward "
                "pass), or leave it out (keep what the docstring says)"
            )
        return self._call_from_input(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<rectifier {self.__name__}>"

    def __reduce__(self) -> str:  # pickled by name, as functions are
        return self.__qualname__

    def _bind(self, from_input: bool, *args: Any, **kwargs: Any) -> Any:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name in self._static:
            bound.arguments[name] = self._of_its_kind(name, bound.arguments[name])
        arguments = self._prepare(*bound.args)
        # A default that nobody passed is still a Python number here, and a rule may decide by its value.
        split = _Split([a if a is None or isinstance(a, (bool, int, float, str)) else ... for a in arguments])
        traced = split.traced(arguments)
        rule = self._rule_of_primals(split, from_input, is_half(arguments[0]))
        if self._derivative:
            with_rule = jax.custom_jvp(lambda *values: self._fun(*split.every(values)))
            with_rule.defjvp(functools.partial(_jvp, split, *rule), symbolic_zeros=True)
        else:
            with_rule = jax.custom_vjp(lambda *values: self._fun(*split.every(values)))
            with_rule.defvjp(*_vjp(split, *rule, traced), symbolic_zeros=True)
        return with_rule(*traced)

    def _of_its_kind(self, name: str, value: Any) -> Any:
        kind = self._signature.parameters[name].annotation
        accepted = {bool: (bool, int, np.bool_, np.integer), int: (int, np.integer), str: str}[kind]
        if not isinstance(value, accepted):
            raise TypeError(f"{self.__name__} got {name}={value!r}: expected a Python {kind.__name__}")
        return kind(value)

    def _rule_of_primals(self, split: "_Split", from_input: bool, half: bool) -> tuple[Callable, Callable]:
        """The declared pair, or one that keeps the arguments; ``fwd`` takes objects with ``.value``."""

        def declared() -> tuple[Callable, Callable]:
            if self._rule is None:
                raise TypeError(
                    f"{self!r} was differentiated before its rule was declared: expected a call of "
                    f"{self.__name__}.defvjp(fwd, bwd) first"
                )
            return self._input_rule if self._input_rule and (from_input or half) else self._rule

        def fwd(*primals: CustomVJPPrimal) -> tuple[Any, Any]:
            return declared()[0](*(primals if self._symbolic_zeros else (p.value for p in primals)))

        def keep_arguments(*primals: CustomVJPPrimal) -> tuple[Any, Any]:
            return fwd(*primals)[0], split.traced([p.value for p in primals])

        def from_arguments(values: Sequence, g: jax.Array) -> Any:
            return declared()[1](fwd(*(CustomVJPPrimal(v, True) for v in split.every(values)))[1], g)

        if from_input and not self._input_rule:
            return keep_arguments, from_arguments
        return fwd, lambda residual, g: declared()[1](residual, g)


class _Split:
    """Arguments of a call, those that are known when it is traced apart from those that are not (``...``)."""

    def __init__(self, known: Sequence):
        self._known = known

    def traced(self, arguments: Sequence) -> list:
        return [a for a, known in zip(arguments, self._known, strict=True) if known is ...]

    def every(self, traced: Sequence, wrap: Callable = lambda value: value) -> list:
        rest = iter(traced)
        return [next(rest) if known is ... else wrap(known) for known in self._known]


def _vjp(split: _Split, fwd: Callable, bwd: Callable, traced: Sequence) -> tuple[Callable, Callable]:
    """The rule for :class:`jax.custom_vjp`."""

    def forward(*primals: CustomVJPPrimal) -> tuple[Any, Any]:
        value, kept = fwd(*split.every(primals, wrap=lambda value: CustomVJPPrimal(value, False)))
        return _keep(value, kept)

    def backward(residual: Any, g: Any) -> tuple:
        if isinstance(g, SymbolicZero):
            return (None,) * len(traced)
        cotangents = split.traced(bwd(residual, widen(g)))
        return tuple(c if c is None else _summed(c, like=a) for c, a in zip(cotangents, traced, strict=True))

    return forward, backward


def _summed(cotangent: jax.Array, like: ArrayLike) -> jax.Array:
    """The cotangent of an argument that was broadcast; on explicit axes of a mesh it lies where that one does."""
    shape, place = jnp.shape(like), jax.typeof(like).sharding
    rank = cotangent.ndim - len(shape)
    axes = [i for i in range(cotangent.ndim) if i < rank or shape[i - rank] != cotangent.shape[i]]
    summed = cotangent.sum(axes).reshape(shape).astype(jnp.result_type(like))
    return summed if jax.typeof(summed).sharding.spec == place.spec else jax.sharding.reshard(summed, place)


def _jvp(split: _Split, fwd: Callable, bwd: Callable, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    """The rule for :class:`jax.custom_jvp`."""
    directions = split.every(tangents, wrap=lambda _: None)
    perturbed = [not (t is None or isinstance(t, SymbolicZero)) for t in directions]
    arguments = split.every(primals)
    value, kept = fwd(*(CustomVJPPrimal(v, p) for v, p in zip(arguments, perturbed, strict=True)))
    y, residual = _keep(value, kept)
    directions = {i: t for i, (t, p) in enumerate(zip(directions, perturbed, strict=True)) if p}

    # checkpoint makes partial evaluation keep this map's inputs, which are the declared residual, and not
    # whatever XLA finds handy inside it. The map is linear in the tangents, so JAX transposes it for vjp.
    @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.nothing_saveable, prevent_cse=False)
    def push(residual, directions):
        # In at least float32: a half-precision gradient of a hyperparameter would be summed in half precision.
        wide = widen(y).dtype
        terms = [bwd(residual, spread(t.astype(wide), y))[i] for i, t in directions.items()]
        return functools.reduce(operator.add, terms).astype(y.dtype)

    return y, push(residual, directions)


def rectifier(
    fun: Callable,
    prepare: Callable = lambda *args: args,
    derivative: bool = True,
    dtypes: Callable = lambda call, _: call,
    check: Callable[[Sequence, Mapping[str, Any]], None] | None = None,
) -> Rectifier:
    r"""Decorate an elementwise function whose gradient rule is declared as (forward, residual, backward).

    The protocol is that of :class:`jax.custom_vjp`, which refuses forward mode. Here the same rule answers it too: for
    an elementwise function the Jacobian is diagonal, :math:`\dot y = f'(x)\,\dot x`, the map
    :math:`g \mapsto f'(x)\,g` is its own transpose, and so ``bwd`` serves ``jvp``, ``jacfwd``, ``linearize`` and
    ``hessian`` as well as ``grad``.

    The residual that ``fwd`` returns is what the backward pass keeps: an optimisation barrier stops XLA from keeping
    the input and recomputing the residual from it.

    Args:
        fun: an elementwise function of arrays, with plain ``jax.numpy`` inside. A parameter that it annotates as
            ``bool``, ``int`` or ``str`` is static: it chooses a formula, and has no gradient.
        prepare: ``prepare(*args) -> args``, in plain ``jax.numpy``, brings all arguments to what ``fun`` and the rule
            see; for example to a shape that broadcasts.
        derivative: whether the rule is the derivative. Without, it may do anything, also what is not linear in ``g``,
            and answers reverse mode alone, as :class:`jax.custom_vjp` does.
        dtypes: ``dtypes(call, name) -> call`` answers for dtypes that ``fun`` is not written for, when it is traced.
        check: ``check(args, kwargs)`` raises for arguments that make no sense. It is called in every call, outside
            :func:`jax.jit`, where a Python number still has a value; so it has to be fast, and look at no array.

    Returns:
        A callable, jitted under the name of ``fun``, with ``defvjp(fwd, bwd, symbolic_zeros=False)``.

    Raises:
        TypeError: when differentiated before ``defvjp``.

    >>> @rectifier
    ... def cube(x):
    ...     return x**3
    >>> cube.defvjp(lambda x: (cube(x), x), lambda x, g: (3 * x**2 * g,))
    >>> jax.grad(cube)(2.0).item(), jax.jvp(cube, (2.0,), (1.0,))[1].item(), jax.hessian(cube)(2.0).item()
    (12.0, 12.0, 12.0)

    >>> @functools.partial(rectifier, derivative=False)
    ... def sign(x):
    ...     return jnp.sign(x)
    >>> sign.defvjp(lambda x: (sign(x), None), lambda _, g: (g,))
    >>> jax.grad(sign)(2.0).item()
    1.0
    """
    return Rectifier(fun, prepare, derivative, dtypes, check)


def _keep(y: jax.Array, residual: Any) -> tuple[jax.Array, Any]:
    """Pin ``y`` and the residual against XLA's rematerialisation, each distinct array once.

    Where ``y`` is its own residual, ``barrier((y, y))`` would keep two buffers in a scan.
    """
    leaves, treedef = jax.tree.flatten((y, residual))
    distinct = {id(leaf): leaf for leaf in leaves}
    pinned = dict(zip(distinct, jax.lax.optimization_barrier(tuple(distinct.values())), strict=True))
    return jax.tree.unflatten(treedef, [pinned[id(leaf)] for leaf in leaves])
