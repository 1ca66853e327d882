"""The main job: deep stacks of one activation each, trained on real images and diagnosed before and after.

Needs the ``report`` extra: flax, optax, and scikit-learn for the handwritten digits that it ships.
"""

import difflib
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.flatten_util import ravel_pytree
from jax.nn import initializers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from . import nnx as modules, theory
from .functions import ACTIVATIONS, STACKABLE
from .init import gain_normal
from .probes import stable_norm
from .report import PARTIAL, Diagnosis, History, Run, diagnose

#: Initialisers by the name people pass; each is ``f(activation name) -> init``.
INITIALIZERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "lecun_normal": lambda _: initializers.lecun_normal(),
        "he_normal": lambda _: initializers.he_normal(),
        "glorot_normal": lambda _: initializers.glorot_normal(),
        "orthogonal": lambda _: initializers.orthogonal(),
        "gain_normal": gain_normal,
    }
)
#: Optimisers by name, each with the learning rate it is started with where none is given.
OPTIMIZERS: Mapping[str, tuple[Callable[..., optax.GradientTransformation], float]] = MappingProxyType(
    {
        "adam": (optax.adam, 1e-3),
        "adamw": (optax.adamw, 1e-3),
        "sgd": (optax.sgd, 0.05),
        "momentum": (lambda rate: optax.sgd(rate, momentum=0.9), 0.01),
        "rmsprop": (optax.rmsprop, 1e-3),
    }
)
#: What a stack is built with where ``init`` is "auto": He for rectifiers, Flax's default for the saturating ones.
_AUTO = {"positive": "he_normal", "unsaturated": "lecun_normal"}
_BATCH = 128
_CURVE_POINTS = 100
#: Of the histograms of outputs, which are of about size 1.
EDGES = tuple(i / 8 for i in range(-32, 33))


@dataclass(frozen=True)
class Settings:
    """What ``relujax diagnose`` trains.

    Attributes:
        activation: a key of :data:`relujax.ACTIVATIONS`.
        depth: hidden layers.
        width: units per hidden layer.
        steps: optimiser steps.
        optimizer: a key of :data:`OPTIMIZERS`.
        learning_rate: None for the optimiser's own.
        clip_norm: clip the global gradient norm to this, or None.
        batch_norm: BatchNorm before each activation.
        dropout: dropout rate after each activation.
        init: a key of :data:`INITIALIZERS`, or "auto".
        seed: seeds weights, batches, dropout and the split.
    """

    activation: str
    depth: int = 20
    width: int = 64
    steps: int = 600
    optimizer: str = "adam"
    learning_rate: float | None = None
    clip_norm: float | None = None
    batch_norm: bool = False
    dropout: float = 0.0
    init: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        known = self.activation in ACTIVATIONS
        _one_of("activation of a stack" if known else "activation", self.activation, STACKABLE)
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("init", self.init, ("auto", *INITIALIZERS))
        for name in ("depth", "width", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"got {name} {getattr(self, name)}: expected at least 1")
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"got {name.replace('_', ' ')} {value}: expected a positive number")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"got seed {self.seed}: expected a whole number from 0 to {2**32 - 1}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"got dropout {self.dropout}: expected a rate from 0 up to, not including, 1")

    @property
    def init_name(self) -> str:
        """The initialiser's name, "auto" resolved."""
        return _AUTO[ACTIVATIONS[self.activation].active] if self.init == "auto" else self.init


def _one_of(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        near = difflib.get_close_matches(value.lower(), known, n=2)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"unknown {name} {value!r}: expected one of {', '.join(known)}{hint}")


