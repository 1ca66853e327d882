"""The verb that measures a model over data, and the forms that people look at. Drawing needs the ``report`` extra."""

from ._diagnose import diagnose as diagnose
from ._diagnosis import Diagnosis as Diagnosis
from ._figures import overview as overview
from ._run import History as History, Run as Run, as_run as as_run, to_json as to_json
