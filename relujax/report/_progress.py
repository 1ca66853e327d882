"""How far a measurement is: a bar, or a function of one's own."""

import contextlib
from collections.abc import Callable, Iterator

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
    try:
        from rich.progress import Progress as Bar, SpinnerColumn, TextColumn, TimeElapsedColumn
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "got progress=True, and rich is not installed: expected the report extra; pip install 'relujax[report]'"
        ) from error
    # How many there will be is not known: an iterable has no length.
    with Bar(SpinnerColumn(), TextColumn("measured {task.completed:,.0f} examples"), TimeElapsedColumn()) as bar:
        task = bar.add_task("measuring", total=None)
        yield lambda seen: bar.update(task, completed=seen)
