"""Dead units: whether they get a gradient, come back, are cured, and make gradients vanish."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..health import VANISHING_RATIO
from ._claim import Claim, Effects, held_out
from ._deep import DEPTH, WIDTH, depth, travelled
from ._depth import SOURCE, first_over_last
from ._lab import STEPS, Lab, Networks
from ._rule import Criterion

_CURES = ("leaky_relu", "prelu", "elu")
_NAMES = {"sgd": "SGD", "adam": "Adam"}
#: Where units are dead: what the first layer gets is fixed, what the third one gets is learnt.
_LAYERS = {"first": 0, "third": 2}
#: Rates of Adam, ten and thirty times its usual one, at which ReLU units die.
_HIGH_RATES = (0.01, 0.03)


def _killed(lab: Lab, networks: Networks, number: int) -> tuple[Networks, np.ndarray]:
    """The networks with a quarter of one layer's units dead, but only just, and which ones ``(seeds, units)``."""
    z = networks.before(number, lab.images.x)
    dead = np.zeros((lab.seeds, z.shape[2]), bool)
    dead[:, ::4] = True
    lowered = np.where(dead, z.max(axis=1) + 0.05 * z.std(axis=1), 0)

    def kill(params: Any) -> None:
        bias = params["layers"][number]["bias"]
        params["layers"][number]["bias"] = bias.replace(bias[...] - lowered.astype(np.float32))

    return networks.with_parameters(kill), dead


def _no_gradient(lab: Lab) -> Effects:
    effects = {}
    for name, number in _LAYERS.items():
        networks, dead = _killed(lab, lab.blank(lab.stack("relu")), number)
        effects[f"shut before training, {name} layer"] = _gradient_of(networks, number, dead)
    for rate in _HIGH_RATES:
        networks = _hot(lab, "relu", rate)
        effects[f"died at a rate of {rate}, first layer"] = _gradient_of(networks, 0, _below(networks, 0))
    return effects


def _gradient_of(networks: Networks, number: int, dead: np.ndarray) -> list[float]:
    """Mean gradient norm of these units' weights and biases over that of the others, on all training images."""
    found = networks.gradients(networks.lab.images.x, networks.lab.images.y)["layers"][number]
    norms = np.hypot(np.linalg.norm(found["kernel"][...], axis=1), np.abs(found["bias"][...]))
    return [
        float(row[mask].mean() / row[~mask].mean()) if 0 < mask.sum() < len(mask) else np.nan
        for row, mask in zip(norms, dead, strict=True)
    ]


def _never_return(lab: Lab) -> Effects:
    effects = {}
    for optimizer in ("sgd", "adam"):
        for name, number in _LAYERS.items():
            start, dead = _killed(lab, lab.blank(lab.stack("relu", optimizer=optimizer)), number)
            effects[f"shut before training, {name} layer, {_NAMES[optimizer]}"] = _fire(lab.train(start), number, dead)
    rate = max(_HIGH_RATES)
    died = _hot(lab, "relu", rate)
    after = lab.train(replace(died, settings=replace(died.settings, learning_rate=None)))
    for name, number in _LAYERS.items():
        effects[f"died at a rate of {rate}, {name} layer, Adam"] = _fire(after, number, _below(died, number))
    return effects


def _fire(networks: Networks, number: int, units: np.ndarray) -> list[float]:
    """Share of these units of a layer that fire on some training image."""
    fires = ~_below(networks, number)
    return [float(row[mask].mean()) if mask.any() else np.nan for row, mask in zip(fires, units, strict=True)]


def _hot(lab: Lab, act: str, rate: float) -> Networks:
    """Networks trained at a rate at which ReLU units die."""
    return lab.trained(lab.stack(act, depth=4, width=64, learning_rate=rate))


def _below(networks: Networks, number: int) -> np.ndarray:
    """Units of a layer whose pre-activations are at or below 0 on every training image, ``(seeds, units)``."""
    return np.all(networks.before(number, networks.lab.images.x) <= 0, axis=1)


def _stuck_share(lab: Lab, act: str, rate: float) -> np.ndarray:
    """Share of all units that are below 0 on every training image: of ReLUs, the dead ones."""
    networks = _hot(lab, act, rate)
    return np.mean([_below(networks, i) for i in range(networks.settings.depth)], axis=(0, 2))


