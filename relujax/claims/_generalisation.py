"""Whether ReLU networks overfit more, and whether Dropout helps: after training until the labels are fitted."""

import numpy as np

from ._claim import Claim, Effects
from ._lab import STEPS, Lab, Networks, Training
from ._rule import Criterion

#: Enough for networks of every kind to fit what they are trained on, wrong labels too; fewer only compare their speed.
_LONG, _WIDTH = 2000, 64
_SETS = {
    "all images": Training(),
    "150 images": Training(images=150),
    "300 images, a fifth of the labels wrong": Training(images=300, wrong=0.2),
}


def _trained(lab: Lab, act: str, training: Training, **options: object) -> Networks:
    return lab.trained(lab.stack(act, **{"width": _WIDTH, "steps": _LONG, **options}), training)


def _errors(lab: Lab, act: str, training: Training, **options: object) -> np.ndarray:
    """On held-out images, whose labels are right."""
    return _trained(lab, act, training, **options).errors(lab.images.test_x, lab.images.test_y)


def _gap(lab: Lab, act: str, training: Training) -> np.ndarray:
    """How much larger the error on held-out images is than on those trained on."""
    networks, images = _trained(lab, act, training), lab.images
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
    effects = {}
    for steps in (STEPS, _LONG):
        for name, training in _SETS.items():
            plain, dropped = (_errors(lab, "relu", training, steps=steps, dropout=rate) for rate in (0.0, 0.5))
            effects[f"{name}, {steps:,} steps"] = plain / dropped
    # With Dropout these stay at chance for as long as 4,000 steps.
    deep = {"depth": lab.pick(10, 3), "steps": STEPS}
    plain, dropped = (_errors(lab, "relu", Training(), **deep, dropout=rate) for rate in (0.0, 0.5))
    return effects | {f"all images, ten layers, {STEPS} steps": plain / dropped}


CLAIMS = (
    Claim(
        name="overfits",
        statement="ReLU networks overfit more than those of sigmoid or tanh",
        measured="error on held-out digits, as wrongly labelled, less that on those trained on, three layers of "
        f"{_WIDTH} after {_LONG:,} steps of Adam, when they have fitted these: ReLU's gap less the other's",
        unit="share of images",
        criterion=Criterion(0.0, log=False),
        experiment=_overfits,
        weight=20,
    ),
    Claim(
        name="dropout",
        statement="Dropout helps ReLU networks against overfitting",
        measured=f"test error of three layers of {_WIDTH}, or ten where it is said, after so many steps of Adam: "
        "without Dropout over with a rate of 0.5",
        unit="without over with",
        criterion=Criterion(1.0),
        experiment=_dropout,
        weight=15,
    ),
)
