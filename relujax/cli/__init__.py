"""The command line, ``relujax``: one file per command; what they share is in ``_common`` and ``_models``."""

from ._interrupts import leave as leave
from ._main import main as main
