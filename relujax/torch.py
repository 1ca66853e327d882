r"""PyTorch's activations under PyTorch's names, for models that are ported: its arguments, its kinks, its NaN.

Each function is equal to PyTorch 2.13's (on a CPU) in value and gradient: the same at every kink, NaN and infinity, and
elsewhere within a few units in the last place, or what PyTorch itself rounds off. PyTorch is not imported. Arrays
never change in place, so no function takes ``inplace``. Zeros are equal whatever their sign.

Three differences are left, each where PyTorch's answers are an accident:

- At NaN PyTorch's slope can depend on how many elements a tensor has (:func:`relu6`, :func:`elu`, :func:`hardtanh` and
  others). Here it is that of the vectorised path, which a model's tensors take.
- ``gelu(inf)`` is inf, as PyTorch has it for one element and in float16; its vectorised path gives NaN.
- In half precision PyTorch takes some slopes from what it has already rounded, as in :func:`sigmoid`, :func:`tanh` and
  :func:`softsign`; here they are rounded once.

>>> import relujax as rx
>>> jax.grad(rx.leaky_relu)(0.0).item(), jax.grad(leaky_relu)(0.0).item()
(1.0, 0.01)
"""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from . import functions
from ._precision import align, narrow, widen
from .functions import _checks, _dtypes, _elementary, _rules, _self_gated, _softened
from .gradients import pack_bits, rectifier, unpack_bits

__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "rrelu",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
]


def _rectifier(fun):
    return rectifier(fun, _checks.fitted(fun), dtypes=_dtypes.real_only)


_widened = functools.partial(_rules.widened, dtypes=_dtypes.real_only)


@_rectifier
def relu(input: ArrayLike) -> jax.Array:
    """:func:`relujax.relu`, with slope 1 at NaN.

    Args:
        input: array of any shape; integers stay integers.

    Returns:
        Array of the same shape and dtype. The slope at 0 is 0.

    Cost: keeps 1 bit per element for the backward pass.

    >>> relu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(relu)(jnp.nan).item()
    ([0.0, 0.0, 2.0], 1.0)
    """
    return jnp.maximum(input, 0)


relu.defvjp(
    lambda input: (relu(input), pack_bits(~jnp.less_equal(input, 0))),
    lambda active, g: (jnp.where(unpack_bits(active, g.shape), g, 0),),
)


def relu6(input: ArrayLike) -> jax.Array:
    """:func:`relujax.relu6`: slope 0 at 0, 6 and NaN.

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``.

    >>> relu6(jnp.array([-1.0, 2.0, 7.0])).tolist()
    [0.0, 2.0, 6.0]
    """
    return functions.relu6(input)


@_rectifier
def leaky_relu(input: ArrayLike, negative_slope: ArrayLike = 0.01) -> jax.Array:
    """:func:`relujax.leaky_relu`, with the negative slope at 0.

    Args:
        input: array of any shape; integers become floats.
        negative_slope: the slope below 0: a scalar or an array that broadcasts against the trailing axes.

    Returns:
        Array of the shape of ``input``. The slope at 0 and at NaN is ``negative_slope``.

    Cost: keeps 1 bit per element; its input where ``negative_slope`` is differentiated too.

    >>> leaky_relu(jnp.array([-1.0, 0.0, 2.0]), 0.1).tolist(), jax.grad(leaky_relu)(0.0).item()
    ([-0.1, 0.0, 2.0], 0.01)
    """
    wide = widen(input)
    return narrow(jnp.where(wide > 0, wide, align(negative_slope, wide) * wide), like=input)


def _leaky_fwd(input, negative_slope):
    x, slope = input.value, negative_slope.value
    y, wide = leaky_relu(x, slope), widen(x)
    # 0 belongs to the negative side, so that the negative part would not tell the slope as it does in relujax.
    kept = (None, wide.astype(y.dtype)) if negative_slope.perturbed else (pack_bits(wide > 0), None)
    return y, (kept, align(slope, wide))


def _leaky_bwd(residual, g):
    (bits, x), slope = residual
    if bits is not None:
        return jnp.where(unpack_bits(bits, g.shape), g, slope * g), None
    return jnp.where(x > 0, g, slope * g), jnp.where(x > 0, 0, widen(x)) * g


