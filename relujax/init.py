"""Initialisers: how large weights must be for a signal to survive a given activation."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jax.nn.initializers import Initializer

from . import theory
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
    f: str | Callable, *, bias_variance: float = 0.0, distribution: str = "normal", q: float = 1.0
) -> Initializer:
    r"""Weights under which a signal comes out of every layer as long as it came in.

    .. math:: \operatorname{Var} W = \sigma_w^2 / \text{fan in}, \quad \sigma_w^2 = q / E f(u)^2, \quad u \sim N(0, q)

    That is without biases. For ReLU, leaky ReLU and other positively homogeneous functions it holds every length, and
    the gradient too. Otherwise ``q`` is a fixed point: a stable one where the length map is less steep than 1 there
    (tanh, ELU, SELU, softplus), but not where it is steeper (GELU, SiLU, Mish), whose lengths drift off over tens of
    layers. Those need biases: with ``bias_variance`` the weights are those of
    :func:`relujax.theory.critical`, under which the signal settles and the gradient is held. Of the bias variances at
    which it does, :func:`relujax.theory.half_stable` tells the infimum.

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        bias_variance: variance of the biases, to be drawn by ``jax.nn.initializers.normal(bias_variance**0.5)``.
        distribution: ``"normal"``, or ``"orthogonal"``: a random rotation, scaled; where it is not square, an isometry
            of the smaller side, with the variance above.
        q: variance of the pre-activations, without biases; with them it follows.

    Returns:
        An initialiser ``init(key, shape, dtype)``, for ``nnx.Linear(..., kernel_init=...)`` and the like.

    Raises:
        ValueError: for another distribution, a bias variance at which there is no stable critical point, and as
            :func:`relujax.theory.moments` does.

    How far lengths stray at finite width says :func:`relujax.theory.log_norm_law`.

    Reference: Schoenholz et al., `2017 <https://arxiv.org/abs/1611.01232>`_; Saxe et al.,
    `2014 <https://arxiv.org/abs/1312.6120>`_ for orthogonal weights.

    >>> import jax
    >>> weights = critical("relu", distribution="orthogonal")(jax.random.key(0), (64, 64), "float32")
    >>> (weights[0] @ weights[0]).item()
    2.0
    """
    weight_variance = _weight_variance(f, bias_variance, q)
    if distribution == "normal":
        return initializers.variance_scaling(weight_variance, "fan_in", "normal")
    if distribution == "orthogonal":
        return _orthogonal(weight_variance)
    raise ValueError(f'got distribution={distribution!r}: expected "normal" or "orthogonal"')


def _weight_variance(f: str | Callable, bias_variance: float, q: float) -> float:
    if bias_variance == 0:
        return q / moments(f, q).second
    point = theory.critical(f, bias_variance)
    if not point.stable:
        raise ValueError(
            f"got bias_variance={bias_variance} for {f!r}, at which the critical length {point.q:.3g} is not stable: "
            "expected a larger one, above rx.theory.half_stable(f).bias_variance where there is such a point"
        )
    return point.weight_variance


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
