"""All singular values, from the whole Jacobian of one example; vmap them over examples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import DTypeLike

from .._precision import widen
from ..probes import capture


def spectrum(fun: Callable) -> Callable:
    r"""All singular values of the Jacobian of ``fun`` at a point.

    .. math:: J_{ij} = \partial f_i / \partial x_j, \qquad J = U \operatorname{diag}(\sigma) V^\top

    Args:
        fun: a function of one pytree of floating arrays, returning another.

    Returns:
        ``singular_values(x)``: the :math:`\min(m, n)` values in descending order, for ``n`` inputs and ``m`` outputs.
        ``jax.vmap`` it over examples.

    Cost: ``min(m, n)`` passes (forward mode where the inputs are fewer, reverse mode where the outputs are), ``m n``
    numbers, and one SVD. Values below ``max(m, n) eps`` of the largest are lost in rounding.

    >>> spectrum(lambda x: jnp.array([3.0, 0.0, 4.0]) * x)(jnp.ones(3)).tolist()
    [4.0, 3.0, 0.0]
    """

    def singular_values(x: Any) -> jax.Array:
        flat, unravel = ravel_pytree(x)

        def raveled(flat: jax.Array) -> jax.Array:
            return ravel_pytree(fun(unravel(flat)))[0]

        outputs = jax.eval_shape(raveled, flat).size
        jacobian = jax.jacfwd if flat.size <= outputs else jax.jacrev
        return _singular_values(jacobian(raveled)(flat))

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
