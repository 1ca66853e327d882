"""Models as people write them from the papers, each with the activations counted by hand."""

from . import (
    equinox_models,
    haiku_models,
    linen_images,
    linen_sequences,
    losses,
    nnx_images,
    nnx_sequences,
    plain_forms,
    plain_models,
)
from .entry import Entry

MODULES = (
    nnx_images,
    nnx_sequences,
    linen_images,
    linen_sequences,
    haiku_models,
    equinox_models,
    plain_forms,
    plain_models,
    losses,
)
ENTRIES = tuple(entry for module in MODULES for entry in vars(module).values() if isinstance(entry, Entry))
