"""What is drawn over depth, in the static picture and in the interactive one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..health import SiteSummary


@dataclass(frozen=True)
class Quantity:
    """A number per layer, and the words around it.

    Attributes:
        key: its name, also in ``Diagnosis.predicted``.
        title: what it is.
        unit: what is on its axis.
        value: it, of a row; None where it was not measured.
        says: what is said of a row where it is pointed at.
        share: whether it is a share, on a linear axis from 0; else the axis is logarithmic.
    """

    key: str
    title: str
    unit: str
    value: Callable[[SiteSummary], float | None]
    says: Callable[[SiteSummary], str]
    share: bool = False


#: In reading order.
QUANTITIES = (
    Quantity(
        "output_rms",
        "Signal forward",
        "root mean square output",
        lambda r: r.root_mean_square,
        lambda r: f"root mean square {r.root_mean_square:.3g}, mean {r.mean:.3g}",
    ),
    Quantity(
        "signal_norm",
        "Gradient backward",
        "norm at the output",
        lambda r: r.signal_norm,
        lambda r: f"signal {r.signal_norm:.3g}, {r.signal_zero_fraction:.1%} exactly zero",
    ),
    Quantity(
        "weight_gradient_norm",
        "Gradient of the weights",
        "norm, all data",
        lambda r: r.weight_gradient_norm,
        lambda r: f"weight gradient {r.weight_gradient_norm:.3g}",
    ),
    Quantity(
        "largest_singular_value",
        "Largest singular value",
        "Jacobian from input",
        lambda r: r.largest_singular_value,
        lambda r: f"largest singular value {r.largest_singular_value:.3g}, rank {r.rank:g}",
    ),
    Quantity(
        "active_fraction",
        "Active units",
        "share of outputs",
        lambda r: r.active_fraction,
        lambda r: f"{r.active_fraction:.1%} active",
        share=True,
    ),
    Quantity(
        "dead_fraction",
        "Dead units",
        "share of units",
        lambda r: r.dead_fraction,
        lambda r: f"{r.dead} of {r.units} units dead",
        share=True,
    ),
)


def drawable(value: float | None, share: bool = False) -> bool:
    """Whether an axis has a place for it: a number, and on a logarithmic axis one above 0."""
    return value is not None and math.isfinite(value) and (share or value > 0)