def _error(lab: Lab, act: str, rate: float) -> np.ndarray:
    return _hot(lab, act, rate).errors(lab.images.test_x, lab.images.test_y)


def _cures(lab: Lab) -> Effects:
    effects = {}
    for rate in _HIGH_RATES:
        relu = _stuck_share(lab, "relu", rate)
        for act in _CURES:
            share = _stuck_share(lab, act, rate)
            effects[f"{act}, rate {rate}"] = np.divide(share, relu, out=np.full_like(relu, np.nan), where=relu > 0)
    return effects


def _cures_pay(lab: Lab) -> Effects:
    return {
        f"{act}, rate {rate}": _error(lab, "relu", rate) / _error(lab, act, rate)
        for rate in _HIGH_RATES
        for act in _CURES
    }


def _vanishing(lab: Lab) -> Effects:
    effects = {}
    for name, share in (("a quarter", 0.25), ("half", 0.5), ("three quarters", 0.75)):
        dead = np.stack([np.random.default_rng(i).random((depth(lab), WIDTH)) < share for i in range(lab.seeds)])
        effects[f"{name} of every layer dead"] = _travelled(lab, dead)
    for name, layers in (("one layer wholly dead", 1), ("half of one layer dead", 0.5)):
        dead = np.zeros((lab.seeds, depth(lab), WIDTH), bool)
        dead[:, depth(lab) // 2, : int(WIDTH * layers)] = True
        effects[name] = _travelled(lab, dead)
    for rate in _HIGH_RATES:
        died = _hot(lab, "relu", rate).summaries(lab.images.x, lab.images.y)
        effects[f"died at a rate of {rate}, four layers"] = [first_over_last(one) for one in died]
    return effects


def _travelled(lab: Lab, dead: np.ndarray) -> list[float]:
    return [first_over_last(one) for one in travelled(lab, "relu", "He's weights", dead=dead)]


CLAIMS = (
    Claim(
        name="dead_no_gradient",
        statement="Dead units get no gradient",
        measured="gradient norm of the weights and bias of units that are dead on all training images over that of the "
        "others: made so before training, or by training at a high rate",
        unit="dead over others",
        criterion=Criterion(1e-6, above=False, log=False, reason="ten times what float32 rounds away"),
        experiment=_no_gradient,
        weight=3,
    ),
    Claim(
        name="dead_never_return",
        statement="Dead units never come back",
        measured="units that were dead on all training images, made so by little or by training at a high rate, and "
        f"fire on some of them after {STEPS} steps at the usual rate",
        unit="share of dead units",
        criterion=Criterion(0.05, above=False, log=False, reason="one in twenty is as good as never"),
        experiment=_never_return,
        weight=7,
    ),
    Claim(
        name="cures",
        statement="Leaky ReLU, PReLU and ELU cure dying units",
        measured="units whose pre-activation is below 0 on every training image (a ReLU is dead then; a cured unit "
        f"passes a gradient and may come back), of four layers after {STEPS} steps of Adam at rates at which ReLU "
        "units die: over ReLU's share of them",
        unit="of ReLU's share",
        criterion=Criterion(0.1, above=False, log=False, reason="nine in ten are cured"),
        experiment=_cures,
        weight=7,
    ),
    Claim(
        name="cures_pay",
        statement="A network whose units cannot die is the better for it",
        measured=f"test error after {STEPS} steps of Adam at rates at which ReLU units die: ReLU's over that of "
        "the cure",
        unit="ReLU's over the cure's",
        criterion=Criterion(1.0),
        experiment=_cures_pay,
        weight=1,
        overlap=held_out,
    ),
    Claim(
        name="dying_is_vanishing",
        statement="Dying ReLU is a vanishing-gradient problem",
        measured="norm of the backpropagated signal at the first layer over that at the last: of "
        f"{DEPTH} layers with He's weights before training, a share of whose units is made dead, or of four in which "
        "units died in training",
        unit="first over last",
        criterion=Criterion(VANISHING_RATIO, above=False, reason=SOURCE),
        experiment=_vanishing,
        weight=1,
    ),
)
