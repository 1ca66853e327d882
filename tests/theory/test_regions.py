"""Linear regions: arrangements counted by hand, bounds by enumeration, and networks on a line."""

import itertools
import math

import numpy as np
import pytest

import relujax as rx

regions, region_bounds = rx.theory.regions, rx.theory.region_bounds


@pytest.mark.parametrize(
    ("n", "d", "want"), [(3, 1, 4), (3, 2, 7), (4, 2, 11), (4, 3, 15), (5, 7, 32), (100, 100, 2**100)]
)
def test_hyperplanes_in_general_position(n, d, want):
    assert regions(n, d) == want


def test_lines_that_are_drawn():
    """Patterns of 5 random lines at points beside their 10 crossings: every region of a plane has a corner there."""
    rng = np.random.default_rng(0)
    normals, offsets = rng.standard_normal((5, 2)), rng.standard_normal(5)
    corners = [np.linalg.solve(normals[[i, j]], offsets[[i, j]]) for i, j in itertools.combinations(range(5), 2)]
    around = 1e-7 * np.stack([np.cos(t := np.linspace(0, 2 * np.pi, 400)), np.sin(t)], axis=1)
    points = np.concatenate([corner + around for corner in corners])
    assert len(np.unique(points @ normals.T > offsets, axis=0)) == regions(5, 2)


def enumerated(widths, d):
    """Serra, Tjandraatmadja and Ramalingam's sum, term by term."""
    total = 0
    for js in itertools.product(*(range(n + 1) for n in widths)):
        left = [n - j for n, j in zip(widths, js, strict=True)]
        if all(j <= min([d, *left[:i], widths[i]]) for i, j in enumerate(js)):
            total += math.prod(math.comb(n, j) for n, j in zip(widths, js, strict=True))
    return total


@pytest.mark.parametrize("widths", [(4,), (4, 4), (3, 5, 2), (2, 2, 2, 2), (6, 1, 6)])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_bounds(widths, d):
    bounds = region_bounds(widths, d)
    assert bounds.upper == enumerated(widths, d)
    assert bounds.patterns == 2 ** sum(widths)
    assert 1 < bounds.lower <= bounds.upper <= bounds.patterns
    m = min(d, *widths)
    pieces = math.prod((n // m) ** m for n in widths[:-1])
    assert bounds.lower == pieces * sum(math.comb(widths[-1], j) for j in range(m + 1))


def test_one_layer_is_known_exactly():
    bounds = region_bounds([9], 3)
    assert bounds.lower == bounds.upper == regions(9, 3)


def test_a_sawtooth_reaches_the_bound_on_a_line():
    """Two units fold [0, 1] onto itself: after three such layers a tent map has 8 pieces inside, and 2 outside."""
    x = np.linspace(-0.3, 1.31, 99_991)  # no point of which is a corner
    patterns = []
    for _ in range(3):
        h = np.stack([2 * x, 4 * x - 2])
        patterns.append(h > 0)
        x = np.maximum(h[0], 0) - np.maximum(h[1], 0)
    pieces = 1 + np.count_nonzero(np.any(np.diff(np.concatenate(patterns), axis=1), axis=0))
    bounds = region_bounds([2, 2, 2], 1)
    assert (pieces, bounds.lower, bounds.upper) == (10, 12, 27)


def test_a_network_as_wide_as_those_people_train_is_counted_exactly():
    bounds = region_bounds([256] * 4, 784)
    assert 0 < bounds.lower < bounds.upper < bounds.patterns == 2 ** (256 * 4)


def test_what_is_refused():
    with pytest.raises(ValueError, match="got d=0: expected a whole number, 1 or more"):
        regions(3, 0)
    with pytest.raises(ValueError, match="got n=-1: expected a whole number, 1 or more"):
        regions(-1, 2)
    with pytest.raises(ValueError, match="got no widths"):
        region_bounds([], 2)
    with pytest.raises(ValueError, match="got width=0"):
        region_bounds([3, 0], 2)