leaky_relu.defvjp(_leaky_fwd, _leaky_bwd, symbolic_zeros=True)


def prelu(input: ArrayLike, weight: ArrayLike) -> jax.Array:
    """:func:`relujax.prelu` with the channels on axis 1, and slope ``weight`` at 0.

    Args:
        input: array of shape ``(batch, channels, ...)``, or any shape for a single weight.
        weight: a scalar, or an array of shape ``(1,)`` or ``(channels,)``.

    Returns:
        Array of the shape of ``input``. The slope at 0 and at NaN is the weight.

    Raises:
        ValueError: for a weight of another shape.

    Cost: keeps 1 bit per element; its input where ``weight`` is differentiated too.

    >>> x = jnp.array([[[-1.0, 2.0], [-4.0, 0.0]]])
    >>> prelu(x, jnp.array([0.5, 0.25])).tolist()
    [[[-0.5, 2.0], [-1.0, 0.0]]]
    """
    shape, rank = jnp.shape(weight), jnp.ndim(input)
    channels = jnp.shape(input)[1] if rank > 1 else 1
    if shape not in ((), (1,), (channels,)):
        raise ValueError(f"prelu got a weight of shape {shape}: expected (), (1,) or ({channels},)")
    # A length of 1 goes with every axis, of which a scalar input has none.
    return leaky_relu(input, jnp.reshape(weight, shape + (1,) * (rank - 2) if rank > 1 else ()))


def rrelu(
    input: ArrayLike,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    key: jax.Array | None = None,
) -> jax.Array:
    """Randomized leaky rectified linear unit: a :func:`leaky_relu` whose slope is drawn for each element.

    Args:
        input: array of any shape; integers become floats.
        lower: the least slope.
        upper: the greatest slope.
        training: draw the slopes, uniformly between the two; else all are their mean.
        key: a ``jax.random`` key, needed for ``training``, where PyTorch has a global generator.

    Returns:
        Array of the shape of ``input``.

    Raises:
        ValueError: for ``lower`` above ``upper``, or ``training`` without a key.

    Reference: Xu et al., `2015 <https://arxiv.org/abs/1505.00853>`_.

    >>> rrelu(jnp.array([-1.0, 2.0]), 0.2, 0.4).tolist()
    [-0.3, 2.0]
    >>> slope = -rrelu(-1.0, training=True, key=jax.random.key(0))
    >>> bool(1 / 8 <= slope <= 1 / 3)
    True
    """
    if lower > upper:
        raise ValueError(f"rrelu got lower={lower} and upper={upper}: expected lower <= upper")
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    if key is None:
        raise ValueError("rrelu got training=True and no key: expected a key of jax.random, as key=")
    dtype = widen(input).dtype
    return leaky_relu(input, jax.random.uniform(key, jnp.shape(input), dtype, lower, upper))


def elu(input: ArrayLike, alpha: ArrayLike = 1.0) -> jax.Array:
    """:func:`relujax.elu`.

    Args:
        input: array of any shape; integers become floats.
        alpha: minus the value at minus infinity: a scalar or an array that broadcasts against the trailing axes.

    Returns:
        Array of the shape of ``input``. The slope at 0 is ``alpha``.

    Cost: keeps its input, as PyTorch does: a slope taken from the output is 0 where PyTorch's is still 1e-8.

    >>> elu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(elu)(0.0, 0.5).item()
    ([-0.6321, 0.0, 2.0], 0.5)
    """
    return functions.elu(input, alpha, residual="input")


def celu(input: ArrayLike, alpha: ArrayLike = 1.0) -> jax.Array:
    """:func:`relujax.celu`.

    Args:
        input: array of any shape; integers become floats.
        alpha: minus the value at minus infinity: a scalar or an array that broadcasts against the trailing axes.

    Returns:
        Array of the shape of ``input``.

    Cost: keeps its input, as PyTorch does.

    >>> celu(jnp.array([-1.0, 0.0, 2.0]), 2.0).tolist()
    [-0.7869, 0.0, 2.0]
    """
    return functions.celu(input, alpha, residual="input")


