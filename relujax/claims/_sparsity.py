"""Whether ReLU networks are sparse, whether their active part follows the input, and where their mean lies."""

from collections.abc import Callable, Mapping

import numpy as np

from ..health import Summary
from ._claim import Claim, Effects, held_out
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
        name: np.exp(np.mean([np.log(spread(layer > 0)) for layer in networks.outputs(x)], axis=0)).tolist()
        for name, networks in _stages(lab).items()
    }


def spread(active: np.ndarray) -> np.ndarray:
    """How far the number of active units ranges over images, over what it would by chance, per seed.

    That is the standard deviation of the number over that of as many units that fire as often, each for itself:
    the root of the sum of p (1 - p).

    Args:
        active: ``(seeds, images, units)``.
    """
    often = active.mean(axis=1)
    return active.sum(axis=2).std(axis=1) / np.sqrt((often * (1 - often)).sum(axis=1))


SPARSE = Claim(
    name="sparse",
    statement="ReLU networks are sparse, at initialisation and after training",
    measured="outputs that are exactly 0, of three hidden layers on held-out digits",
    unit="share of outputs",
    criterion=Criterion(
        0.4, log=False, reason="about half are 0 before training, Glorot et al. 2011; this leaves room for chance"
    ),
    experiment=_by_layer(_zeros),
    weight=11,
    overlap=held_out,
)
DYNAMIC = Claim(
    name="dynamic_size",
    statement="The number of active units adapts to the input",
    measured="standard deviation of a layer's number of active units over held-out digits, over that of as many units "
    "that fire as often but independently of each other; geometric mean of three layers",
    unit="of what chance gives",
    criterion=Criterion(1.0),
    experiment=_dynamic,
    weight=1,
    overlap=held_out,
)
NOT_CENTRED = Claim(
    name="not_centred",
    statement="ReLU's output is not zero-centred",
    measured="mean output over its standard deviation, of three hidden layers on held-out digits",
    unit="standard deviations",
    criterion=Criterion(0.5, log=False, reason="half of one; ReLU of a Gaussian has 0.68"),
    experiment=_by_layer(_shift),
    weight=1,
    overlap=held_out,
)
