"""Kinks of a function that nobody stated."""

from collections.abc import Callable

from ._elementwise import elementwise
from ._moments import positive
from ._quadrature import REACH


def find_kinks(f: str | Callable, reach: float = REACH) -> tuple[float, ...]:
    r"""Points where an elementwise function is not smooth: jumps, kinks, and jumps of its curvature.

    Panels on which 20 nodes do not resolve the value and the slope are halved until they are as narrow as rounding
    lets them be. Every function of this package does so by itself.

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        reach: how far from 0 to look, at least.

    Returns:
        The points, in ascending order; jumps and kinks to about 1e-15, jumps of the curvature to 1e-10, those of the
        third derivative to 1e-5. Two within 1e-5 of each other count as one.

    Raises:
        ValueError: for an unknown name, a function that is not elementwise, or a ``reach`` that is not positive.

    Cost: some 100 evaluations of 1,000 points.

    Reference: Pachón, Platte and Trefethen, `2010 <https://doi.org/10.1093/imanum/drp008>`_, of the same idea.

    >>> import jax.numpy as jnp
    >>> find_kinks(lambda x: jnp.abs(x - 0.25) + jnp.maximum(x, -1.5))
    (-1.5, 0.25)
    """
    positive(reach, "reach")
    return elementwise(f).kinks(reach / REACH)
