"""Whether gradients vanish, and what sets their size, by activation and initialiser; above all in deep stacks."""

import math

from ..health import VANISHING_RATIO, Summary, travel
from ._claim import Claim, Effects
from ._deep import DEPTH, travelled
from ._lab import FITTED_WIDTH, Lab
from ._rule import Criterion

#: Why gradients count as vanished, or as exploded, beyond the thresholds of :mod:`relujax.health`.
SOURCE = "the threshold of AUTOTRAINER, Zhang et al. 2021"


def first_over_last(summary: Summary) -> float:
    """Norm of the backpropagated signal at the first layer over that at the last; NaN where none leaves the last."""
    first, last = (math.nan if row.signal_norm is None else row.signal_norm for row in (summary[0], summary[-1]))
    return first / last if last and math.isfinite(last) else math.nan


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
    # He's weights are made to undo ReLU's slopes, so that both parts are as large.
    starts = ("LeCun's weights", "orthogonal weights", "He's weights", "weights of twice He's variance")
    pairs = [("relu", start) for start in starts]
    pairs += [
        ("leaky_relu", "weights of twice He's variance"),
        ("tanh", "LeCun's weights"),
        ("tanh", "weights of twice He's variance"),
        ("sigmoid", "LeCun's weights"),
    ]
    before = {f"{act}, {start}": [_share(one) for one in travelled(lab, act, start)] for act, start in pairs}
    x, y = lab.images.x, lab.images.y
    return before | {
        f"{act}, three layers after training": [_share(one) for one in lab.fitted(act).summaries(x, y)]
        for act in ("relu", "tanh", "sigmoid")
    }


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
        criterion=Criterion(VANISHING_RATIO, above=False, reason=SOURCE),
        experiment=_saturating,
        weight=9,
    ),
    Claim(
        name="relu_keeps",
        statement="ReLU's derivative of 0 or 1 keeps gradients over depth",
        measured=_TRAVELLED,
        unit="first over last",
        criterion=Criterion(0.1, reason="a hundred times what counts as vanished"),
        experiment=_kept,
        weight=2,
    ),
    Claim(
        name="weights_set_size",
        statement="In backpropagation the weights, not the derivatives, set the gradient's size",
        measured="change of the log gradient norm per layer by the weights over that by the activation's slopes, in "
        f"{DEPTH} layers before training, or three of {FITTED_WIDTH} that have fitted the digits",
        unit="by weights over by slopes",
        criterion=Criterion(1.0),
        experiment=_attribution,
        weight=14,
    ),
)
