"""Initialisers: how large weights must be for a signal to survive a given activation."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jax.nn.initializers import Initializer

from .theory import moments


def gain_normal(f: str | Callable) -> Initializer:
    r"""Gaussian weights that hold the signal through any activation: He's rule, for every ``f``.

    .. math:: W_{ij} \sim N\!\left(0, \frac{1}{\text{fan in}\; E f(z)^2}\right), \qquad z \sim N(0, 1)

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.

    Returns:
        An initialiser ``init(key, shape, dtype)``, for ``nnx.Linear(..., kernel_init=...)`` and the like.

    It holds the *signal*; the squared gradient still changes by ``rx.theory.moments(f).chi1`` per layer, which is 1 for
    ReLU and 0.15 for the sigmoid.

    Reference: He et al., `2015 <https://arxiv.org/abs/1502.01852>`_, generalised.

    >>> import jax
    >>> weights = gain_normal("relu")(jax.random.key(0), (512, 512))  # variance 2 / 512
    >>> round(float(weights.var() * 512), 1)
    2.0
    """
    return initializers.variance_scaling(moments(f).gain ** 2, "fan_in", "normal")


def critical(
    f: str | Callable, *, distribution: str = "normal", weight_variance: float | None = None, q: float = 1.0
) -> Initializer:
    r"""Weights under which a signal of variance ``q`` comes out of every layer with variance ``q``.

    .. math:: \operatorname{Var} W = \sigma_w^2 / \text{fan in}, \quad \sigma_w^2 = q / E f(u)^2, \quad u \sim N(0, q)

    Biases are zero. For ReLU, leaky ReLU and other positively homogeneous functions that holds every length, and the
    gradient too. Otherwise ``q`` is a fixed point: a stable one where the length map is less steep than 1 there (tanh,
    ELU, SELU, softplus), but not where it is steeper (GELU, SiLU, Mish), whose lengths drift off over tens of layers.
    Those take a bias, of a variance that belongs together with the ``weight_variance`` to give here.

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        distribution: ``"normal"``, or ``"orthogonal"``: a random rotation, scaled; where it is not square, an isometry
            of the smaller side, with the variance above.
        weight_variance: :math:`\sigma_w^2`, in place of the formula.
        q: variance of the pre-activations.

    Returns:
        An initialiser ``init(key, shape, dtype)``, for ``nnx.Linear(..., kernel_init=...)`` and the like.

    Raises:
        ValueError: for another distribution, a ``weight_variance`` that is not positive, and as
            :func:`relujax.theory.moments` does.

    How far lengths stray at finite width says :func:`relujax.theory.log_norm_law`.

    Reference: Schoenholz et al., `2017 <https://arxiv.org/abs/1611.01232>`_; Saxe et al.,
    `2014 <https://arxiv.org/abs/1312.6120>`_ for orthogonal weights.

    >>> import jax
    >>> weights = critical("relu", distribution="orthogonal")(jax.random.key(0), (64, 64), "float32")
    >>> (weights[0] @ weights[0]).item()
    2.0
    """
    if weight_variance is None:
        weight_variance = q / moments(f, q).second
    if not weight_variance > 0:
        raise ValueError(f"got weight_variance={weight_variance}: expected a positive number, or None")
    if distribution == "normal":
        return initializers.variance_scaling(weight_variance, "fan_in", "normal")
    if distribution == "orthogonal":
        return _orthogonal(weight_variance)
    raise ValueError(f'got distribution={distribution!r}: expected "normal" or "orthogonal"')


def _orthogonal(variance: float) -> Initializer:
    def init(key: jax.Array, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        dtype = jnp.result_type(float if dtype is None else dtype)
        # Entries of an isometry have variance one over the larger side.
        scale = math.sqrt(variance * max(1, shape[-1] / max(1, math.prod(shape[:-1]))))
        # There is no QR in half precision.
        wide = jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype
        weights = initializers.orthogonal(scale)(key, shape, wide, out_sharding)
        return weights.astype(dtype)

    return init
