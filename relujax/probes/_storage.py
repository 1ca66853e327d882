"""Statistics on disk: what a run that was killed goes on from."""

import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ._sites import Opaque, Site
from ._statistics import Held, Layout, Stats, to_host

_VERSION = 3
#: What reading raises where a file, or a part of it, is of another kind.
_DAMAGES = (AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile)


def save(stats: Stats, path: str | os.PathLike, **progress: Any) -> None:
    """Write statistics to a file, whole or not at all.

    Args:
        stats: of :func:`relujax.probe`, :func:`relujax.probe_grad` or :func:`relujax.merge`.
        path: the file, an archive of arrays as :func:`numpy.savez` writes it; one that is there is replaced at once, so
            that a run that is killed meanwhile leaves the old one.
        **progress: what :func:`load` gives back beside them: numbers and strings, such as how many batches they are
            of, and NumPy arrays.

    >>> import jax.numpy as jnp, relujax as rx
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "stats.npz"
    >>> _, stats = rx.probe(rx.relu)(jnp.array([[-1.0, 2.0]]))
    >>> save(stats, file, batches=1)
    >>> again, progress = load(file)
    >>> again["relu"].active.tolist(), progress
    ([0, 1], {'batches': 1})
    """
    progress = {name: _plain(value) for name, value in progress.items()}
    arrays = {f"progress/{name}": value for name, value in progress.items() if isinstance(value, np.ndarray)}
    arrays |= {f"stats/{name}": to_host(getattr(stats, name)) for name in stats.layout.lengths}
    header = {
        "version": _VERSION,
        **asdict(stats.layout),
        "opaque": [asdict(part) for part in stats.opaque],
        "progress": {name: value for name, value in progress.items() if not isinstance(value, np.ndarray)},
    }
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            np.savez(file, header=np.array(json.dumps(header)), **arrays)  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _plain(value: Any) -> Any:
    """A Python number for one number, a NumPy array for several; what is neither stays."""
    if not isinstance(value, (jax.Array, np.ndarray, np.generic)):
        return value
    return np.asarray(value) if np.ndim(value) else value.item()


def load(path: str | os.PathLike) -> tuple[Stats, dict[str, Any]]:
    """Read what :func:`save` wrote.

    Returns:
        The statistics, as NumPy arrays in 64 bits, and the progress that was noted with them.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for a file that holds something else.
    """
    try:
        with np.load(path) as file:
            header = json.loads(str(file["header"]))
            arrays = {name: file[name] for name in file.files if name != "header"}
        if header["version"] != _VERSION:
            raise ValueError(f"version {header['version']}")
        sites = []
        for held in header["sites"]:
            site = Site(**{k: _frozen(v) for k, v in held["site"].items()})
            sites.append(Held(site, _frozen(held["edges"]), _frozen(held["shapes"])))
        layout = Layout(tuple(sites), header["network"])
        held_arrays = {name: arrays[f"stats/{name}"] for name in layout.lengths}
        opaque = tuple(Opaque(**{k: _frozen(v) for k, v in part.items()}) for part in header["opaque"])
        stats = Stats(**held_arrays, layout=layout, opaque=opaque)
        _ = stats.calls, stats.network, [stats[name] for name in stats]  # of the length that the layout says
        if any(array.dtype.kind not in "if" for array in held_arrays.values()) or not isinstance(layout.network, int):
            raise TypeError("its statistics are no numbers")
        progress = header["progress"] | {
            name.removeprefix("progress/"): array for name, array in arrays.items() if name.startswith("progress/")
        }
    except FileNotFoundError:
        raise
    except _DAMAGES as error:
        why = "no .npz" if "allow_pickle" in str(error) else error
        raise ValueError(
            f"got {os.fspath(path)}, which holds no statistics of this version of relujax ({why}): expected a file "
            "that relujax.probes.save wrote, or a new name"
        ) from error
    return stats, progress


def _frozen(value: Any) -> Any:
    """JSON has lists where the records have tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
