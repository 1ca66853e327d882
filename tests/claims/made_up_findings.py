"""Findings that nobody measured, to see what becomes of them."""

from relujax.claims import Condition, Criterion, Finding, Findings

ABOVE_ONE = Criterion(1.0)
HOSTILE = '</td><script>alert(1)</script><img src=x onerror="x">&amp;'
VALUES = {"holds": (2.0, 2.1, 1.9), "fails": (0.5, 0.6, 0.4), "undecided": (0.5, 1.0, 1.5)}


def finding(name, outcomes, criterion=ABOVE_ONE):
    """With a condition for each outcome, which is that above the threshold."""
    conditions = (Condition(f"{name} {i} {one}", VALUES[one], criterion) for i, one in enumerate(outcomes))
    return Finding(name, f"what {name} says", f"what {name} measures", "units", criterion, tuple(conditions), 1.5)


SOME = Findings(
    (
        finding("one", ["holds", "holds"]),
        finding("two", ["holds", "fails"]),
        finding("three", ["fails"]),
        finding("four", ["undecided"]),
    )
)
