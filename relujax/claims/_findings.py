"""What came out: one record per claim, and the forms they take together: text, JSON, HTML, a figure."""

import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..report import as_json, frame
from ._rule import Condition, Criterion, Kind, Outcome, judge, outcomes

#: Of the JSON of findings and of ``relujax claims --list``: rises when a key changes its meaning or goes.
SCHEMA = 1


@dataclass(frozen=True)
class Finding:
    """What was measured of one claim; its verdict follows from the numbers.

    Attributes:
        name: the claim's key in ``relujax.claims.CLAIMS``.
        statement: the claim, as people say it.
        measured: what was measured, and how.
        unit: of the effect.
        criterion: what the claim says of the effect.
        conditions: those under which it was tested, each with its effects over seeds or rounds.
        seconds: how long it took.
    """

    name: str
    statement: str
    measured: str
    unit: str
    criterion: Criterion
    conditions: tuple[Condition, ...]
    seconds: float

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What came of each condition, corrected for their number."""
        return outcomes(self.conditions)

    @property
    def kind(self) -> Kind:
        """The verdict without its conditions."""
        return judge(self.conditions)[0]

    @property
    def verdict(self) -> str:
        """The verdict, with the conditions under which the claim held where it did not under all.

        Also how many are undecided, where others are not: nothing was shown of these, neither way.
        """
        kind, held = judge(self.conditions)
        found = self.outcomes
        left = found.count("undecided")
        said = f"{kind} {'; '.join(held)}" if kind == "holds only when" else kind
        return f"{said} ({left} of {len(found)} undecided)" if 0 < left < len(found) else said

    @property
    def claimed(self) -> str:
        """What the claim says of the effect, and why the threshold lies there."""
        reason = self.criterion.reason
        return f"{self.criterion} ({reason})" if reason else str(self.criterion)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings."""
        return {
            "name": self.name,
            "statement": self.statement,
            "measured": self.measured,
            "unit": self.unit,
            "claimed": str(self.criterion),
            "reason": self.criterion.reason,
            "verdict": self.verdict,
            "conditions": [
                condition.to_dict() | {"outcome": outcome}
                for condition, outcome in zip(self.conditions, self.outcomes, strict=True)
            ],
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        lines = [f"{self.statement}: {self.kind.upper()}{self.verdict.removeprefix(self.kind)}"]
        lines += [f"measured: {self.measured} ({self.unit}); claimed: {self.claimed}"]
        width = max(len(condition.name) for condition in self.conditions)
        for condition, outcome in zip(self.conditions, self.outcomes, strict=True):
            lines.append(f"  {condition.name:<{width}}  {shown(condition):>32}  {outcome}")
        return "\n".join(line for part in lines for line in textwrap.wrap(part, 118, subsequent_indent="    "))


@dataclass(frozen=True, repr=False)
class Findings(Sequence[Finding]):
    """Findings in the order in which they came; prints as text, shows itself in notebooks.

    Attributes:
        findings: one per claim that was tested.
        unfinished: names of claims that were asked for and not tested, where a run was cut short.
        quick: whether they are of tiny networks, and so say nothing.
    """

    findings: tuple[Finding, ...]
    unfinished: tuple[str, ...] = ()
    quick: bool = False

    def __getitem__(self, index: Any) -> Any:
        return self.findings[index]

    def __len__(self) -> int:
        return len(self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __repr__(self) -> str:
        return f"<Findings: {self.headline()}>"

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self.findings), self.headline()])

    @property
    def counted(self) -> str:
        """How many there are, in words.

        >>> Findings(()).counted
        '0 claims'
        """
        return "1 claim" if len(self) == 1 else f"{len(self)} claims"

    def headline(self) -> str:
        """One sentence: how many hold, and how many do not."""
        counts = Counter(finding.kind for finding in self.findings)
        one = {"holds": "holds", "holds only when": "holds only under some conditions"}
        one |= {"does not hold": "does not hold", "undecided": "is undecided"}
        many = {"holds": "hold", "holds only when": "hold only under some conditions"}
        many |= {"does not hold": "do not hold", "undecided": "are undecided"}
        parts = [f"{counts[kind]} {(one if counts[kind] == 1 else many)[kind]}" for kind in one if counts[kind]]
        line = f"Of {self.counted} {', '.join(parts)}." if parts else "No claim was tested."
        line += f" Partial: {', '.join(self.unfinished)} not tested." if self.unfinished else ""
        return f"{line} Of tiny networks, to see that it runs: these verdicts say nothing." if self.quick else line

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, with the schema number ``relujax.claims.SCHEMA``."""
        return {
            "schema": SCHEMA,
            "partial": bool(self.unfinished),
            "unfinished": list(self.unfinished),
            "quick": self.quick,
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def to_json(self) -> str:
        """The dict of :meth:`to_dict` as strict JSON; NaN and infinities become strings."""
        return as_json(self.to_dict())

    def figure(self) -> Any:
        """A forest plot, as matplotlib's ``(figure, axes)``: effects over their thresholds, coloured by outcome."""
        from ._forest import forest

        return forest(self)

    def to_html(self) -> str:
        """One self-contained page, without scripts."""
        from ._page import page

        return page(self)

    def _repr_html_(self) -> str:
        return frame(self.to_html())


def shown(condition: Condition) -> str:
    """The effect with its error bar, as people read it."""
    effect, low, high = condition.interval
    if math.isnan(effect):
        return "not measurable"
    return f"{effect:.3g} ({low:.3g} to {high:.3g})"
