"""Growth of gradients through batch normalisation, against JAX's own derivative of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

growth = rx.theory.batch_norm_growth


def test_an_infinite_batch():
    assert growth() == pytest.approx(np.pi / (np.pi - 1), rel=1e-15)  # Yang et al. 2019
    assert growth(10**7) == pytest.approx(growth(), rel=1e-6)


def relu_of_batch_norm(h):
    centered = h - h.mean()
    return jnp.maximum(centered / jnp.sqrt(jnp.mean(centered**2)), 0)


@pytest.mark.parametrize("batch", [8, 16])
def test_one_unit_by_monte_carlo(batch):
    """A unit's batch of pre-activations is a normal vector, the gradient that reaches it another one of mean 0."""
    count = 50_000
    with jax.enable_x64(True):
        h, g = jax.random.normal(jax.random.key(0), (2, count, batch), "float64")
        g = g - g.mean(axis=1, keepdims=True)
        y, pull = jax.vjp(jax.vmap(relu_of_batch_norm), h)
        [back] = pull(g)
        y, back, g = np.asarray(y), np.asarray(back), np.asarray(g)
    # The scale of the layer below is that of its own output between examples.
    spread = np.sum((y - y.mean(axis=1, keepdims=True)) ** 2, axis=1) / (batch - 1)
    ratios = np.sum(back**2, axis=1) / np.sum(g**2, axis=1).mean() / spread.mean()
    assert abs(ratios.mean() - growth(batch)) < 4 * ratios.std() / np.sqrt(count)


def test_small_batches_grow_faster():
    factors = [growth(batch) for batch in (4, 5, 8, 16, 64, 256)]
    assert factors == sorted(factors, reverse=True)
    assert factors[-1] > growth()


@pytest.mark.parametrize("batch", [3, 0, 8.5])
def test_what_is_refused(batch):
    with pytest.raises(ValueError, match=rf"got batch={batch}: expected a whole number, 4 or more"):
        growth(batch)


def test_a_small_batch_on_the_sphere():
    """The trace of the squared map of a gradient, whose own tail is too heavy to draw at a batch of 5."""
    batch, count = 5, 100_000
    z = np.random.default_rng(0).standard_normal((count, batch))
    z -= z.mean(axis=1, keepdims=True)
    e = z / np.linalg.norm(z, axis=1, keepdims=True)
    y, centering = np.sqrt(batch) * np.maximum(e, 0), np.eye(batch) - 1 / batch
    projected = (centering - e[:, :, None] * e[:, None, :]) * (e > 0)[:, None, :] @ centering
    spread = np.mean(np.sum((y - y.mean(axis=1, keepdims=True)) ** 2, axis=1)) / (batch - 1)
    trace = np.sum(projected**2, axis=(1, 2))
    factor = batch / ((batch - 1) * (batch - 3) * spread)
    assert factor * trace.mean() == pytest.approx(growth(batch), rel=0.007)
