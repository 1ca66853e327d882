"""How likely a ReLU network is dead at birth."""

import numpy as np
import pytest

import relujax as rx


@pytest.mark.parametrize(
    ("widths", "want"),
    [([2] * 10, 0.94368648529053), ([3] * 10, 0.73692442383617), ([1], 0.5), ([1, 2], 0.625), ([60], 2.0**-60)],
)
def test_closed_forms(widths, want):
    assert rx.theory.born_dead(widths) == pytest.approx(want, rel=1e-13)


def test_networks_that_are_drawn():
    rng, widths, count = np.random.default_rng(0), (3, 2, 4), 20_000
    x = np.ones((count, 5))
    for width in widths:
        x = np.maximum(np.einsum("nij,nj->ni", rng.standard_normal((count, width, x.shape[1])), x), 0)
    chance = rx.theory.born_dead(widths)
    dead = np.mean(~x.any(axis=1))
    assert abs(dead - chance) < 4 * np.sqrt(chance * (1 - chance) / count)


def test_what_is_refused():
    with pytest.raises(ValueError, match="got no widths: expected the number of units of each hidden layer"):
        rx.theory.born_dead([])
    with pytest.raises(ValueError, match="got width=0: expected a whole number, 1 or more"):
        rx.theory.born_dead([4, 0])
    with pytest.raises(ValueError, match=r"got widths=4: expected the number of units of each hidden layer"):
        rx.theory.born_dead(4)
