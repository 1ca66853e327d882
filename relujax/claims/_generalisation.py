"""Whether ReLU networks overfit more, and whether Dropout helps: after training until the labels are fitted."""

import numpy as np

from ._claim import HELD_OUT, TRAINED_ON, Claim, Effects
from ._lab import FITTED_STEPS, FITTED_WIDTH, STEPS, Lab, Networks, Training
from ._rule import Criterion

#: Of Dropout: what Srivastava et al. (2014) use for inputs, and for hidden units.
_RATES = (0.2, 0.5)
_SETS = {
    "all images": Training(),
    "150 images": Training(images=150),
    "300 images, a fifth of the labels wrong": Training(images=300, wrong=0.2),
}


def _overlap(condition: str) -> float:
    """Of a condition, which begins with what is trained on."""
    [images] = [training.images for name, training in _SETS.items() if condition.startswith(name)]
    return HELD_OUT / (images or TRAINED_ON)


def _gap(lab: Lab, act: str, training: Training) -> np.ndarray:
    """How much larger the error on held-out images is than on those trained on."""
    networks, images = lab.fitted(act, training), lab.images
    labels, held = lab.labels(training.wrong)
    few = slice(training.images)
    return networks.errors(images.test_x, held) - networks.errors(images.x[:, few], labels[:, few])


def _overfits(lab: Lab) -> Effects:
    return {
        f"{name}, against {peer}": _gap(lab, "relu", training) - _gap(lab, peer, training)
        for name, training in _SETS.items()
        for peer in ("sigmoid", "tanh")
    }


def _dropout(lab: Lab) -> Effects:
    def errors(networks: Networks) -> np.ndarray:
        return networks.errors(lab.images.test_x, lab.images.test_y)  # whose labels are right

    effects = {}
    for name, training in _SETS.items():
        plain = errors(lab.fitted("relu", training))
        for rate in _RATES:
            effects[f"{name}, rate {rate}"] = plain / errors(lab.fitted("relu", training, dropout=rate))
    # With Dropout these stay at chance for as long as 4,000 steps.
    deep = {"depth": lab.pick(10, 3), "width": FITTED_WIDTH}
    plain = errors(lab.trained(lab.stack("relu", **deep)))
    dropped = errors(lab.trained(lab.stack("relu", **deep, dropout=max(_RATES))))
    return effects | {f"all images, ten layers, {STEPS} steps, rate {max(_RATES)}": plain / dropped}


CLAIMS = (
    Claim(
        name="overfits",
        statement="ReLU networks overfit more than those of sigmoid or tanh",
        measured="error on held-out digits, as wrongly labelled, less that on those trained on: of three layers of "
        f"{FITTED_WIDTH} after {FITTED_STEPS:,} steps of Adam, which have fitted these; ReLU's gap less the other's",
        unit="share of images",
        criterion=Criterion(0.0, log=False),
        experiment=_overfits,
        weight=9,
        overlap=_overlap,
    ),
    Claim(
        name="dropout",
        statement="Dropout helps ReLU networks against overfitting",
        measured=f"test error of three layers of {FITTED_WIDTH} after {FITTED_STEPS:,} steps of Adam, unless it says "
        "otherwise: without Dropout over with it",
        unit="without over with",
        criterion=Criterion(1.0),
        experiment=_dropout,
        weight=24,
        overlap=_overlap,
    ),
)
