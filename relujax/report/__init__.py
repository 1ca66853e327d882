"""The verb that measures a model over data, and the forms that people look at. Drawing needs the ``report`` extra."""

import importlib
from typing import Any

from ._compare import Compared as Compared, Comparison as Comparison, compare as compare
from ._diagnose import diagnose as diagnose
from ._diagnosis import SCHEMA as SCHEMA, Diagnosis as Diagnosis, as_json as as_json, frame as frame
from ._document import document as document
from ._figures import overview as overview
from ._progress import share_bar as share_bar
from ._read import from_json as from_json
from ._run import PARTIAL as PARTIAL, History as History, Run as Run, as_run as as_run, to_json as to_json
from ._sites import model_sites as model_sites
from ._spectra import model_spectra as model_spectra


def __getattr__(name: str) -> Any:
    if name in ("page", "show"):  # read when asked for: they need the report extra
        module = importlib.import_module({"page": "._html", "show": "._terminal"}[name], __name__)
        return getattr(module, name)
    raise AttributeError(f"module 'relujax.report' has no attribute {name!r}")
