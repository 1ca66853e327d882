"""How far a measurement is: a bar, or a function of one's own."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

Progress = Callable[[int], None]


@contextlib.contextmanager
def showing(progress: Progress | bool) -> Iterator[Progress]:
    """Yields what is to be called with the number of examples done so far.

    Raises:
        ModuleNotFoundError: for a bar without the ``report`` extra.
    """
    if progress is not True:
        yield progress or (lambda seen: None)
        return
    rich = _rich()
    # How many there will be is not known: an iterable has no length.
    columns = (rich.SpinnerColumn(), rich.TextColumn("measured {task.completed:,.0f} examples"))
    with rich.Progress(*columns, rich.TimeElapsedColumn()) as bar:
        task = bar.add_task("measuring", total=None)
        yield lambda seen: bar.update(task, completed=seen)


@contextlib.contextmanager
def share_bar(console: Any = None) -> Iterator[Callable[[str, float], None]]:
    """A bar with an estimate of the time left; yields ``advance(what, share of the whole)``.

    Args:
        console: rich's, where it is drawn if that is a terminal and not quiet; by default the one of this process.

    Raises:
        ModuleNotFoundError: without the ``report`` extra.

    >>> with share_bar() as advance:  # gone at the end
    ...     advance("measuring", 0.5)
    """
    rich = _rich()
    columns = (rich.TextColumn("{task.description:<42}"), rich.BarColumn(), rich.TaskProgressColumn())
    times = (rich.TimeElapsedColumn(), rich.TextColumn("left"), rich.TimeRemainingColumn())
    bar = rich.Progress(*columns, *times, console=console, transient=True)
    bar.disable = bar.console.quiet or not bar.console.is_terminal
    with bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)


def _rich() -> Any:
    try:
        import rich.progress
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "got progress=True, and rich is not installed: expected the report extra; pip install 'relujax[report]'"
        ) from error
    return rich.progress
