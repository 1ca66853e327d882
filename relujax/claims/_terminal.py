"""The findings in a terminal: a verdict per claim, then its conditions."""

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ._findings import Finding, Findings, shown

_STYLES = {"holds": "green", "fails": "red", "undecided": "dim"}
_SAID = {"holds only when": "holds only under some conditions"}
_KINDS = {"holds": "bold green", "holds only when": "bold yellow", "does not hold": "bold red", "undecided": "bold"}


def show(findings: Findings, console: Console) -> None:
    """Print every claim with its verdict, and each condition with its effect and error bar.

    Args:
        findings: what came out, all or a part of it.
        console: where to.

    >>> from relujax.claims import run
    >>> show(run(["one_sign"], quick=True), Console(width=120))  # doctest: +ELLIPSIS
    ReLU's positive outputs force all weight gradients of a unit to one sign: holds only under some conditions
    ...
    Of 1 claim 1 holds only under some conditions. Of tiny networks, to see that it runs: these verdicts say nothing.
    """
    for finding in findings:
        show_one(finding, console)
    console.print(Text(findings.headline(), "bold"))


def show_one(finding: Finding, console: Console) -> None:
    """Print one claim, as it comes.

    >>> from relujax.claims import each
    >>> show_one(next(each(["one_sign"], quick=True)), Console(width=120))  # doctest: +ELLIPSIS
    ReLU's positive outputs force all weight gradients of a unit to one sign: holds only under some conditions
    ...
    """
    said = _SAID.get(finding.kind, finding.kind)
    console.print(Text.assemble((finding.statement, "bold"), ": ", (said, _KINDS[finding.kind])))
    console.print(Text(f"{finding.measured}; claimed: {finding.claimed}", "dim"))
    console.print(Padding(_conditions(finding), (0, 0, 0, 2)))
    console.print()


def _conditions(finding: Finding) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for condition, outcome in zip(finding.conditions, finding.outcomes, strict=True):
        table.add_row(Text(condition.name), Text(shown(condition)), Text(outcome, _STYLES[outcome]))
    return table
