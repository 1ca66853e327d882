"""How much of a network is active for one example."""

from dataclasses import dataclass

import numpy as np

from ..probes import Stats


@dataclass(frozen=True)
class NetworkSummary:
    """The dynamic size of a network: how much of all of it is active for one example, over the examples seen.

    Attributes:
        elements: outputs of one example at all sites together, in all their executions; the shares are of these. Those
            of a branch that was not taken are among them, and not active.
        examples: examples seen.
        active_fraction: mean share of active elements.
        std: standard deviation of the examples' shares.
        fewest: the smallest share.
        most: the largest.
        histogram: examples by share, equal bins of [0, 1].
    """

    elements: int
    examples: int
    active_fraction: float
    std: float
    fewest: float
    most: float
    histogram: tuple[int, ...]

    def __str__(self) -> str:
        mean, std, fewest, most = (
            share * self.elements for share in (self.active_fraction, self.std, self.fewest, self.most)
        )
        return (
            f"of the {self.elements:,} outputs at all sites {mean:,.1f} are active for one example "
            f"({self.active_fraction:.1%}), give or take {std:,.1f}; "
            f"{fewest:,.0f} to {most:,.0f} over {self.examples:,}"
        )


def network_summary(stats: Stats) -> NetworkSummary | None:
    """That of statistics; None where there is none in them, or no example."""
    found = stats.network
    if found is None or not int(found.examples):
        return None
    examples = int(found.examples)
    return NetworkSummary(
        elements=found.elements,
        examples=examples,
        active_fraction=float(found.total) / examples,
        std=float(np.sqrt(found.spread / examples)),
        fewest=float(found.fewest) / found.elements,
        most=float(found.most) / found.elements,
        histogram=tuple(int(n) for n in found.histogram),
    )
