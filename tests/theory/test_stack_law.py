"""The law of a plain stack: closed forms for ReLU and the linear map, and networks that are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax.theory import stack_law


def test_relu_in_closed_form():
    law = stack_law("relu", 5, weight_variance=3.0, bias_variance=0.5, q=2.0)
    q, want = 2.0, []
    for _ in range(5):
        want.append(q)
        q = 3.0 * q / 2 + 0.5
    np.testing.assert_allclose(law.lengths, want, rtol=1e-13)
    np.testing.assert_allclose(law.factors, [1.5] * 5, rtol=1e-13)
    np.testing.assert_allclose(law.signal_norms(2.0), [2.0 * 1.5 ** (k / 2) for k in (4, 3, 2, 1, 0)], rtol=1e-13)
    np.testing.assert_allclose(law.jacobian_norms(), [1.5 ** (k / 2) for k in (1, 2, 3, 4, 5)], rtol=1e-13)


def test_tanh_follows_its_moments():
    law = stack_law("tanh", 3, weight_variance=1.5, q=0.7)
    second = rx.theory.moments("tanh", 0.7)
    third = rx.theory.moments("tanh", 1.5 * second.second)
    assert law.lengths[:2] == (0.7, 1.5 * second.second)
    assert law.lengths[2] == 1.5 * third.second
    assert law.factors[1] == 1.5 * third.slope_second


def test_layers_that_differ_in_closed_form():
    """ReLU leaves 1/2 of a square, the leaky one of slope 1/2 leaves 5/8, the identity all."""
    leaky = rx.activation("leaky_relu", negative_slope=0.5)
    law = stack_law(["relu", leaky, lambda x: x], 3, [3.0, 2.0, 4.0], [0.0, 0.5, 0.25], q=8.0)
    lengths = [8.0, 2 * 4 + 0.5, 4 * (8.5 * 5 / 8) + 0.25]
    np.testing.assert_allclose(law.lengths, lengths, rtol=1e-12)
    np.testing.assert_allclose(law.output_rms, np.sqrt(np.multiply(lengths, (1 / 2, 5 / 8, 1))), rtol=1e-12)
    np.testing.assert_allclose(law.factors, [3 / 2, 2 * 5 / 8, 4], rtol=1e-12)
    arrays = np.array([3.0, 2.0, 4.0]), jax.numpy.array([0.0, 0.5, 0.25])
    assert stack_law(["relu", leaky, lambda x: x], 3, *arrays, q=8.0) == law


def test_a_signal_that_vanishes_in_a_dead_zone():
    law = stack_law("hard_shrink", 30, 1.0)
    assert np.isnan(law.lengths[-1])
    assert 0 < law.lengths[1] < 1


def test_lengths_that_vanish_or_overflow_are_not_numbers():
    assert np.isnan(stack_law("relu", 3, weight_variance=1e-200).factors[2])
    assert np.isnan(stack_law("relu", 3, weight_variance=1e200).factors[2])
    squares = stack_law("relu_squared", 30, 2.0, q=4.0)
    np.testing.assert_allclose(squares.lengths[:3], (4, 48, 6912), rtol=1e-12)
    assert np.isnan(squares.lengths[-1])


def test_variances_may_be_numbers_of_any_library():
    law = stack_law("relu", 2, [jax.numpy.float32(2), np.float64(3)], q=jax.numpy.float32(1))
    assert [type(v) for v in (*law.lengths, *law.factors)] == [float] * 4


@pytest.mark.parametrize("name", ["tanh", "gelu", "leaky_relu", "sigmoid"])
def test_networks_that_are_drawn(name):
    width, depth, variance = 256, 6, 1.3
    law = stack_law(name, depth, variance, q=variance)
    f = rx.activation(name)

    @jax.jit
    @jax.vmap
    def squared(key):
        first, weights, back = jax.random.split(key, 3)
        h = jax.random.normal(first, (width,), jnp.float32)
        h = h * jnp.sqrt(width / jnp.sum(h**2))
        w = jax.random.normal(weights, (depth, width, width), jnp.float32) * jnp.float32((variance / width) ** 0.5)

        def through(w, h):
            lengths = []
            for one in w:
                h = one @ h
                lengths.append(jnp.mean(h**2))
                h = f(h)
            return h, jnp.stack(lengths)

        _, pull, lengths = jax.vjp(lambda h: through(w, h), h, has_aux=True)
        g = jax.random.normal(back, (width,), jnp.float32)
        return lengths, jnp.sum(pull(g)[0] ** 2) / jnp.sum(g**2)

    seeds = 64
    lengths, gradient = map(np.asarray, squared(jax.random.split(jax.random.key(0), seeds)))
    for values, want in ((lengths, np.array(law.lengths)), (gradient[:, None], np.prod(law.factors))):
        error = values.std(axis=0) / np.sqrt(seeds)
        bias = 3 * depth / width * want  # what a finite width adds, of order depth / width
        assert (np.abs(values.mean(axis=0) - want) < 4 * error + bias).all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"depth": 0}, "got depth=0: expected a whole number, 1 or more"),
        ({"weight_variance": 0.0}, "got weight_variance=0.0: expected a positive variance"),
        ({"bias_variance": -1.0}, "got bias_variance=-1.0: expected a variance"),
        ({"q": -1.0}, "expected a positive variance"),
        ({"weight_variance": [1.0, -2.0]}, "got weight_variance=-2.0: expected a positive variance"),
        ({"bias_variance": [1.0]}, "got bias_variance of length 1 for 2 layers: expected one value, or one per layer"),
        ({"f": ["relu"] * 3}, "got f of length 3 for 2 layers"),
    ],
)
def test_bad_input(bad, message):
    with pytest.raises(ValueError, match=message):
        stack_law(**{"f": "relu", "depth": 2, "weight_variance": 1.0} | bad)
