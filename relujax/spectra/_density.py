"""How the squared singular values of a large Jacobian are distributed, by stochastic Lanczos quadrature."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._checks import whole
from .._meshes import varying_as
from .._precision import in_full_precision, widen
from ._checks import check_key, check_point
from ._jacobian import magnitude, raveled


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SpectralDensity:
    r"""An estimate of the distribution of the eigenvalues of :math:`J J^\top` per random probe.

    Attributes:
        nodes: eigenvalues ``(probes, steps)``, ascending; what counts as zero is 0.
        weights: the share of all eigenvalues that each stands for, ``(probes, steps)``; sums to 1 per probe.
    """

    nodes: jax.Array
    weights: jax.Array

    @property
    def zero(self) -> tuple[jax.Array, jax.Array]:
        """The share of eigenvalues that are 0, and its standard error over probes."""
        return _mean_and_error(jnp.sum(jnp.where(self.nodes == 0, self.weights, 0), axis=-1), axis=-1)

    def moment(self, order: int) -> tuple[jax.Array, jax.Array]:
        r"""The mean of :math:`\lambda^k`, the atom at zero included, and its standard error over probes."""
        return _mean_and_error(jnp.sum(self.weights * self.nodes**order, axis=-1), axis=-1)

    def histogram(self, edges: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """The share of eigenvalues in each bin, the atom at zero left out, and standard errors over probes.

        Args:
            edges: ascending, ``(bins + 1,)``; a bin holds its upper edge.
        """
        edges = jnp.asarray(edges, self.nodes.dtype).reshape((1,) * self.nodes.ndim + (-1,))
        nodes = self.nodes[..., None]
        inside = (nodes > edges[..., :-1]) & (nodes <= edges[..., 1:]) & (nodes != 0)
        return _mean_and_error(jnp.sum(jnp.where(inside, self.weights[..., None], 0), axis=-2), axis=-2)


def spectral_density(fun: Callable, *, steps: int = 64, probes: int = 8) -> Callable:
    r"""The distribution of squared singular values of the Jacobian of ``fun``, matrix-free.

    .. math:: \frac{1}{m} \sum_i \delta(\lambda - \sigma_i^2) \approx
        \sum_j \omega_j\, \delta(\lambda - \theta_j), \qquad \sigma_i^2 \text{ the eigenvalues of } J J^\top

    Lanczos from each random probe, every vector orthogonalised against all before it, twice. Where the Krylov space
    ends (breakdown: few distinct singular values), the remaining steps get no weight. Eigenvalues below outputs times
    ``eps`` of the largest count as zero. All is NaN where they are beyond the range of floats, as squares of singular
    values below 1e-19 or above 1e19 are in float32.

    Args:
        fun: a function of one pytree of floating arrays, returning another.
        steps: of Lanczos; at most as many as there are outputs are taken.
        probes: random directions, over which the standard errors are.

    Returns:
        ``density(x, key) -> SpectralDensity``. ``jax.vmap`` it over examples; where explicit axes of a mesh divide
        them, that in ``jax.sharding.auto_axes``, as in :func:`relujax.stack_spectrum`.

    Raises:
        ValueError: for ``steps`` or ``probes`` below 1, or no outputs.
        TypeError: for a point or outputs that are not floating, or no key.

    Cost: ``steps * probes`` passes of both modes, ``steps * probes * outputs`` numbers.

    Reference: Ubaru, Chen and Saad, `2017 <https://doi.org/10.1137/16M1104974>`_.

    >>> halved = spectral_density(lambda x: jnp.repeat(jnp.array([0.0, 3.0]), 50) * x)(jnp.ones(100), jax.random.key(0))
    >>> bool(abs(halved.zero[0] - 0.5) < 3 * halved.zero[1]), halved.nodes.max().item()
    (True, 9.0)
    """
    whole("steps", steps)
    whole("probes", probes)

    @in_full_precision
    def density(x: Any, key: Any = None) -> SpectralDensity:
        check_point(x)
        check_key(key)
        flat_fun, flat = raveled(fun, x)
        out, pull = jax.vjp(flat_fun, flat)
        if not out.size:
            raise ValueError("got a function without outputs: expected at least one number; return what it computes")
        _, push = jax.linearize(flat_fun, flat)

        starts = varying_as(jax.random.normal(key, (probes, out.size), widen(out).dtype), jax.typeof(out))
        size = magnitude(widen(pull(starts[0].astype(out.dtype))[0]))  # eigenvalues are squared

        def gram(u: jax.Array) -> jax.Array:
            half = widen(pull(u.astype(out.dtype))[0]) / size
            return widen(push(half.astype(flat.dtype))) / size

        nodes, weights = jax.vmap(lambda u: _quadrature(gram, u, min(steps, out.size)))(starts)
        square = size**2
        whole_range = (square >= jnp.finfo(square.dtype).tiny) & (square < jnp.inf)
        return SpectralDensity(*(jnp.where(whole_range, y, jnp.nan) for y in (nodes * square, weights)))

    return density


def _quadrature(gram: Callable, start: jax.Array, steps: int) -> tuple[jax.Array, jax.Array]:
    """Nodes and weights from the tridiagonal matrix of Lanczos."""
    eps = jnp.finfo(start.dtype).eps
    nothing = jnp.zeros((steps, start.size), start.dtype), jnp.zeros((), start.dtype)
    vectors, scale = varying_as(nothing, jax.typeof(start))

    def step(state: tuple, number: jax.Array) -> tuple:
        vectors, u, scale = state
        vectors = vectors.at[number].set(u)
        image = gram(u)
        diagonal = u @ image
        scale = jnp.maximum(scale, jnp.linalg.norm(image))
        for _ in range(2):
            image = image - vectors.T @ (vectors @ image)
        length = jnp.linalg.norm(image)
        ended = length <= 10 * eps * scale
        following = jnp.where(ended, 0, image / jnp.where(ended, 1, length))
        return (vectors, following, scale), (diagonal, jnp.where(ended, 0, length))

    state = vectors, start / jnp.linalg.norm(start), scale
    _, (diagonal, beside) = jax.lax.scan(step, state, jnp.arange(steps))
    nodes, turn = jnp.linalg.eigh(jnp.diag(diagonal) + jnp.diag(beside[:-1], 1) + jnp.diag(beside[:-1], -1))
    zero = start.size * eps * jnp.max(jnp.abs(nodes))
    return jnp.where(nodes <= zero, 0, nodes), turn[0] ** 2


def _mean_and_error(per_probe: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """Over the probes, which lie along an axis counted from the last; examples may come before."""
    probes, mean = per_probe.shape[axis], jnp.mean(per_probe, axis=axis)
    if probes == 1:
        return mean, jnp.full_like(mean, jnp.nan)
    return mean, jnp.std(per_probe, axis=axis, ddof=1) / probes**0.5
