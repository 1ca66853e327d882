"""Whether ReLU networks explode, and what helps: batch normalisation, clipping."""

import numpy as np

from ..health import EXPLODING_RATIO, Summary
from ._claim import Claim, Effects, held_out
from ._deep import DEPTH, travelled
from ._depth import SOURCE, first_over_last
from ._lab import STEPS, Lab, Training
from ._rule import Criterion

#: The norm to which gradients are clipped.
CLIP = 5.0
#: With the factor on He's weights.
_STARTS = {
    "He's weights": 1.0,
    "weights of twice He's variance": 2**0.5,
    "weights of four times He's variance": 2.0,
}
_AFTER = "test error after training"


def _growth(summary: Summary) -> float:
    """Root mean square output of the last layer over the first one's."""
    return summary[-1].root_mean_square / summary[0].root_mean_square


def _explodes(lab: Lab) -> Effects:
    effects = {}
    for way, measure in (("signal", _growth), ("gradient", first_over_last)):
        for peer in ("sigmoid", "tanh"):
            for start in _STARTS:
                ours, theirs = (map(measure, travelled(lab, act, start)) for act in ("relu", peer))
                effects[f"{way}, {start}, against {peer}"] = [
                    min(relu / EXPLODING_RATIO, EXPLODING_RATIO / other)
                    for relu, other in zip(ours, theirs, strict=True)
                ]
    return effects


def _batch_norm(lab: Lab) -> Effects:
    effects = {}
    for way, measure in (("signal", _growth), ("gradient", first_over_last)):
        for start in _STARTS:
            plain, normed = (map(measure, travelled(lab, "relu", start, batch_norm=norm)) for norm in (False, True))
            effects[f"{way}, {start}"] = [a / b for a, b in zip(plain, normed, strict=True)]
    for start, scale in _STARTS.items():
        plain, normed = (_errors(lab, scale=scale, batch_norm=norm) for norm in (False, True))
        effects[f"{_AFTER}, {start}"] = plain / normed
    return effects


def _overlap(condition: str) -> float:
    """Of a condition of batch normalisation: growth is read before training, on images that are not held out."""
    return held_out(condition) if condition.startswith(_AFTER) else 0.0


def _clipping(lab: Lab) -> Effects:
    cases = {
        "SGD, He's weights": {},
        "SGD, He's weights, ten times the rate": {"learning_rate": 0.5},
        "SGD, weights of four times He's variance": {"scale": 2.0},
        "Adam, He's weights": {"optimizer": "adam"},
        "Adam, weights of four times He's variance": {"optimizer": "adam", "scale": 2.0},
    }
    return {name: _errors(lab, **case) / _errors(lab, clip_norm=CLIP, **case) for name, case in cases.items()}


def _errors(lab: Lab, scale: float = 1.0, **options: object) -> np.ndarray:
    """Share of held-out images that a stack of ten ReLU layers gets wrong after training."""
    settings = lab.stack("relu", **{"depth": lab.pick(10, 3), "width": 64, "optimizer": "sgd", **options})
    return lab.trained(settings, Training(scale=scale)).errors(lab.images.test_x, lab.images.test_y)


CLAIMS = (
    Claim(
        name="explodes",
        statement="ReLU networks explode where sigmoid and tanh do not",
        measured=f"growth over {DEPTH} layers before training: how far ReLU's is above {EXPLODING_RATIO:g} and the "
        f"other's below, the smaller of the two factors; beyond {EXPLODING_RATIO:g} it explodes, {SOURCE}",
        unit="times",
        criterion=Criterion(1.0),
        experiment=_explodes,
        weight=1,
    ),
    Claim(
        name="batch_norm",
        statement="Batch normalisation helps against exploding ReLU networks",
        measured=f"growth over {DEPTH} layers before training, or test error of 10 layers after {STEPS} steps of SGD: "
        "without over with; plain networks explode from all but He's weights",
        unit="without over with",
        criterion=Criterion(1.0),
        experiment=_batch_norm,
        weight=12,
        overlap=_overlap,
    ),
    Claim(
        name="clipping",
        statement=f"Clipping gradients by global norm {CLIP} helps",
        measured=f"test error of 10 ReLU layers after {STEPS} steps: without clipping over with it",
        unit="without over with",
        criterion=Criterion(1.0),
        experiment=_clipping,
        weight=11,
        overlap=held_out,
    ),
)
