"""That the numbers which are recorded are of today's claims."""

import json
from pathlib import Path

from relujax import claims

RECORD = Path(__file__).parents[2] / "benchmarks" / "results" / "claims.json"


def test_the_record_is_of_today_s_claims():
    recorded = json.loads(RECORD.read_text())["findings"]
    assert [(one["name"], one["statement"], one["measured"], one["unit"], one["claimed"]) for one in recorded] == [
        (one.name, one.statement, one.measured, one.unit, str(one.criterion)) for one in claims.CLAIMS.values()
    ]
