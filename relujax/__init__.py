"""How gradients travel through deep JAX networks: see it, measure it, mend it."""

import importlib
from typing import TYPE_CHECKING, Any

from .functions import *
from .gradients import (
    FewBitTable as FewBitTable,
    few_bit as few_bit,
    few_bit_table as few_bit_table,
    rectifier as rectifier,
    residual_bytes as residual_bytes,
    surrogate as surrogate,
)
from .health import (
    Alarm as Alarm,
    Summary as Summary,
    alarms as alarms,
    summarize as summarize,
)
from .probes import (
    Site as Site,
    Stats as Stats,
    lean as lean,
    merge as merge,
    probe as probe,
    probe_grad as probe_grad,
    sites as sites,
    swap as swap,
    watch as watch,
)
from .spectra import (
    Scan as Scan,
    layer_spectra as layer_spectra,
    spectral_density as spectral_density,
    spectrum as spectrum,
    stack_spectrum as stack_spectrum,
)

if TYPE_CHECKING:
    from . import claims as claims, init as init, optim as optim, report as report, theory as theory
    from .report import Diagnosis as Diagnosis, diagnose as diagnose


_MODULES = ("claims", "init", "linen", "nnx", "optim", "report", "theory", "torch")
_OF_REPORT = ("Diagnosis", "diagnose")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_OF_REPORT, "__version__"})


def __getattr__(name: str) -> Any:
    # Read when asked for: half of the import time is theirs, and nnx and linen need the flax extra. That torch is no
    # name of the package before keeps it out of star imports.
    if name in _MODULES:
        return importlib.import_module(f"relujax.{name}")
    if name in _OF_REPORT:
        return getattr(importlib.import_module("relujax.report"), name)
    if name == "__version__":  # likewise: importlib.metadata takes longer to import than relujax
        from importlib.metadata import version

        return version("relujax")
    raise AttributeError(f"module 'relujax' has no attribute {name!r}")
