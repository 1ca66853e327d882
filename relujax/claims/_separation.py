"""Whether classes separate more easily in a high-dimensional sparse space: linear probes on random features."""

import numpy as np
from sklearn.linear_model import RidgeClassifierCV

from ._claim import Claim, Effects, held_out
from ._lab import Lab
from ._rule import Criterion

_WIDE = 512
#: Share of units that fire, where features are to be sparse.
_ACTIVE = 0.2
_PENALTIES = np.logspace(-1, 4, 6)


def _measure(lab: Lab) -> Effects:
    errors = {name: np.array([_error(lab, seed, name) for seed in range(lab.seeds)]) for name in _FEATURES}
    return {
        f"{name}, against {peer}": errors[peer] / errors[name]
        for name, peer in (
            ("wide and sparse", "narrow and dense"),
            ("wide and sparse", "wide and dense"),
            ("narrow and sparse", "narrow and dense"),
        )
    }


def _sparse(z: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.maximum(z - np.quantile(reference, 1 - _ACTIVE, axis=0), 0)


def _dense(z: np.ndarray, reference: np.ndarray) -> np.ndarray:
    return np.tanh(z)


#: Units, and what they make of a random projection of the images: all are functions of the same 64 pixels.
_FEATURES = {
    "narrow and dense": (64, _dense),
    "narrow and sparse": (64, _sparse),
    "wide and dense": (_WIDE, _dense),
    "wide and sparse": (_WIDE, _sparse),
}


def _error(lab: Lab, seed: int, name: str) -> float:
    """Share of held-out images that a ridge classifier on these features gets wrong."""
    units, bend = _FEATURES[name]
    images = lab.images
    x, test = (np.asarray(part[seed], np.float64) for part in (images.x, images.test_x))
    projection = np.random.default_rng(seed).normal(size=(x.shape[1], lab.pick(units, units // 8))) / x.shape[1] ** 0.5
    features, held = bend(x @ projection, x @ projection), bend(test @ projection, x @ projection)
    probe = RidgeClassifierCV(alphas=_PENALTIES).fit(features, np.asarray(images.y[seed]))
    wrong = np.sum(probe.predict(held) != np.asarray(images.test_y[seed]))
    return (wrong + 0.5) / (len(held) + 1)


CLAIM = Claim(
    name="separable",
    statement="Classes separate more easily in a high-dimensional sparse space",
    measured=f"test error of a linear probe on random features of the same pixels ({_WIDE} or 64 units; ReLU with "
    f"{_ACTIVE:.0%} active, or tanh): of the other features over that of the ones named first",
    unit="other over first",
    criterion=Criterion(1.0),
    experiment=_measure,
    weight=2,
    overlap=held_out,
)