def selu(input: ArrayLike) -> jax.Array:
    """:func:`relujax.selu`.

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``. The slope at 0 is that of the negative side, 1.7581.

    Cost: keeps its input, as PyTorch does.

    >>> selu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(selu)(0.0).item()
    ([-1.1113, 0.0, 2.1014], 1.7581)
    """
    return functions.selu(input, residual="input")


@_widened
def gelu(input: _rules.Wide, approximate: str = "none") -> jax.Array:
    """:func:`relujax.gelu`, exact unless told otherwise, without the limits at the infinities.

    Args:
        input: array of any shape; integers become floats.
        approximate: ``"none"``, or ``"tanh"`` for the approximation that :func:`relujax.gelu` has by default.

    Returns:
        Array of the shape of ``input``: NaN at minus infinity, where relujax has 0. The slope is NaN at both, and for
        ``"tanh"`` from where the square of ``input`` overflows.

    Raises:
        ValueError: for another ``approximate``.

    Cost: keeps its input.

    >>> gelu(jnp.array([-1.0, 0.0, 2.0])).tolist(), gelu(-1.0, approximate="tanh").item()
    ([-0.1587, 0.0, 1.9545], -0.1588)
    """
    return _undefined(jnp.isneginf(input), _rules._formula(functions.gelu)(input, _is_tanh(approximate)))


def _is_tanh(approximate: str) -> bool:
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu got approximate={approximate!r}: expected 'none' or 'tanh'")
    return approximate == "tanh"


def _undefined(where, y):
    return jnp.where(where, jnp.nan, y)


_rules.keep_input(
    gelu,
    slope=lambda x, approximate: _undefined(
        jnp.isinf(x * x if approximate == "tanh" else x), _self_gated._gelu_slope(x, approximate == "tanh")
    ),
)


@_widened
def silu(input: _rules.Wide) -> jax.Array:
    """:func:`relujax.silu`, without the limits at the infinities.

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``: NaN at minus infinity, where relujax has 0, and slope NaN at both.

    Cost: keeps its input.

    >>> silu(jnp.array([-1.0, 0.0, 2.0, -jnp.inf])).tolist()
    [-0.2689, 0.0, 1.7616, nan]
    """
    return _undefined(jnp.isneginf(input), _rules._formula(functions.silu)(input))


_rules.keep_input(silu, slope=lambda x: _undefined(jnp.isinf(x), _self_gated._swish_slope(x, 1)))


@_widened
def mish(input: _rules.Wide) -> jax.Array:
    """:func:`relujax.mish`, without the limits at the infinities.

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``: NaN at minus infinity, where relujax has 0, and slope NaN at both.

    Cost: keeps its input.

    >>> mish(jnp.array([-1.0, 0.0, 2.0, -jnp.inf])).tolist()
    [-0.3034, 0.0, 1.944, nan]
    """
    return _undefined(jnp.isneginf(input), _rules._formula(functions.mish)(input))


_rules.keep_input(mish, slope=lambda x: _undefined(jnp.isinf(x), _self_gated._mish_slope(x)))


@_widened
def softplus(input: _rules.Wide, beta: _rules.Wide = 1.0, threshold: _rules.Wide = 20.0) -> jax.Array:
    """:func:`relujax.softplus`, and the identity where ``beta * input > threshold``.

    Args:
        input: array of any shape; integers become floats.
        beta: how sharp the corner is, also negative: a scalar or an array that broadcasts against the trailing axes.
        threshold: where the identity begins, likewise. Its gradient is 0.

    Returns:
        Array of the shape of ``input``.

    Cost: keeps its output; its input in half precision, and where ``beta`` or ``threshold`` is passed.

    >>> softplus(jnp.array([-1.0, 0.0, 2.0])).tolist(), softplus(2.0, threshold=1.0).item()
    ([0.3133, 0.6931, 2.1269], 2.0)
    """
    sign = jnp.where(beta < 0, -1.0, 1.0)  # relujax's formula is for positive beta
    rounded = sign * _rules._formula(functions.softplus)(sign * input, sign * beta)
    return jnp.where(jnp.greater(beta * input, threshold), input, rounded)


