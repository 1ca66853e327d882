"""What every benchmark shares: the machine's name, the JSON beside the table, and claims that fail loudly."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import relujax

RESULTS = Path(__file__).parent / "results"


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


def finish(name: str, rows: Sequence[dict[str, Any]], claims: dict[str, bool], title: str) -> None:
    """Print the rows and the claims, write them as JSON, and exit with 1 where a claim does not hold."""
    table = Table(
        title=f"{title} (jax {jax.__version__}, {jax.devices()[0].device_kind})", title_justify="left", box=None
    )
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    console = Console(width=120)
    console.print(table)
    for claim, holds in claims.items():
        console.print(f"{'holds' if holds else 'DOES NOT HOLD'}: {claim}", highlight=False)
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "rows": list(rows), "claims": claims}, indent=1)
    version = ".".join(jax.__version__.split(".")[:2])
    (RESULTS / f"{name}-jax{version}.json").write_text(text + "\n")
    if not all(claims.values()):
        sys.exit(1)
