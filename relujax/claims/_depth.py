"""Whether gradients vanish, and what sets their size: deep stacks before training, by activation and initialiser."""

import math

from ..health import VANISHING_RATIO, Summary, travel
from ._claim import Claim, Effects
from ._deep import DEPTH, travelled
from ._lab import Lab
from ._rule import Criterion


def first_over_last(summary: Summary) -> float:
    """Norm of the gradient at the first layer over that at the last; NaN where none leaves the last one."""
    way = travel(summary)
    return math.nan if way is None else way.ratio


def _saturating(lab: Lab) -> Effects:
    return {
        f"{act}, {start}": [first_over_last(one) for one in travelled(lab, act, start)]
        for act in ("sigmoid", "tanh")
        for start in (
            "LeCun's weights",
            "orthogonal weights",
            "signal-holding weights",
            "critical weights",
            "weights of twice He's variance",
        )
        if (act, start) != ("tanh", "critical weights")  # for tanh without biases that is LeCun's
    }


def _kept(lab: Lab) -> Effects:
    return {
        start: [first_over_last(one) for one in travelled(lab, "relu", start)]
        for start in ("LeCun's weights", "He's weights", "orthogonal weights", "orthogonal weights times √2")
    }


def _attribution(lab: Lab) -> Effects:
    # Not He's weights: they are made to undo ReLU's slopes, so that both parts are one by construction.
    pairs = [("relu", start) for start in ("LeCun's weights", "orthogonal weights", "weights of twice He's variance")]
    pairs += [
        ("leaky_relu", "weights of twice He's variance"),
        ("tanh", "LeCun's weights"),
        ("tanh", "weights of twice He's variance"),
        ("sigmoid", "LeCun's weights"),
    ]
    return {f"{act}, {start}": [_share(one) for one in travelled(lab, act, start)] for act, start in pairs}


def _share(summary: Summary) -> float:
    """Nats per layer that come from the weights over those that come from the slopes."""
    way = travel(summary)
    if way is None or not way.by_activations or not way.by_weights:
        return math.nan
    return abs(math.log(way.by_weights)) / abs(math.log(way.by_activations))


_TRAVELLED = f"norm of the backpropagated signal at the first of {DEPTH} layers over that at the last, before training"

CLAIMS = (
    Claim(
        name="saturating_vanish",
        statement="Sigmoid's and tanh's small derivatives make gradients vanish with depth",
        measured=_TRAVELLED,
        unit="first over last",
        criterion=Criterion(VANISHING_RATIO, above=False),
        experiment=_saturating,
        weight=9,
    ),
    Claim(
        name="relu_keeps",
        statement="ReLU's derivative of 0 or 1 keeps gradients over depth",
        measured=_TRAVELLED,
        unit="first over last",
        criterion=Criterion(0.1),
        experiment=_kept,
        weight=2,
    ),
    Claim(
        name="weights_set_size",
        statement="In backpropagation the weights, not the derivatives, set the gradient's size",
        measured="change of the log gradient norm per layer by the weights over that by the activation's slopes",
        unit="by weights over by slopes",
        criterion=Criterion(1.0),
        experiment=_attribution,
        weight=2,
    ),
)
