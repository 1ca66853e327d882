"""Whether sparse networks are less sensitive to small changes: of the input, and of units that are far below 0."""

import jax
import jax.numpy as jnp
import numpy as np

from ._claim import Claim, Effects, held_out
from ._lab import Lab, Networks
from ._rule import Criterion

_NOISE = 0.3
_SIDE = 8
_PUSHED = 16


def _insensitive(lab: Lab) -> Effects:
    x = lab.images.test_x
    noise = _NOISE * jax.random.normal(jax.random.key(0), x.shape, x.dtype)
    changes = {"noise": x + noise, "a shift by one pixel": shifted(x)}
    changed = {
        (act, what): _changed(lab.fitted(act), x, other)
        for act in ("relu", "leaky_relu", "tanh", "sigmoid")
        for what, other in changes.items()
    }
    return {
        f"{part} under {what}, against {peer}": changed[peer, what][i] / changed["relu", what][i]
        for i, part in enumerate(("features", "predictions"))
        for what in changes
        for peer in ("leaky_relu", "tanh", "sigmoid")
    }


def _changed(networks: Networks, x: jax.Array, other: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """How far the last layer's outputs move, and how many predictions become others, per seed."""
    before, after = (networks.outputs(images)[-1] for images in (x, other))
    flipped = networks.logits(x).argmax(axis=2) != networks.logits(other).argmax(axis=2)
    return moved(before, after), (flipped.sum(axis=1) + 0.5) / (flipped.shape[1] + 1)


def moved(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Root mean square distance that features move, over that between two images, per seed.

    Args:
        before: ``(seeds, images, units)``.
        after: likewise.
    """
    apart = 2 * before.var(axis=1).sum(axis=1)
    return np.sqrt(np.sum((after - before) ** 2, axis=2).mean(axis=1) / apart)


def shifted(x: jax.Array) -> jax.Array:
    """Images ``(seeds, n, 64)`` moved right by one pixel; what comes in from the left is each seed's background."""
    images = x.reshape(*x.shape[:-1], _SIDE, _SIDE)
    background = jnp.broadcast_to(x.min(axis=(1, 2))[:, None, None, None], images[..., :1].shape)
    return jnp.concatenate([background, images[..., :-1]], axis=-1).reshape(x.shape)


def _far_below(lab: Lab) -> Effects:
    return {act: _pushed(lab.fitted(act)) for act in ("relu", "leaky_relu", "elu", "sigmoid", "tanh")}


def _pushed(networks: Networks) -> list[float]:
    """Change of the logits as units go from -11 to -10, over that as they go from -1/2 to 1/2."""
    x = networks.lab.images.test_x

    def logits(value: float) -> np.ndarray:
        def hold(params: dict) -> None:
            layer = params["layers"][1]
            kernel, bias = layer["kernel"], layer["bias"]
            layer["kernel"] = kernel.replace(kernel[...].at[:, :, :_PUSHED].set(0))
            layer["bias"] = bias.replace(bias[...].at[:, :_PUSHED].set(value))

        return networks.with_parameters(hold).logits(x)

    far, near = (np.linalg.norm(logits(a) - logits(b), axis=(1, 2)) for a, b in ((-10.0, -11.0), (0.5, -0.5)))
    return (far / near).tolist()


CLAIMS = (
    Claim(
        name="insensitive",
        statement="Sparse (ReLU) networks are less sensitive to small changes of their input",
        measured="how far the last layer's outputs move, by their distance between images, or share of predictions "
        f"that change, under noise of {_NOISE} standard deviations or a shift by one pixel, in three layers that have "
        "fitted the digits: of a dense network over ReLU's",
        unit="times ReLU's change",
        criterion=Criterion(1.0),
        experiment=_insensitive,
        weight=4,
        overlap=held_out,
    ),
    Claim(
        name="far_below",
        statement="Units that are pushed from -11 to -10 change nothing",
        measured=f"change of the logits as {_PUSHED} units of a trained network go from -11 to -10, over that as they "
        "go from -1/2 to 1/2",
        unit="of a push across 0",
        criterion=Criterion(1e-3, above=False, reason="a thousandth is nothing"),
        experiment=_far_below,
        weight=4,
        overlap=held_out,
    ),
)
