"""What the commands share: errors of one line, files that are written whole, progress, the options that all have."""

import argparse
import contextlib
import importlib.util
import itertools
import os
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

EXIT_CODES = """exit codes: 0 done, 1 the model or relujax failed (the traceback says where),
2 bad input, 3 a critical finding under --strict, 130 interrupted
"""


class BadInput(Exception):
    """What a user can mend: one line, exit code 2."""


class Interrupted(KeyboardInterrupt):
    """Stopped by the user after something was written.

    Args:
        left: what there is now, for the line that says so.
    """

    def __init__(self, left: str) -> None:
        super().__init__(left)
        self.left = left


def add_command(
    commands: Any, name: str, command: Callable[[argparse.Namespace], int], help_: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """A parser for one command, with the options that every command has.

    Args:
        commands: what ``add_subparsers`` gave.
        name: the word that calls it.
        command: what runs; returns the exit code.
        help_: a few words, for the list of commands.
        description: a sentence or two.
        examples: lines for the end of its help.
    """
    made = commands.add_parser(
        name,
        help=help_,
        description=textwrap.fill(description, 78),
        epilog=f"examples:\n{examples}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.set_defaults(command=command)
    made.add_argument("--json", type=Path, metavar="FILE", help="also write every number as JSON; - prints it alone")
    made.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return made


def console(args: argparse.Namespace) -> Any:
    """Where a command prints: nowhere where it is to be quiet, or where its JSON is what is printed."""
    need_extra("rich")
    from rich.console import Console

    # Of a file nobody knows the width; where it is narrow, rows break that people search for.
    known = (sys.stdout is not None and sys.stdout.isatty()) or os.environ.get("COLUMNS", "").isdigit()
    width = None if known else 120
    return Console(quiet=args.quiet or prints_json(args), highlight=False, width=width)


def prints_json(args: argparse.Namespace) -> bool:
    """Whether the JSON goes to standard output."""
    return str(getattr(args, "json", None)) == "-"


def write_json(args: argparse.Namespace, text: str) -> None:
    """Write the numbers where the user asked for them, if at all."""
    if prints_json(args):
        args.stdout.write(text + "\n")
    elif args.json:
        write(args.json, text)


def need_extra(*modules: str) -> None:
    """Refuse before the work where the ``report`` extra is not installed."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise BadInput(f"{name} is not installed: expected the report extra; pip install 'relujax[report]'")


@contextlib.contextmanager
def as_bad_input() -> Iterator[None]:
    """The library's own ValueErrors and TypeErrors say what was got and expected: pass them on as one line."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise BadInput(one_line(error)) from error


def one_line(error: BaseException) -> str:
    """The message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


def check_files(**files: Path | None) -> None:
    """Refuse, before the work, files that cannot be written and one file under two options."""
    given = {name: path for name, path in files.items() if path and (name, str(path)) != ("json", "-")}
    for name, path in given.items():
        if str(path) == "-":
            raise BadInput(f"got --{name} -: expected a file; only --json can be printed")
    for one, other in itertools.combinations(given, 2):
        if given[one].resolve() == given[other].resolve():
            raise BadInput(f"got {given[one]} for both --{one} and --{other}: expected two files")
    for path in given.values():
        _check_writable(path)


def _check_writable(path: Path) -> None:
    folder = path.parent
    try:
        taken = path.exists() and not path.is_file()
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}; expected another file name") from error
    if taken:
        what = "a folder" if path.is_dir() else "no ordinary file"
        raise BadInput(f"cannot write {path}: it is {what}; expected a file name")
    if not folder.is_dir():
        raise BadInput(f"cannot write {path}: there is no folder {folder}; expected an existing one")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}; expected a folder that you may write to") from error


def write(path: Path, text: str) -> None:
    """Write the whole file or none of it."""
    target = path.resolve()  # through a link, not in its place
    part = target.with_name(f".relujax-{os.getpid()}.part")  # not longer where the name is as long as can be
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, target)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
