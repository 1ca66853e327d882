"""``relujax list``: the activations of the registry."""

import argparse
import difflib
from typing import Any

from ..functions import ACTIVATIONS
from ._common import BadInput, add_command, check_files, console, write_json

_EXAMPLES = """  relujax list                 all of them
  relujax list relu            those with "relu" in their name
  relujax list --json -        as JSON, for another program
"""


def add(commands: Any) -> None:
    """The command with its options."""
    parser = add_command(
        commands,
        "list",
        _list,
        "list the activations",
        "List the activations of the registry: formula, what the backward pass keeps, Flax module, source.",
        _EXAMPLES,
    )
    parser.add_argument("part", nargs="?", default="", metavar="PART", help="only those with this in their name")


def _list(args: argparse.Namespace) -> int:
    terminal = console(args)
    from rich.table import Table
    from rich.text import Text

    from ..report import SCHEMA, as_json

    check_files(json=args.json)
    rows = {name: row for name, row in ACTIVATIONS.items() if args.part in name}
    if not rows:
        near = ", ".join(difflib.get_close_matches(args.part, ACTIVATIONS, n=3))
        raise BadInput(f"no activation has {args.part!r} in its name: expected {near or 'one of relujax list'}")
    table = Table(box=None, pad_edge=False)
    table.add_column("function", style="bold", no_wrap=True)
    for column in ("formula", "keeps", "Flax module", "source"):
        table.add_column(column, overflow="fold")
    for name, row in rows.items():
        keeps = row.residual + ("" if row.forward_mode else "*")
        table.add_row(Text(name), *map(Text, (row.formula, keeps, row.module, row.reference)))
    if not all(row.forward_mode for row in rows.values()):
        table.caption, table.caption_justify = "* has no forward mode", "left"
    terminal.print(table)
    write_json(args, as_json({"schema": SCHEMA, "activations": [_numbers(row) for row in rows.values()]}))
    return 0


def _numbers(row: Any) -> dict[str, Any]:
    return {
        "name": row.name,
        "kin": row.kin,
        "formula": row.formula,
        "module": row.module,
        "hyperparameters": list(row.hyperparameters),
        "kinks": list(row.kinks),
        "residual": row.residual,
        "forward_mode": row.forward_mode,
        "monotone": row.monotone,
        "steepest": row.steepest,
        "reference": row.reference,
    }
