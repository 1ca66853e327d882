"""The parser, and what ends each command: an exit code, and one line where something is wrong."""

import argparse
import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn, TextIO

from .. import __version__
from . import _claims, _compare, _completion, _diagnose, _list, _sites, _spectrum
from ._common import EXIT_CODES, BadInput, Interrupted, prints_json
from ._interrupts import EXIT_INTERRUPTED, heeded

_COMMANDS = (_diagnose, _compare, _claims, _list, _sites, _spectrum, _completion)
_EXAMPLES = """examples:
  relujax diagnose                               train stacks and report on them
  relujax diagnose mymodel:make --data batch.npz --loss cross_entropy
  relujax compare before.json after.json         what differs between saved runs
  relujax claims                                 what is said of ReLU, measured
  relujax list                                   the activations of this library
  relujax sites mymodel:make --data batch.npz    the activations of your model
  relujax spectrum mymodel:make --data batch.npz --layers

"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words after ``relujax``; by default those of this process.

    Returns:
        The exit code: 0 done, 2 bad input, 3 a critical finding under ``--strict``, 130 interrupted. What fails in
        a model or in relujax itself is raised, and makes it 1.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of few letters gets question marks, and no traceback
            stream.reconfigure(errors="replace")
    try:
        args = parser().parse_args(argv)
        args.stdout = sys.stdout
        # What a model prints as it is made must not stand in the JSON.
        with heeded(), contextlib.redirect_stdout(sys.stderr) if prints_json(args) else contextlib.nullcontext():
            return args.command(args)
    except BadInput as error:
        print(f"relujax: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno != errno.ENOSPC or not _is_stuck(sys.stdout):
            raise
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # for what is left of the output
        print(f"relujax: cannot write the output: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        left = stop.left if isinstance(stop, Interrupted) else "nothing was written"
        print(f"relujax: interrupted; {left}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _is_stuck(stream: TextIO) -> bool:
    """Whether not even a line break can be written to a stream: then it was that one which failed, and no file."""
    try:
        print(file=stream, flush=True)
    except OSError:
        return True
    return False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    whole = _Parser(
        prog="relujax",
        description="How gradients travel through deep networks.",
        epilog=_EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"relujax {__version__}")
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return whole
