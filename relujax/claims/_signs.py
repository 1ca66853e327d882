"""Whether ReLU's positive output forces all weight gradients of a unit to one sign."""

import numpy as np

from ._claim import Claim, Effects
from ._lab import Lab
from ._rule import Criterion

_BATCHES = {"one example": 1, "a batch of 8": 8, "a batch of 64": 64}
_TIMES = 8


def _measure(lab: Lab) -> Effects:
    networks, images = lab.blank(lab.stack("relu")), lab.images

    def share(start: int, size: int) -> np.ndarray:
        batch = slice(start, start + size)
        found = networks.gradients(images.x[:, batch], images.y[:, batch])
        return one_signed(np.asarray(found["layers"][1]["kernel"][...]))

    return {
        name: np.mean([share(i * size, size) for i in range(lab.pick(_TIMES, 1))], axis=0).tolist()
        for name, size in _BATCHES.items()
    }


def one_signed(gradients: np.ndarray) -> np.ndarray:
    """Share of the units that get a gradient whose incoming weights all have it of one sign, or 0, per seed.

    Args:
        gradients: ``(seeds, inputs, units)``.
    """
    up, down = (gradients > 0).any(axis=1), (gradients < 0).any(axis=1)
    return (up ^ down).sum(axis=1) / np.maximum((up | down).sum(axis=1), 1)


CLAIM = Claim(
    name="one_sign",
    statement="ReLU's positive outputs force all weight gradients of a unit to one sign",
    measured="units of the second layer whose weight gradients all have one sign, of those that get any, before "
    "training",
    unit="share of units",
    criterion=Criterion(0.99, log=False, reason="all of them, with room for rounding"),
    experiment=_measure,
    weight=2,
)
