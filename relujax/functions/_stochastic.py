"""Rectifiers that draw: each takes a ``jax.random`` key, and keeps the key instead of what it drew."""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._precision import align, narrow, widen
from ..gradients import pack_bits, unpack_bits
from ._checks import ordered
from ._rules import member

__all__ = ["noisy_relu", "probact", "rrelu"]


def _uniform(key, like):
    """Without a key the mean, one number: in the body of a scan XLA would keep a whole array of it."""
    return jax.random.uniform(key, like.shape, like.dtype) if key is not None else 0.5


def _normal(key, like):
    return jax.random.normal(key, like.shape, like.dtype) if key is not None else 0.0


@functools.partial(member, check=ordered("lower", "upper"))
def rrelu(x: ArrayLike, key: jax.Array | None, lower: ArrayLike = 1 / 8, upper: ArrayLike = 1 / 3) -> jax.Array:
    r"""Randomized leaky rectified linear unit: a leaky one whose slope is drawn for each element.

    .. math:: f(x) = x \text{ if } x \ge 0 \text{ else } a x, \qquad a \sim U(l, u)

    Args:
        x: array of any shape; integers become floats.
        key: a ``jax.random`` key; None for the mean slope, as for inference.
        lower: :math:`l`, the least slope: a scalar or an array that broadcasts against the trailing axes of ``x``.
        upper: :math:`u`, the greatest slope, likewise.

    Returns:
        Array of the shape of ``x``. The slope at 0 is 1.

    Raises:
        ValueError: for numbers ``lower`` above ``upper``.

    Cost: keeps 1 bit per element and the key; the negative part of ``x`` where a limit is differentiated too.

    Reference: Xu et al., `2015 <https://arxiv.org/abs/1505.00853>`_.

    >>> rrelu(jnp.array([-24.0, 2.0]), None).tolist()
    [-5.5, 2.0]
    >>> -8 <= rrelu(-24.0, jax.random.key(0)).item() <= -3
    True
    """
    wide = widen(x)
    return narrow(jnp.where(wide >= 0, wide, _drawn_slope(key, wide, lower, upper)[0] * wide), like=x)


def _drawn_slope(key, like, lower, upper):
    share = _uniform(key, like)
    lower, upper = align(lower, like), align(upper, like)
    return lower + share * (upper - lower), share


def _rrelu_fwd(x, key, lower, upper):
    wide = widen(x.value)
    learnt = lower.perturbed or upper.perturbed
    kept = narrow(jnp.minimum(wide, 0), like=x.value) if learnt else pack_bits(wide >= 0)
    limits = [align(p.value, wide) for p in (lower, upper)]
    return rrelu(x.value, key.value, *(p.value for p in (lower, upper))), (kept, key.value, limits)


def _rrelu_bwd(residual, g):
    kept, key, limits = residual
    slope, share = _drawn_slope(key, g, *limits)
    if not jnp.issubdtype(kept.dtype, jnp.inexact):
        return jnp.where(unpack_bits(kept, g.shape), g, slope * g), None, None, None
    of_slope = widen(kept) * g
    return jnp.where(jnp.greater_equal(kept, 0), g, slope * g), None, (1 - share) * of_slope, share * of_slope


rrelu.defvjp(_rrelu_fwd, _rrelu_bwd, symbolic_zeros=True)


@member
def noisy_relu(x: ArrayLike, key: jax.Array | None) -> jax.Array:
    r"""Noisy rectified linear unit: what is uncertain is noisy, and what is clearly off stays off.

    .. math:: f(x) = \max\!\left(0, x + \varepsilon \sqrt{\sigma(x)}\right), \quad \varepsilon \sim N(0, 1), \qquad
        f'(x) = 1[f(x) > 0] \left(1 + \tfrac12 \varepsilon \sqrt{\sigma(x)} (1 - \sigma(x))\right)

    Args:
        x: array of any shape; integers become floats.
        key: a ``jax.random`` key; None for no noise, as for inference.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once.

    Cost: keeps its input and the key. The slope is that for the noise that was drawn.

    Reference: Nair and Hinton, `2010 <https://www.cs.toronto.edu/~hinton/absps/reluICML.pdf>`_.

    >>> noisy_relu(jnp.array([-1.0, 2.0]), None).tolist(), noisy_relu(-100.0, jax.random.key(0)).item()
    ([0.0, 2.0], 0.0)
    """
    wide = widen(x)
    return narrow(jnp.maximum(wide + _noise(key, wide), 0), like=x)


def _noise(key, x):
    return _normal(key, x) * jnp.exp(jax.nn.log_sigmoid(x) / 2)  # a root has no slope where its argument underflows


def _noisy_bwd(residual, g):
    x, key = residual
    wide = widen(x)
    noise = _noise(key, wide)
    slope = 1 + noise / 2 * jax.lax.logistic(-wide)
    return jnp.where(wide + noise <= 0, 0, slope * g), None


noisy_relu.defvjp(lambda x, key: (noisy_relu(x, key), (x, key)), _noisy_bwd)


@member
def probact(x: ArrayLike, key: jax.Array | None, sigma: ArrayLike = 0.5) -> jax.Array:
    r"""Probabilistic activation: a rectifier with noise of a fixed or learnt size.

    .. math:: f(x) = \max(0, x) + \sigma \varepsilon, \quad \varepsilon \sim N(0, 1), \qquad
        f'(x) = 1[x > 0], \quad \frac{\partial f}{\partial \sigma} = \varepsilon

    Args:
        x: array of any shape; integers become floats.
        key: a ``jax.random`` key; None for no noise, as for inference.
        sigma: :math:`\sigma`, a scalar or an array that broadcasts against the trailing axes of ``x``.

    Returns:
        Array of the shape of ``x``; half precision is computed in float32 and rounded once. The slope at 0 is 0, at NaN
        1.

    Cost: keeps 1 bit per element and the key, also where ``sigma`` is differentiated.

    Reference: Shridhar et al., `2019 <https://arxiv.org/abs/1905.10761>`_.

    >>> probact(jnp.array([-1.0, 2.0]), None).tolist(), jax.grad(probact)(2.0, jax.random.key(0)).item()
    ([0.0, 2.0], 1.0)
    """
    wide = widen(x)
    return narrow(jnp.maximum(wide, 0) + align(sigma, wide) * _normal(key, wide), like=x)


def _probact_fwd(x, key, sigma):
    return probact(x, key, sigma), (pack_bits(~jnp.less_equal(x, 0)), key)


def _probact_bwd(residual, g):
    active, key = residual
    return jnp.where(unpack_bits(active, g.shape), g, 0), None, _normal(key, g) * g


probact.defvjp(_probact_fwd, _probact_bwd)
