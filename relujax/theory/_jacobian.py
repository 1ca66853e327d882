"""How the squared singular values of a deep network's Jacobian are spread, at infinite and at finite width."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._checks import whole
from ._finite_width import mean_nullity, trace_moments
from ._slopes import SlopeLaw, no_slope, required_sides, slope_law


@dataclass(frozen=True)
class JacobianMoments:
    r"""Moments :math:`m_k = E \operatorname{tr}(J J^\top)^k / N` of the squared singular values of a Jacobian.

    Attributes:
        mean: :math:`m_1`; 1 where the squared gradient is held.
        second: :math:`m_2`.
        third: :math:`m_3`.
        largest: the upper edge of their spectrum at infinite width, ``inf`` where slopes have no bound; None at finite
            width, where it is random.
        zero_mass: the part of them that is exactly 0; at finite width its mean.
        effective_rank: :math:`m_1^2 / m_2`, the part of the directions that carries the gradient.
    """

    mean: float
    second: float
    third: float
    largest: float | None
    zero_mass: float
    effective_rank: float


def jacobian_moments(
    f: str | Callable,
    depth: int,
    width: int | None = None,
    weights: str = "gaussian",
    *,
    q: float = 1.0,
    kinks: tuple[float, ...] | None = None,
) -> JacobianMoments:
    r"""Moments and upper edge of the squared singular values of the Jacobian of a deep network.

    For :math:`J = \prod_{l \le L} D_l W_l`, with slopes on the diagonal of ``D``, weights that hold the signal,
    :math:`\sigma_w^2 = q / E f^2`, and no biases. At infinite width, by free probability (S-transform), with
    :math:`\mu_k = E f'^{2k}` and :math:`s_1 = -1` for Gaussian, 0 for orthogonal weights:

    .. math:: m_1 = (\sigma_w^2 \mu_1)^L, \qquad m_2 = m_1^2 \left(1 + L (\mu_2 / \mu_1^2 - 1 - s_1)\right)

    At finite width :math:`N`, exactly, for positively homogeneous ``f``. For ReLU with Gaussian weights that is
    :math:`m_2 = \frac{N+2}{3} (1 + \frac{5}{N})^L - \frac{N-1}{3} (1 - \frac{1}{N})^L`.

    Args:
        f: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        depth: number of layers.
        width: units per layer, the same in every layer and in the input; None for infinitely many.
        weights: ``"gaussian"`` or ``"orthogonal"``.
        q: variance of the pre-activations.
        kinks: as for :func:`moments`.

    Returns:
        :class:`JacobianMoments`.

    Raises:
        ValueError: for a depth or width below 1, other weights, moments that are not finite, or a finite width with a
            function that is not positively homogeneous.

    Cost: one quadrature of some 1,500 nodes, and for the edge some 50 sums over them: milliseconds.

    Reference: Pennington, Schoenholz, Ganguli, `2018 <https://arxiv.org/abs/1802.09979>`_.

    >>> law = jacobian_moments("relu", 10)
    >>> law.second, law.largest
    (21.0, 54.4109)
    """
    depth = whole("depth", depth)
    if weights not in ("gaussian", "orthogonal"):
        raise ValueError(f'got weights={weights!r}: expected "gaussian" or "orthogonal"')
    gaussian = weights == "gaussian"
    with np.errstate(over="ignore", invalid="ignore"):  # of very deep networks they are infinite
        if width is not None:
            slopes = required_sides(f, "the law at finite width")
            return _finite(slopes, depth, whole("width", width), gaussian)
        return _infinite(_checked(slope_law(f, q, kinks=kinks), f), depth, gaussian)


def _checked(law: SlopeLaw, f: str | Callable) -> SlopeLaw:
    if not law.steepest:
        raise no_slope(repr(f))
    sixth = law.weights * law.squared**3
    if not law.resolved or not np.sum(sixth[law.weights < 1e-37]) <= 1e-9 * np.sum(sixth):
        raise ValueError(f"got E f'^6 that is not finite for {f!r}: expected slopes of finite sixth moment")
    return law


def _finite(slopes: tuple[float, float], depth: int, width: int, gaussian: bool) -> JacobianMoments:
    squared = np.square(slopes) / np.mean(np.square(slopes))
    second, third = trace_moments(squared, depth, width, gaussian)
    zero_mass = mean_nullity(depth, width) if 0 in slopes else 0.0
    return JacobianMoments(1.0, second, third, None, zero_mass, 1 / second)


def _infinite(law: SlopeLaw, depth: int, gaussian: bool) -> JacobianMoments:
    one, two, three = (law.slope_moment(k) for k in (1, 2, 3))
    mean = np.float64(law.weight_variance * one) ** depth
    # Logarithms of S-transforms add up: log S = -log m1 + a z + b z^2 + ..., per layer that of D^2 and that of W W'.
    ratio2, ratio3 = two / one**2, three / one**3
    slope = 1 - ratio2
    curve = 2 * ratio2**2 - ratio3 - ratio2
    a = depth * (slope - gaussian)
    b = depth * (curve - slope**2 / 2 + gaussian / 2)
    second = 1 - a
    third = 2 * second**2 - second - (b + a**2 / 2)
    return JacobianMoments(
        mean=float(mean),
        second=float(mean**2 * second),
        third=float(mean**3 * third),
        largest=_edge(law, depth, gaussian) if np.isfinite(law.steepest) else np.inf,
        zero_mass=float(law.weights @ (law.squared == 0)),
        effective_rank=1 / second,
    )


def _edge(law: SlopeLaw, depth: int, gaussian: bool) -> float:
    r"""Where the moment generating function :math:`\psi(x) = \sum m_k x^k` of the product stops being invertible.

    With :math:`z = \psi_D(x)` as the parameter, :math:`\chi(z) = \psi^{-1}(z)` of the product is
    :math:`\frac{z}{1 + z} S(z)^L`; its first maximum over ``z > 0``, or its value at the end of the range, is one over
    the edge.
    """
    from scipy.optimize import root_scalar

    top = law.steepest
    relative = law.squared / top

    def psi(t: float) -> tuple[float, float]:
        pull = t * relative / (1 - t * relative)
        return float(law.weights @ pull), float(law.weights @ (pull / (1 - t * relative)))

    def rising(t: float) -> float:
        z, slope = psi(t)
        return 1 - depth + depth * z * (1 + z) / slope - gaussian * depth * z

    def log_chi(t: float) -> float:
        z = psi(t)[0]
        layer = np.log(t / (top * law.weight_variance)) - gaussian * np.log1p(z)
        return depth * layer + (1 - depth) * (np.log(z) - np.log1p(z))

    last = 1 - 1e-12
    at = last if rising(last) >= 0 else root_scalar(rising, bracket=(1e-12, last), xtol=1e-15).root
    return float(np.exp(-log_chi(at)))
