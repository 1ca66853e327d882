"""Units that hardly speak beside those of their layer."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..probes import SiteStats

#: A unit is dormant where its mean absolute output is at most this share of its layer's mean: ReDo's tau.
DORMANT_SHARE = 0.025
#: Kinds whose output is never negative, whatever their hyperparameters: the mean output is the mean absolute output.
NONNEGATIVE = frozenset(
    (
        *("relu", "relu6", "relu_n", "crelu", "drelu", "relu_squared", "relu_power", "noisy_relu", "jump_relu"),
        *("gaussian_top_k", "guided_relu", "leaky_backward_relu", "sugar", "straight_through"),
        *("sigmoid", "hard_sigmoid", "sparse_sigmoid", "softplus", "squareplus", "sparse_plus"),
    )
)


def dormant_units(stats: SiteStats, share: float = DORMANT_SHARE) -> Any:
    r"""Units with :math:`E|h_i| \le \tau\, \mathrm{mean}_k E|h_k|`, over the outputs that are finite.

    Args:
        stats: of one site, on the host or inside a compiled function.
        share: the share :math:`\tau`.

    Returns:
        A boolean per unit; per layer of a scan over layers, as leading axes. For kinds that can be negative the root
        mean square takes the place of the mean absolute output.

    Reference: Sokar et al., `2023 <https://arxiv.org/abs/2302.12902>`_.

    >>> import relujax as rx
    >>> _, stats = rx.probe(lambda x: rx.relu(x))(jnp.array([[1.0, -1.0, 0.001]]))
    >>> dormant_units(stats["relu"]).tolist()
    [False, True, True]
    """
    xp: Any = np if isinstance(stats.total, np.ndarray) else jnp
    finite = stats.count - stats.nonfinite
    seen, each = finite > 0, xp.maximum(finite, 1).astype(stats.total.dtype)
    # A gated unit is of the kind of its gate, and its product may well be negative.
    positive = (stats.site.kind in NONNEGATIVE) & xp.all(stats.total >= 0, axis=-1, keepdims=True)
    size = xp.where(positive, stats.total / each, xp.sqrt(stats.square / each))
    units = xp.maximum(xp.sum(seen, axis=-1, keepdims=True), 1).astype(size.dtype)
    layer = xp.sum(xp.where(seen, size, 0), axis=-1, keepdims=True) / units
    return seen & (size <= share * layer) & xp.isfinite(layer)  # beside squares that overflowed nothing is small
