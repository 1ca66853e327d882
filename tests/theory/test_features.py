"""Kinks are where they are, and nowhere else."""

import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax.theory._elementwise import elementwise

RNG = np.random.default_rng(0)


def bent(at, order):
    """Smooth but for a jump in the derivative of that order."""
    return lambda x: jnp.tanh(x) + jnp.where(x > at, (x - at) ** order, 0)


#: A jump in a derivative of higher order is seen only on a panel wide enough for it to stand above rounding.
@pytest.mark.parametrize(("order", "tolerance"), [(0, 4e-15), (1, 4e-15), (2, 1e-10)])
def test_a_kink_is_found_wherever_it_lies(order, tolerance):
    for at in (*RNG.uniform(-5, 5, 4).tolist(), 0.5, 1.0137 * 14 / 16 - 1e-4):
        found = elementwise(bent(at, order)).kinks()
        assert len(found) == 1, (at, found)
        assert abs(found[0] - at) <= tolerance * max(1, abs(at))


def test_several_kinks_are_told_apart():
    def f(x):
        return jnp.abs(x - 0.1) + jnp.abs(x + 1.7) + jnp.where(x > 2.5, 1.0, 0.0)

    np.testing.assert_allclose(elementwise(f).kinks(), [-1.7, 0.1, 2.5], rtol=1e-14)


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu", "mish", "softplus", "sigmoid", "squareplus"])
def test_smooth_functions_have_none(name):
    assert elementwise(name).kinks() == ()


def test_a_steep_function_is_not_taken_for_a_kink_but_cut_finely():
    steep = elementwise(lambda x: jnp.tanh(100 * (x - 0.7)))
    assert steep.kinks() == ()
    edges = np.array(steep.features())
    assert np.diff(edges)[np.searchsorted(edges, 0.7) - 1] < 0.1


def test_the_noise_of_a_function_in_float32_is_no_kink():
    f = elementwise(lambda x: jnp.tanh(x.astype(jnp.float32)).astype(x.dtype))
    assert f.kinks() == ()


def test_an_activation_s_samples_are_kept_from_call_to_call():
    assert elementwise("elu") is elementwise("elu")
    twice = [elementwise(rx.activation("elu", alpha=0.5)) for _ in range(2)]
    assert twice[0] is twice[1]
    assert twice[0] is not elementwise(rx.activation("elu", alpha=0.25))


@pytest.mark.parametrize("power", [0.5, 1.5, 2.5])
def test_an_algebraic_singularity_is_integrated_too(power):
    """E (u - 0.3)_+^(2 power): an even moment of the upper half, by quadrature in scipy."""
    from scipy.integrate import quad

    f = lambda x: jnp.where(x > 0.3, jnp.maximum(x - 0.3, 1e-300) ** power, 0)  # noqa: E731
    with np.errstate(all="ignore"):
        sample = rx.theory._moments.Sample(elementwise(f), 1.0)
    want = quad(lambda t: t ** (2 * power) * np.exp(-((t + 0.3) ** 2) / 2), 0, 14, epsabs=0, epsrel=1e-13)[0]
    np.testing.assert_allclose(sample.weights @ sample.value**2, want / np.sqrt(2 * np.pi), rtol=1e-12)


@pytest.mark.parametrize("steepness", [1e3, 1e4, 1e5])
def test_a_steep_part_has_no_kink_and_kinks_beside_it_are_found(steepness):
    assert elementwise(lambda x: jnp.tanh(steepness * (x - 0.5))).kinks() == ()
    found = elementwise(lambda x: jnp.tanh(steepness * (x - 0.5)) + jnp.abs(x + 0.7)).kinks()
    np.testing.assert_allclose(found, [-0.7], rtol=1e-12)
