"""``relujax spectrum``: singular values of a model's Jacobian."""

import argparse
from typing import Any

import numpy as np

from ._common import add_command, as_bad_input, check_files, console, need_extra, write_json
from ._models import add_model, load_data, load_model

_EXAMPLES = """  relujax spectrum mymodel:make --data batch.npz
  relujax spectrum mymodel:make --data batch.npz --layers --examples 32
  relujax spectrum mymodel:make --data images.npz --num 10    needs no matrix
"""


def add(commands: Any) -> None:
    """The command with its options."""
    parser = add_command(
        commands,
        "spectrum",
        _spectrum,
        "singular values of your model's Jacobian",
        "Singular values of the Jacobian of a model's output in its input, example by example.",
        _EXAMPLES,
    )
    add_model(parser)
    add = parser.add_argument
    add("--examples", type=int, default=8, metavar="N", help="of how many examples, the first ones (%(default)s)")
    add("--num", type=int, metavar="N", help="only so many values, the largest; needs no matrix")
    add("--layers", action="store_true", help="also from the input to each activation")


def _spectrum(args: argparse.Namespace) -> int:
    need_extra("flax")
    terminal = console(args)
    from rich.table import Table
    from rich.text import Text

    from ..report import SCHEMA, as_json, model_spectra, share_bar
    from ..spectra import effective_rank, stable_rank

    check_files(json=args.json)
    data, model = load_data(args.data), load_model(args.model)
    with as_bad_input(), share_bar(terminal) as advance:
        found = model_spectra(
            model,
            data[0],
            examples=args.examples,
            num=args.num,
            layers=args.layers,
            progress=lambda done: advance("decomposing Jacobians", done / min(args.examples, len(data[0]))),
        )
    measures = {"stable rank": stable_rank}
    if args.num is None:
        measures["effective rank"] = effective_rank
    table = Table(box=None, pad_edge=False)
    table.add_column("from the input to", style="bold", overflow="fold")
    for column in ("values", "largest", "median", "smallest", *measures):
        table.add_column(column, justify="right", no_wrap=True)
    # The output last, as it comes last.
    for name in [*(name for name in found if name != "output"), "output"]:
        values = found[name]
        cells = [values[:, 0], np.median(values, axis=1), values[:, -1]]
        cells += [np.asarray(measure(values)) for measure in measures.values()]
        table.add_row(Text(name), str(values.shape[1]), *(f"{np.median(cell):.3g}" for cell in cells))
    table.caption = f"medians over {len(found['output'])} examples"
    table.caption_justify = "left"
    terminal.print(table)
    write_json(args, as_json({"schema": SCHEMA, "spectra": {n: v.tolist() for n, v in found.items()}}))
    return 0
