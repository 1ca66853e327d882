"""Lyapunov exponents: how fast each singular value of a deep Jacobian grows or decays per layer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._checks import whole
from ._log_norm import log_norm_law
from ._slopes import required_slopes


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
    r"""Exponents :math:`\lambda_i = \lim \frac{1}{L} \log \sigma_i(J)` of layers with Gaussian weights that hold the signal.

    The slopes are independent of the size of all volumes that a layer maps, so that the sum of the first ``k`` exponents
    is :math:`\frac{1}{2} E \log \det G_k^\top D^2 G_k` for ``k`` Gaussian columns :math:`G_k`. Exactly:

    .. math:: \lambda_i = \frac{1}{2} \left( \log \frac{2 \sigma_w^2}{N} + \psi\!\left(\frac{N - i + 1}{2}\right) \right)

    for the identity and for slopes of one size; for ReLU the same with the number of active units :math:`K` in place of
    the second ``N``, averaged over :math:`K \sim \text{Bin}(N, 1/2)` given :math:`K \ge i`. (A layer with fewer, of chance
    :math:`P(K < i)`, sets the exponent to minus infinity, which beyond :math:`i \approx N/2` is what one will see.)
    Slopes of two sizes, as of leaky ReLU: the first exponent is exact, the others are drawn.

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

    >>> lyapunov("relu", 64).exponents[0], lyapunov(lambda x: x, 4).exponents[-1]
    (-0.0200543, -1.3283)
    """
    width, samples = whole("width", width), whole("samples", samples, least=2)
    slopes = np.abs(required_slopes(f, "the spectrum of exponents"))
    if 0 in slopes or slopes[0] == slopes[1]:
        return Lyapunov(_exact(width, dead=0 in slopes), np.zeros(width))
    exponents, error = _drawn(slopes / np.sqrt(np.mean(slopes**2)), width, samples, seed)
    exponents[0], error[0] = log_norm_law(f, width).mean / 2, 0
    return Lyapunov(exponents, error)


def _exact(width: int, dead: bool) -> np.ndarray:
    from scipy.special import gammaln, psi

    index, active = np.arange(1, width + 1)[:, None], np.arange(1, width + 1)
    if dead:  # the logarithms of binomial coefficients, which alone tell the weights given K >= i apart
        log_weights = -gammaln(active + 1) - gammaln(width - active + 1)
    else:
        log_weights = np.where(active == width, 0, -np.inf)
    log_weights = np.where(active >= index, log_weights, -np.inf)
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
