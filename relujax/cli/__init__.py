"""The command line, ``relujax``: one file per command; what they share is in ``_common`` and ``_models``."""

from ._main import main as main
