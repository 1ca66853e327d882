"""The verb that measures a model over data, and the forms that people look at. Drawing needs the ``report`` extra."""

from ._diagnose import diagnose as diagnose
from ._diagnosis import Diagnosis as Diagnosis
from ._run import History as History
from ._run import Run as Run
from ._run import as_run as as_run
from ._run import to_json as to_json
