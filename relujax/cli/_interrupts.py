"""That no Ctrl-C is lost."""

import _thread
import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

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
