"""``relujax sites``: the activations of a model."""

import argparse
from dataclasses import asdict
from typing import Any

from ._common import add_command, as_bad_input, check_files, console, need_extra, write_json
from ._models import add_model, load_data, load_model

_EXAMPLES = """  relujax sites mymodel:make --data batch.npz
  relujax sites mymodel:make --data batch.npz --json -
"""


def add(commands: Any) -> None:
    """The command with its options."""
    parser = add_command(
        commands,
        "sites",
        _sites,
        "list the activations of your model",
        "List every activation of a model, found in its equations; nothing is computed.",
        _EXAMPLES,
    )
    add_model(parser)


def _sites(args: argparse.Namespace) -> int:
    need_extra("flax")
    terminal = console(args)
    from rich.table import Table
    from rich.text import Text

    from ..report import SCHEMA, as_json, model_sites

    check_files(json=args.json)
    data, model = load_data(args.data), load_model(args.model)
    with as_bad_input():
        found, opaque = model_sites(model, data[0])
    table = Table(box=None, pad_edge=False)
    table.add_column("site", style="bold", overflow="fold")
    table.add_column("kind", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    table.add_column("runs", justify="right")
    table.add_column("source", overflow="fold")
    for site in found:
        runs = "?" if site.executions is None else str(site.executions)
        table.add_row(
            Text(site.name), Text(site.kind), " × ".join(map(str, site.shape)), runs, Text(site.source or "–")
        )
    terminal.print(table)
    for part in opaque:
        terminal.print(Text(f"not looked into: {part.primitive} at {part.source or '–'}: {part.reason}", "yellow"))
    terminal.print(f"{len(found)} {'site' if len(found) == 1 else 'sites'}")
    numbers = {"sites": [asdict(site) for site in found], "opaque": [asdict(part) for part in opaque]}
    write_json(args, as_json({"schema": SCHEMA, **numbers}))
    return 0
