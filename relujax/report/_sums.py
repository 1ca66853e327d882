"""What batches give: sums, in memory and in a file from which a run goes on."""

import functools
import os
import re
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..probes import Stats, load, merge, save, sites, to_host
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
        return Sums(merge(self.stats, _with_sites_of(other.stats, self.stats)), **sums)


def _with_sites_of(found: Stats, stats: Stats) -> Stats:
    """A batch of another length has sites of another shape."""
    by_site = {n: replace(s, site=stats[n].site) if n in stats else s for n, s in found.by_site.items()}
    return Stats(by_site, stats.opaque)


def fingerprint(model: Model, loss: Any, *batch: Any) -> int:
    """A number that tells a model with its weights and activations, a loss by its name, and a batch from others.

    The same in another process: addresses of objects do not count.
    """
    found = [(site.name, site.kind, site.shape) for site in sites(model.apply, model.params, model.rest, batch[0])]
    structure = _ADDRESS.sub("", str(jax.tree.structure((model.params, model.rest))))
    name = loss if loss is None else getattr(loss, "__qualname__", type(loss).__qualname__)
    number = zlib.crc32(f"{structure} {name} {found}".encode())
    for leaf in jax.tree.leaves((model.params, model.rest, batch)):
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.ascontiguousarray(jax.random.key_data(leaf) if is_key else leaf)
        number = zlib.crc32(array.tobytes(), zlib.crc32(f"{array.dtype}{array.shape}".encode(), number))
    return number


class Kept:
    """The sums of a run, in memory, and where a path is given also in a file.

    Attributes:
        total: the sums so far, or None.
        batches: of how many batches they are.
        seen: of how many examples.
    """

    def __init__(self, path: str | os.PathLike | None) -> None:
        self.path = None if path is None else Path(path)
        self.total: Sums | None = None
        self.batches = self.seen = self.kept = self.skipped = 0
        self.fingerprint: int | None = None
        self.written = time.monotonic()
        if self.path is None:
            return
        if not self.path.parent.is_dir():
            raise ValueError(f"got resume={str(path)!r}, and there is no folder {self.path.parent}: expected one")
        if self.path.exists():
            self._read(self.path)

    def _read(self, path: Path) -> None:
        stats, progress = load(path)
        try:
            self.batches, self.seen = progress.pop("batches"), progress.pop("seen")
            self.fingerprint = progress.pop("fingerprint")
            loss, hits, labels = (progress.pop(name) for name in ("loss", "hits", "labels"))
        except KeyError as error:
            raise ValueError(
                f"got resume={str(path)!r}, which holds statistics but not those of rx.diagnose ({error} is missing): "
                "expected a file that it wrote, or the name of one that does not exist"
            ) from error
        self.kept = self.seen
        self.total = Sums(stats, loss, hits, labels, [progress[f"gradient/{i}"] for i in range(len(progress))])

    def check(self, number: int, params: Any) -> None:
        """Refuse to go on where the file is of something else.

        Raises:
            ValueError: where the fingerprint is another one.
        """
        if self.fingerprint is not None and self.fingerprint != number:
            raise ValueError(
                f"got resume={str(self.path)!r}, which was kept for another model, other weights, another loss or "
                "other data: expected the same ones as then, or the name of a file that does not exist"
            )
        self.fingerprint = number
        if self.total is not None:
            leaves = self.total.gradient
            gradient = jax.tree.unflatten(jax.tree.structure(params), leaves) if leaves else None
            self.total = replace(self.total, gradient=gradient)

    def skip(self, examples: int) -> None:
        """Pass over a batch that is in the sums already."""
        self.skipped += examples

    def check_skipped(self) -> None:
        """Refuse to go on where the batches that were passed over have not as many examples as those of the file.

        Raises:
            ValueError: where they have not.
        """
        if self.skipped != self.kept:
            raise ValueError(
                f"got resume={str(self.path)!r}, which holds {self.kept} examples, and {self.skipped} in as many "
                "batches of these data: expected the same batches as then, and at most others behind them"
            )

    def add(self, found: Sums, examples: int) -> None:
        """Add a batch."""
        self.total = jax.tree.map(to_host, found) if self.total is None else self.total.add(found)
        self.batches, self.seen = self.batches + 1, self.seen + examples
        if time.monotonic() - self.written >= SAVE_EVERY:
            self.write()

    def write(self) -> None:
        """Write the file, where there is one to write."""
        if self.path is None or self.total is None:
            return
        total = self.total
        leaves = {f"gradient/{i}": to_host(leaf) for i, leaf in enumerate(jax.tree.leaves(total.gradient))}
        save(
            total.stats,
            self.path,
            batches=self.batches,
            seen=self.seen,
            fingerprint=self.fingerprint,
            loss=float(total.loss),
            hits=int(total.hits),
            labels=int(total.labels),
            **leaves,
        )
        self.written = time.monotonic()
