"""What experiments share: real images, and networks of one kind for all seeds at once."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ..health import Summary, summarize
from ..probes import capture, probe_grad
from ..study import Settings, Stack, digits, in_mode, optimizer_of, training_step

CLASSES = 10
#: Of training, where nothing else is said.
STEPS = 400
#: Of networks that have fitted what they are trained on, of every activation, wrong labels too.
FITTED_STEPS, FITTED_WIDTH = 2000, 64
_BATCH, _QUICK_STEPS, _QUICK_WIDTH, _QUICK_IMAGES = 128, 8, 16, 100


@dataclass(frozen=True)
class Images:
    """Handwritten digits with a split per seed, ``(seeds, images, 64)``, and their labels ``(seeds, images)``.

    Attributes:
        x: images to train on.
        y: their labels.
        test_x: images held out.
        test_y: their labels.
    """

    x: jax.Array
    y: jax.Array
    test_x: jax.Array
    test_y: jax.Array


@dataclass(frozen=True)
class Training:
    """What a network is trained on.

    Attributes:
        images: how many of the training images, or None for all.
        wrong: share of their labels that are replaced by others.
        scale: factor on the weights of hidden layers before training.
    """

    images: int | None = None
    wrong: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Networks:
    """Networks of one kind, one per seed: every array has a leading axis of seeds.

    Attributes:
        lab: where they were made.
        settings: how they were built and trained.
        state: parameters and all else that they hold, as the stack is split.
    """

    lab: "Lab"
    settings: Settings
    state: tuple[Any, Any]

    def _mapped(self, fun: Callable, *arrays: jax.Array, training: bool = False) -> Any:
        """``fun(model, params, *arrays)`` for every seed."""
        built = _untrained(self.settings)

        def make() -> Callable:
            graphdef = _graphdef(built, training=training, dropout=False)

            def one(params: Any, rest: Any, *arrays: jax.Array) -> Any:
                return fun(lambda params, x: nnx.merge(graphdef, params, rest, copy=True)(x), params, *arrays)

            return jax.jit(jax.vmap(one))

        return self.lab.once((fun, built, training), make)(*self.state, *arrays)

    def logits(self, x: jax.Array) -> np.ndarray:
        """Of images ``(seeds, n, 64)``, as when it is used."""
        return np.asarray(self._mapped(_logits, x), np.float64)

    def errors(self, x: jax.Array, y: jax.Array) -> np.ndarray:
        """Share of wrong answers per seed, half an image added to both sides, so that ratios are finite."""
        wrong = np.sum(self.logits(x).argmax(axis=-1) != np.asarray(y), axis=1)
        return (wrong + 0.5) / (y.shape[1] + 1)

    def outputs(self, x: jax.Array) -> list[np.ndarray]:
        """Of every activation in order, ``(seeds, n, units)``."""
        found = self._mapped(_captured, x)
        return [np.asarray(found[f"layers/{i}/{self.settings.activation}"]) for i in range(self.settings.depth)]

    def summaries(self, x: jax.Array, y: jax.Array) -> list[Summary]:
        """What the probe says of every seed, forward and backward, as the networks are trained but without dropout.

        With the parts that slopes and weights have in the gradient's change.
        """
        return summaries(self._mapped(_measured, x, y, training=True))

    def gradients(self, x: jax.Array, y: jax.Array) -> Any:
        """Of the mean cross-entropy with respect to the parameters, as the stack names them."""
        return self._mapped(_gradient, x, y, training=True)

    def with_parameters(self, change: Callable[[Any], Any]) -> "Networks":
        """The same with other parameters; ``change`` gets a copy of them that it may write into."""
        params = jax.tree.map(lambda leaf: leaf, self.state[0])
        change(params)
        return replace(self, state=(params, self.state[1]))

    def layer(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights ``(seeds, inputs, units)`` and biases ``(seeds, units)`` of a hidden layer."""
        one = self.state[0]["layers"][number]
        return np.asarray(one["kernel"][...]), np.asarray(one["bias"][...])

    def before(self, number: int, x: jax.Array) -> np.ndarray:
        """Pre-activations of a hidden layer, ``(seeds, n, units)``."""
        kernel, bias = self.layer(number)
        inputs = np.asarray(x) if number == 0 else self.outputs(x)[number - 1]
        return np.einsum("sni,siu->snu", inputs, kernel) + bias[:, None]


def _logits(model: Callable, params: Any, x: jax.Array) -> jax.Array:
    return model(params, x)


def _captured(model: Callable, params: Any, x: jax.Array) -> dict[str, jax.Array]:
    return capture(model)(params, x)


def _gradient(model: Callable, params: Any, x: jax.Array, y: jax.Array) -> Any:
    return jax.grad(lambda params: cross_entropy(model(params, x), y).mean())(params)


def _measured(model: Callable, params: Any, x: jax.Array, y: jax.Array) -> Any:
    return probe_grad(model, head=lambda out: cross_entropy(out, y).sum(), gains=True)(params, x)[1]


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Per example."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def summaries(stats: Any) -> list[Summary]:
    """One per seed of statistics with a leading axis of seeds."""
    host = jax.device_get(stats)
    return [summarize(jax.tree.map(lambda leaf, i=i: leaf[i], host)) for i in range(len(jax.tree.leaves(host)[0]))]


