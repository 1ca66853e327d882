"""Run the experiments, one claim after the other, and tell how far it is."""

import contextlib
import difflib
import time
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType

from .._checks import whole
from ..report import share_bar
from . import (
    _cost,
    _depth,
    _dying,
    _explosion,
    _generalisation,
    _sensitivity,
    _separation,
    _signs,
    _sparsity,
)
from ._claim import Claim
from ._findings import Finding, Findings
from ._lab import Lab
from ._rule import Condition

Progress = Callable[[str, float], None]

#: Seeds where nothing else is said, and those that an error bar takes at least.
SEEDS, LEAST_SEEDS = 8, 5

#: Every claim by name, in the order in which they are tested.
CLAIMS = MappingProxyType(
    {
        claim.name: claim
        for claim in (
            _cost.CLAIM,
            *_depth.CLAIMS,
            _sparsity.SPARSE,
            *_sensitivity.CLAIMS,
            _sparsity.DYNAMIC,
            _separation.CLAIM,
            _sparsity.NOT_CENTRED,
            _signs.CLAIM,
            *_explosion.CLAIMS,
            *_dying.CLAIMS,
            *_generalisation.CLAIMS,
        )
    }
)


_ALL = "rx.claims.names(), or relujax claims --list, lists all"


def names() -> tuple[str, ...]:
    """Names of all claims, in the order in which they are tested.

    >>> names()[:3]
    ('cheap', 'saturating_vanish', 'relu_keeps')
    """
    return tuple(CLAIMS)


def run(
    names: Sequence[str] | None = None,
    *,
    seeds: int = SEEDS,
    quick: bool = False,
    progress: Progress | bool = False,
    on_finding: Callable[[Finding], None] | None = None,
) -> Findings:
    """Test what everybody says of ReLU: one experiment per claim, and a verdict that follows from its numbers.

    A claim holds under a condition where the effect lies on the claimed side of its threshold, fails where it lies on
    the other, and is undecided where a t test, by Holm's correction for the number of conditions of the claim, cannot
    tell at 5 %: see :func:`outcomes`. It *holds* where it held under every condition, *holds only when* those are met
    under which it did, *does not hold* where it held under none and failed under some, and is *undecided* where it is
    under all. Error bars are Student's, over seeds (each with its own weights, batches and split of the images), or
    over rounds of timing; they are those of each condition alone, 95 % and not corrected for the number of conditions.
    Those of held-out images are wider, for what splits of the same images have in common: see :class:`Condition`.

    Args:
        names: which claims, in this order; all by default.
        seeds: networks of each kind, 5 or more; fewer than 8 leave more undecided.
        quick: tiny networks and few images, to see that it runs: then 2 seeds are enough, and verdicts say nothing.
        progress: True for a bar with an estimate, or a function that is called with what is being done and the share of
            the whole that is done.
        on_finding: called with each finding as it comes, so that an interrupted run has given what it found.

    Returns:
        :class:`Findings`; ``.figure()``, ``.to_html()``, ``.to_json()``.

    Raises:
        ValueError: for an unknown name, a name given twice, or too few seeds.

    Cost: less than three minutes on two quiet cores for all claims; needs the ``report`` extra, for the digits.

    >>> found = run(["one_sign"], quick=True)
    >>> found[0].conditions[0].name, found[0].conditions[0].effect  # one example
    ('one example', 1.0)
    """
    found = []
    for finding in each(names, seeds=seeds, quick=quick, progress=progress):
        found.append(finding)
        if on_finding is not None:
            on_finding(finding)
    return Findings(tuple(found), quick=quick)


def each(
    names: Sequence[str] | None = None, *, seeds: int = SEEDS, quick: bool = False, progress: Progress | bool = False
) -> Iterator[Finding]:
    """Findings one by one, as they come; arguments and errors are those of :func:`run`.

    >>> next(each(["one_sign", "sparse"], quick=True)).name
    'one_sign'
    """
    chosen = _chosen(names)
    seeds = whole("seeds", seeds, 1)
    least = 2 if quick else LEAST_SEEDS
    if seeds < least:
        raise ValueError(f"got seeds={seeds}: expected {least} or more, which an error bar takes; quick=True takes 2")
    return _each(chosen, Lab(seeds, quick), progress)


def _each(chosen: Sequence[Claim], lab: Lab, progress: Progress | bool) -> Iterator[Finding]:
    total, done = sum(claim.weight for claim in chosen), 0.0
    with _showing(progress) as report:
        for claim in chosen:
            report(claim.statement, done / total)
            start = time.perf_counter()
            effects = claim.experiment(lab)
            conditions = tuple(
                Condition(name, tuple(map(float, values)), claim.criterion, claim.overlap(name))
                for name, values in effects.items()
            )
            seconds = time.perf_counter() - start
            done += claim.weight
            report(claim.statement, done / total)
            yield Finding(claim.name, claim.statement, claim.measured, claim.unit, claim.criterion, conditions, seconds)


def _chosen(names: Sequence[str] | None) -> list[Claim]:
    if names is None:
        return list(CLAIMS.values())
    if isinstance(names, str):
        raise ValueError(f"got names={names!r}: expected a list of names, such as [{names!r}]")
    names = list(names)
    if not names:
        raise ValueError(f"got no names: expected some of {', '.join(CLAIMS)}, or None for all")
    for name in names:
        if name not in CLAIMS:
            near = difflib.get_close_matches(str(name), CLAIMS, n=3, cutoff=0.4) or list(CLAIMS)
            raise ValueError(f"unknown claim {name!r}: expected a name such as {', '.join(near)}; {_ALL}")
        if names.count(name) > 1:
            raise ValueError(f"got the claim {name!r} twice: expected each name once")
    return [CLAIMS[name] for name in names]


@contextlib.contextmanager
def _showing(progress: Progress | bool) -> Iterator[Progress]:
    """What is to be called with the work and the share of it that is done."""
    if progress is not True:
        yield progress or (lambda what, share: None)
        return
    with share_bar() as advance:
        yield advance
