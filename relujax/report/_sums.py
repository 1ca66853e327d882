"""What batches give: sums, in memory and in a file from which a run goes on."""

import functools
import os
import re
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..probes import Stats, load, merge, save, to_host
from ._models import Model

#: Sums are written no more often than this, in seconds.
SAVE_EVERY = 5.0

_ADDRESS = re.compile("0x[0-9a-f]+")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sums:
    """What one batch, or many, gave.

    Attributes:
        stats: statistics of the activations.
        loss: sum of the examples' losses.
        hits: right answers.
        labels: answers in all.
        gradient: sum of the examples' gradients; None without a loss.
    """

    stats: Stats
    loss: Any = 0.0
    hits: Any = 0
    labels: Any = 0
    gradient: Any = None

    def add(self, other: "Sums") -> "Sums":
        """The sum, on the host in 64 bits."""
        plus = functools.partial(jax.tree.map, lambda a, b: to_host(a) + to_host(b))
        sums = {
            name: plus(getattr(self, name), getattr(other, name)) for name in ("loss", "hits", "labels", "gradient")
        }
        return Sums(merge(self.stats, other.stats), **sums)


def fingerprint(model: Model, loss: Any, x: Any, y: Any, edges: Any = None) -> int:
    """A number of what is computed on a batch, and with what: equations both ways, weights, the batch, edges.

    The same in another process of the same versions: addresses of objects do not count.
    """

    def computed(params: Any, rest: Any, x: Any, y: Any) -> Any:
        if loss is None:
            return model.apply(params, rest, x)
        out, pull = jax.vjp(lambda params: loss(model.apply(params, rest, x), y), params)
        return out, pull(jnp.ones_like(out))

    closed = jax.make_jaxpr(computed)(model.params, model.rest, x, y)
    number = zlib.crc32(_ADDRESS.sub("", str(closed)).encode())
    edges = None if edges is None else np.float64(edges)
    return checksum((closed.consts, model.params, model.rest, x, y, edges), number)


def checksum(tree: Any, number: int = 0) -> int:
    """A number of all arrays in a tree, going on from the number of others."""
    for leaf in jax.tree.leaves(tree):
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.ascontiguousarray(jax.random.key_data(leaf) if is_key else leaf)
        number = zlib.crc32(array.tobytes(), zlib.crc32(f"{array.dtype}{array.shape}".encode(), number))
    return number


class Kept:
    """The sums of a run, in memory, and where a path is given also in a file that it goes on from.

    Args:
        path: the file, or None.
        model: what is measured.
        loss: by which loss, or None.
        x: the inputs of the first batch.
        y: its targets.
        edges: of the histograms of outputs; like all before, they must be those that the file was kept for.

    Attributes:
        seen: of how many examples the sums are.

    Raises:
        ValueError: for a folder that is not there, or a file that was kept for something else.
    """

    def __init__(
        self, path: str | os.PathLike | None, model: Model, loss: Any, x: Any, y: Any, edges: Any = None
    ) -> None:
        self._path = None if path is None else Path(path)
        self._total: Sums | None = None
        self._batches = self.seen = 0
        #: Batches and examples that the file holds, and those of them that were passed over; a number of their data.
        self._held, self._passed = (0, 0), (0, 0)
        self._held_data = self._data = 0
        self._written = time.monotonic()
        if self._path is None:
            return
        if not self._path.parent.is_dir():
            raise ValueError(f"got resume={str(path)!r}, and there is no folder {self._path.parent}: expected one")
        self._fingerprint = fingerprint(model, loss, x, y, edges)
        if self._path.exists():
            self._read(self._path, jax.tree.structure(model.params if loss is not None else None))

    def _read(self, path: Path, structure: Any) -> None:
        stats, progress = load(path)
        try:
            *held, data, number = (progress.pop(name) for name in ("batches", "seen", "data", "fingerprint"))
            loss, hits, labels = (progress.pop(name) for name in ("loss", "hits", "labels"))
        except KeyError as error:
            raise ValueError(
                f"got resume={str(path)!r}, which holds statistics but not those of rx.diagnose ({error} is missing): "
                "expected a file that it wrote, or the name of one that does not exist"
            ) from error
        if number != self._fingerprint:
            raise ValueError(
                f"got resume={str(path)!r}, which was kept for another model, other weights, another loss, other "
                "edges or other data: expected the same ones as then, or the name of a file that does not exist"
            )
        self._batches, self.seen = held
        self._held, self._held_data = (self._batches, self.seen), data
        gradient = jax.tree.unflatten(structure, [progress[f"gradient/{i}"] for i in range(len(progress))])
        self._total = Sums(stats, loss, hits, labels, gradient)

    def holds(self, x: Any, y: Any) -> bool:
        """Whether the next batch is in the sums already.

        Raises:
            ValueError: where those that were passed over are not those of the file.
        """
        batches, passed = self._passed
        if self._path is not None:
            self._data = checksum((x, y), self._data)
        if batches < self._held[0]:
            self._passed = (batches + 1, passed + len(x))
            if self._passed[0] == self._held[0]:
                self._check_passed()
                self._check_data()
            return True
        return False

    def _check_passed(self) -> None:
        if self._passed != self._held:
            (_, held), (_, passed) = self._held, self._passed
            raise ValueError(
                f"got resume={str(self._path)!r}, which holds {held} examples, and {passed} in as many batches of "
                "these data: expected the same batches as then, and at most others behind them"
            )

    def _check_data(self) -> None:
        if self._data != self._held_data:
            raise ValueError(
                f"got resume={str(self._path)!r}, which holds {self.seen} examples, and as many with other numbers in "
                "them: expected the same batches as then, and at most others behind them"
            )

    def add(self, found: Sums, examples: int) -> None:
        """Add a batch."""
        total = jax.tree.map(to_host, found) if self._total is None else self._total.add(found)
        self._total, self._batches, self.seen = total, self._batches + 1, self.seen + examples
        if time.monotonic() - self._written >= SAVE_EVERY:
            self._write()

    @property
    def so_far(self) -> Sums | None:
        """The sums of the batches until now."""
        return self._total

    def done(self) -> Sums:
        """The sums of all batches, which the file has now too."""
        self._check_passed()
        self._write()
        assert self._total is not None, "a batch is in the file, or was added"
        return self._total

    def _write(self) -> None:
        if self._path is None or self._total is None:
            return
        total = self._total
        leaves = {f"gradient/{i}": to_host(leaf) for i, leaf in enumerate(jax.tree.leaves(total.gradient))}
        save(
            total.stats,
            self._path,
            batches=self._batches,
            seen=self.seen,
            data=self._data,
            fingerprint=self._fingerprint,
            loss=float(total.loss),
            hits=int(total.hits),
            labels=int(total.labels),
            **leaves,
        )
        self._written = time.monotonic()
