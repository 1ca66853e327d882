"""One look for every picture: colours that colour-blind readers can tell apart, and a dash and a marker for each."""

from collections.abc import Sequence
from dataclasses import dataclass

from ._run import Run

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


def looks(runs: Sequence[Run]) -> dict[str, Look]:
    """A look for each run, by its name; no two of the first 36 have the same."""
    n = len(_COLOURS)
    return {
        run.name: Look(
            _COLOURS[i % n], *_MARKERS[(i + i // n) % len(_MARKERS)], width=2 + 0.4 * min(4, len(runs) - 1 - i)
        )
        for i, run in enumerate(runs)
    }
