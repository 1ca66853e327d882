"""What every benchmark shares: the machine's name, the JSON beside the table, and claims that fail loudly."""

import functools
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import relujax

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"


def machine() -> dict[str, Any]:
    """Versions and hardware, for the JSON."""
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
        "relujax": relujax.__version__,
        "device": jax.devices()[0].device_kind,
        "cores": os.cpu_count(),
        "platform": platform.platform(),
    }


def device_slug(device: Any) -> str:
    """Its kind, as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", device.device_kind.lower()).strip("-")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def finish(
    name: str, rows: Sequence[dict[str, Any]], claims: dict[str, bool], title: str, versioned: bool = True
) -> None:
    """Print the rows and the claims, write them as JSON, and exit with 1 where a claim does not hold."""
    table = Table(
        title=f"{title} (jax {jax.__version__}, {jax.devices()[0].device_kind})", title_justify="left", box=None
    )
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console = Console(width=120)
    console.print(table)
    shown = claims if len(claims) <= 12 else {claim: holds for claim, holds in claims.items() if not holds}
    for claim, holds in shown.items():
        console.print(f"{'holds' if holds else 'DOES NOT HOLD'}: {claim}", highlight=False)
    if len(shown) < len(claims):
        console.print(f"holds: {len(claims) - len(shown)} claims, one per row")
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "rows": list(rows), "claims": claims}, indent=1)
    version = f"-jax{'.'.join(jax.__version__.split('.')[:2])}" if versioned else ""
    (RESULTS / f"{name}{version}.json").write_text(text + "\n")
    if not all(claims.values()):
        sys.exit(1)


def readme_block(mark: str) -> str:
    """What README.md holds between ``<!-- mark -->`` and the end of that block."""
    return _around(mark)[1]


def replace_readme_block(mark: str, text: str) -> None:
    """Put another text there."""
    before, _, after = _around(mark)
    README.write_text(before + text + after, encoding="utf-8")


def _around(mark: str) -> tuple[str, str, str]:
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark.split(':')[0]} -->\n"
    before, rest = README.read_text(encoding="utf-8").split(begin)
    block, after = rest.split(end)
    return before + begin, block, end + after


def members() -> dict[str, Callable]:
    """Every elementwise member of the registry, with the arguments bound that it cannot do without."""
    rows = {name: row for name, row in relujax.ACTIVATIONS.items() if row.elementwise}
    return {name: functools.partial(row.fun, **row.example) if row.example else row.fun for name, row in rows.items()}


def peer(name: str) -> Callable | None:
    """The function of that name in ``jax.nn``, where there is one."""
    return getattr(jax.nn, name, None)
