"""What is wrong, where, how one knows, and what usually helps: rules with published thresholds."""

from dataclasses import replace
from typing import Any

from . import _gradient_rules as gradient, _unit_rules as unit
from ._findings import Alarm, Alarms, Rule, Skipped
from ._summary import Summary
from ._update_rules import update_ratio

#: In the order in which findings of one severity are told.
_RULES: tuple[Rule, ...] = (
    unit.nonfinite,
    gradient.nonfinite_gradient,
    gradient.no_gradient,
    gradient.cut_off,
    gradient.vanishing,
    gradient.exploding,
    unit.dead,
    unit.born_dead,
    unit.dormant,
    unit.silent,
    unit.saturated,
    gradient.small,
    gradient.large,
    unit.shift,
    gradient.travels,
)


def alarms(summary: Summary, *, params: Any = None, updates: Any = None) -> Alarms:
    """What the numbers say, most severe first.

    Args:
        summary: rows of :func:`relujax.summarize` or of a diagnosis.
        params: weights, for the rule about updates; a pytree that names them as the probed function's first argument.
        updates: what one step of the optimiser adds to them, as ``optax`` returns it; a tree like ``params``.

    Returns:
        The alarms, a tuple; each names the first layer concerned, its line of code, the threshold's source and a
        remedy. Its ``.skipped`` lists the rules that could not run, and why.

    Raises:
        ValueError: for only one of ``params`` and ``updates``, or trees that differ.
        TypeError: for what is no summary.

    >>> import jax.numpy as jnp, relujax as rx
    >>> _, stats = rx.probe(rx.relu)(-jnp.ones((100, 2)))
    >>> found = alarms(rx.summarize(stats))
    >>> print(found[0].message)
    relu: 2 of 2 units are dead: no gradient passed on any of 100 examples, so on at most 3 % of such
    examples (3/n, 95 % confidence)
    >>> found.skipped[0]
    Skipped(rule='non-finite gradient', reason='no loss was given')
    """
    if not isinstance(summary, Summary):
        raise TypeError(f"got a {type(summary).__name__}: expected a Summary, such as relujax.summarize(stats)")
    # Of a site at which no example was seen, as between the steps that relujax.watch measures, there is nothing to say.
    summary = replace(summary, rows=tuple(row for row in summary if row.examples))
    said = [finding for rule in _RULES for finding in rule(summary)]
    said += update_ratio(summary, params, updates)
    return Alarms(
        [finding for finding in said if isinstance(finding, Alarm)],
        [finding for finding in said if isinstance(finding, Skipped)],
    )
