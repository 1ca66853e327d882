"""One row per activation: what tests, benchmarks, the probe, the theory and the README table are driven by."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp

from ._exponential import celu, elu, selu
from ._piecewise_linear import leaky_relu, prelu, relu, relu6
from ._saturating import sigmoid, tanh
from ._self_gated import silu


@dataclass(frozen=True)
class Activation:
    """A row of :data:`ACTIVATIONS`.

    Attributes:
        name: the key, and the name of ``fun``.
        fun: the function, ``fun(x, **hyperparameters)``.
        plain: the formula in plain ``jax.numpy``, with autodiff's own gradient: what ``fun`` is tested against.
        formula: the formula as people read it.
        kinks: where ``fun`` is not differentiable.
        kink_slopes: the slope that ``fun`` declares at each kink.
        residual: what the backward pass keeps in float32.
        forward_mode: whether ``jvp``, ``jacfwd`` and the like work.
        monotone: whether ``fun`` never decreases.
        steepest: the largest slope.
        active: what makes a unit count as active: a positive output, or a slope that has not saturated.
        reference: where it comes from.
        example: arguments after ``x`` that the function cannot do without, for tests and tables.
    """

    name: str
    fun: Callable
    plain: Callable
    formula: str
    reference: str
    kinks: tuple[float, ...] = ()
    kink_slopes: tuple[float, ...] = ()
    residual: Literal["nothing", "output", "bits", "input"] = "input"
    forward_mode: bool = True
    monotone: bool = True
    steepest: float = 1.0
    active: Literal["positive", "unsaturated"] = "positive"
    example: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


_ROWS = (
    Activation(
        name="relu",
        fun=relu,
        plain=lambda x: jnp.where(x > 0, x, 0),
        formula="max(0, x)",
        reference="Nair & Hinton 2010",
        kinks=(0.0,),
        kink_slopes=(0.0,),
        residual="bits",
    ),
    Activation(
        name="relu6",
        fun=relu6,
        plain=lambda x: jnp.where(x > 0, jnp.where(x < 6, x, 6), 0 * x),
        formula="min(max(0, x), 6)",
        reference="Krizhevsky 2010",
        kinks=(0.0, 6.0),
        kink_slopes=(0.0, 0.0),
        residual="bits",
    ),
    Activation(
        name="leaky_relu",
        fun=leaky_relu,
        plain=lambda x, negative_slope=0.01: jnp.where(x >= 0, x, negative_slope * x),
        formula="x if x >= 0 else negative_slope * x",
        reference="Maas et al. 2013",
        kinks=(0.0,),
        kink_slopes=(1.0,),
        residual="bits",
    ),
    Activation(
        name="prelu",
        fun=prelu,
        plain=lambda x, slope: jnp.where(x >= 0, x, slope * x),
        formula="x if x >= 0 else slope * x, slope learnt",
        reference="He et al. 2015, arXiv 1502.01852",
        kinks=(0.0,),
        kink_slopes=(1.0,),
        residual="input",
        example=MappingProxyType({"slope": 0.25}),
    ),
    Activation(
        name="elu",
        fun=elu,
        plain=lambda x, alpha=1.0: jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0))),
        formula="x if x > 0 else alpha * (exp(x) - 1)",
        reference="Clevert et al. 2016, arXiv 1511.07289",
        kinks=(0.0,),
        kink_slopes=(1.0,),
        residual="output",
    ),
    Activation(
        name="celu",
        fun=celu,
        plain=lambda x, alpha=1.0: jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0) / alpha)),
        formula="x if x > 0 else alpha * (exp(x / alpha) - 1)",
        reference="Barron 2017, arXiv 1704.07483",
        residual="output",
    ),
    Activation(
        name="selu",
        fun=selu,
        plain=lambda x: 1.0507009873554805 * jnp.where(x > 0, x, 1.6732632423543772 * jnp.expm1(jnp.minimum(x, 0))),
        formula="1.0507 * (x if x > 0 else 1.6733 * (exp(x) - 1))",
        reference="Klambauer et al. 2017, arXiv 1706.02515",
        kinks=(0.0,),
        kink_slopes=(1.7580993408473769,),
        residual="output",
        steepest=1.7580993408473769,
    ),
    Activation(
        name="silu",
        fun=silu,
        plain=lambda x: x / (1 + jnp.exp(-x)),
        formula="x / (1 + exp(-x))",
        reference="Elfwing et al. 2018, arXiv 1702.03118",
        monotone=False,
        steepest=1.0998393,
    ),
    Activation(
        name="sigmoid",
        fun=sigmoid,
        plain=lambda x: 1 / (1 + jnp.exp(-x)),
        formula="1 / (1 + exp(-x))",
        reference="Rumelhart et al. 1986",
        residual="output",
        steepest=0.25,
        active="unsaturated",
    ),
    Activation(
        name="tanh",
        fun=tanh,
        plain=jax.numpy.tanh,
        formula="(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
        reference="LeCun et al. 1998",
        residual="output",
        active="unsaturated",
    ),
)

#: Every activation of the library by name.
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({row.name: row for row in _ROWS})


def activation(name: str, **hyperparameters: Any) -> Callable:
    """An activation of the registry by name, with its hyperparameters bound.

    Args:
        name: a key of :data:`ACTIVATIONS`.
        **hyperparameters: arguments of that function other than ``x``.

    Returns:
        ``f(x, ...)``; arguments that stay unbound keep their defaults.

    Raises:
        ValueError: for a name that is not in the registry, with the nearest ones.
        TypeError: for a hyperparameter that the function does not have.

    >>> activation("leaky_relu", negative_slope=0.5)(-2.0).item()
    -1.0
    """
    if name not in ACTIVATIONS:
        near = difflib.get_close_matches(name.lower(), ACTIVATIONS, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"unknown activation {name!r}: expected one of {', '.join(ACTIVATIONS)}{hint}")
    fun = ACTIVATIONS[name].fun
    accepted = list(inspect.signature(fun).parameters)[1:]
    for key in hyperparameters:
        if key not in accepted:
            expected = f"one of {', '.join(accepted)}" if accepted else "none"
            raise TypeError(f"{name} got the hyperparameter {key!r}: expected {expected}")
    return functools.partial(fun, **hyperparameters) if hyperparameters else fun
