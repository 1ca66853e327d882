"""In how many linear regions a ReLU network can cut its input space."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .._checks import hidden_widths, whole


@dataclass(frozen=True)
class RegionBounds:
    """Bounds of the largest number of linear regions that an architecture can have.

    Attributes:
        lower: some weights reach at least that many (Montúfar et al.).
        upper: no weights reach more (Serra et al.).
        patterns: what counting on-off patterns alone would allow, two to the number of units.
    """

    lower: int
    upper: int
    patterns: int


def regions(n: int, d: int) -> int:
    r"""Linear regions of one hidden layer of ``n`` ReLU units over ``d`` inputs, for almost all weights and biases.

    .. math:: \sum_{i=0}^{d} \binom{n}{i}

    Args:
        n: number of units.
        d: number of inputs.

    Returns:
        The exact count, an integer of any size.

    Raises:
        ValueError: for counts below 1.

    Reference: Zaslavsky, `1975 <https://doi.org/10.1090/memo/0154>`_.

    >>> regions(3, 2)  # three lines in a plane
    7
    """
    return sum(math.comb(whole("n", n), i) for i in range(whole("d", d) + 1))


def region_bounds(widths: Sequence[int], d: int) -> RegionBounds:
    r"""Bounds of the largest number of linear regions of a ReLU network of several layers.

    With :math:`m = \min(d, n_1, \dots, n_L)`, from below

    .. math:: \prod_{l<L} \left\lfloor \frac{n_l}{m} \right\rfloor^m \sum_{j \le m} \binom{n_L}{j}

    and from above :math:`\sum \prod_l \binom{n_l}{j_l}` over all :math:`j_l \le \min(d, n_1 - j_1, \dots, n_{l-1} -
    j_{l-1}, n_l)`, which is exact for one layer and for one input.

    Args:
        widths: units of each hidden layer.
        d: number of inputs.

    Returns:
        :class:`RegionBounds`, exact integers.

    Raises:
        ValueError: for no layers, or counts below 1.

    Cost: at most ``len(widths) * max(widths)^2`` products of long integers.

    Reference: Montúfar et al., `2014 <https://arxiv.org/abs/1402.1869>`_; Serra, Tjandraatmadja, Ramalingam,
    `2018 <https://arxiv.org/abs/1711.02114>`_.

    >>> region_bounds([4, 4], d=2)
    RegionBounds(lower=44, upper=121, patterns=256)
    """
    counts, inputs = hidden_widths(widths), whole("d", d)
    narrowest = min(inputs, *counts)
    pieces = math.prod((n // narrowest) ** narrowest for n in counts[:-1])
    return RegionBounds(pieces * regions(counts[-1], narrowest), _most(counts, inputs), 2 ** sum(counts))


def _most(widths: list[int], inputs: int) -> int:
    """The sum over all ways, layer by layer: how many ways leave images of each dimension."""
    ways = {inputs: 1}
    for n in widths:
        choices = [math.comb(n, j) for j in range(min(n, inputs) + 1)]
        after: dict[int, int] = {}
        for dimension, count in ways.items():
            for j in range(min(dimension, n) + 1):
                left = min(dimension, n - j)
                after[left] = after.get(left, 0) + count * choices[j]
        ways = after
    return sum(ways.values())
