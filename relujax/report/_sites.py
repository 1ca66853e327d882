"""The activations of a model as people hold it: a Flax module, a pair, a function of a batch."""

from typing import Any

import jax
import numpy as np

from ..probes import Opaque, Site, probe, sites
from ._batches import as_batches
from ._models import output_shape, read_model


def model_sites(model: Any, x: Any, *, params: Any = None) -> tuple[tuple[Site, ...], tuple[Opaque, ...]]:
    """Every activation of a model, and what could not be looked into; traced, not run.

    Args:
        model: as for :func:`relujax.diagnose`.
        x: inputs ``(examples, ...)``.
        params: parameters of a plain function.

    Returns:
        The sites as :func:`relujax.sites` gives them, and the parts that are opaque to the probe.

    Raises:
        ValueError: for inputs that the model cannot be called on.

    >>> found, opaque = model_sites(lambda x: jax.nn.relu(x), np.ones((4, 2), np.float32))
    >>> [(site.name, site.kind, site.shape) for site in found], opaque
    ([('relu', 'relu', (4, 2))], ())
    """
    read = read_model(model, params)
    batch, _ = next(iter(as_batches(x, max(1, len(x) if np.ndim(x) else 1))))
    output_shape(read, batch)
    found = sites(read.apply, read.params, read.rest, batch)
    stats = jax.eval_shape(probe(read.apply, batch=len(batch)), read.params, read.rest, batch)[1]
    return found, stats.opaque
