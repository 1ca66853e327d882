"""One look for every picture: colours that colour-blind readers can tell apart, and a dash and a marker for each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

# Okabe and Ito's colours without the two that vanish on white and on black.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
_MARKERS = (
    ("circle", "o"),
    ("square", "s"),
    ("diamond", "D"),
    ("triangle-up", "^"),
    ("x", "X"),
    ("cross", "P"),
)


@dataclass(frozen=True)
class Look:
    """How a run is drawn everywhere.

    Attributes:
        colour: as ``#rrggbb``.
        marker: the charting library's name of its marker.
        marker_static: matplotlib's.
        width: of its line; earlier runs are wider, so that a line on top of another hides neither.
    """

    colour: str
    marker: str
    marker_static: str
    width: float

    def fill(self, opacity: float) -> str:
        """The colour, translucent."""
        r, g, b = (int(self.colour[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({r},{g},{b},{opacity})"


def looks(names: Sequence[str]) -> dict[str, Look]:
    """A look for each run."""
    pairs: Iterator = zip(cycle(_COLOURS), cycle(_MARKERS), strict=False)
    return {
        name: Look(colour, *marker, width=2 + 0.4 * (len(names) - 1 - i))
        for i, (name, (colour, marker)) in enumerate(zip(names, pairs, strict=False))
    }
