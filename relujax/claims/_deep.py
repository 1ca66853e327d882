"""Deep plain stacks before training: how a signal goes forward, and a gradient back, at every initialiser."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers

from .. import theory
from ..functions import activation
from ..health import Summary
from ..init import critical
from ..probes import probe_grad
from ..study import INITIALIZERS
from ._lab import CLASSES, Lab, cross_entropy, summaries

DEPTH = 30
WIDTH = 64  # as many as the images have pixels: then every layer is square, and LeCun's and Glorot's rules are one
_IMAGES = 256
_DEAD = -1e9


def _variance(value: float) -> Any:
    return initializers.variance_scaling(value, "fan_in", "normal")


#: Initialisers by the name that findings give them; each is ``f(activation) -> init``.
STARTS: dict[str, Callable[[str], Any]] = {
    "LeCun's weights": INITIALIZERS["lecun_normal"],
    "He's weights": INITIALIZERS["he_normal"],
    "orthogonal weights": INITIALIZERS["orthogonal"],
    "orthogonal weights times √2": lambda f: critical("relu", distribution="orthogonal"),
    "signal-holding weights": INITIALIZERS["gain_normal"],
    "critical weights": lambda f: _variance(theory.critical(f).weight_variance),
    "weights of twice He's variance": lambda f: _variance(4.0),
    "weights of four times He's variance": lambda f: _variance(8.0),
}


def depth(lab: Lab) -> int:
    """Layers of a deep stack."""
    return lab.pick(DEPTH, 4)


def travelled(lab: Lab, act: str, start: str, *, batch_norm: bool = False, dead: Any = None) -> list[Summary]:
    """Rows of every layer of a deep stack, one summary per seed.

    Args:
        lab: whose images go in.
        act: a key of :data:`relujax.ACTIVATIONS`.
        start: a key of :data:`STARTS`.
        batch_norm: standardise every pre-activation over the batch.
        dead: which units never fire, ``(seeds, depth, width)``; none by default.
    """
    layers = depth(lab)
    init = STARTS[start](act)

    def weights(seed: int) -> tuple[jax.Array, jax.Array]:
        hidden, last = jax.random.split(jax.random.key(seed))
        drawn = jax.vmap(lambda key: init(key, (WIDTH, WIDTH), jnp.float32))(jax.random.split(hidden, layers))
        return drawn, initializers.lecun_normal()(last, (WIDTH, CLASSES), jnp.float32)

    hidden, readout = (jnp.stack(part) for part in zip(*map(weights, range(lab.seeds)), strict=True))
    shut = np.zeros((lab.seeds, layers, WIDTH), bool) if dead is None else dead
    biases = jnp.asarray(np.where(shut, np.float32(_DEAD), np.float32(0)))
    x, y = lab.images.x[:, :_IMAGES], lab.images.y[:, :_IMAGES]
    probed = lab.once((travelled, act, batch_norm), lambda: _probed(act, batch_norm))
    return summaries(probed({"hidden": hidden, "biases": biases, "readout": readout}, x, y))


def _probed(act: str, batch_norm: bool) -> Callable:
    f = activation(act)

    def logits(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        def layer(h: jax.Array, own: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            weights, bias = own
            h = h @ weights
            h = jax.nn.standardize(h, axis=0) if batch_norm else h
            return f(h + bias[None]), None

        return jax.lax.scan(layer, x, (params["hidden"], params["biases"]))[0] @ params["readout"]

    def one(params: dict[str, jax.Array], x: jax.Array, y: jax.Array) -> Any:
        return probe_grad(logits, head=lambda out: cross_entropy(out, y).sum(), gains=True)(params, x)[1]

    return jax.jit(jax.vmap(one))
