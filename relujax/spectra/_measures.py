"""One number from many singular values: how many directions pass, how unequally, and what volume is left."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from .._precision import widen


def effective_rank(singular_values: ArrayLike) -> jax.Array:
    r"""How many directions carry the squared size: the participation ratio.

    .. math:: \frac{(\sum_i \sigma_i^2)^2}{\sum_i \sigma_i^4}

    Args:
        singular_values: ``(..., k)``, descending.

    Returns:
        From 1 to ``k``; 0 for zeros. Of a wide Gaussian ReLU stack it is ``width / (1 + 2 depth)``.

    Reference: Pennington et al., `2018 <https://arxiv.org/abs/1802.09979>`_.

    >>> effective_rank(jnp.array([3.0, 3.0, 0.0])).item()
    2.0
    """
    squares = _relative(singular_values) ** 2
    return _ratio(jnp.sum(squares, axis=-1) ** 2, jnp.sum(squares**2, axis=-1))


def stable_rank(singular_values: ArrayLike) -> jax.Array:
    r"""The squared Frobenius norm over the squared spectral norm, :math:`\sum_i \sigma_i^2 / \sigma_1^2`.

    Args:
        singular_values: ``(..., k)``, descending.

    Returns:
        From 1 to ``k``; 0 for zeros.

    Reference: Rudelson and Vershynin, `2007 <https://arxiv.org/abs/math/0503442>`_.

    >>> stable_rank(jnp.array([2.0, 1.0, 1.0])).item()
    1.5
    """
    return jnp.sum(_relative(singular_values) ** 2, axis=-1)


def condition_number(singular_values: ArrayLike) -> jax.Array:
    r"""How unequally directions pass: :math:`\sigma_1 / \sigma_k`.

    Args:
        singular_values: ``(..., k)``, descending.

    Returns:
        At least 1; infinity for a singular matrix, NaN for zeros.

    >>> condition_number(jnp.array([4.0, 2.0, 0.5])).item()
    8.0
    """
    values = widen(singular_values)
    return values[..., 0] / values[..., -1]


def log_volume(singular_values: ArrayLike) -> jax.Array:
    r"""What becomes of the volume, in nats: :math:`\sum_i \log \sigma_i`, the log determinant of a square matrix.

    Args:
        singular_values: ``(..., k)``.

    Returns:
        ``-inf`` for a singular matrix.

    >>> log_volume(jnp.array([2.0, 0.5])).item()
    0.0
    """
    return jnp.sum(jnp.log(widen(singular_values)), axis=-1)


def numerical_rank(singular_values: ArrayLike, size: int, dtype: DTypeLike | None = None) -> jax.Array:
    """How many singular values stand above rounding: above ``size * eps`` of the largest.

    Args:
        singular_values: ``(..., k)``, descending.
        size: the longer side of the matrix they come from.
        dtype: what that matrix was computed in, whose ``eps`` it is; that of ``singular_values`` by default, which
            are float32 for a half-precision matrix.

    >>> numerical_rank(jnp.array([1.0, 1e-3, 1e-9], "float32"), 3).item()
    2
    """
    values = widen(singular_values)
    given = getattr(singular_values, "dtype", values.dtype) if dtype is None else dtype
    eps = float(jnp.finfo(given if jnp.issubdtype(given, jnp.inexact) else values.dtype).eps)
    floor = size * eps * values[..., :1]
    return jnp.sum((values > floor) & (values > 0), axis=-1)


def _relative(singular_values: ArrayLike) -> jax.Array:
    """To the largest, so that their fourth powers neither overflow nor vanish."""
    values = widen(singular_values)
    largest = jnp.max(values, axis=-1, keepdims=True, initial=0)
    # First by a power of two: one over the largest may be no normal number.
    exponent = -jnp.frexp(jnp.where(jnp.isfinite(largest), largest, 1))[1]
    return _ratio(jnp.ldexp(values, exponent), jnp.ldexp(largest, exponent))


def _ratio(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))
