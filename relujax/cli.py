"""The command line: ``relujax diagnose``."""

import argparse
import contextlib
import importlib
import importlib.util
import itertools
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import __version__
from .functions import STACKABLE

_DEFAULT_ACTIVATIONS = ("relu", "leaky_relu", "elu", "tanh", "sigmoid")
_EXAMPLES = """examples:
  relujax diagnose
      train 20-layer stacks of five activations on real digits and report how gradients travelled
  relujax diagnose --activation relu --activation prelu --depth 40 --clip-norm 5.0
  relujax diagnose --batch-norm --dropout 0.1 --out with-batch-norm.html
  relujax diagnose mypackage.models:make --data batch.npz --loss cross_entropy
      diagnose your own model: make() returns an NNX module, a Linen (module, variables) pair, or a function;
      batch.npz holds x, and y for a loss

exit codes: 0 done, 2 bad input, 130 interrupted
"""


class BadInput(Exception):
    """What a user can mend: one line, exit code 2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        args = _parser().parse_args(argv)
        return args.command(args)
    except BadInput as error:
        print(f"relujax: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("relujax: interrupted; nothing was written", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="relujax", description="How gradients travel through deep networks.")
    parser.add_argument("--version", action="version", version=f"relujax {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    diagnose = commands.add_parser(
        "diagnose",
        help="measure gradients over depth, and write a report",
        description="Train deep stacks on real images, or take your own model, and report how gradients travelled.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    diagnose.set_defaults(command=_diagnose)
    diagnose.add_argument("--out", type=Path, default=Path("relujax-report.html"), help="report to write (%(default)s)")
    diagnose.add_argument("--json", type=Path, help="also write every number as JSON")
    own = diagnose.add_argument_group("your own model")
    own.add_argument("model", nargs="?", metavar="package.module:factory", help="makes the model when called")
    own.add_argument("--data", type=Path, help=".npz with x, and y for a loss")
    own.add_argument("--loss", choices=("cross_entropy", "mse"), help="what to differentiate; nothing by default")
    own.add_argument("--resume", type=Path, metavar="FILE", help="keeps the sums, for a run that goes on if killed")
    stack = diagnose.add_argument_group("the stacks trained where no model is given")
    add = stack.add_argument
    add(
        "--activation",
        action="append",
        metavar="NAME",
        help=f"repeatable: {', '.join(STACKABLE)} (by default {', '.join(_DEFAULT_ACTIVATIONS)})",
    )
    add("--depth", type=int, metavar="N", help="hidden layers (20)")
    add("--width", type=int, metavar="N", help="units per hidden layer (64)")
    add("--steps", type=int, metavar="N", help="optimiser steps (600)")
    add("--optimizer", metavar="NAME", help="adam (default), adamw, sgd, momentum, rmsprop")
    add("--learning-rate", type=float, metavar="RATE", help="the optimiser's own by default")
    add("--clip-norm", type=float, metavar="NORM", help="clip the global gradient norm; 5.0 is common")
    add("--batch-norm", action="store_true", default=None, help="BatchNorm before each activation")
    add("--dropout", type=float, metavar="RATE", help="dropout after each activation (0)")
    add(
        "--init",
        metavar="NAME",
        help="auto (default: he_normal for rectifiers, lecun_normal for tanh and sigmoid), "
        "lecun_normal (Flax's default), he_normal, glorot_normal, orthogonal, gain_normal",
    )
    add("--seed", type=int, metavar="N", help="the same seed gives the same numbers (0)")
    return parser


_STACK_OPTIONS = (
    "depth",
    "width",
    "steps",
    "optimizer",
    "learning_rate",
    "clip_norm",
    "batch_norm",
    "dropout",
    "init",
    "seed",
)


def _diagnose(args: argparse.Namespace) -> int:
    _need_report_extra()
    from rich.console import Console
    from rich.markup import escape

    from .report import page, show, to_json

    files = {name: path for name in ("out", "json", "resume") if (path := getattr(args, name))}
    for one, other in itertools.combinations(files, 2):
        if files[one].resolve() == files[other].resolve():
            raise BadInput(f"got {files[one]} for both --{one} and --{other}: expected two files")
    for path in files.values():
        _check_writable(path)
    console = Console()
    runs = _own_model(args, console) if args.model else _stacks(args, console)
    show(runs, console)
    _write(args.out, page(runs))
    if args.json:
        _write(args.json, to_json(runs))
    console.print(f"\nreport: [bold]{escape(str(args.out))}[/bold]", highlight=False)
    return 0


def _need_report_extra() -> None:
    for name in ("flax", "optax", "plotly", "rich", "sklearn"):
        if importlib.util.find_spec(name) is None:
            raise BadInput(f"{name} is not installed: expected the report extra; pip install 'relujax[report]'")


def _stacks(args: argparse.Namespace, console: Any) -> list:
    from . import study

    for option in ("data", "loss", "resume"):
        if getattr(args, option) is not None:
            raise BadInput(f"got --{option} without a model: expected package.module:factory before it")
    options = {name: value for name in _STACK_OPTIONS if (value := getattr(args, name)) is not None}
    names = list(dict.fromkeys(args.activation or _DEFAULT_ACTIVATIONS))
    with _as_bad_input():
        settings = [study.Settings(name, **options) for name in names]
        data = study.digits(settings[0].seed)
    runs = []
    with _progress(console) as advance:
        for number, item in enumerate(settings):

            def report(what: str, share: float, number: int = number, name: str = item.activation) -> None:
                advance(f"{name}: {what}", (number + share) / len(settings))

            runs.append(study.run(item, data, report))
    return runs


def _own_model(args: argparse.Namespace, console: Any) -> list:
    from .report import as_run, diagnose

    for option in ("activation", *_STACK_OPTIONS):
        if getattr(args, option) is not None:
            raise BadInput(
                f"got --{option.replace('_', '-')} with a model of your own: expected it without a model only"
            )
    if args.data is None:
        raise BadInput("got a model but no data: expected --data batch.npz")
    model, data = _load_model(args.model), _load_data(args.data)
    if args.loss and len(data) < 2:
        raise BadInput(f"got --loss {args.loss} but no y in {args.data}: expected targets beside x")
    examples = len(data[0]) if data[0].ndim else 1
    with _as_bad_input(), _progress(console) as advance:

        def report(seen: int) -> None:
            advance("measuring", seen / examples)

        found = diagnose(model, data, loss=args.loss, title=args.model, progress=report, resume=args.resume)
        return [as_run(found)]


def _load_model(where: str) -> Any:
    name, colon, attribute = where.partition(":")
    if not (name and colon and attribute):
        raise BadInput(f"got model {where!r}: expected package.module:factory")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise BadInput(f"no module named {error.name!r}: expected {where!r} to name an importable module") from error
    except Exception as error:
        raise BadInput(f"importing {name} failed: {_one_line(error)}; expected a module that imports") from error
    factory = getattr(module, attribute, None)
    if factory is None:
        public = ", ".join(n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_"))
        raise BadInput(f"module {name} has no {attribute!r}: expected one of its callables ({public or 'it has none'})")
    if not callable(factory):
        raise BadInput(f"{where} is {type(factory).__name__}: expected a callable that makes the model")
    try:
        return factory()
    except Exception as error:
        raise BadInput(f"{where}() failed: {_one_line(error)}; expected a factory that takes no arguments") from error


def _load_data(path: Path) -> tuple:
    if not path.is_file():
        raise BadInput(f"no file {path}: expected an .npz with x, and y for a loss")
    if not zipfile.is_zipfile(path):
        raise BadInput(f"{path} is no .npz: expected arrays saved with numpy.savez, x, and y for a loss")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        if not all(isinstance(value, np.ndarray) for value in arrays.values()):
            raise ValueError("it holds files that are no arrays")
    except Exception as error:  # damaged files fail in a dozen ways: zlib, struct, memory, encryption
        why = "it holds pickled objects" if "allow_pickle" in str(error) else _one_line(error)
        raise BadInput(f"cannot read {path}: {why}; expected arrays of numbers saved with numpy.savez") from error
    if "x" not in arrays:
        raise BadInput(f"{path} holds {', '.join(arrays) or 'nothing'}: expected x, and y for a loss")
    return (arrays["x"], arrays["y"]) if "y" in arrays else (arrays["x"],)


@contextlib.contextmanager
def _as_bad_input() -> Iterator[None]:
    """The library's own ValueErrors and TypeErrors say what was got and expected: pass them on as one line."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise BadInput(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def _progress(console: Any) -> Iterator[Callable[[str, float], None]]:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description:<42}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(
        *columns,
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)


def _check_writable(path: Path) -> None:
    """Refuse before the work, not after it."""
    folder = path.parent
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no ordinary file"
        raise BadInput(f"cannot write {path}: it is {what}; expected a file name")
    if not folder.is_dir():
        raise BadInput(f"cannot write {path}: there is no folder {folder}; expected an existing one")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}; expected a folder that you may write to") from error


def _write(path: Path, text: str) -> None:
    """Write the whole file or none of it."""
    target = path.resolve()  # through a link, not in its place
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, target)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
