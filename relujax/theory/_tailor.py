"""Activations tailored to a depth, so that a stack without skips and norms trains."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import jax
import numpy as np
from jax.typing import ArrayLike

from .._checks import whole
from ..functions import leaky_relu
from ._elementwise import Elementwise, elementwise
from ._homogeneous import homogeneous
from ._length_map import root
from ._tailor_smooth import solve


@dataclass(frozen=True)
class Tailored:
    r"""An activation of a depth: :math:`x \mapsto s_o\,(f(s_i x + t_i) + t_o)`. Call it as any activation.

    Its weights are to be drawn with variance 1/fan-in, and it holds signals of unit variance.

    Attributes:
        method: "tat" or "dks".
        depth: for how many activations in a row.
        input_scale: :math:`s_i`.
        input_shift: :math:`t_i`.
        output_shift: :math:`t_o`.
        output_scale: :math:`s_o`.
        negative_slope: of the leaky rectifier; ``None`` for other functions.
    """

    method: Literal["tat", "dks"]
    depth: int
    input_scale: float
    input_shift: float
    output_shift: float
    output_scale: float
    negative_slope: float | None = None
    fun: Callable | None = field(default=None, repr=False)

    def __call__(self, x: ArrayLike) -> jax.Array:
        """In the dtype of ``x``."""
        if self.negative_slope is not None:
            return self.output_scale * leaky_relu(x, self.negative_slope)
        assert self.fun is not None
        return self.output_scale * (self.fun(self.input_scale * x + self.input_shift) + self.output_shift)


def tailor(
    f: str | Callable,
    depth: int,
    eta: float = 0.9,
    *,
    method: Literal["tat", "dks"] = "tat",
    tau: float = 0.3,
    zeta: float = 1.5,
    kinks: tuple[float, ...] | None = None,
) -> Tailored:
    r"""An activation reshaped so that ``depth`` wide layers in a row, without skips or norms, keep inputs apart.

    With :math:`C_f` the correlation map of the whole stack, :math:`C` that of a layer and :math:`Q` its length map:

    - leaky rectifiers (``method="tat"``): :math:`C_f(0) = \eta`;
    - smooth functions (``method="tat"``): :math:`Q(1) = Q'(1) = C'(1) = 1`, :math:`C_f''(1) = \tau`;
    - other functions (``method="dks"``): :math:`Q(1) = Q'(1) = 1`, :math:`C(0) = 0`, :math:`C_f'(1) = \zeta`.

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function. ReLU and its leaky kin give the leaky
            rectifier of that depth, whatever slope they come with.
        depth: activations from input to output.
        eta: correlation that two uncorrelated inputs have at the end; the larger, the less linear the stack.
        method: tailored activation transformation, or deep kernel shaping.
        tau: curvature of the stack's correlation map at 1, for smooth functions under "tat".
        zeta: slope of the stack's correlation map at 1, under "dks".
        kinks: points where ``f`` is not smooth, where they are known; others are found.

    Returns:
        :class:`Tailored`, a function of one array.

    Raises:
        ValueError: where no slope reaches ``eta`` at this depth, with the smallest depth at which one does; where ``f``
            has no solution; for a depth below 1 or targets out of range.

    Cost: milliseconds for a leaky rectifier, some 50 ms for others.

    Reference: Zhang et al., `2022 <https://arxiv.org/abs/2203.08120>`_; Martens et al.,
    `2021 <https://arxiv.org/abs/2110.01765>`_.

    >>> tailor("leaky_relu", 50).negative_slope, tailor("leaky_relu", 50).output_scale
    (0.43052295, 1.29894779)
    >>> tailor("silu", 50).input_scale
    0.12335886
    """
    _check(depth, eta, method, tau, zeta)
    fun = elementwise(f, kinks)
    if homogeneous(fun) is not None:
        if method == "dks":
            raise ValueError(f'got method="dks" for {fun.label}: expected a function that bends; use method="tat"')
        return _leaky(depth, eta)
    if method == "tat" and not _smooth(fun):
        raise ValueError(
            f'got method="tat" for {fun.label}, whose slope jumps: expected a smooth function or a leaky rectifier; '
            'use method="dks"'
        )
    target = tau / depth if method == "tat" else zeta ** (1 / depth)
    scale, shift, output_shift, output_scale = solve(fun, method, target)
    return Tailored(method, depth, scale, shift, output_shift, output_scale, fun=fun.fun)


#: Layers up to which the error counts one by one.
_COUNTED = 100_000


def _leaky(depth: int, eta: float) -> Tailored:
    most = _end(1.0, depth)
    if most < eta:
        least, c = depth, most
        while c < eta and least < _COUNTED:
            least, c = least + 1, _layer(1.0, c)
        if c < eta:  # 1 - c falls as 9 pi^2 / (2 depth^2)
            least = math.ceil(math.sqrt(4.5 * math.pi**2 / (1 - eta)))
        raise ValueError(
            f"got eta={eta} at depth {depth}, where ReLU itself reaches {most:.4f}: expected a depth of at least "
            f"{least} for that eta; make the network deeper or lower eta"
        )
    # C depends on the slope a by (1 - a)^2 / (1 + a^2) alone.
    bend = root(lambda bend: _end(bend, depth) - eta, 0.0, 1.0)
    slope = (1 - math.sqrt(bend * (2 - bend))) / (1 - bend) if bend < 1 else 0.0
    return Tailored("tat", depth, 1.0, 0.0, 0.0, math.sqrt(2 / (1 + slope**2)), slope)


def _end(bend: float, depth: int) -> float:
    """The correlation after ``depth`` layers, from 0."""
    c = 0.0
    for _ in range(depth):
        c = _layer(bend, c)
    return c


def _layer(bend: float, c: float) -> float:
    return min(1.0, c + bend / math.pi * (math.sqrt(1 - c * c) - c * math.acos(c)))


def _smooth(fun: Elementwise) -> bool:
    """Whether the slope is continuous at each kink."""
    kinks = np.array(fun.kinks())
    step = 1e-7 * np.maximum(1, np.abs(kinks))
    (below, left), (above, right) = fun(kinks - step), fun(kinks + step)
    return bool(np.allclose(left, right, atol=1e-5) and np.allclose(below, above, atol=1e-5))


def _check(depth: int, eta: float, method: str, tau: float, zeta: float) -> None:
    whole("depth", depth)
    if method not in ("tat", "dks"):
        raise ValueError(f'got method={method!r}: expected "tat" or "dks"; smooth functions take either')
    if not 0 < eta < 1:
        raise ValueError(f"got eta={eta}: expected a correlation between 0 and 1; the default is 0.9")
    if not 0 < tau < math.inf:
        raise ValueError(f"got tau={tau}: expected a positive curvature; the default is 0.3")
    if not 1 < zeta < math.inf:
        raise ValueError(f"got zeta={zeta}: expected a slope above 1; the default is 1.5")
