"""All singular values, from the whole Jacobian of one example; vmap them over examples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from .._precision import widen
from ..probes import capture
from ._checks import check_count, check_point
from ._jacobian import jacobian, raveled
from ._largest import largest_singular_values


def spectrum(fun: Callable, *, num: int | None = None, chunk: int | None = None) -> Callable:
    r"""Singular values of the Jacobian of ``fun`` at a point: all of them, or the largest ``num`` without the matrix.

    .. math:: J_{ij} = \partial f_i / \partial x_j, \qquad J = U \operatorname{diag}(\sigma) V^\top

    Args:
        fun: a function of one pytree of floating arrays, returning another.
        num: how many, the largest; all by default.
        chunk: how many columns (rows, where outputs are fewer) of the Jacobian are computed at a time; by default all at
            once, which is fastest. Without ``num`` only.

    Returns:
        ``singular_values(x)``: the :math:`\min(m, n)` values in descending order, for ``n`` inputs and ``m`` outputs;
        ``singular_values(x, key)`` with ``num``, which starts from random directions. ``jax.vmap`` it over examples.
        NaN where the Jacobian is not finite.

    Raises:
        ValueError: for ``num`` or ``chunk`` out of range.
        TypeError: for a point that is not floating, or no key.

    Cost: ``min(m, n)`` passes (forward mode where the inputs are fewer, reverse mode where the outputs are), ``m n``
    numbers beside the activations of ``chunk`` passes, and one SVD; values below ``max(m, n) eps`` of the largest are
    lost in rounding. With ``num``: ``4 (num + 4)`` passes of both modes in each of a few rounds, ``3 (num + 4) (m + n)``
    numbers; values below ``eps`` of the largest are lost. Gradients through the values are finite with ``num``, and
    without it unless values coincide at more than first order.

    Reference, for ``num``: Knyazev, `2001 <https://doi.org/10.1137/S1064827500366124>`_.

    >>> spectrum(lambda x: jnp.array([3.0, 0.0, 4.0]) * x)(jnp.ones(3)).tolist()
    [4.0, 3.0, 0.0]
    >>> spectrum(lambda x: jnp.arange(100.0) * x, num=2)(jnp.ones(100), jax.random.key(0)).tolist()
    [99.0, 98.0]
    """
    for name, value in (("num", num), ("chunk", chunk)):
        if value is not None:
            check_count(name, value)
    if num is not None:
        if chunk is not None:
            raise ValueError(f"got chunk={chunk} with num={num}: expected one of them, as num builds no Jacobian")
        return largest_singular_values(fun, num)

    def singular_values(x: Any) -> jax.Array:
        check_point(x)
        return _singular_values(jacobian(*raveled(fun, x), chunk))

    return singular_values


def layer_spectra(fun: Callable, argnum: int = 0, select: Callable | None = None, batch: int | None = None) -> Callable:
    """Per activation site of ``fun``, all singular values of the Jacobian from the input to that site's output.

    Args:
        fun: any JAX function, unmodified.
        argnum: which argument is the input, one floating array. With parameters as the first argument and the input
            as another, sites are named after the parameters.
        select: what of a site's output to differentiate; the whole of it by default.
        batch: as in :func:`relujax.probe`.

    Returns:
        ``spectra(*args) -> {site name: singular values, descending}``. ``jax.vmap`` it over examples.

    Cost: one forward-mode pass per element of the input gives every site's Jacobian at once; one SVD per site.

    >>> import relujax as rx
    >>> layer_spectra(lambda x: rx.relu(jnp.array([3.0, 4.0]) * x))(jnp.array([1.0, -1.0]))["relu"].tolist()
    [3.0, 0.0]
    """

    def spectra(*args: Any) -> dict[str, jax.Array]:
        x = args[argnum]

        def outputs(flat: jax.Array) -> dict[str, jax.Array]:
            captured = capture(fun, batch=batch)(*args[:argnum], flat.reshape(x.shape), *args[argnum + 1 :])
            return {name: (select(y) if select else y).reshape(-1) for name, y in captured.items()}

        return {name: _singular_values(j) for name, j in jax.jacfwd(outputs)(x.reshape(-1)).items()}

    return spectra


def _singular_values(jacobian: jax.Array) -> jax.Array:
    return jnp.linalg.svd(widen(jacobian), compute_uv=False)


def numerical_rank(singular_values: jax.Array, size: int, dtype: DTypeLike | None = None) -> jax.Array:
    """How many singular values stand above rounding: above ``size * eps`` of the largest.

    Args:
        singular_values: ``(..., k)``, descending.
        size: the longer side of the matrix they come from.
        dtype: what that matrix was computed in, whose ``eps`` it is; that of ``singular_values`` by default, which
            are float32 for a half-precision matrix.

    >>> numerical_rank(jnp.array([1.0, 1e-3, 1e-9], "float32"), 3).item()
    2
    """
    eps = float(jnp.finfo(singular_values.dtype if dtype is None else dtype).eps)
    floor = size * eps * singular_values[..., :1]
    return jnp.sum((singular_values > floor) & (singular_values > 0), axis=-1)
