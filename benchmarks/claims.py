"""What everybody says of ReLU, measured: the verdicts of ``relujax claims``, recorded, and the README's table of them.

python -m benchmarks.claims           measures (under three minutes on two quiet cores), and writes README.md's table
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


def table(found: dict[str, Any]) -> str:
    """Markdown, one line per claim: the verdict, what was measured, and the effect under each condition."""
    lines = ["| what is said, and the verdict | measured, and what is claimed of it | effects |", "|---|---|---|"]
    for one in found["findings"]:
        verdict = "holds only in bold" if one["verdict"].startswith("holds only when ") else one["verdict"]
        effects = "; ".join(
            _MARKS[condition["outcome"]].format(f"{condition['name']}: {_number(condition['effect'])}")
            for condition in one["conditions"]
        )
        claimed = f"{one['claimed']} ({one['reason']})" if one["reason"] else one["claimed"]
        lines.append(f"| {one['statement']}: *{verdict}* | {one['measured']}: {claimed} | {effects} |")
    return "\n".join(lines) + "\n"


def _number(effect: Any) -> str:
    """An effect that could not be measured is a string in the record."""
    return f"{effect:.2g}" if isinstance(effect, float) else str(effect)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        record = json.loads(_RECORD.read_text())
        sys.exit(record["schema"] != rx.claims.SCHEMA or readme_block(_MARK) != table(record))
    found = rx.claims.run(progress=True)
    print(found)
    text = json.dumps({"machine": machine(), **json.loads(found.to_json())}, indent=1)
    _RECORD.write_text(text + "\n")
    replace_readme_block(_MARK, table(json.loads(text)))


if __name__ == "__main__":
    main()
