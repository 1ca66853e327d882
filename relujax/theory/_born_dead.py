"""The chance that a ReLU network is dead before it is trained."""

from collections.abc import Sequence

import numpy as np

from .._checks import hidden_widths


def born_dead(widths: Sequence[int]) -> float:
    r"""Chance that a ReLU network gives zero, and no gradient, at one input.

    .. math:: 1 - \prod_l \left(1 - 2^{-n_l}\right)

    Exact for independent symmetric weights without atoms and zero biases: a layer whose input is not zero dies where
    all of its :math:`n_l` pre-activations are negative. Over several inputs at once death is rarer; a layer that is
    dead at every input is so at this one.

    Args:
        widths: units of each hidden layer.

    Returns:
        The probability.

    Raises:
        ValueError: for no layers, or a width below 1.

    Reference: Lu et al., `2019 <https://arxiv.org/abs/1903.06733>`_.

    >>> born_dead([2] * 10)
    0.94368649
    """
    counts = np.array(hidden_widths(widths), np.float64)
    return float(0 - np.expm1(np.sum(np.log1p(-(2.0**-counts)))))
