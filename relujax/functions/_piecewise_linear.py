"""Piecewise linear rectifiers: where the slope is one of two numbers, the backward pass needs one bit."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._precision import align, narrow, spread, widen
from ..gradients import pack_bits, unpack_bits
from ._checks import above, at_least, axis_length, fitted, ordered
from ._rules import Wide, keep_bits, keep_input, member, step, widened

__all__ = [
    "flexible_relu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_tanh",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "relu_n",
    "shifted_relu",
    "soft_shrink",
    "sparse_sigmoid",
    "srelu",
    "threshold",
]


@member
def relu(x: ArrayLike) -> jax.Array:
    r"""Rectified linear unit.

    .. math:: f(x) = \max(0, x), \qquad f'(x) = 1[x > 0]

    Args:
        x: array of any shape; integers stay integers.

    Returns:
        Array of the same shape and dtype. NaN stays NaN, with slope 0, and so is the slope at 0, as in
        :func:`jax.nn.relu`.

    Cost: keeps 1 bit per element for the backward pass (:func:`jax.nn.relu` keeps 1 byte or more).

    Reference: Nair and Hinton, `2010 <https://www.cs.toronto.edu/~hinton/absps/reluICML.pdf>`_.

    >>> relu(jnp.array([-1.0, 0.0, 2.0])).tolist(), jax.grad(relu)(0.0).item()
    ([0.0, 0.0, 2.0], 0.0)
    """
    return jnp.maximum(x, 0)


def _relu_fwd(x):
    return relu(x), pack_bits(jnp.greater(x, 0))


def _relu_bwd(active, g):
    return (jnp.where(unpack_bits(active, g.shape), g, 0),)


relu.defvjp(_relu_fwd, _relu_bwd)


@widened
def relu6(x: Wide) -> jax.Array:
    r"""Rectified linear unit that saturates at 6.

    .. math:: f(x) = \min(\max(0, x), 6), \qquad f'(x) = 1[0 < x < 6]

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``. NaN stays NaN, with slope 0, and so are the slopes at 0 and 6, as in
        :func:`jax.nn.relu6`.

    Cost: keeps 1 bit per element for the backward pass.

    Reference: Krizhevsky, `2010 <https://www.cs.utoronto.ca/~kriz/conv-cifar10-aug2010.pdf>`_.

    >>> relu6(jnp.array([-1.0, 2.0, 7.0])).tolist(), jax.grad(relu6)(2.0).item()
    ([0.0, 2.0, 6.0], 1.0)
    """
    return jnp.clip(x, 0, 6)


keep_bits(relu6, active=lambda x: (x > 0) & (x < 6))


@functools.partial(widened, check=above(0, "n"))
def relu_n(x: Wide, n: Wide) -> jax.Array:
    r"""Rectified linear unit that saturates at ``n``.

    .. math:: f(x) = \min(\max(0, x), n), \qquad f'(x) = 1[0 < x < n]

    Args:
        x: array of any shape; integers become floats.
        n: where it saturates, positive: a scalar or an array that broadcasts against the trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``. NaN stays NaN, with slope 1; the slopes at 0 and ``n`` are 0.

    Raises:
        ValueError: for a number ``n`` that is not positive.

    Cost: keeps 1 bit per element for the backward pass; its input where ``n`` is differentiated too.

    Reference: Krizhevsky, `2010 <https://www.cs.utoronto.ca/~kriz/conv-cifar10-aug2010.pdf>`_.

    >>> relu_n(jnp.array([-1.0, 1.0, 7.0]), 2.0).tolist(), jax.grad(relu_n)(1.0, 2.0).item()
    ([0.0, 1.0, 2.0], 1.0)
    """
    return jnp.minimum(jnp.maximum(x, 0), n)


keep_bits(relu_n, active=lambda x, n: ~((x <= 0) | (x >= n)))


def _leaky(x: ArrayLike, slope: ArrayLike) -> jax.Array:
    wide = widen(x)
    return narrow(jnp.where(wide >= 0, wide, align(slope, wide) * wide), like=x)


@member
def leaky_relu(x: ArrayLike, negative_slope: ArrayLike = 0.01) -> jax.Array:
    r"""Leaky rectified linear unit.

    .. math:: f(x) = x \text{ if } x \ge 0 \text{ else } a x, \qquad f'(x) = 1 \text{ if } x \ge 0 \text{ else } a

    Args:
        x: array of any shape; integers become floats.
        negative_slope: :math:`a`, a scalar or an array that broadcasts against the trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``. The slope at 0 is 1, as in :func:`jax.nn.leaky_relu`.

    Cost: keeps 1 bit per element; where ``negative_slope`` is differentiated too, the negative part of ``x``.

    Reference: Maas et al., `2013 <https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf>`_.

    >>> leaky_relu(jnp.array([-1.0, 0.0, 2.0]), 0.1).tolist(), jax.grad(leaky_relu)(-3.0).item()
    ([-0.1, 0.0, 2.0], 0.01)
    """
    return _leaky(x, negative_slope)


def _along_axis(x, slope, axis):
    """A slope per channel, as wide as ``x`` along ``axis`` and broadcast along the axes after it."""
    rank, shape = jnp.ndim(x), jnp.shape(slope)
    if len(shape) == 1 and rank > 1:
        channels = axis_length("prelu", x, axis)
        if shape[0] not in (1, channels):
            raise ValueError(
                f"prelu got slope of shape {shape} for x of shape {jnp.shape(x)}: expected a number or one per channel "
                f"of axis {axis}, ({channels},)"
            )
        slope = jnp.reshape(slope, (-1, *(1,) * ((-axis - 1) % rank)))
    return *_prelu_fitted(x, slope), -1


@functools.partial(member, prepare=_along_axis)
def prelu(x: ArrayLike, slope: ArrayLike, axis: int = -1) -> jax.Array:
    r"""Parametric rectified linear unit: a leaky one whose negative slope is learnt.

    .. math:: f(x) = x \text{ if } x \ge 0 \text{ else } a x, \qquad
        \frac{\partial f}{\partial x} = 1 \text{ or } a, \quad \frac{\partial f}{\partial a} = \min(x, 0)

    Args:
        x: array of shape ``(..., channels)``; integers become floats.
        slope: :math:`a`, a scalar, or one per channel of shape ``(channels,)``, or anything else that broadcasts
            against the trailing axes of ``x``.
        axis: the axis of the channels.

    Returns:
        Array of the shape of ``x``. The slope at 0 is 1.

    Raises:
        ValueError: for a slope that is neither a number nor one per channel, and for an axis that is not there.

    Cost: keeps the negative part of ``x`` and ``slope``; 1 bit per element where ``slope`` is not differentiated.

    Reference: He et al., `2015 <https://arxiv.org/abs/1502.01852>`_.

    >>> x = jnp.array([[-1.0, -2.0], [3.0, -4.0]])
    >>> prelu(x, jnp.array([0.5, 0.25])).tolist()
    [[-0.5, -0.5], [3.0, -1.0]]
    >>> jax.grad(lambda a: prelu(x, a).sum())(jnp.array([0.5, 0.25])).tolist()
    [-1.0, -6.0]
    """
    return _leaky(x, slope)


_prelu_fitted = fitted(prelu)


def _leaky_rule(fun):
    """The rule for a slope of 1 or ``a``: the negative part of ``x`` is kept only for the gradient of ``a``."""

    def fwd(x, slope, axis=None):
        y = fun(x.value, slope.value)
        inexact = x.value if jnp.issubdtype(x.value.dtype, jnp.inexact) else widen(x.value)
        # The bits at the shape of y, to which a larger slope spreads x: bytes do not broadcast.
        kept = jnp.minimum(inexact, 0) if slope.perturbed else pack_bits(spread(inexact >= 0, y))
        return y, (kept, align(slope.value, widen(x.value)))

    def bwd(residual, g):
        kept, slope = residual
        if not jnp.issubdtype(kept.dtype, jnp.inexact):
            return jnp.where(unpack_bits(kept, g.shape), g, slope * g), None
        return jnp.where(jnp.greater_equal(kept, 0), g, slope * g), widen(kept) * g

    return fwd, bwd


leaky_relu.defvjp(*_leaky_rule(leaky_relu), symbolic_zeros=True)
prelu.defvjp(*_leaky_rule(prelu), symbolic_zeros=True)


@widened
def threshold(x: Wide, threshold: Wide, value: Wide) -> jax.Array:
    r"""The input above a threshold, a constant elsewhere.

    .. math:: f(x) = x \text{ if } x > \theta \text{ else } v, \qquad f'(x) = 1[x > \theta]

    Args:
        x: array of any shape; integers become floats.
        threshold: :math:`\theta`, a scalar or an array that broadcasts against the trailing axes of ``x``. Its gradient
            is 0.
        value: :math:`v`, likewise.

    Returns:
        Array of the shape of ``x``. NaN stays NaN, with slope 1.

    Cost: keeps 1 bit per element; its input where ``value`` is differentiated too.

    Reference: Konda et al., `2015 <https://arxiv.org/abs/1402.3337>`_.

    >>> threshold(jnp.array([-1.0, 0.2, 2.0]), 0.5, 0.0).tolist()
    [0.0, 0.0, 2.0]
    """
    return jnp.where(x <= threshold, value, x)


keep_bits(threshold, active=lambda x, threshold, value: ~(x <= threshold))


@widened
def shifted_relu(x: Wide, shift: Wide = -1.0) -> jax.Array:
    r"""Rectified linear unit whose kink lies on the diagonal, at ``shift``, so that its output can be zero-centred.

    .. math:: f(x) = \max(s, x), \qquad f'(x) = 1[x > s]

    Args:
        x: array of any shape; integers become floats.
        shift: :math:`s`, a scalar or an array that broadcasts against the trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``. NaN stays NaN, with slope 1; the slope at the kink is 0.

    Cost: keeps 1 bit per element; its input where ``shift`` is differentiated too.

    Reference: Clevert et al., `2016 <https://arxiv.org/abs/1511.07289>`_, section 4.

    >>> shifted_relu(jnp.array([-2.0, -0.5, 2.0])).tolist(), jax.grad(shifted_relu)(-0.5).item()
    ([-1.0, -0.5, 2.0], 1.0)
    """
    return jnp.maximum(x, shift)


keep_bits(shifted_relu, active=lambda x, shift: ~(x <= shift))


@functools.partial(widened, check=ordered("min", "max"))
def hard_tanh(x: Wide, min: Wide = -1.0, max: Wide = 1.0) -> jax.Array:
    r"""Hyperbolic tangent made of three straight lines.

    .. math:: f(x) = \min(\max(x, a), b), \qquad f'(x) = 1[a \le x \le b]

    Args:
        x: array of any shape; integers stay integers where no limit is passed.
        min: :math:`a`, a scalar or an array that broadcasts against the trailing axes of ``x``.
        max: :math:`b`, likewise.

    Returns:
        Array of the shape of ``x``. NaN stays NaN, with slope 1; both kinks have slope 1, as in
        :func:`jax.nn.hard_tanh`.

    Raises:
        ValueError: for numbers ``min`` above ``max``.

    Cost: keeps 1 bit per element; its input where a limit is differentiated too.

    Reference: Collobert, `2004 <https://ronan.collobert.com/pub/2004_phdthesis_lip6.pdf>`_.

    >>> hard_tanh(jnp.array([-2.0, 0.5, 2.0])).tolist(), jax.grad(hard_tanh)(1.0).item()
    ([-1.0, 0.5, 1.0], 1.0)
    """
    return jnp.minimum(jnp.maximum(x, min), max)


keep_bits(hard_tanh, active=lambda x, min, max: ~((x < min) | (x > max)))


@widened
def hard_sigmoid(x: Wide) -> jax.Array:
    r"""Sigmoid made of three straight lines.

    .. math:: f(x) = \tfrac16 \min(\max(x + 3, 0), 6), \qquad f'(x) = \tfrac16 \cdot 1[-3 < x < 3]

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``, in [0, 1]. NaN stays NaN, with slope 0, and so are the slopes at -3 and 3.

    Cost: keeps 1 bit per element for the backward pass.

    Reference: Howard et al., `2019 <https://arxiv.org/abs/1905.02244>`_, after Courbariaux et al., 2015.

    >>> hard_sigmoid(jnp.array([-4.0, 0.0, 3.0])).tolist(), jax.grad(hard_sigmoid)(0.0).item()
    ([0.0, 0.5, 1.0], 0.1667)
    """
    return jnp.clip(x + 3, 0, 6) / 6


keep_bits(hard_sigmoid, active=lambda x: (x > -3) & (x < 3), inside=1 / 6)


@widened
def sparse_sigmoid(x: Wide) -> jax.Array:
    r"""The slope of :func:`sparse_plus`: a sigmoid made of three straight lines.

    .. math:: f(x) = \tfrac12 \min(\max(x + 1, 0), 2), \qquad f'(x) = \tfrac12 \cdot 1[-1 < x < 1]

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``, in [0, 1]. NaN stays NaN, with slope 0; the slopes at -1 and 1 are 1/4, as in
        :func:`jax.nn.sparse_sigmoid`.

    Cost: keeps 2 bits per element for the backward pass, as there are three slopes.

    Reference: Martins and Astudillo, `2016 <https://arxiv.org/abs/1602.02068>`_; :func:`jax.nn.sparse_sigmoid`.

    >>> sparse_sigmoid(jnp.array([-4.0, 0.5, 3.0])).tolist(), jax.grad(sparse_sigmoid)(0.0).item()
    ([0.0, 0.75, 1.0], 0.5)
    """
    return jnp.clip(x + 1, 0, 2) / 2


def _sparse_sigmoid_fwd(x):
    size = jnp.abs(widen(x))
    quarters = (size <= 1).astype(jnp.uint8) + (size < 1).astype(jnp.uint8)
    return sparse_sigmoid(x), pack_bits(quarters, 2)


def _sparse_sigmoid_bwd(kept, g):
    quarters = unpack_bits(kept, g.shape, 2)
    return (jnp.where(quarters == 2, g / 2, jnp.where(quarters == 1, g / 4, 0)),)


sparse_sigmoid.defvjp(_sparse_sigmoid_fwd, _sparse_sigmoid_bwd)


@functools.partial(widened, check=at_least(0, "lambd"))
def soft_shrink(x: Wide, lambd: Wide = 0.5) -> jax.Array:
    r"""Soft thresholding: what is small becomes 0, the rest moves towards it.

    .. math:: f(x) = \operatorname{sign}(x) \max(|x| - \lambda, 0), \qquad f'(x) = 1[|x| > \lambda]

    Args:
        x: array of any shape; integers become floats.
        lambd: :math:`\lambda`, not negative: a scalar or an array that broadcasts against the trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``. NaN stays NaN, with slope 1; the slopes at both kinks are 0.

    Raises:
        ValueError: for a negative number ``lambd``.

    Cost: keeps 1 bit per element; its input where ``lambd`` is differentiated too.

    Reference: Donoho, `1995 <https://doi.org/10.1109/18.382009>`_.

    >>> soft_shrink(jnp.array([-2.0, 0.25, 2.0])).tolist(), jax.grad(soft_shrink)(2.0).item()
    ([-1.5, 0.0, 1.5], 1.0)
    """
    return x - jnp.minimum(jnp.maximum(x, -lambd), lambd)


keep_bits(soft_shrink, active=lambda x, lambd: ~(jnp.abs(x) <= lambd))


@functools.partial(widened, check=at_least(0, "lambd"))
def hard_shrink(x: Wide, lambd: Wide = 0.5) -> jax.Array:
    r"""Hard thresholding: what is small becomes 0, the rest stays.

    .. math:: f(x) = x \cdot 1[|x| > \lambda], \qquad f'(x) = 1[|x| > \lambda]

    Args:
        x: array of any shape; integers become floats.
        lambd: :math:`\lambda`, not negative: a scalar or an array that broadcasts against the trailing axes of ``x``.
            Its gradient is 0.

    Returns:
        Array of the shape of ``x``. NaN stays NaN, with slope 1; the slopes at both steps are 0.

    Raises:
        ValueError: for a negative number ``lambd``.

    Cost: keeps 1 bit per element; its input where ``lambd`` is differentiated too.

    Reference: Donoho and Johnstone, `1994 <https://doi.org/10.1093/biomet/81.3.425>`_.

    >>> hard_shrink(jnp.array([-2.0, 0.25, 2.0])).tolist(), jax.grad(hard_shrink)(0.25).item()
    ([-2.0, 0.0, 2.0], 0.0)
    """
    return x * step(jnp.abs(x) - lambd)


keep_bits(hard_shrink, active=lambda x, lambd: ~(jnp.abs(x) <= lambd))


@widened
def flexible_relu(x: Wide, bias: Wide) -> jax.Array:
    r"""Flexible rectified linear unit: a learnt shift lets the output be zero-centred.

    .. math:: f(x) = \max(0, x) + b, \qquad f'(x) = 1[x > 0], \quad \frac{\partial f}{\partial b} = 1

    Args:
        x: array of any shape; integers become floats.
        bias: :math:`b`, a scalar or an array that broadcasts against the trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``. NaN stays NaN, with slope 1; the slope at 0 is 0.

    Cost: keeps 1 bit per element.

    Reference: Qiu et al., `2018 <https://arxiv.org/abs/1706.08098>`_.

    >>> flexible_relu(jnp.array([-1.0, 2.0]), -0.5).tolist(), jax.grad(flexible_relu, 1)(2.0, -0.5).item()
    ([-0.5, 1.5], 1.0)
    """
    return jnp.maximum(x, 0) + bias


def _flexible_fwd(x, bias):
    return flexible_relu(x, bias), pack_bits(~jnp.less_equal(x, 0))


flexible_relu.defvjp(_flexible_fwd, lambda active, g: (*_relu_bwd(active, g), g))


@functools.partial(widened, check=ordered("left", "right"))
def srelu(x: Wide, right: Wide, right_slope: Wide, left: Wide, left_slope: Wide) -> jax.Array:
    r"""S-shaped rectified linear unit: three learnt lines.

    .. math:: f(x) = t_r + a_r (x - t_r) \text{ if } x \ge t_r, \quad t_l + a_l (x - t_l) \text{ if } x \le t_l,
        \quad x \text{ between}

    Args:
        x: array of any shape; integers become floats.
        right: :math:`t_r`, above ``left``; like every further argument a scalar or an array that broadcasts against the
            trailing axes of ``x``.
        right_slope: :math:`a_r`.
        left: :math:`t_l`.
        left_slope: :math:`a_l`.

    Returns:
        Array of the shape of ``x``. At the kinks the slope is that of the outer line.

    Raises:
        ValueError: for numbers ``left`` above ``right``.

    Cost: keeps its input.

    Reference: Jin et al., `2016 <https://arxiv.org/abs/1512.07030>`_.

    >>> srelu(jnp.array([-3.0, 0.5, 3.0]), 1.0, 0.5, -1.0, 0.25).tolist()
    [-1.5, 0.5, 2.0]
    """
    above = right + right_slope * (x - right)
    below = left + left_slope * (x - left)
    return jnp.where(x >= right, above, jnp.where(x <= left, below, x))


keep_input(
    srelu,
    slope=lambda x, right, right_slope, left, left_slope: jnp.where(
        x >= right, right_slope, jnp.where(x <= left, left_slope, 1 + 0 * x)
    ),
)
