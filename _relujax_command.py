"""The command ``relujax``: outside of the package, so that Ctrl-C while that is imported is no traceback either."""

import os
import signal
import sys
from typing import NoReturn


def _stop(*_: object) -> NoReturn:
    print("relujax: interrupted; nothing was written", file=sys.stderr, flush=True)
    os._exit(130)  # at once: a module that is half imported may catch an exception, or print it


def main() -> int:
    """Import the command line and run it; the exit code."""
    usual = signal.getsignal(signal.SIGINT)
    heeded = usual is signal.default_int_handler  # it is not where a shell started this in the background
    if heeded:
        signal.signal(signal.SIGINT, _stop)
    from relujax.cli import leave, main as command_line

    if heeded:
        signal.signal(signal.SIGINT, usual)
    return leave(command_line())
