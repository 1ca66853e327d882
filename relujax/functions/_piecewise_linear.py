"""Piecewise linear rectifiers: the slope is one of two numbers, so the backward pass needs one bit."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._precision import align, narrow, widen
from ..gradients import pack_bits, rectifier, unpack_bits


@rectifier
def relu(x: ArrayLike, /) -> jax.Array:
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


@rectifier
def relu6(x: ArrayLike, /) -> jax.Array:
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
    return narrow(jnp.clip(widen(x), 0, 6), like=x)


def _relu6_fwd(x):
    return relu6(x), pack_bits(jnp.greater(x, 0) & jnp.less(x, 6))


relu6.defvjp(_relu6_fwd, _relu_bwd)


def _leaky(x: ArrayLike, slope: ArrayLike) -> jax.Array:
    wide = widen(x)
    return narrow(jnp.where(wide >= 0, wide, align(slope, wide) * wide), like=x)


@rectifier
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


@rectifier
def prelu(x: ArrayLike, slope: ArrayLike) -> jax.Array:
    r"""Parametric rectified linear unit: a leaky one whose negative slope is learnt.

    .. math:: f(x) = x \text{ if } x \ge 0 \text{ else } a x, \qquad
        \frac{\partial f}{\partial x} = 1 \text{ or } a, \quad \frac{\partial f}{\partial a} = \min(x, 0)

    Args:
        x: array of shape ``(..., channels)``; integers become floats.
        slope: :math:`a`, a scalar, or one per channel of shape ``(channels,)``, or anything else that broadcasts
            against the trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``. The slope at 0 is 1.

    Cost: keeps the negative part of ``x`` and ``slope``; 1 bit per element where ``slope`` is not differentiated.

    Reference: He et al., `2015 <https://arxiv.org/abs/1502.01852>`_.

    >>> x = jnp.array([[-1.0, -2.0], [3.0, -4.0]])
    >>> prelu(x, jnp.array([0.5, 0.25])).tolist()
    [[-0.5, -0.5], [3.0, -1.0]]
    >>> jax.grad(lambda a: prelu(x, a).sum())(jnp.array([0.5, 0.25])).tolist()
    [-1.0, -6.0]
    """
    return _leaky(x, slope)


def _leaky_rule(fun):
    """The rule for a slope of 1 or ``a``: the negative part of ``x`` is kept only for the gradient of ``a``."""

    def fwd(x, slope):
        inexact = x.value if jnp.issubdtype(x.value.dtype, jnp.inexact) else widen(x.value)
        kept = jnp.minimum(inexact, 0) if slope.perturbed else pack_bits(inexact >= 0)
        return fun(x.value, slope.value), (kept, align(slope.value, widen(x.value)))

    def bwd(residual, g):
        kept, slope = residual
        if not jnp.issubdtype(kept.dtype, jnp.inexact):
            return jnp.where(unpack_bits(kept, g.shape), g, slope * g), None
        return jnp.where(jnp.less(kept, 0), slope * g, g), widen(kept) * g

    return fwd, bwd


leaky_relu.defvjp(*_leaky_rule(leaky_relu), symbolic_zeros=True)
prelu.defvjp(*_leaky_rule(prelu), symbolic_zeros=True)
