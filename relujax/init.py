"""Initialisers: how large weights must be for a signal to survive a given activation."""

from collections.abc import Callable

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
