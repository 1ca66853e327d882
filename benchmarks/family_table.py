"""The README's table of the family, made from the registry.

python -m benchmarks.family_table           writes it into README.md
python -m benchmarks.family_table --check   exits with 1 where README.md has another one
"""

import argparse
import functools
import sys

import jax
import jax.numpy as jnp

import relujax as rx

from ._common import readme_block, replace_readme_block

_MARK = "family: python -m benchmarks.family_table"
_KEEPS = {"nothing": "nothing", "output": "its output", "input": "its input"}


def table() -> str:
    """Markdown, one line per member."""
    lines = ["| function | formula | keeps for the backward pass | source |", "|---|---|---|---|"]
    for row in rx.ACTIVATIONS.values():
        formula = row.formula.replace("|", "\\|")
        keeps = (_KEEPS.get(row.residual) or _bits(row)) + ("" if row.forward_mode else "; reverse mode only")
        lines.append(f"| `rx.{row.name}` | {formula} | {keeps} | {row.reference} |")
    return "\n".join(lines) + "\n"


def _bits(row: rx.Activation) -> str:
    """How many an element takes, as measured; a random key that is kept beside them does not count."""
    x = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    number = 8 * rx.residual_bytes(functools.partial(row.fun, **row.example), x) // x.size
    return f"{number} bits" if number > 1 else "1 bit"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    if check:
        sys.exit(readme_block(_MARK) != table())
    replace_readme_block(_MARK, table())


if __name__ == "__main__":
    main()
