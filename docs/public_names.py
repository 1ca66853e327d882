"""Which names are public: the API pages list them, and tests/test_layers.py asks each to explain itself."""

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

#: The public modules, and where else than in itself or below the names of one are made.
MODULES: dict[str, tuple[str, ...]] = {
    "relujax": (),
    "relujax.functions": (),
    "relujax.gradients": (),
    "relujax.probes": (),
    "relujax.spectra": (),
    "relujax.theory": (),
    "relujax.health": (),
    "relujax.init": (),
    "relujax.optim": (),
    "relujax.torch": (),
    "relujax.nnx": ("relujax._nnx_training",),
    "relujax.linen": (),
    "relujax.report": (),
    "relujax.study": (),
    "relujax.claims": (),
    "relujax.cli": (),
}


def public_names(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Functions and classes that a module shows and that were made in it; not what it imports from elsewhere."""
    homes = (module.__name__, *MODULES[module.__name__])
    for name, value in vars(module).items():
        made_in = getattr(value, "__module__", None) or ""
        made_here = any(made_in == home or made_in.startswith(f"{home}.") for home in homes)
        if not name.startswith("_") and made_here and not inspect.ismodule(value):
            yield name, value