class Lab:
    """Where experiments are made; what several of them need is made once.

    Args:
        seeds: how many networks of each kind.
        quick: tiny networks and few images, to see that all of it runs.
    """

    def __init__(self, seeds: int, quick: bool = False) -> None:
        self.seeds, self.quick = seeds, quick
        self._made: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made the first time that the key is asked for."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @functools.cached_property
    def images(self) -> Images:
        """All of the images."""
        splits = [digits(seed) for seed in range(self.seeds)]
        most = _QUICK_IMAGES if self.quick else None
        parts = zip(*((*one.train, *one.test) for one in splits), strict=True)
        return Images(*(jnp.stack([array[:most] for array in part]) for part in parts))

    def pick(self, whole: int, quick: int) -> int:
        """A size for this lab."""
        return quick if self.quick else whole

    def stack(self, activation: str, **options: Any) -> Settings:
        """Settings of :class:`relujax.study.Stack`: three hidden layers of 128, trained by Adam, by default."""
        settings = Settings(activation, **{"depth": 3, "width": 128, "steps": STEPS, **options})
        if not self.quick:
            return settings
        return replace(settings, width=_QUICK_WIDTH, steps=_QUICK_STEPS)

    def blank(self, settings: Settings) -> Networks:
        """Networks before training; those that differ in their training alone are the same."""

        def make() -> tuple[Any, Any]:
            made = [Stack(settings, 64, CLASSES, rngs=nnx.Rngs(seed)) for seed in range(self.seeds)]
            parts = [nnx.split(in_mode(one, training=True, dropout=True), nnx.Param, ...)[1:] for one in made]
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)

        return Networks(self, settings, self.once((Stack, _untrained(settings)), make))

    def trained(self, settings: Settings, training: Training = Training()) -> Networks:
        """Networks after training."""

        def make() -> Networks:
            start = self.blank(settings)
            if training.scale != 1:
                start = start.with_parameters(functools.partial(_scale, factor=training.scale))
            return self.train(start, training)

        return self.once((settings, training), make)

    def fitted(self, activation: str, training: Training = Training(), **options: Any) -> Networks:
        """Three layers of 64 after 2,000 steps of Adam, when networks of every activation have fitted their images.

        After fewer steps a comparison of activations would be one of how fast they learn.
        """
        options = {"width": FITTED_WIDTH, "steps": FITTED_STEPS, **options}
        return self.trained(self.stack(activation, **options), training)

    def train(self, start: Networks, training: Training = Training()) -> Networks:
        """Train networks from where they are, as their settings say."""
        settings = start.settings
        trainer, images = self.once((_trainer, settings), lambda: _trainer(settings)), self.images
        rows, labels = self._batches(settings.steps, training), self.labels(training.wrong)[0]
        return replace(start, state=trainer(*start.state, images.x, labels, rows))

    def _batches(self, steps: int, training: Training) -> jax.Array:
        """Which images are in which batch, ``(seeds, steps, batch)``: whole epochs, shuffled anew."""
        count = min(self.images.x.shape[1], training.images or self.images.x.shape[1])
        batch = self.pick(_BATCH, 32)

        def of_seed(seed: int) -> np.ndarray:
            rng = np.random.default_rng(seed)
            epochs = [rng.permutation(count) for _ in range(-(-steps * batch // count))]
            return np.concatenate(epochs)[: steps * batch].reshape(steps, batch)

        return jnp.asarray(np.stack([of_seed(seed) for seed in range(self.seeds)]))

    def labels(self, wrong: float) -> tuple[jax.Array, jax.Array]:
        """Labels of the images to train on and of those held out, a share of them moved to another class."""

        def moved(labels: jax.Array, part: int) -> jax.Array:
            found = np.array(labels)
            for seed, row in enumerate(found):
                rng = np.random.default_rng((seed, part))
                hit = rng.random(len(row)) < wrong
                row[hit] = (row[hit] + rng.integers(1, CLASSES, hit.sum(), dtype=row.dtype)) % CLASSES
            return jnp.asarray(found)

        return moved(self.images.y, 0), moved(self.images.test_y, 1)


def _untrained(settings: Settings) -> Settings:
    """What the networks are before training: those that differ in their training alone are the same."""
    return replace(settings, steps=1, optimizer="adam", learning_rate=None, clip_norm=None)


def _graphdef(settings: Settings, *, training: bool, dropout: bool) -> Any:
    model = nnx.eval_shape(lambda: Stack(settings, 64, CLASSES, rngs=nnx.Rngs(0)))
    return nnx.split(in_mode(model, training=training, dropout=dropout), nnx.Param, ...)[0]


def _trainer(settings: Settings) -> Callable:
    """Compiled: trains the networks of all seeds."""
    optimizer = optimizer_of(settings)
    step = training_step(_graphdef(settings, training=True, dropout=True), optimizer)

    def one(params: Any, rest: Any, x: jax.Array, y: jax.Array, batches: jax.Array) -> tuple[Any, Any]:
        def body(carry: tuple, rows: jax.Array) -> tuple[tuple, None]:
            return step(*carry, x[rows], y[rows])[:3], None

        (params, rest, _), _ = jax.lax.scan(body, (params, rest, optimizer.init(params)), batches)
        return params, rest

    return jax.jit(jax.vmap(one))


def _scale(params: Any, factor: float) -> None:
    for layer in params["layers"].values():
        layer["kernel"] = layer["kernel"].replace(layer["kernel"][...] * jnp.float32(factor))
