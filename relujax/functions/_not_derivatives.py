"""Rectifiers whose gradient is on purpose not their derivative: reverse mode only."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._precision import align, narrow, widen
from ..gradients import pack_bits, unpack_bits
from ._checks import above
from ._rules import Wide, keep_input, member, step, widened
from ._self_gated import _gated_slope, _within

__all__ = ["guided_relu", "jump_relu", "leaky_backward_relu", "straight_through", "sugar"]

_not_the_derivative = functools.partial(member, derivative=False)


@_not_the_derivative
def guided_relu(x: ArrayLike) -> jax.Array:
    r"""ReLU that also rectifies the gradient flowing back through it.

    .. math:: f(x) = \max(0, x), \qquad \text{backward } 1[x > 0] \max(g, 0)

    Args:
        x: array of any shape; integers stay integers.

    Returns:
        Array of the same shape and dtype.

    Cost: keeps 1 bit per element for the backward pass. Not linear in :math:`g`: reverse mode only.

    Reference: Springenberg et al., `2015 <https://arxiv.org/abs/1412.6806>`_.

    >>> jax.grad(lambda x: guided_relu(x) - 3 * guided_relu(x))(2.0).item()
    1.0
    """
    return jnp.maximum(x, 0)


guided_relu.defvjp(
    lambda x: (guided_relu(x), pack_bits(~jnp.less_equal(x, 0))),
    lambda active, g: (jnp.where(unpack_bits(active, g.shape), jnp.maximum(g, 0), 0),),
)


@_not_the_derivative
def leaky_backward_relu(x: ArrayLike, negative_slope: ArrayLike = 0.01) -> jax.Array:
    r"""ReLU that lets some gradient back through where it is off, so that no unit stays dead.

    .. math:: f(x) = \max(0, x), \qquad \text{backward } g \text{ if } x > 0 \text{ else } a g

    Args:
        x: array of any shape; integers stay integers.
        negative_slope: :math:`a`, a scalar or an array that broadcasts against the trailing axes of ``x``. It has no
            gradient.

    Returns:
        Array of the same shape and dtype, that of :func:`relu`.

    Cost: keeps 1 bit per element for the backward pass. Not the derivative: reverse mode only.

    Reference: Linse et al., `2024 <https://arxiv.org/abs/2410.16958>`_.

    >>> x = jnp.array([-1.0, 2.0])
    >>> leaky_backward_relu(x).tolist(), jax.vmap(jax.grad(leaky_backward_relu))(x).tolist()
    ([0.0, 2.0], [0.01, 1.0])
    """
    return jnp.maximum(x, 0)


def _leaky_backward_fwd(x, negative_slope):
    y = leaky_backward_relu(x, negative_slope)
    return y, (pack_bits(~jnp.less_equal(x, 0)), align(negative_slope, widen(x)))


leaky_backward_relu.defvjp(
    _leaky_backward_fwd,
    lambda kept, g: (jnp.where(unpack_bits(kept[0], g.shape), g, kept[1] * g), None),
)


@_not_the_derivative
def straight_through(x: ArrayLike) -> jax.Array:
    r"""Unit step whose gradient passes straight through, as if it were the identity.

    .. math:: f(x) = 1[x > 0], \qquad \text{backward } g

    Args:
        x: array of any shape; integers become floats.

    Returns:
        Array of the shape of ``x``, of zeros and ones; NaN stays NaN.

    Cost: keeps nothing for the backward pass. Not the derivative: reverse mode only.

    Reference: Bengio et al., `2013 <https://arxiv.org/abs/1308.3432>`_.

    >>> straight_through(jnp.array([-1.0, 2.0])).tolist(), jax.grad(straight_through)(-1.0).item()
    ([0.0, 1.0], 1.0)
    """
    wide = widen(x)
    return narrow(step(wide), like=x)


straight_through.defvjp(lambda x: (straight_through(x), None), lambda _, g: (g,))


@functools.partial(widened, derivative=False)
def sugar(x: Wide, surrogate: str = "b_silu", alpha: Wide = None) -> jax.Array:
    r"""ReLU with the slope of a smooth function in the backward pass.

    .. math:: f(x) = \max(0, x), \qquad \text{backward } g \, s'(x)

    with, for ``"b_silu"``, :math:`s(x) = (x + \alpha) \sigma(x) - \alpha / 2`, and for ``"nelu"``,
    :math:`s(x) = x \text{ if } x > 0 \text{ else } -\alpha / (1 + x^2)`.

    Args:
        x: array of any shape; integers become floats.
        surrogate: ``"b_silu"`` or ``"nelu"``.
        alpha: :math:`\alpha`; by default 1.67 and 0.05. It has no gradient.

    Returns:
        Array of the shape of ``x``, that of :func:`relu`.

    Raises:
        ValueError: for another surrogate; :func:`relujax.surrogate` takes any slope.

    Cost: keeps its input. Not the derivative: reverse mode only.

    Reference: Horuz et al., `2025 <https://arxiv.org/abs/2505.22074>`_.

    >>> sugar(-1.0).item(), jax.grad(sugar)(-1.0).item(), jax.grad(sugar)(-1.0, "nelu").item()
    (0.0, 0.4006, -0.025)
    """
    if surrogate not in _DEFAULT_ALPHA:
        raise ValueError(f"sugar got surrogate={surrogate!r}: expected {' or '.join(map(repr, _DEFAULT_ALPHA))}")
    return jnp.maximum(x, 0)


_DEFAULT_ALPHA = {"b_silu": 1.67, "nelu": 0.05}


def _sugar_slope(x, surrogate, alpha):
    alpha = _DEFAULT_ALPHA[surrogate] if alpha is None else alpha
    if surrogate == "b_silu":
        near = _within(x)
        return _gated_slope(near + alpha, near)
    low = jnp.clip(x, -1e18, 0)
    inverse = 1 / (1 + low * low)
    return jnp.where(x > 0, 1, 2 * alpha * (low * inverse) * inverse)


keep_input(sugar, slope=_sugar_slope)


@functools.partial(_not_the_derivative, check=above(0, "bandwidth"))
def jump_relu(x: ArrayLike, threshold: ArrayLike, bandwidth: ArrayLike = 0.001) -> jax.Array:
    r"""Rectified linear unit that jumps at a threshold, which is learnt by a pseudo-derivative.

    .. math:: f(x) = x \, 1[x > \theta], \qquad \text{backward } g \, 1[x > \theta] \text{ for } x, \quad
        -\frac{\theta}{\epsilon} \, 1\!\left[|x - \theta| < \tfrac{\epsilon}{2}\right] g \text{ for } \theta

    Args:
        x: array of any shape; integers become floats.
        threshold: :math:`\theta`, positive: a scalar or an array that broadcasts against the trailing axes of ``x``.
        bandwidth: :math:`\epsilon`, the width of the kernel that estimates how many entries a moving threshold would
            switch, likewise. It has no gradient.

    Returns:
        Array of the shape of ``x``. NaN stays NaN, with slope 1; the slope at the threshold is 0.

    Raises:
        ValueError: for a number ``bandwidth`` that is not positive.

    Cost: keeps 1 bit per element, 2 where ``threshold`` is differentiated too. Not the derivative: reverse mode only.

    Reference: Rajamanoharan et al., `2024 <https://arxiv.org/abs/2407.14435>`_.

    >>> jump_relu(jnp.array([-1.0, 0.25, 2.0]), 0.5).tolist()
    [0.0, 0.0, 2.0]
    >>> jax.grad(jump_relu, argnums=1)(0.5001, 0.5).item()
    -500.0
    """
    wide = widen(x)
    return narrow(jnp.where(wide <= align(threshold, wide), 0, wide), like=x)


def _jump_fwd(x, threshold, bandwidth):
    wide = widen(x.value)
    theta, epsilon = align(threshold.value, wide), align(bandwidth.value, wide)
    near = pack_bits(jnp.abs(wide - theta) < epsilon / 2) if threshold.perturbed else None
    bits = pack_bits(~(wide <= theta)), near
    return jump_relu(x.value, threshold.value, bandwidth.value), (*bits, theta / epsilon)


def _jump_bwd(residual, g):
    active, near, height = residual
    of_threshold = None if near is None else jnp.where(unpack_bits(near, g.shape), -height * g, 0)
    return jnp.where(unpack_bits(active, g.shape), g, 0), of_threshold, None


jump_relu.defvjp(_jump_fwd, _jump_bwd, symbolic_zeros=True)
