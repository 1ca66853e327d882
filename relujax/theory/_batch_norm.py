"""By how much batch normalisation makes gradients grow in a ReLU network at initialisation."""

import math

from .._checks import whole


def batch_norm_growth(batch: int | None = None) -> float:
    r"""Growth per layer of the squared gradient, going back through ``relu(batch_norm(W x))`` at initialisation.

    .. math:: \frac{\pi}{\pi - 1} \approx 1.467 \quad \text{as } B \to \infty

    At a finite batch, exactly at infinite width: the normalised pre-activations of a unit are :math:`\sqrt{B}\, e` with
    ``e`` uniform on the unit sphere in the hyperplane of vectors of mean 0, and the gradient of such a batch comes out
    isotropic in that hyperplane. With the projection ``P`` off 1 and ``e``, the mask ``d = 1[e > 0]`` and ``c`` the
    variance that ReLU leaves between examples, the factor is

    .. math:: \frac{B}{(B - 1)(B - 3) c} E\left[\operatorname{tr}(P \operatorname{diag}(d)) - d^\top P d / B\right]

    whose parts are the chances and moments of two normals of correlation :math:`\rho = -1 / (B - 1)`. It needs no
    epsilon, gain 1 and shift 0; the scale of the weights drops out.

    Args:
        batch: examples per batch, at least 4 (with fewer the mean is infinite); None for infinitely many.

    Returns:
        The factor.

    Raises:
        ValueError: for a batch below 4.

    Reference: Yang et al., `2019 <https://arxiv.org/abs/1902.08129>`_.

    >>> batch_norm_growth(), batch_norm_growth(128)
    (1.46694, 1.47968)
    """
    if batch is None:
        return math.pi / (math.pi - 1)
    size = whole("batch", batch, least=4)
    rho = -1 / (size - 1)
    root = math.sqrt(1 - rho**2)
    # Of B e_1 e_2: positive parts, absolute values; and the chance that both are positive.
    positive = (root + rho * (math.pi - math.acos(rho))) / (2 * math.pi)
    absolute = (root + rho * math.asin(rho)) * 2 / math.pi
    both = 0.25 + math.asin(rho) / (2 * math.pi)
    active_squared = size / 2 + size * (size - 1) * both
    sum_squared = (1 + (size - 1) * absolute) / 4
    trace = size / 2 * (1 - 1 / size) - 0.5
    quadratic = size / 2 - active_squared / size - sum_squared
    spread = 0.5 - positive
    return size / ((size - 1) * (size - 3) * spread) * (trace - quadratic / size)
