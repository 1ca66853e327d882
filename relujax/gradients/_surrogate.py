"""A gradient of one's own choice."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from .._precision import widen
from ._rectifier import Rectifier, rectifier


@functools.lru_cache(maxsize=128)
def surrogate(fun: Callable[[jax.Array], jax.Array], slope: Callable[[jax.Array], jax.Array]) -> Rectifier:
    r"""One function forward, the slope of another backward.

    .. math:: f(x), \qquad \text{backward } g \, s(x)

    Args:
        fun: an elementwise function of one array.
        slope: :math:`s`, an elementwise function of one array, which it gets in at least float32. For the slope of a
            known function: ``jax.grad`` of it under ``jax.vmap``, or its formula.

    Returns:
        A callable of one array, jitted under the name of ``fun``; the values of ``fun``. Equal arguments give the same
        one, so that it may be asked for inside a model.

    Raises:
        TypeError: when the result is differentiated in forward mode, for it has no derivative.

    Cost: keeps its input.

    Reference: Neftci et al., `2019 <https://arxiv.org/abs/1901.09948>`_.

    >>> import jax.numpy as jnp
    >>> spike = surrogate(lambda x: jnp.where(x > 0, 1.0, 0.0), lambda x: 1 / (1 + jnp.abs(x)) ** 2)
    >>> spike(-1.0).item(), jax.grad(spike)(-1.0).item()
    (0.0, 0.25)
    """

    def forward(x: Any) -> jax.Array:
        return fun(x)

    forward.__name__ = forward.__qualname__ = getattr(fun, "__name__", type(fun).__name__)
    with_rule = rectifier(forward, derivative=False)
    with_rule.defvjp(lambda x: (with_rule(x), x), lambda x, g: (slope(widen(x)) * g,))
    return with_rule
