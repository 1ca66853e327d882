"""What a row of the registry says about an activation."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from jax.typing import ArrayLike

__all__ = ["Activation"]


@dataclass(frozen=True)
class Activation:
    """A row of :data:`relujax.ACTIVATIONS`.

    Attributes:
        fun: the function, ``fun(x, **hyperparameters)``.
        module: the name of its Flax modules, :mod:`relujax.nnx` and :mod:`relujax.linen`; "" for a function of two
            arrays, which has nothing to hold.
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
        elementwise: whether each element of the output depends on one element of ``x``, and on no other.
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
        """The key in :data:`relujax.ACTIVATIONS`: the name of ``fun``."""
        return self.fun.__name__

    @property
    def kin(self) -> str:
        """The group that it belongs to, which is the file that it stands in."""
        return self.fun.__module__.rsplit("._", 1)[-1]

    @property
    def needs(self) -> tuple[str, ...]:
        """Arguments that neither a default nor the Flax module supplies."""
        parameters = list(inspect.signature(self.fun).parameters.values())[1:]
        return tuple(p.name for p in parameters if p.default is p.empty and p.name not in self.learnt)

    @property
    def draws(self) -> bool:
        """Whether it takes a key after ``x``."""
        return "key" in inspect.signature(self.fun).parameters

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Numbers and arrays after ``x``, which have gradients; flags, axes and the like are not among them."""
        parameters = list(inspect.signature(self.fun).parameters.values())[1:]
        return tuple(p.name for p in parameters if p.annotation is ArrayLike)
