"""That no Ctrl-C is lost, and that a process ends after one as it says."""

import _thread
import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

#: The exit code after Ctrl-C.
EXIT_INTERRUPTED = 130
#: Seconds until it is told again: by then the callback is left.
_SOON = 0.02


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Raise a ``KeyboardInterrupt`` again that came where Python only prints exceptions, and goes on.

    Such places are ``__del__`` and callbacks of the garbage collector, of which jax has one: after the import of a
    large library, during which signals wait, it is often the first Python code that runs.
    """
    usual = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(_SOON, _thread.interrupt_main).start()
        else:
            usual(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = usual


def leave(code: int) -> int:
    """The exit code of a process; after an interrupt it ends at once.

    A step of training may still run in a thread of XLA's, under which the interpreter must not be taken down.

    >>> leave(0)
    0
    """
    if code == EXIT_INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code
