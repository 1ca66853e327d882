"""What everybody says of ReLU, measured: the verdicts of ``relujax claims``, recorded, and the README's table of them.

python -m benchmarks.claims           measures (two minutes on two quiet cores), and writes the table into README.md
python -m benchmarks.claims --check   exits with 1 where README.md has another table than the recorded numbers give
"""

import argparse
import json
import sys
from typing import Any

import relujax as rx

from ._common import RESULTS, machine, readme_block, replace_readme_block

_RECORD = RESULTS / "claims.json"
_MARK = "claims: python -m benchmarks.claims"

_MARKS = {"holds": "**{}**", "fails": "{}", "undecided": "{} (?)"}
#: Below this the experiments write 0 in a form whose logarithm is finite.
_ZERO = 1e-29


def table(found: dict[str, Any]) -> str:
    """Markdown, one line per claim: the verdict, what was measured, and the effect under each condition."""
    lines = ["| what is said, and the verdict | measured, and what is claimed of it | effects |", "|---|---|---|"]
    for one in found["findings"]:
        kind = "holds only" if one["verdict"].startswith("holds only when ") else one["verdict"]
        verdict = kind if kind == one["verdict"] else f"{kind} in bold"
        effects = "; ".join(
            _MARKS[condition["outcome"]].format(f"{condition['name']}: {_number(condition['effect'])}")
            for condition in one["conditions"]
        )
        lines.append(f"| {one['statement']}: *{verdict}* | {one['measured']}: {one['claimed']} | {effects} |")
    return "\n".join(lines) + "\n"


def _number(effect: Any) -> str:
    """An effect that could not be measured is a string in the record."""
    return f"{0 if abs(effect) < _ZERO else effect:.2g}" if isinstance(effect, float) else str(effect)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(readme_block(_MARK) != table(json.loads(_RECORD.read_text())))
    found = rx.claims.run(progress=True)
    print(found)
    text = json.dumps({"machine": machine(), **json.loads(found.to_json())}, indent=1)
    _RECORD.write_text(text + "\n")
    replace_readme_block(_MARK, table(json.loads(text)))


if __name__ == "__main__":
    main()
