"""What an experiment declares: the statement, what is measured of it, and the function that measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._rule import Criterion

#: Effects over seeds or rounds, by condition.
Effects = Mapping[str, Sequence[float] | np.ndarray]

#: Each seed holds out another fifth of the same images.
HELD_OUT, TRAINED_ON = 360, 1_437


def independent(condition: str) -> float:
    """The overlap of conditions whose values nothing is corrected for."""
    return 0.0


def held_out(condition: str) -> float:
    """The overlap of conditions that are read on held-out images, where all others are there to train on."""
    return HELD_OUT / TRAINED_ON


@dataclass(frozen=True)
class Claim:
    """One statement and its experiment.

    Attributes:
        name: what it is called for.
        statement: as people say it.
        measured: what the experiment measures, and how.
        unit: of the effect.
        criterion: what the claim says of the effect.
        experiment: measures it in a lab.
        weight: about how many seconds it takes on two cores, for the estimate while it runs.
        overlap: of each condition by its name, as :class:`Condition` has it.
    """

    name: str
    statement: str
    measured: str
    unit: str
    criterion: Criterion
    experiment: Callable[[Any], Effects]
    weight: float
    overlap: Callable[[str], float] = independent