_rules.keep_output(
    softplus,
    of_output=lambda y, beta, threshold: jnp.where(beta * y > threshold, 1, _elementary.exp_gap(beta * y)),
    of_input=lambda x, beta, threshold: jnp.where(beta * x > threshold, 1, jax.lax.logistic(beta * x)),
)


def _in_place_of(fun):
    """Decorate another formula; a probe, which tells an activation by the name of its call, knows it as ``fun``."""
    return lambda formula: _widened(functools.wraps(_rules._formula(fun))(formula))


@_in_place_of(functions.soft_sign)
def _soft_sign(x: _rules.Wide) -> jax.Array:
    return _undefined(jnp.isinf(x), _rules._formula(functions.soft_sign)(x))


_rules.keep_input(_soft_sign, slope=lambda x: _undefined(jnp.isinf(x), (1 / (1 + jnp.abs(x))) ** 2))


def softsign(input: ArrayLike) -> jax.Array:
    """:func:`relujax.soft_sign`, without the limits at the infinities.

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``: NaN at the infinities, where relujax has -1 and 1.

    Cost: keeps its input.

    >>> softsign(jnp.array([-1.0, 0.0, 3.0, jnp.inf])).tolist()
    [-0.5, 0.0, 0.75, nan]
    """
    return _soft_sign(input)


_soft_shrink = _widened(_rules._formula(functions.soft_shrink), check=_checks.at_least(0, "lambd"))
_rules.keep_bits(_soft_shrink, active=lambda x, lambd: jnp.abs(x) > lambd)


def softshrink(input: ArrayLike, lambd: ArrayLike = 0.5) -> jax.Array:
    """:func:`relujax.soft_shrink`, with slope 0 at NaN.

    Args:
        input: array of any shape; integers become floats.
        lambd: the largest absolute value that becomes 0, not negative: a scalar or an array that broadcasts against the
            trailing axes.

    Returns:
        Array of the shape of ``input``. The slopes at both kinks are 0.

    Raises:
        ValueError: for a Python number below 0 as ``lambd``.

    Cost: keeps 1 bit per element; its input where ``lambd`` is differentiated too.

    >>> softshrink(jnp.array([-2.0, 0.5, 2.0])).tolist()
    [-1.5, 0.0, 1.5]
    """
    return _soft_shrink(input, lambd)


_hard_shrink = _widened(_rules._formula(functions.hard_shrink))
_rules.keep_bits(_hard_shrink, active=lambda x, lambd: jnp.abs(x) > lambd)


def hardshrink(input: ArrayLike, lambd: ArrayLike = 0.5) -> jax.Array:
    """:func:`relujax.hard_shrink`, with slope 0 at NaN.

    Args:
        input: array of any shape; integers become floats.
        lambd: the largest absolute value that becomes 0, not negative: a scalar or an array that broadcasts against the
            trailing axes. Its gradient is 0.

    Returns:
        Array of the shape of ``input``. The slopes at both steps are 0.

    Cost: keeps 1 bit per element.

    >>> hardshrink(jnp.array([-2.0, 0.5, 2.0])).tolist()
    [-2.0, 0.0, 2.0]
    """
    return _hard_shrink(input, lambd)


_hard_tanh = _widened(_rules._formula(functions.hard_tanh), check=_checks.ordered("min", "max"))
_rules.keep_bits(_hard_tanh, active=lambda x, min, max: (x > min) & (x < max))


def hardtanh(input: ArrayLike, min_val: ArrayLike = -1.0, max_val: ArrayLike = 1.0) -> jax.Array:
    """:func:`relujax.hard_tanh`, with slope 0 at both kinks and at NaN.

    Args:
        input: array of any shape; integers become floats.
        min_val: the least value: a scalar or an array that broadcasts against the trailing axes.
        max_val: the greatest value, likewise.

    Returns:
        Array of the shape of ``input``.

    Raises:
        ValueError: for limits that are Python numbers in the wrong order.

    Cost: keeps 1 bit per element; its input where a limit is differentiated too.

    >>> hardtanh(jnp.array([-2.0, 0.5, 2.0])).tolist(), jax.grad(hardtanh)(1.0).item()
    ([-1.0, 0.5, 1.0], 0.0)
    """
    return _hard_tanh(input, min_val, max_val)


