"""Lyapunov exponents: how fast each singular value of a deep Jacobian grows or decays per layer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._checks import whole
from ._log_norm import log_norm_law
from ._slopes import required_sides


@dataclass(frozen=True)
class Lyapunov:
    """Lyapunov exponents in nats per layer.

    Attributes:
        exponents: ``(width,)``, descending.
        standard_error: ``(width,)``, 0 where an exponent is exact, else that of its Monte Carlo estimate.
    """

    exponents: np.ndarray
    standard_error: np.ndarray


def lyapunov(f: str | Callable, width: int, *, samples: int = 1000, seed: int = 0) -> Lyapunov:
    r"""Lyapunov exponents :math:`\lim \log \sigma_i(J) / L` of layers with Gaussian weights that hold the signal.

    Slopes are independent of the size of every volume that a layer maps, so that the first ``k`` exponents add up to
    :math:`\frac{1}{2} E \log \det G^\top D^2 G` for ``k`` Gaussian columns ``G``. For slopes of one size that is

    .. math:: \lambda_i = \frac{1}{2} \left(\log \frac{2 \sigma_w^2}{N} + \psi\left(\frac{N - i + 1}{2}\right)\right)

    exactly, and for ReLU the same with the number of active units, :math:`K \sim \text{Bin}(N, 1/2)`, in place of ``N``
    inside :math:`\psi`, averaged given that :math:`K \ge i`. (A layer with fewer, of chance :math:`P(K < i)`, sets the
    exponent to minus infinity: what one sees beyond :math:`i \approx N/2`.) For slopes of two sizes, as of leaky ReLU,
    the first exponent is exact and the others are drawn.

    Args:
        f: a positively homogeneous function: a key of :data:`relujax.ACTIVATIONS`, or an elementwise JAX function.
        width: units per layer.
        samples: draws of one layer where exponents have no formula.
        seed: of these draws.

    Returns:
        :class:`Lyapunov`.

    Raises:
        ValueError: for a width below 1, fewer than 2 samples, or a function that is not positively homogeneous.

    Cost: nothing where exact (``O(width^2)``); else ``samples`` QR decompositions of ``width`` by ``width``.

    Reference: Newman, `1986 <https://doi.org/10.1007/BF01464284>`_.

    >>> lyapunov("relu", 64).exponents[0].item(), lyapunov(lambda x: x, 4).exponents[-1].item()
    (-0.0200543, -1.3283)
    """
    width, samples = whole("width", width), whole("samples", samples, least=2)
    slopes = np.abs(required_sides(f, "the spectrum of exponents"))
    if 0 in slopes or slopes[0] == slopes[1]:
        return Lyapunov(_exact(width, dead=0 in slopes), np.zeros(width))
    exponents, error = _drawn(slopes / np.sqrt(np.mean(slopes**2)), width, samples, seed)
    exponents[0], error[0] = log_norm_law(f, width).mean / 2, 0
    return Lyapunov(exponents, error)


def _exact(width: int, dead: bool) -> np.ndarray:
    from scipy.special import gammaln, psi

    index, active = np.arange(1, width + 1)[:, None], np.arange(1, width + 1)
    # Of binomial weights given K >= i only the coefficients count.
    chances = -gammaln(active + 1) - gammaln(width - active + 1) if dead else np.where(active == width, 0, -np.inf)
    log_weights = np.where(active >= index, chances, -np.inf)
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    log_chi2 = np.log(2) + psi(np.maximum(active - index + 1, 1) / 2)
    return (np.log((2 if dead else 1) / width) + np.sum(weights * log_chi2, axis=1)) / 2


def _drawn(slopes: np.ndarray, width: int, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard errors over layers: volumes are products of the diagonal of R in the layer's QR."""
    rng = np.random.default_rng(seed)
    logs = np.empty((samples, width))
    for log in logs:
        layer = rng.choice(slopes, (width, 1)) * rng.standard_normal((width, width)) / np.sqrt(width)
        log[:] = np.log(np.abs(np.diag(np.linalg.qr(layer, mode="r"))))
    return logs.mean(axis=0), logs.std(axis=0, ddof=1) / np.sqrt(samples)
