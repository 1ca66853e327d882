"""``relujax diagnose``: measure gradients over depth, and write a report."""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..functions import STACKABLE
from ._common import (
    BadInput,
    Interrupted,
    add_command,
    as_bad_input,
    check_files,
    console,
    need_extra,
    write,
    write_json,
)
from ._models import METAVAR, load_data, load_model

_DEFAULT_ACTIVATIONS = ("relu", "leaky_relu", "elu", "tanh", "sigmoid")
_EXAMPLES = """  relujax diagnose
      train 20-layer stacks of five activations on real digits, and report how
      gradients travelled
  relujax diagnose --activation relu --activation prelu --depth 40 --watch
  relujax diagnose --batch-norm --dropout 0.1 --json with-batch-norm.json
  relujax diagnose mymodel:make --data batch.npz --loss cross_entropy --strict
      diagnose your own model: make() in mymodel.py returns an NNX module, a
      Linen (module, variables) pair, or a function; batch.npz holds x, and y
      for a loss
"""
STACK_OPTIONS = (
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
#: Seconds between two versions of a report that is watched, and between two looks of its page at the file.
_WRITE_EVERY, _RELOAD_EVERY = 5, 10


def add(commands: Any) -> None:
    """The command with its options."""
    parser = add_command(
        commands,
        "diagnose",
        _diagnose,
        "measure gradients over depth, and write a report",
        "Train deep stacks on real images, or take your own model, and report how gradients travelled.",
        _EXAMPLES,
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("relujax-report.html"), metavar="FILE", help="report to write (%(default)s)")
    add("--watch", action="store_true", help="write the report while it runs; its page reloads itself until the end")
    add("--strict", action="store_true", help="end with exit code 3 where there is a critical finding")
    own = parser.add_argument_group("your own model")
    own.add_argument("model", nargs="?", metavar=METAVAR, help="makes the model when called")
    own.add_argument("--data", type=Path, metavar="FILE", help=".npz with x, and y for a loss")
    own.add_argument("--loss", choices=("cross_entropy", "mse"), help="what to differentiate; nothing by default")
    own.add_argument("--resume", type=Path, metavar="FILE", help="keeps the sums, for a run that goes on if killed")
    stack = parser.add_argument_group("the stacks trained where no model is given")
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


def _diagnose(args: argparse.Namespace) -> int:
    need_extra("flax", "optax", "plotly", "sklearn")
    terminal = console(args)
    from rich.markup import escape

    from ..report import show

    check_files(out=args.out, json=args.json, resume=args.resume)
    report = _Report(args, terminal)
    measure = _own_model if args.model else _stacks
    try:
        measure(args, terminal, report)
        report.write()
        show(report.runs, terminal)
    except KeyboardInterrupt as stop:
        left = report.interrupted()
        if not left:
            raise
        raise Interrupted(left) from stop
    terminal.print(f"\nreport: [bold]{escape(str(args.out))}[/bold]")
    critical = any(a.severity == "critical" for run in report.runs for d in run.stages.values() for a in d.alarms)
    return 3 if args.strict and critical else 0


class _Report:
    """The files: written at the end, when the user stops, and where the user watches also before.

    Attributes:
        runs: those that are done.
        waiting: names of those that are not begun.
        complete: whether all is measured.
    """

    def __init__(self, args: argparse.Namespace, terminal: Any) -> None:
        self.runs: list = []
        self.waiting: list[str] = []
        self.complete = False
        self._args, self._terminal, self._now = args, terminal, None
        self._written: float | None = None

    def look(self, run: Any) -> None:
        """Take the state of the run that goes on."""
        self._now = run
        if self._args.watch and (self._written is None or time.monotonic() - self._written >= _WRITE_EVERY):
            self._page([*self.runs, self._partial(run)], refresh=_RELOAD_EVERY)
            if self._written is None:
                from rich.markup import escape

                self._terminal.print(f"to watch: open [bold]{escape(str(self._args.out))}[/bold] in a browser")
            self._written = time.monotonic()

    def done(self, run: Any) -> None:
        """Take a run that has ended."""
        self.runs.append(run)
        self._now, self.complete = None, not self.waiting

    def write(self) -> None:
        """Write everything."""
        from ..report import to_json

        self._page(self.runs)
        write_json(self._args, to_json(self.runs))

    def interrupted(self) -> str:
        """Write what there is, and say what that is; a part says that it is one. Empty where there is nothing."""
        if self.complete:
            self.write()
            return f"all was measured, and is in {self._args.out}"
        if self._now is not None:
            self.runs.append(self._now)
        if self.runs:
            self.runs[-1] = self._partial(self.runs[-1], "interrupted")
            self.write()
        return f"what was measured until then is in {self._args.out}" if self.runs else ""

    def _partial(self, run: Any, *why: str) -> Any:
        """The run with a note that says why the report is not whole, and which runs it lacks."""
        from ..report import PARTIAL

        why += (f"not begun: {', '.join(self.waiting)}",) if self.waiting else ()
        return replace(run, notes=(*run.notes, f"{PARTIAL}{'; '.join(why)}")) if why else run

    def _page(self, runs: list, refresh: int | None = None) -> None:
        from ..report import page

        write(self._args.out, page(runs, refresh=refresh))


def _stacks(args: argparse.Namespace, terminal: Any, report: _Report) -> None:
    from .. import study
    from ..report import share_bar

    for option in ("data", "loss", "resume"):
        if getattr(args, option) is not None:
            raise BadInput(f"got --{option} without a model: expected {METAVAR} before it")
    options = {name: value for name in STACK_OPTIONS if (value := getattr(args, name)) is not None}
    names: list[str] = list(dict.fromkeys(args.activation or _DEFAULT_ACTIVATIONS))
    with as_bad_input():
        settings = [study.Settings(name, **options) for name in names]
        data = study.digits(settings[0].seed)
    with share_bar(terminal) as advance:
        for number, item in enumerate(settings):
            report.waiting = names[number + 1 :]
            tell = _share_of(advance, item.activation, number, len(settings))
            report.done(study.run(item, data, tell, watch=report.look))


def _share_of(advance: Callable, name: str, number: int, count: int) -> Callable[[str, float], None]:
    """Progress of one run as progress of all of them."""
    return lambda what, share: advance(f"{name}: {what}", (number + share) / count)


def _own_model(args: argparse.Namespace, terminal: Any, report: _Report) -> None:
    from ..report import as_run, diagnose, share_bar
    from ..study import EDGES

    for option in ("activation", *STACK_OPTIONS):
        if getattr(args, option) is not None:
            raise BadInput(
                f"got --{option.replace('_', '-')} with a model of your own: expected it without a model only"
            )
    if args.data is None:
        raise BadInput("got a model but no data: expected --data batch.npz")
    model, data = load_model(args.model), load_data(args.data)
    if args.loss and len(data) < 2:
        raise BadInput(f"got --loss {args.loss} but no y in {args.data}: expected targets beside x")
    examples = len(data[0]) if data[0].ndim else 1
    with as_bad_input(), share_bar(terminal) as advance:
        found = diagnose(
            model,
            data,
            loss=args.loss,
            edges=EDGES,
            title=args.model,
            progress=lambda seen: advance("measuring", seen / examples),
            resume=args.resume,
            watch=lambda found: report.look(as_run(found)),
        )
        report.done(as_run(found))
