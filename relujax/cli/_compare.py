"""``relujax compare``: saved runs side by side."""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from ._common import BadInput, add_command, as_bad_input, check_files, console, need_extra, write, write_json

_EXAMPLES = """  relujax diagnose --json before.json
  relujax diagnose --batch-norm --json after.json
  relujax compare before.json after.json --out what-batch-norm-does.html
"""


def add(commands: Any) -> None:
    """The command with its options."""
    parser = add_command(
        commands,
        "compare",
        _compare,
        "put saved runs side by side",
        "Read what --json of relujax diagnose wrote, and tell how the other runs differ from the first.",
        _EXAMPLES,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="JSON that relujax diagnose wrote")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("relujax-comparison.html"),
        metavar="FILE",
        help="report to write (%(default)s)",
    )


def _compare(args: argparse.Namespace) -> int:
    need_extra("plotly")
    terminal = console(args)
    from rich.markup import escape

    from ..report import SCHEMA, as_json, compare, show

    check_files(out=args.out, json=args.json)
    runs = _named([(path, run) for path in args.files for run in _read(path)])
    if len(runs) < 2:
        raise BadInput(f"got one run in {args.files[0]}: expected two or more; name another file beside it")
    for file in args.files:
        if file.resolve() in {path.resolve() for path in (args.out, args.json) if path}:
            raise BadInput(f"got {file} to read and to write: expected another file for the comparison")
    with as_bad_input(), terminal.status("drawing"):
        found = compare(runs)
        page = found.to_html()
    write(args.out, page)
    write_json(args, as_json({"schema": SCHEMA, **found.to_dict()}))
    show(found.runs, terminal)
    terminal.print(f"\nreport: [bold]{escape(str(args.out))}[/bold]")
    return 0


def _named(read: list[tuple[Path, Any]]) -> list:
    """The runs; those of a name that others have too are told apart by their files."""
    often = Counter(run.name for _, run in read)
    return [replace(run, name=f"{run.name} ({path.stem})") if often[run.name] > 1 else run for path, run in read]


def _read(path: Path) -> list:
    from ..report import from_json

    if not path.is_file():
        raise BadInput(f"no file {path}: expected JSON that relujax diagnose --json wrote")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {error}; expected JSON that relujax diagnose --json wrote") from error
    try:
        with as_bad_input():
            return from_json(text)
    except BadInput as error:
        raise BadInput(f"cannot read {path}: {error}") from error