def hardsigmoid(input: ArrayLike) -> jax.Array:
    """:func:`relujax.hard_sigmoid`: slope 0 at -3, 3 and NaN.

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``, in [0, 1].

    >>> hardsigmoid(jnp.array([-4.0, 0.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return functions.hard_sigmoid(input)


@_in_place_of(functions.hard_silu)
def _hard_silu(x: _rules.Wide) -> jax.Array:
    return jnp.multiply(x, jnp.clip(x + 3, 0, 6)) / 6


_rules.keep_input(_hard_silu, slope=_softened._hard_silu_slope)


def hardswish(input: ArrayLike) -> jax.Array:
    """:func:`relujax.hard_silu` with an infinite product: its last step is the division by 6.

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``: NaN at minus infinity, where relujax has 0, and infinite above a sixth of the
        largest float32. The slopes at -3 and 3 are 0 and 1.

    Cost: keeps its input.

    >>> hardswish(jnp.array([-4.0, 1.5, 4.0])).tolist(), jax.grad(hardswish)(3.0).item()
    ([0.0, 1.125, 4.0], 1.0)
    """
    return _hard_silu(input)


def logsigmoid(input: ArrayLike) -> jax.Array:
    """:func:`relujax.log_sigmoid`.

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``, at most 0.

    >>> logsigmoid(jnp.array([-2.0, 0.0, 1.0])).tolist()
    [-2.1269, -0.6931, -0.3133]
    """
    return functions.log_sigmoid(input)


def sigmoid(input: ArrayLike) -> jax.Array:
    """:func:`relujax.sigmoid`. In half precision its slope comes from the input, PyTorch's from the rounded output.

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``, in [0, 1].

    >>> sigmoid(0.0).item(), jax.grad(sigmoid)(0.0).item()
    (0.5, 0.25)
    """
    return functions.sigmoid(input)


def tanh(input: ArrayLike) -> jax.Array:
    """:func:`relujax.tanh`. In half precision its slope comes from the input, PyTorch's from the rounded output.

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``, in [-1, 1].

    >>> tanh(0.5).item(), jax.grad(tanh)(0.5).item()
    (0.4621, 0.7864)
    """
    return functions.tanh(input)


def tanhshrink(input: ArrayLike) -> jax.Array:
    r"""The input less its hyperbolic tangent, which is rounded first, as in PyTorch.

    .. math:: f(x) = x - \tanh x, \qquad f'(x) = \tanh^2 x

    Args:
        input: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``input``.

    >>> tanhshrink(jnp.array([-1.0, 0.0, 2.0])).tolist()
    [-0.2384, 0.0, 1.036]
    """
    y = functions.tanh(input)
    return jnp.asarray(input).astype(y.dtype) - y


def threshold(input: ArrayLike, threshold: ArrayLike, value: ArrayLike) -> jax.Array:
    """:func:`relujax.threshold`: slope 0 at the threshold, 1 at NaN.

    Args:
        input: array of any shape; integers become floats.
        threshold: a scalar or an array that broadcasts against the trailing axes. Its gradient is 0.
        value: what takes the place of an ``input`` up to the threshold, likewise.

    Returns:
        Array of the shape of ``input``.

    >>> threshold(jnp.array([-1.0, 0.5, 2.0]), 0.5, 20.0).tolist()
    [20.0, 20.0, 2.0]
    """
    return functions.threshold(input, threshold, value)


def glu(input: ArrayLike, dim: int = -1) -> jax.Array:
    r"""Gated linear unit: one half of the input times the sigmoid of the other.

    .. math:: f(a, b) = a \, \sigma(b)

    Args:
        input: array whose axis ``dim`` has an even length.
        dim: the axis that is halved.

    Returns:
        Array with half as many elements along ``dim``.

    Raises:
        ValueError: for an odd length, and for a scalar.

    Cost: keeps its input.

    Reference: Dauphin et al., `2017 <https://arxiv.org/abs/1612.08083>`_.

    >>> glu(jnp.array([1.0, 2.0, 0.0, 0.0])).tolist()
    [0.5, 1.0]
    """
    return functions.glu(input, dim)
