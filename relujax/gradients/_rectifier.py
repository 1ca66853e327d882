"""One rule, both AD modes: the ``jax.custom_vjp`` protocol, kept for forward mode too."""

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import CustomVJPPrimal, SymbolicZero

from .._precision import is_half, widen

#: A parameter annotated with one of these is part of the program, not data: jit compiles anew for each value.
_STATIC = (bool, int, str)


class Rectifier:
    """An elementwise function with a declared gradient; made by :func:`rectifier`.

    Called like the function, it takes one more argument by keyword: ``residual="input"`` keeps the arguments for the
    backward pass, and nothing else, instead of what the rule says it keeps.
    """

    __name__: str

    def __init__(self, fun: Callable, prepare: Callable = lambda *args: args):
        functools.update_wrapper(self, fun)
        self._fun = fun
        self._prepare = prepare
        self._signature = inspect.signature(fun)
        self._rule: tuple[Callable, Callable] | None = None
        self._input_rule: tuple[Callable, Callable] | None = None
        self._symbolic_zeros = False
        static = [name for name, p in self._signature.parameters.items() if p.annotation in _STATIC]

        # jit is the outermost layer, named after the function: eager calls take its fast path, and a probe finds
        # the call by that name. (jax.nn.relu has custom_jvp outside: jax#22513.)
        def jitted(bind: Callable) -> Callable:
            return jax.jit(functools.wraps(fun)(functools.partial(bind)), static_argnames=static)

        self._call = jitted(functools.partial(self._bind, False))
        self._call_from_input = jitted(functools.partial(self._bind, True))

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

    def __call__(self, *args: Any, residual: str | None = None, **kwargs: Any) -> Any:
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

    def _bind(self, from_input: bool, *args: Any, **kwargs: Any) -> Any:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = self._prepare(*bound.args)
        # A default that nobody passed is still a Python number here, and a rule may decide by its value.
        known = {i: a for i, a in enumerate(arguments) if isinstance(a, (bool, int, float, str))}
        traced = [a for i, a in enumerate(arguments) if i not in known]

        def every(values: Sequence, wrap: Callable = lambda value: value) -> list:
            rest = iter(values)
            return [wrap(known[i]) if i in known else next(rest) for i in range(len(arguments))]

        with_rule = jax.custom_jvp(lambda *values: self._fun(*every(values)))
        with_rule.defjvp(functools.partial(self._jvp, every, from_input), symbolic_zeros=True)
        return with_rule(*traced)

    def _jvp(self, every: Callable, from_input: bool, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
        if self._rule is None:
            raise TypeError(
                f"{self!r} was differentiated before its rule was declared: expected a call of "
                f"{self.__name__}.defvjp(fwd, bwd) first"
            )
        directions = every(tangents, wrap=lambda _: None)
        perturbed = [not (t is None or isinstance(t, SymbolicZero)) for t in directions]

        def arguments(values: Sequence) -> Sequence:
            values = every(values)
            if not self._symbolic_zeros:
                return values
            return [CustomVJPPrimal(v, p) for v, p in zip(values, perturbed, strict=True)]

        fwd, bwd = self._rule
        if self._input_rule and (from_input or is_half(primals[0])):
            fwd, bwd = self._input_rule
        elif from_input:
            forward, backward = fwd, bwd
            fwd = lambda *values: (forward(*values)[0], primals)  # noqa: E731
            bwd = lambda values, g: backward(forward(*arguments(values))[1], g)  # noqa: E731
        value, kept = fwd(*arguments(primals))
        y, residual = _keep(value, kept)
        directions = {i: t for i, (t, p) in enumerate(zip(directions, perturbed, strict=True)) if p}

        # checkpoint makes partial evaluation keep this map's inputs, which are the declared residual, and not
        # whatever XLA finds handy inside it. The map is linear in the tangents, so JAX transposes it for vjp.
        @functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.nothing_saveable, prevent_cse=False)
        def push(residual, directions):
            # In at least float32: a half-precision gradient of a hyperparameter would be summed in half precision.
            wide = widen(y).dtype
            terms = [bwd(residual, jnp.broadcast_to(t.astype(wide), y.shape))[i] for i, t in directions.items()]
            return functools.reduce(operator.add, terms).astype(y.dtype)

        return y, push(residual, directions)


def rectifier(fun: Callable, prepare: Callable = lambda *args: args) -> Rectifier:
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

    Not for rules that are nonlinear in ``g``, or on purpose not the derivative: those stay ``jax.custom_vjp``.
    """
    return Rectifier(fun, prepare)


def _keep(y: jax.Array, residual: Any) -> tuple[jax.Array, Any]:
    """Pin ``y`` and the residual against XLA's rematerialisation, each distinct array once.

    Where ``y`` is its own residual, ``barrier((y, y))`` would keep two buffers in a scan.
    """
    leaves, treedef = jax.tree.flatten((y, residual))
    distinct = {id(leaf): leaf for leaf in leaves}
    pinned = dict(zip(distinct, jax.lax.optimization_barrier(tuple(distinct.values())), strict=True))
    return jax.tree.unflatten(treedef, [pinned[id(leaf)] for leaf in leaves])
