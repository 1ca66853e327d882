"""What an experiment declares: the statement, what is measured of it, and the function that measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._rule import Criterion

#: Effects over seeds or rounds, by condition.
Effects = Mapping[str, Sequence[float] | np.ndarray]

#: Each seed holds out another fifth of the same images: those held out over those trained on, 360 over 1,437.
OVERLAP = 0.25


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
        overlap: of its conditions, as :class:`Condition` has it: ``OVERLAP`` where held-out images are asked.
    """

    name: str
    statement: str
    measured: str
    unit: str
    criterion: Criterion
    experiment: Callable[[Any], Effects]
    weight: float
    overlap: float = 0.0
