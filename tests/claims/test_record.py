"""That the numbers which are recorded are of today's claims."""

import json
from pathlib import Path

from relujax import claims

RECORD = Path(__file__).parents[2] / "benchmarks" / "results" / "claims.json"


def test_the_record_is_of_today_s_claims():
    recorded = json.loads(RECORD.read_text())
    assert recorded["schema"] == claims.SCHEMA
    keys = ("name", "statement", "measured", "unit", "claimed", "reason")
    assert [tuple(one[key] for key in keys) for one in recorded["findings"]] == [
        (one.name, one.statement, one.measured, one.unit, str(one.criterion), one.criterion.reason)
        for one in claims.CLAIMS.values()
    ]
