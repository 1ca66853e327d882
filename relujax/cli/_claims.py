"""``relujax claims``: what everybody says of ReLU, measured."""

import argparse
from pathlib import Path
from typing import Any

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

_EXAMPLES = """  relujax claims                     all of them, some minutes on two cores
  relujax claims --list              their names
  relujax claims sparse dead_never_return --seeds 10 --out two.html
"""


def add(commands: Any) -> None:
    """The command with its options."""
    parser = add_command(
        commands,
        "claims",
        _claims,
        "measure what everybody says of ReLU",
        "Test statements about ReLU by experiments, with error bars; the verdicts follow from the numbers.",
        _EXAMPLES,
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="CLAIM", help="which ones; all by default")
    add("--list", action="store_true", help="print names and statements, and measure nothing")
    add("--seeds", type=int, default=8, metavar="N", help="networks of each kind, 5 or more (%(default)s)")
    add("--quick", action="store_true", help="tiny networks, to see that it runs; the verdicts say nothing")
    add("--out", type=Path, default=Path("relujax-claims.html"), metavar="FILE", help="page to write (%(default)s)")


def _claims(args: argparse.Namespace) -> int:
    need_extra("flax", "optax", "sklearn")
    terminal = console(args)
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from .. import claims
    from ..report import as_json, share_bar

    if args.list and args.names:
        raise BadInput(f"got --list with {' '.join(args.names)}: expected names to test, or --list alone")
    if args.list:
        table = Table("claim", "statement", box=None, pad_edge=False)
        for name, claim in claims.CLAIMS.items():
            table.add_row(Text(name), Text(claim.statement))
        terminal.print(table)
        statements = {name: claim.statement for name, claim in claims.CLAIMS.items()}
        write_json(args, as_json({"schema": claims.SCHEMA, "claims": statements}))
        return 0

    check_files(out=args.out, json=args.json)
    asked = args.names or claims.names()
    found: list = []

    def finish() -> claims.Findings:
        rest = tuple(name for name in asked if name not in {one.name for one in found})
        findings = claims.Findings(tuple(found), unfinished=rest, quick=args.quick)
        write(args.out, findings.to_html())
        write_json(args, findings.to_json())
        return findings

    try:
        with as_bad_input(), share_bar(terminal) as advance:
            for finding in claims.each(args.names or None, seeds=args.seeds, quick=args.quick, progress=advance):
                found.append(finding)
                claims.show_one(finding, terminal)
        whole = finish()
    except KeyboardInterrupt as stop:
        if not found:
            raise
        raise Interrupted(f"the {finish().counted} tested until then: {args.out}") from stop
    terminal.print(Text(whole.headline(), "bold"))
    terminal.print(f"\nreport: [bold]{escape(str(args.out))}[/bold]")
    return 0
