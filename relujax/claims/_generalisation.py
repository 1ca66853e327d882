"""Whether ReLU networks overfit more, and whether Dropout helps."""

import numpy as np

from ._claim import Claim, Effects
from ._lab import STEPS, Lab, Training
from ._rule import Criterion

_SETS = {
    "all images": Training(),
    "150 images": Training(images=150),
    "a fifth of the labels wrong": Training(wrong=0.2),
}


def _errors(lab: Lab, act: str, training: Training, **options: object) -> np.ndarray:
    """On held-out images, whose labels are right."""
    networks = lab.trained(lab.stack(act, **options), training)
    return networks.errors(lab.images.test_x, lab.images.test_y)


def _gap(lab: Lab, act: str, training: Training) -> np.ndarray:
    """How much larger the error on held-out images is than on those trained on; half an image at least."""
    networks, images = lab.trained(lab.stack(act), training), lab.images
    labels, held = lab.labels(training.wrong)
    few = slice(training.images)
    gap = networks.errors(images.test_x, held) - networks.errors(images.x[:, few], labels[:, few])
    return np.maximum(gap, 0.5 / held.shape[1])


def _overfits(lab: Lab) -> Effects:
    return {
        f"{name}, against {peer}": _gap(lab, "relu", training) / _gap(lab, peer, training)
        for name, training in _SETS.items()
        for peer in ("sigmoid", "tanh")
    }


def _dropout(lab: Lab) -> Effects:
    effects = {
        name: _errors(lab, "relu", training) / _errors(lab, "relu", training, dropout=0.5)
        for name, training in _SETS.items()
    }
    deep = {"depth": lab.pick(10, 3), "width": 64}
    plain, dropped = (_errors(lab, "relu", Training(), **deep, dropout=rate) for rate in (0.0, 0.5))
    return effects | {"all images, ten narrow layers": plain / dropped}


CLAIMS = (
    Claim(
        name="overfits",
        statement="ReLU networks overfit more than those of sigmoid or tanh",
        measured="error on held-out digits, as wrongly labelled, less that on those trained on, three layers of 128 "
        f"after {STEPS} steps of Adam: ReLU's over the other's",
        unit="ReLU's over the other's",
        criterion=Criterion(1.0),
        experiment=_overfits,
        weight=5,
    ),
    Claim(
        name="dropout",
        statement="Dropout helps ReLU networks against overfitting",
        measured=f"test error after {STEPS} steps of Adam: without Dropout over with a rate of 0.5",
        unit="without over with",
        criterion=Criterion(1.0),
        experiment=_dropout,
        weight=6,
    ),
)
