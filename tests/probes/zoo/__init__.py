"""Models as people write them from the papers, each with the activations counted by hand."""

from . import (
    agents,
    comparisons,
    equinox_models,
    fields,
    generative,
    graphs,
    haiku_models,
    inner_gradients,
    linen_images,
    linen_sequences,
    losses,
    nnx_images,
    nnx_sequences,
    plain_forms,
    plain_models,
    recognition,
    recurrent,
    scientific,
    sequences,
    vocabulary,
)
from .entry import Entry

MODULES = (
    nnx_images,
    nnx_sequences,
    linen_images,
    linen_sequences,
    haiku_models,
    inner_gradients,
    equinox_models,
    plain_forms,
    plain_models,
    recurrent,
    scientific,
    losses,
    generative,
    sequences,
    agents,
    graphs,
    fields,
    recognition,
    vocabulary,
    comparisons,
)
ENTRIES = tuple(entry for module in MODULES for entry in vars(module).values() if isinstance(entry, Entry))
