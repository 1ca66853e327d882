"""Whether ReLU networks are sparse, whether their active part follows the input, and where their mean lies."""

from collections.abc import Callable, Mapping

import numpy as np

from ..health import Summary
from ._claim import Claim, Effects
from ._lab import Lab, Networks
from ._rule import Criterion


def _stages(lab: Lab) -> Mapping[str, Networks]:
    """The same three ReLU layers before and after training."""
    plain, normed, dropped = (lab.stack("relu", **one) for one in ({}, {"batch_norm": True}, {"dropout": 0.5}))
    return {
        "before training, He's weights": lab.blank(plain),
        "after training": lab.trained(plain),
        "after training with BatchNorm": lab.trained(normed),
        "after training with Dropout": lab.trained(dropped),
    }


def _by_layer(number: Callable[[Summary], np.ndarray]) -> Callable[[Lab], Effects]:
    """An experiment: the mean over layers of a number that the summary tells, on held-out images."""

    def experiment(lab: Lab) -> Effects:
        x, y = lab.images.test_x, lab.images.test_y
        return {
            name: [float(np.mean(number(one))) for one in networks.summaries(x, y)]
            for name, networks in _stages(lab).items()
        }

    return experiment


def _zeros(summary: Summary) -> np.ndarray:
    return np.array([1 - row.active_fraction for row in summary])


def _shift(summary: Summary) -> np.ndarray:
    return np.array([abs(row.mean) / row.std for row in summary])


def _dynamic(lab: Lab) -> Effects:
    x = lab.images.test_x
    return {
        name: np.mean([spread(layer > 0) for layer in networks.outputs(x)], axis=0).tolist()
        for name, networks in _stages(lab).items()
    }


def spread(active: np.ndarray) -> np.ndarray:
    """How far the number of active units ranges over images, from the 5th to the 95th percentile, over its mean.

    Args:
        active: ``(seeds, images, units)``.
    """
    counts = active.sum(axis=2)
    low, high = np.percentile(counts, (5, 95), axis=1)
    return (high - low) / counts.mean(axis=1)


CLAIMS = (
    Claim(
        name="sparse",
        statement="ReLU networks are sparse, at initialisation and after training",
        measured="outputs that are exactly 0, of three hidden layers on held-out digits; two in five count as sparse",
        unit="share of outputs",
        criterion=Criterion(0.4, log=False),
        experiment=_by_layer(_zeros),
        weight=15,
    ),
    Claim(
        name="dynamic_size",
        statement="The number of active units adapts to the input",
        measured="how many units of a layer are active: from its 5th to its 95th percentile over held-out digits, over "
        "its mean; mean of three layers",
        unit="of the mean number",
        criterion=Criterion(0.1, log=False),
        experiment=_dynamic,
        weight=1,
    ),
    Claim(
        name="not_centred",
        statement="ReLU's output is not zero-centred",
        measured="mean output over its standard deviation, of three hidden layers on held-out digits",
        unit="standard deviations",
        criterion=Criterion(0.5, log=False),
        experiment=_by_layer(_shift),
        weight=1,
    ),
)
