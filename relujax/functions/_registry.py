"""One row per activation: what tests, benchmarks, the probe, the theory and the README table are driven by."""

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from . import _exponential, _piecewise_linear, _powers, _saturating, _self_gated, _softened

__all__ = ["ACTIVATIONS", "STACKABLE", "Activation", "activation"]


@dataclass(frozen=True)
class Activation:
    """A row of :data:`ACTIVATIONS`.

    Attributes:
        fun: the function, ``fun(x, **hyperparameters)``.
        module: the name of its Flax modules, :mod:`relujax.nnx` and :mod:`relujax.linen`.
        plain: the formula in plain ``jax.numpy``, with autodiff's own gradient: what ``fun`` is tested against.
        formula: the formula as people read it.
        reference: where it comes from.
        kinks: where ``fun`` is not differentiable.
        kink_slopes: the slope that ``fun`` declares at each kink.
        slope: the slope in plain ``jax.numpy``, where autodiff of ``plain`` cancels, or is not what ``fun`` declares.
        nan_slope: the slope at NaN: NaN too; or a number, where one bit per element leaves no room for NaN, or where
            ``jax.nn`` has that number.
        residual: what the backward pass keeps in float32 where ``x`` alone is differentiated; where a hyperparameter is
            too, most members keep their input.
        forward_mode: whether ``jvp``, ``jacfwd`` and the like work.
        monotone: whether ``fun`` never decreases.
        steepest: the largest slope; infinite where it has no bound.
        active: what makes a unit count as active: a positive output, or a slope that has not saturated.
        elementwise: whether each element of the output depends on one element of ``x``, and on nothing random.
        example: arguments after ``x`` that the function cannot do without, for tests and tables.
        learnt: hyperparameters that the Flax module learns, with their initial values.
    """

    fun: Callable
    module: str
    plain: Callable
    formula: str
    reference: str
    kinks: tuple[float, ...] = ()
    kink_slopes: tuple[float, ...] = ()
    slope: Callable | None = None
    nan_slope: float = math.nan
    residual: Literal["nothing", "output", "bits", "input"] = "input"
    forward_mode: bool = True
    monotone: bool = True
    steepest: float = 1.0
    active: Literal["positive", "unsaturated"] = "positive"
    elementwise: bool = True
    example: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    learnt: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def name(self) -> str:
        """The key in :data:`ACTIVATIONS`: the name of ``fun``."""
        return self.fun.__name__

    @property
    def needs(self) -> tuple[str, ...]:
        """Arguments that neither a default nor the Flax module supplies."""
        parameters = list(inspect.signature(self.fun).parameters.values())[1:]
        return tuple(p.name for p in parameters if p.default is p.empty and p.name not in self.learnt)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Numbers and arrays after ``x``, which have gradients; flags, axes and the like are not among them."""
        parameters = list(inspect.signature(self.fun).parameters.values())[1:]
        return tuple(p.name for p in parameters if p.annotation is ArrayLike)


def _given(**arguments: Any) -> Mapping[str, Any]:
    return MappingProxyType(arguments)


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

_ROWS = (
    Activation(
        fun=_piecewise_linear.relu,
        module="ReLU",
        plain=lambda x: jnp.where(x > 0, x, 0),
        formula="max(0, x)",
        reference="Nair & Hinton 2010",
        kinks=(0.0,),
        kink_slopes=(0.0,),
        nan_slope=0.0,
        residual="bits",
    ),
    Activation(
        fun=_piecewise_linear.relu6,
        module="ReLU6",
        plain=lambda x: jnp.where(x > 0, jnp.where(x < 6, x, 6), 0),
        formula="min(max(0, x), 6)",
        reference="Krizhevsky 2010",
        kinks=(0.0, 6.0),
        kink_slopes=(0.0, 0.0),
        nan_slope=0.0,
        residual="bits",
    ),
    Activation(
        fun=_piecewise_linear.relu_n,
        module="ReLUN",
        plain=lambda x, n: jnp.where(x > 0, jnp.where(x < n, x, n), 0),
        formula="min(max(0, x), n)",
        reference="Krizhevsky 2010",
        kinks=(0.0, 2.0),
        kink_slopes=(0.0, 0.0),
        nan_slope=1.0,
        residual="bits",
        example=_given(n=2.0),
    ),
    Activation(
        fun=_piecewise_linear.leaky_relu,
        module="LeakyReLU",
        plain=lambda x, negative_slope=0.01: jnp.where(x >= 0, x, negative_slope * x),
        formula="x if x >= 0 else negative_slope * x",
        reference="Maas et al. 2013",
        kinks=(0.0,),
        kink_slopes=(1.0,),
        nan_slope=0.01,
        residual="bits",
    ),
    Activation(
        fun=_piecewise_linear.prelu,
        module="PReLU",
        plain=lambda x, slope, axis=-1: jnp.where(x >= 0, x, slope * x),
        formula="x if x >= 0 else slope * x, slope learnt",
        reference="He et al. 2015, arXiv 1502.01852",
        kinks=(0.0,),
        kink_slopes=(1.0,),
        nan_slope=0.25,
        residual="bits",
        example=_given(slope=0.25),
        learnt=_given(slope=0.25),
    ),
    Activation(
        fun=_piecewise_linear.threshold,
        module="Threshold",
        plain=lambda x, threshold, value: jnp.where(x > threshold, x, value),
        formula="x if x > threshold else value",
        reference="Konda et al. 2015, arXiv 1402.3337",
        kinks=(0.5,),
        kink_slopes=(0.0,),
        nan_slope=1.0,
        residual="bits",
        example=_given(threshold=0.5, value=0.25),
    ),
    Activation(
        fun=_piecewise_linear.shifted_relu,
        module="ShiftedReLU",
        plain=lambda x, shift=-1.0: jnp.where(x > shift, x, shift),
        formula="max(shift, x)",
        reference="Clevert et al. 2016, arXiv 1511.07289",
        kinks=(-1.0,),
        kink_slopes=(0.0,),
        nan_slope=1.0,
        residual="bits",
    ),
    Activation(
        fun=_piecewise_linear.hard_tanh,
        module="HardTanh",
        plain=lambda x, min=-1.0, max=1.0: jnp.where(x > max, max, jnp.where(x < min, min, x)),
        formula="min(max(x, min), max)",
        reference="Collobert 2004",
        kinks=(-1.0, 1.0),
        kink_slopes=(1.0, 1.0),
        nan_slope=1.0,
        residual="bits",
        active="unsaturated",
    ),
    Activation(
        fun=_piecewise_linear.hard_sigmoid,
        module="HardSigmoid",
        plain=lambda x: jnp.where(x > -3, jnp.where(x < 3, (x + 3) / 6, 1), 0),
        formula="min(max(x + 3, 0), 6) / 6",
        reference="Howard et al. 2019, arXiv 1905.02244",
        kinks=(-3.0, 3.0),
        kink_slopes=(0.0, 0.0),
        nan_slope=0.0,
        residual="bits",
        steepest=1 / 6,
        active="unsaturated",
    ),
    Activation(
        fun=_piecewise_linear.sparse_sigmoid,
        module="SparseSigmoid",
        plain=lambda x: jnp.where(x > -1, jnp.where(x < 1, (x + 1) / 2, 1), 0),
        formula="min(max(x + 1, 0), 2) / 2",
        reference="Martins & Astudillo 2016, arXiv 1602.02068",
        kinks=(-1.0, 1.0),
        kink_slopes=(0.25, 0.25),
        nan_slope=0.0,
        residual="bits",
        steepest=0.5,
        active="unsaturated",
    ),
    Activation(
        fun=_piecewise_linear.soft_shrink,
        module="SoftShrink",
        plain=lambda x, lambd=0.5: jnp.where(x > lambd, x - lambd, jnp.where(x < -lambd, x + lambd, 0)),
        formula="sign(x) * max(|x| - lambd, 0)",
        reference="Donoho 1995",
        kinks=(-0.5, 0.5),
        kink_slopes=(0.0, 0.0),
        nan_slope=1.0,
        residual="bits",
    ),
    Activation(
        fun=_piecewise_linear.hard_shrink,
        module="HardShrink",
        plain=lambda x, lambd=0.5: jnp.where((x > lambd) | (x < -lambd), x, 0),
        formula="x if |x| > lambd else 0",
        reference="Donoho & Johnstone 1994",
        kinks=(-0.5, 0.5),
        kink_slopes=(0.0, 0.0),
        nan_slope=1.0,
        residual="bits",
    ),
    Activation(
        fun=_piecewise_linear.flexible_relu,
        module="FlexibleReLU",
        plain=lambda x, bias: jnp.where(x > 0, x, 0) + bias,
        formula="max(0, x) + bias, bias learnt",
        reference="Qiu et al. 2018, arXiv 1706.08098",
        kinks=(0.0,),
        kink_slopes=(0.0,),
        nan_slope=1.0,
        residual="bits",
        example=_given(bias=-0.5),
        learnt=_given(bias=0.0),
    ),
    Activation(
        fun=_piecewise_linear.srelu,
        module="SReLU",
        plain=lambda x, right, right_slope, left, left_slope: jnp.where(
            x >= right, right + right_slope * (x - right), jnp.where(x <= left, left + left_slope * (x - left), x)
        ),
        formula="three lines, that meet at left and right, learnt",
        reference="Jin et al. 2016, arXiv 1512.07030",
        kinks=(-1.0, 1.0),
        kink_slopes=(0.25, 0.5),
        example=_given(right=1.0, right_slope=0.5, left=-1.0, left_slope=0.25),
        learnt=_given(right=1.0, right_slope=1.0, left=0.0, left_slope=0.2),
    ),
    Activation(
        fun=_exponential.elu,
        module="ELU",
        plain=lambda x, alpha=1.0: jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0))),
        formula="x if x > 0 else alpha * (exp(x) - 1)",
        reference="Clevert et al. 2016, arXiv 1511.07289",
        kinks=(0.0,),
        kink_slopes=(1.0,),
        slope=lambda x: jnp.exp(jnp.minimum(x, 0)),
        residual="output",
    ),
    Activation(
        fun=_exponential.celu,
        module="CELU",
        plain=lambda x, alpha=1.0: jnp.where(x > 0, x, alpha * jnp.expm1(jnp.minimum(x, 0) / alpha)),
        formula="x if x > 0 else alpha * (exp(x / alpha) - 1)",
        reference="Barron 2017, arXiv 1704.07483",
        slope=lambda x: jnp.exp(jnp.minimum(x, 0)),
        residual="output",
    ),
    Activation(
        fun=_exponential.selu,
        module="SELU",
        plain=lambda x: _SELU_SCALE * jnp.where(x > 0, x, _SELU_ALPHA * jnp.expm1(jnp.minimum(x, 0))),
        formula="1.0507 * (x if x > 0 else 1.6733 * (exp(x) - 1))",
        reference="Klambauer et al. 2017, arXiv 1706.02515",
        kinks=(0.0,),
        kink_slopes=(1.7580993408473769,),
        slope=lambda x: _SELU_SCALE * jnp.where(x > 0, 1, _SELU_ALPHA * jnp.exp(jnp.minimum(x, 0))),
        residual="output",
        steepest=1.7580993408473769,
    ),
    Activation(
        fun=_exponential.pelu,
        module="PELU",
        plain=lambda x, alpha, beta: jnp.where(x >= 0, alpha / beta * x, alpha * jnp.expm1(jnp.minimum(x, 0) / beta)),
        formula="alpha / beta * x if x >= 0 else alpha * (exp(x / beta) - 1), learnt",
        reference="Trottier et al. 2017, arXiv 1605.09332",
        kinks=(0.0,),
        kink_slopes=(0.5,),
        slope=lambda x: 0.5 * jnp.exp(jnp.minimum(x, 0) / 1.5),
        steepest=0.5,
        example=_given(alpha=0.75, beta=1.5),
        learnt=_given(alpha=1.0, beta=1.0),
    ),
    Activation(
        fun=_exponential.xielu,
        module="XIELU",
        plain=lambda x, alpha_p=0.8, alpha_n=0.8, beta=0.5: jnp.where(
            x > 0, alpha_p * x**2 + beta * x, alpha_n * (jnp.expm1(jnp.minimum(x, 0)) - x) + beta * x
        ),
        formula="alpha_p * x^2 + beta * x if x > 0 else alpha_n * (exp(x) - 1 - x) + beta * x",
        reference="Huang & Schlag 2024, arXiv 2411.13010",
        slope=lambda x: jnp.where(x > 0, 1.6 * x, 0.8 * jnp.expm1(jnp.minimum(x, 0))) + 0.5,
        monotone=False,
        steepest=math.inf,
        learnt=_given(alpha_p=0.8, alpha_n=0.8, beta=0.5),
    ),
    Activation(
        fun=_self_gated.gelu,
        module="GELU",
        plain=lambda x, approximate=True: (
            x
            * (
                jax.lax.logistic(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
                if approximate
                else jax.lax.erfc(-x / math.sqrt(2)) / 2
            )
        ),
        formula="x * (normal distribution function of x), or its approximation by tanh",
        reference="Hendrycks & Gimpel 2016, arXiv 1606.08415",
        monotone=False,
        steepest=1.1289930686587717,
    ),
    Activation(
        fun=_self_gated.quick_gelu,
        module="QuickGELU",
        plain=lambda x: x / (1 + jnp.exp(-1.702 * x)),
        formula="x / (1 + exp(-1.702 * x))",
        reference="Hendrycks & Gimpel 2016, arXiv 1606.08415",
        monotone=False,
        steepest=1.0998393,
    ),
    Activation(
        fun=_self_gated.silu,
        module="SiLU",
        plain=lambda x: x / (1 + jnp.exp(-x)),
        formula="x / (1 + exp(-x))",
        reference="Elfwing et al. 2018, arXiv 1702.03118",
        monotone=False,
        steepest=1.0998393,
    ),
    Activation(
        fun=_self_gated.swish,
        module="Swish",
        plain=lambda x, beta=1.0: x / (1 + jnp.exp(-beta * x)),
        formula="x / (1 + exp(-beta * x))",
        reference="Ramachandran et al. 2017, arXiv 1710.05941",
        monotone=False,
        steepest=1.0998393,
        learnt=_given(beta=1.0),
    ),
    Activation(
        fun=_self_gated.mish,
        module="Mish",
        plain=lambda x: (
            x
            * jnp.where(
                x > 0,
                jnp.tanh(jnp.logaddexp(jnp.maximum(x, 0), 0)),
                1 / (1 + 2 / jnp.expm1(2 * jnp.log1p(jnp.exp(jnp.minimum(x, 0))))),
            )
        ),
        formula="x * tanh(log(1 + exp(x)))",
        reference="Misra 2020, arXiv 1908.08681",
        monotone=False,
        steepest=1.0884981612517288,
    ),
    Activation(
        fun=_softened.softplus,
        module="Softplus",
        plain=lambda x, beta=1.0: jnp.logaddexp(beta * x, 0) / beta,
        formula="log(1 + exp(beta * x)) / beta",
        reference="Dugas et al. 2001",
        residual="output",
    ),
    Activation(
        fun=_softened.log_sigmoid,
        module="LogSigmoid",
        plain=lambda x: -jnp.logaddexp(-x, 0),
        formula="-log(1 + exp(-x))",
        reference="jax.nn.log_sigmoid",
        residual="output",
        active="unsaturated",
    ),
    Activation(
        fun=_softened.squareplus,
        module="Squareplus",
        plain=lambda x, b=4.0: jnp.where(x < 0, b / (jnp.sqrt(x * x + b) - x), x + jnp.sqrt(x * x + b)) / 2,
        formula="(x + sqrt(x^2 + b)) / 2",
        reference="Barron 2021, arXiv 2112.11687",
        slope=lambda x: jnp.where(
            x < 0, 2 / (jnp.sqrt(x * x + 4) - x) / jnp.sqrt(x * x + 4), (1 + x / jnp.sqrt(x * x + 4)) / 2
        ),
    ),
    Activation(
        fun=_softened.sparse_plus,
        module="SparsePlus",
        plain=lambda x: jnp.where(x <= -1, 0, jnp.where(x < 1, (x + 1) ** 2 / 4, x)),
        formula="0 if x <= -1, (x + 1)^2 / 4 if x < 1, else x",
        reference="Martins & Astudillo 2016, arXiv 1602.02068",
    ),
    Activation(
        fun=_softened.hard_silu,
        module="HardSiLU",
        plain=lambda x: jnp.where(x <= -3, 0, jnp.where(x < 3, x * (x + 3) / 6, x)),
        slope=lambda x: jnp.where(x <= -3, 0, jnp.where(x < 3, (2 * x + 3) / 6, 1)),
        formula="x * min(max(x + 3, 0), 6) / 6",
        reference="Howard et al. 2019, arXiv 1905.02244",
        kinks=(-3.0, 3.0),
        kink_slopes=(0.0, 1.0),
        monotone=False,
        steepest=1.5,
    ),
    Activation(
        fun=_softened.hard_mish,
        module="HardMish",
        plain=lambda x: jnp.where(x <= -2, 0, jnp.where(x < 0, x * (x + 2) / 2, x)),
        formula="x * min(max(x + 2, 0), 2) / 2",
        reference="Wightman 2020, after Misra 2020",
        kinks=(-2.0,),
        kink_slopes=(0.0,),
        monotone=False,
    ),
    Activation(
        fun=_saturating.sigmoid,
        module="Sigmoid",
        plain=lambda x: 1 / (1 + jnp.exp(-x)),
        formula="1 / (1 + exp(-x))",
        reference="Rumelhart et al. 1986",
        residual="output",
        steepest=0.25,
        active="unsaturated",
    ),
    Activation(
        fun=_saturating.tanh,
        module="Tanh",
        plain=jax.numpy.tanh,
        formula="(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
        reference="LeCun et al. 1998",
        slope=lambda x: 1 / jnp.cosh(x) ** 2,
        residual="output",
        active="unsaturated",
    ),
    Activation(
        fun=_saturating.soft_sign,
        module="SoftSign",
        plain=lambda x: x / (1 + jnp.abs(x)),
        formula="x / (1 + |x|)",
        reference="Turian et al. 2009",
        slope=lambda x: 1 / (1 + jnp.abs(x)) ** 2,
        residual="output",
        active="unsaturated",
    ),
    Activation(
        fun=_powers.relu_squared,
        module="ReLUSquared",
        plain=lambda x: jnp.maximum(x, 0) ** 2,
        formula="max(0, x)^2",
        reference="So et al. 2021, arXiv 2109.08668",
        residual="output",
        steepest=math.inf,
    ),
    Activation(
        fun=_powers.relu_power,
        module="ReLUPower",
        plain=lambda x, power: jnp.where(x <= 0, 0, jnp.where(x <= 0, 1, x) ** power),
        formula="max(0, x)^power",
        reference="Li et al. 2020, arXiv 1903.05858",
        steepest=math.inf,
        example=_given(power=3.0),
    ),
    Activation(
        fun=_powers.star_relu,
        module="StarReLU",
        plain=lambda x, scale=0.8944, bias=-0.4472: scale * jnp.maximum(x, 0) ** 2 + bias,
        formula="scale * max(0, x)^2 + bias",
        reference="Yu et al. 2022, arXiv 2210.13452",
        steepest=math.inf,
        learnt=_given(scale=0.8944, bias=-0.4472),
    ),
)

#: Every activation of the library by name.
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({row.name: row for row in _ROWS})


#: Those that a plain stack of layers can apply: elementwise, and complete without further arguments.
STACKABLE: tuple[str, ...] = tuple(name for name, row in ACTIVATIONS.items() if row.elementwise and not row.needs)


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