class Stack(nnx.Module):
    """A plain deep stack: ``depth`` times Linear, [BatchNorm], activation, [Dropout], then a linear readout."""

    def __init__(self, settings: Settings, inputs: int, classes: int, *, rngs: nnx.Rngs):
        s = settings
        sizes = [inputs] + [s.width] * s.depth
        kernel_init = INITIALIZERS[s.init_name](s.activation)
        self.layers = nnx.List(
            [nnx.Linear(a, b, kernel_init=kernel_init, rngs=rngs) for a, b in itertools.pairwise(sizes)]
        )
        self.norms = nnx.List([nnx.BatchNorm(s.width, rngs=rngs) for _ in range(s.depth)] if s.batch_norm else [])
        self.activations = nnx.List([modules.MODULES[s.activation]() for _ in range(s.depth)])
        self.dropout = nnx.Dropout(s.dropout, rngs=rngs)
        self.readout = nnx.Linear(s.width, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits ``(examples, classes)`` of inputs ``(examples, inputs)``."""
        for i, (layer, act) in enumerate(zip(self.layers, self.activations, strict=True)):
            x = layer(x)
            x = self.norms[i](x) if self.norms else x
            x = self.dropout(act(x))
        return self.readout(x)


@dataclass(frozen=True)
class Digits:
    """Scikit-learn's handwritten digits: 8 x 8 grey images, standardised by the training images' mean and deviation.

    Attributes:
        train: images ``(n, 64)`` and labels ``(n,)``.
        test: those held out, a fifth, stratified by label.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def digits(seed: int = 0) -> Digits:
    """The 1,797 digits, split by ``seed``.

    >>> [images.shape for images, _ in (digits().train, digits().test)]
    [(1437, 64), (360, 64)]
    """
    images, labels = map(np.asarray, load_digits(return_X_y=True))
    x, x_test, y, y_test = map(
        np.asarray, train_test_split(images, labels, test_size=0.2, random_state=seed, stratify=labels)
    )
    mean, std = x.mean(), x.std()
    pairs = (((x - mean) / std, y), ((x_test - mean) / std, y_test))
    train, test = ((a.astype(np.float32), b.astype(np.int32)) for a, b in pairs)
    return Digits(train, test)


def run(
    settings: Settings,
    data: Digits,
    progress: Callable[[str, float], None] | None = None,
    watch: Callable[[Run], None] | None = None,
) -> Run:
    """Build, diagnose, train and diagnose again.

    Args:
        settings: what to build and how to train it.
        data: images to train on, and to test on.
        progress: called with what is being done and the share of the whole that is done.
        watch: called with what there is until then, after initialisation and at each point of the curves; it has a
            note that says that it is partial.

    Returns:
        A :class:`relujax.report.Run`. The same settings give the same numbers.
    """
    report = progress or (lambda what, share: None)
    classes = int(data.train[1].max()) + 1
    model = Stack(settings, data.train[0].shape[1], classes, rngs=nnx.Rngs(settings.seed))

    # Diagnosed as it trains, that is with batch statistics, but without dropout's noise.
    def examine(model: Stack, stage: str) -> Diagnosis:
        measured = in_mode(model, training=True, dropout=False)
        title = f"{settings.activation} {stage}"
        size = _whole(len(data.train[0]))
        options = {"batch_size": size, "edges": EDGES, "title": title, "predict": False}
        return diagnose(measured, data.train, loss="cross_entropy", **options)

    report("diagnosing at initialisation", 0.0)
    before = examine(model, "at initialisation")
    found = Run(
        name=settings.activation,
        stages={"at initialisation": replace(before, predicted=_predicted(settings, data, before))},
        facts=asdict(settings) | {"init": settings.init_name},
    )

    def look(history: History | None, what: str) -> None:
        if watch is not None:
            watch(replace(found, history=history, notes=(f"{PARTIAL}{settings.activation} {what}",)))

    def trained_so_far(history: History) -> None:
        report("training", 0.4 + 0.5 * history.step[-1] / settings.steps)
        look(history, f"is at step {history.step[-1]} of {settings.steps}")

    look(None, "is at initialisation")
    report("comparing initialisers", 0.25)
    found = replace(found, init_signal=_init_signal(settings, data))
    history, trained = _train(settings, model, data, trained_so_far)
    report("diagnosing after training", 0.9)
    after = examine(trained, "after training")
    report("done", 1.0)
    return replace(found, stages={**found.stages, "after training": after}, history=history)


def _predicted(settings: Settings, data: Digits, before: Diagnosis) -> dict[str, tuple[float, ...]]:
    """What theory says at initialisation of signals and of the largest singular value, in the limit of width."""
    s, fan_in = settings, data.train[0].shape[1]
    if s.batch_norm:
        found = theory.moments(s.activation)  # of what the norm lets through, of mean 0 and variance 1
        factor = found.slope_second / (found.second - found.mean**2)
        law = theory.StackLaw((1.0,) * s.depth, (factor,) * s.depth, (math.sqrt(found.second),) * s.depth)
    else:
        first, variance = (_weight_variance(s.init_name, s.activation, inputs, s.width) for inputs in (fan_in, s.width))
        law = theory.stack_law(s.activation, s.depth, variance, q=first * float(np.mean(data.train[0] ** 2)))
    predicted = {"signal_norm": law.signal_norms(before.summary[-1].signal_norm or 0.0), "output_rms": law.output_rms}
    # The upper edge of a spectrum is known where every layer has the same law.
    if fan_in == s.width and not s.batch_norm and np.ptp(law.factors) < 1e-9:
        weights = "orthogonal" if s.init_name == "orthogonal" else "gaussian"
        found = [theory.jacobian_moments(s.activation, depth, weights=weights) for depth in range(1, s.depth + 1)]
        relative = [math.sqrt((one.largest or math.nan) / one.mean) for one in found]
        predicted["largest_singular_value"] = tuple(map(float, np.multiply(law.jacobian_norms(), relative)))
    return predicted


def _weight_variance(init: str, activation: str, fan_in: int, fan_out: int) -> float:
    """Variance times fan in of what an initialiser draws."""
    if init == "gain_normal":
        return theory.moments(activation).gain ** 2
    by_shape = {"glorot_normal": 2 * fan_in / (fan_in + fan_out), "orthogonal": min(1.0, fan_in / fan_out)}
    return {"lecun_normal": 1.0, "he_normal": 2.0, **by_shape}[init]


def _whole(examples: int) -> int:
    """A batch size that leaves no rest, which would be compiled for itself; or else one that does."""
    return max((size for size in range(128, 513) if examples % size == 0), default=256)


def in_mode(model: Stack, *, training: bool, dropout: bool) -> Stack:
    """A view of the model whose BatchNorm and Dropout are in the given mode; it shares its arrays.

    >>> stack = Stack(Settings("relu", depth=1, width=2, dropout=0.5), inputs=3, classes=2, rngs=nnx.Rngs(0))
    >>> in_mode(stack, training=False, dropout=False).dropout.deterministic
    True
    """
    mode = {"use_running_average": not training, "deterministic": not dropout}
    return nnx.view(model, raise_if_not_found=False, **mode)


def _init_signal(settings: Settings, data: Digits) -> dict[str, tuple[float, ...]]:
    """What Flax's default and He's initialisation do to the backpropagated signal of this stack, before training."""
    x, y = (array[: _whole(len(array))] for array in data.train)

    def signal(init: str, seed: int) -> list[float]:
        model = Stack(replace(settings, init=init), x.shape[1], int(y.max()) + 1, rngs=nnx.Rngs(seed))
        measured = in_mode(model, training=True, dropout=False)
        found = diagnose(measured, (x, y), loss="cross_entropy", batch_size=len(x), spectrum_examples=0)
        return [row.signal_norm or 0.0 for row in found.summary]

    def over_seeds(init: str) -> tuple[float, ...]:
        norms = np.array([signal(init, settings.seed + i) for i in range(3)])
        with np.errstate(divide="ignore"):  # a signal that underflowed is 0, and so is the mean
            return tuple(float(v) for v in np.exp(np.log(norms).mean(axis=0)))

    return {init: over_seeds(init) for init in ("lecun_normal", "he_normal")}


def _train(settings: Settings, model: Stack, data: Digits, watch: Callable[[History], None]) -> tuple[History, Stack]:
    """Train on shuffled batches; returns the curves and the trained stack, and hands on the curves as they grow."""
    graphdef, params, rest = nnx.split(in_mode(model, training=True, dropout=True), nnx.Param, ...)
    evaluated, _, _ = nnx.split(in_mode(model, training=False, dropout=False), nnx.Param, ...)
    optimizer = optimizer_of(settings)

    step = jax.jit(training_step(graphdef, optimizer))

    @jax.jit
    def accuracy(params: Any, rest: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean(nnx.merge(evaluated, params, rest, copy=True)(x).argmax(axis=-1) == y)

    x, y = data.train
    opt_state = optimizer.init(params)
    batches = _shuffled(len(x), min(_BATCH, len(x)), settings.seed)
    every = max(1, settings.steps // _CURVE_POINTS)
    curve, since = [], []
    for number in range(1, settings.steps + 1):
        index = next(batches)
        params, rest, opt_state, loss, norm = step(params, rest, opt_state, x[index], y[index])
        since.append((loss, norm))
        if number % every == 0 or number == settings.steps:
            means = np.mean(np.array(since, np.float64), axis=0)
            curve.append((number, *map(float, means), float(accuracy(params, rest, *data.test))))
            since = []
            watch(_history(curve))
    return _history(curve), nnx.merge(graphdef, params, rest)


def _history(curve: Sequence[tuple]) -> History:
    return History(*(tuple(column) for column in zip(*curve, strict=True)))


def training_step(graphdef: Any, optimizer: optax.GradientTransformation) -> Callable[..., tuple]:
    """One step down the cross-entropy of a batch, for a stack that was split into parameters and the rest.

    Args:
        graphdef: of the stack, in the mode in which it is trained.
        optimizer: what turns gradients into steps.

    Returns:
        ``step(params, rest, opt_state, x, y) -> (params, rest, opt_state, loss, gradient norm)``, pure: to be compiled,
        scanned, or mapped over seeds. The norm is that before any clipping.

    >>> settings = Settings("relu", depth=1, width=2, optimizer="sgd")
    >>> graphdef, params, rest = nnx.split(Stack(settings, 3, 2, rngs=nnx.Rngs(0)), nnx.Param, ...)
    >>> optimizer = optimizer_of(settings)
    >>> step = training_step(graphdef, optimizer)
    >>> state = params, rest, optimizer.init(params)
    >>> x, y = jnp.eye(3, dtype="float32"), jnp.array([0, 1, 0])
    >>> losses = [float((state := step(*state[:3], x, y))[3]) for _ in range(20)]
    >>> losses[-1] < losses[0]
    True
    """

    def step(params: Any, rest: Any, opt_state: Any, x: jax.Array, y: jax.Array) -> tuple:
        def objective(params: Any) -> tuple[jax.Array, Any]:
            module = nnx.merge(graphdef, params, rest, copy=True)
            loss = optax.softmax_cross_entropy_with_integer_labels(module(x), y).mean()
            return loss, nnx.split(module, nnx.Param, ...)[2]

        (loss, rest_), grads = jax.value_and_grad(objective, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), rest_, opt_state, loss, stable_norm(ravel_pytree(grads)[0])

    return step


def optimizer_of(settings: Settings) -> optax.GradientTransformation:
    """The optimiser that the settings name, at their learning rate, clipped where they say so.

    >>> step = optimizer_of(Settings("relu", optimizer="sgd", learning_rate=1.0, clip_norm=5.0))
    >>> step.update(jnp.array([30.0, 40.0]), step.init(jnp.zeros(2)))[0].tolist()
    [-3.0, -4.0]
    """
    make, rate = OPTIMIZERS[settings.optimizer]
    optimizer = make(settings.learning_rate or rate)
    if settings.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(settings.clip_norm), optimizer)


def _shuffled(examples: int, batch: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of whole batches, shuffled anew each epoch."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(examples)
        for start in range(0, examples - batch + 1, batch):
            yield order[start : start + batch]
