"""The README's table of the family, made from the registry.

python -m benchmarks.family_table           writes it into README.md
python -m benchmarks.family_table --check   exits with 1 where README.md has another one
"""

import argparse
import sys

import relujax as rx

from ._common import readme_block, replace_readme_block

_MARK = "family: python -m benchmarks.family_table"
_KEEPS = {"nothing": "nothing", "bits": "1 bit", "output": "its output", "input": "its input"}


def table() -> str:
    """Markdown, one line per member."""
    lines = ["| function | formula | keeps for the backward pass | source |", "|---|---|---|---|"]
    for row in rx.ACTIVATIONS.values():
        formula = row.formula.replace("|", "\\|")
        keeps = _KEEPS[row.residual] + ("" if row.forward_mode else "; reverse mode only")
        lines.append(f"| `rx.{row.name}` | {formula} | {keeps} | {row.reference} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    if check:
        sys.exit(readme_block(_MARK) != table())
    replace_readme_block(_MARK, table())


if __name__ == "__main__":
    main()
