"""How a gradient changes on its way through a stack, in a number and in words."""

import math
from dataclasses import dataclass

from ._site_summary import SiteSummary
from ._summary import Summary


@dataclass(frozen=True)
class Travel:
    """How the gradient changes on its way from the last site to the first.

    Attributes:
        quantity: what was compared: "weight gradient" or "backpropagated signal".
        per_layer: geometric mean factor per layer going backward; below 1 it shrinks.
        ratio: the first layer's norm over the last one's.
        first: the first site.
        last: the last site.
        by_activations: the part of ``per_layer`` that the activations' slopes make; None where it was not measured.
        by_weights: the part that all else makes, the weights above all; the product of the two is ``per_layer``.
    """

    quantity: str
    per_layer: float
    ratio: float
    first: SiteSummary
    last: SiteSummary
    by_activations: float | None = None
    by_weights: float | None = None

    def __str__(self) -> str:
        return f"{self.factor()}; {self.compared('.2g')}"

    def factor(self) -> str:
        """What becomes of the signal per layer, and what part of it activations and weights have."""
        if self.per_layer == 0:
            return "no signal arrives"
        if 0.99 <= self.per_layer <= 1.01:
            said = "the signal holds over depth"
        elif self.per_layer < 1:
            said = f"the signal shrinks {_factor(1 / self.per_layer)} per layer"
        else:
            said = f"the signal grows {_factor(self.per_layer)} per layer"
        if self.by_activations is None or self.by_weights is None:
            return said
        return f"{said} (times {self.by_activations:.2g} by activations, {self.by_weights:.2g} by weights)"

    def compared(self, digits: str) -> str:
        """The first layer's next to the last one's."""
        link = "times" if self.ratio > 1 else "of"
        return f"the first layer's {self.quantity} is {self.ratio:{digits}} {link} the last one's"


def travel(summary: Summary) -> Travel | None:
    """How the gradient travels through a stack, or None where it does not.

    That is without a loss, with fewer than two sites, or where no finite gradient leaves the last one. Sites on which
    the loss does not depend, such as those of a target network, are no part of the way.

    ``per_layer`` is of the backpropagated signal; ``ratio`` is of the weight gradients where they are known.

    >>> import jax.numpy as jnp, relujax as rx
    >>> loss = lambda w, x: rx.relu(rx.relu(x @ w) @ (w / 2)).sum()
    >>> found = travel(rx.summarize(rx.probe_grad(loss)(jnp.eye(1), jnp.ones((1, 1)))[1]))
    >>> found.per_layer, str(found)
    (0.5, "the signal shrinks 2x per layer; the first layer's backpropagated signal is 0.5 of the last one's")
    """
    rows = on_the_way(summary)
    if len(rows) < 2:
        return None
    first, last = rows[0], rows[-1]
    signal = _ratio(first.signal_norm, last.signal_norm)
    if signal is None:
        return None
    slopes, weights = (
        _mean_factor([getattr(row, name) for row in rows[1:]]) for name in ("activation_gain", "weight_gain")
    )
    weighed = [row for row in rows if row.weight_gradient_norm is not None]
    per_layer = signal ** (1 / (len(rows) - 1))
    # Where the last layer's weights get nothing, its own units are dead: only the signal tells what comes through.
    if len(weighed) < 2 or weighed[-1].weight_gradient_norm == 0:
        return Travel("backpropagated signal", per_layer, signal, first, last, slopes, weights)
    first, last = weighed[0], weighed[-1]
    ratio = _ratio(first.weight_gradient_norm, last.weight_gradient_norm)
    return None if ratio is None else Travel("weight gradient", per_layer, ratio, first, last, slopes, weights)


def on_the_way(summary: Summary) -> list[SiteSummary]:
    """The sites with a signal on which the loss depends; all with a signal, where it depends on none."""
    rows = [row for row in summary if row.signal_norm is not None]
    return [row for row in rows if row.reached] or rows


def _mean_factor(factors: list[float | None]) -> float | None:
    known = [factor for factor in factors if factor]
    return math.exp(sum(map(math.log, known)) / len(known)) if len(known) == len(factors) else None


def _ratio(a: float | None, b: float | None) -> float | None:
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)) or b == 0:
        return None
    return a / b


def _factor(value: float) -> str:
    """A factor as people say it: 4.3x, and 1.04x where one digit would read as no change."""
    return f"{value:.3g}x" if value < 1.95 else f"{value:.2g}x"
