"""The same model with other activations, or with the same ones in rules that keep less."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.core import Tracer

from ..functions import ACTIVATIONS
from ..gradients import few_bit as _few_bit
from . import _jaxpr as jx
from ._sites import Match, nearest
from .interpreter import Instrumented, Use, Verb, instrument


def _replaced(
    fun: Callable,
    choose: Callable[[Instrumented], Callable[[Match], Callable[[Use], Any] | None]],
) -> Callable:
    """The same function, with what ``choose(traced)(match)`` makes of each site; where that is None it stays."""

    def replaced(*args: Any) -> Any:
        traced = instrument(fun, args)
        other = choose(traced)
        others = {match.site.path: new for match in traced.finding.matches if (new := other(match)) is not None}

        def output(use: Use, _: Any) -> tuple[Any, None]:
            new = others.get(use.site.path)
            return (use.output() if new is None else new(use)), None

        return traced.run(args, Verb(output, exchanged=frozenset(others)))[0]

    return replaced


def swap(fun: Callable, activations: Mapping[str, Callable]) -> Callable:
    """The same model with other activations.

    Args:
        fun: any JAX function; it is not edited, only traced.
        activations: what to put in the place of what: by kind (``"relu"``) or by the name of a site, as
            :func:`relujax.sites` lists them (``"layer3/relu"``); the name wins. A name that is also a kind, as that of
            the first ReLU outside of any module, means all of the kind; with a slash before it (``"/relu"``) it means
            that one site. Each is a function of one array.

    Returns:
        ``swapped(*args)``, pure, jittable and differentiable, which returns what ``fun(*args)`` would. Of a gated
        unit the gate is exchanged.

    Raises:
        TypeError: for what is no function in the place of an activation.
        ValueError: for a kind or a name that is not there, for a function that changes shape or dtype, for a gate
            that is fused with more than a product, and for what the function itself takes a derivative of.

    Cost: one trace; the equations of what was replaced are left out.

    >>> import jax.numpy as jnp, relujax as rx
    >>> model = lambda x: jax.nn.relu(x) * 2
    >>> swap(model, {"relu": rx.leaky_relu})(jnp.array([-1.0, 1.0])).tolist()
    [-0.02, 2.0]
    """
    for key, other in activations.items():
        if not callable(other):
            raise TypeError(f"got {other!r} in the place of {key!r}: expected a function, such as relujax.gelu")
    others = {key: _traced_once(other) for key, other in activations.items()}

    def choose(traced: Instrumented) -> Callable[[Match], Callable[[Use], Any] | None]:
        sites = traced.finding.sites
        names = {site.name for site in sites}
        known = {site.kind for site in sites} | names
        for key in activations:
            if key not in known and key.removeprefix("/") not in names:
                raise ValueError(
                    f"cannot swap {key!r}: no site has that kind or name; expected one such as {nearest(key, known)}"
                )

        def other(match: Match) -> Callable[[Use], Any] | None:
            keys = (f"/{match.site.name}", match.site.name, match.site.kind)
            new = next((others[key] for key in keys if key in others), None)
            if new is not None and match.differentiated:
                raise ValueError(
                    f"cannot swap {match.site.name}: the function takes a derivative of it inside, which would stay "
                    f"that of {match.site.kind}; expected the function before it is differentiated, as in "
                    "jax.grad(relujax.swap(loss, ...))"
                )
            return None if new is None else lambda use: _exchanged(use, new)

        return other

    return _replaced(fun, choose)


def _traced_once(other: Callable) -> Callable:
    """The same function; one that is pure by JAX's contract, but traced at each call, is traced once per shape."""
    return jax.jit(other, inline=True) if isinstance(other, (jax.custom_jvp, jax.custom_vjp)) else other


def _exchanged(use: Use, other: Callable) -> jax.Array:
    site, wanted = use.site, use.match.eqn.outvars[0].aval
    if use.match.gate is False:
        raise ValueError(
            f"cannot swap the gate of {site.name}: {jx.call_name(use.match.eqn)} is more than its product with the "
            "other half; expected a unit that is written as activation(gate) * up"
        )
    y = other(use.x)
    if use.match.gate:
        [up] = use.arguments
        y = y * up
    if getattr(y, "shape", None) != wanted.shape or y.dtype != wanted.dtype:
        got = f"{y.dtype}{list(y.shape)}" if hasattr(y, "shape") else type(y).__name__
        raise ValueError(
            f"cannot swap {site.name}: {getattr(other, '__name__', other)} gives {got} where the model has "
            f"{wanted.dtype}{list(wanted.shape)}; expected a function that keeps shape and dtype"
        )
    return y


def lean(fun: Callable, few_bit: int | None = None) -> Callable:
    """The same model, whose activations keep less for the backward pass.

    Activations of ``jax.nn``, and those that are written out, are exchanged for relujax's of the same kind and the
    same parameters. What has a rule of its own (``jax.custom_vjp``) stays, and so do what is relujax's already and
    ``maximum(x, a * x)`` with a parameter ``a``, which is a PReLU up to ``a = 1`` only.

    Args:
        fun: any JAX function; it is not edited, only traced.
        few_bit: for those that need their input for an exact gradient (gelu, silu, mish), the number of bits per
            element to keep instead, as in :func:`relujax.few_bit`; None for exact gradients. One with a parameter
            that is only known when the model runs, such as a learned beta of swish, stays exact.

    Returns:
        ``leaner(*args)``: values and gradients same to rounding, unless ``few_bit`` is given; then the values are.

    Cost: one trace. Of a network of ``jax.nn.relu`` one bit per element is kept in the place of a number.

    >>> import jax.numpy as jnp, relujax as rx
    >>> model = lambda x: jax.nn.relu(x) * 2
    >>> x = jnp.ones((1024, 64), jnp.float32)
    >>> rx.residual_bytes(jax.nn.relu, x), rx.residual_bytes(rx.lean(jax.nn.relu), x)
    (327680, 8192)
    """
    return _replaced(
        fun, lambda _: lambda match: functools.partial(_leaner, bits=few_bit) if _has_leaner(match) else None
    )


def _has_leaner(match: Match) -> bool:
    if match.gate is not None or match.eqn.primitive.name == "custom_vjp_call":
        return False
    if match.form is not None:
        return match.eqn.primitive.name not in jx.CUSTOM_CALLS and match.form.always
    return jx.is_from_jax_nn(match.eqn)


def _leaner(use: Use, bits: int | None) -> jax.Array:
    match, kind = use.match, use.site.kind
    if match.form is not None:
        parameters, act = list(use.options.values()), use.registered
    else:
        parameters = use.arguments

        def named(x: jax.Array) -> jax.Array:
            return ACTIVATIONS[kind].fun(x, *parameters)

        act = named
    is_known = not any(isinstance(value, Tracer) for value in parameters)  # as a table of slopes asks for
    if bits is not None and is_known and ACTIVATIONS[kind].residual == "input":
        act = _few_bit(act, bits)
    return act(use.x).astype(match.eqn.outvars[0].aval.dtype)
