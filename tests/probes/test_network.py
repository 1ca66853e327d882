"""The dynamic size of a network: active elements of all sites together, per example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax.probes import load, save

RNG = np.random.default_rng(3)
X = RNG.standard_normal((12, 5), np.float32)
W = {"in": RNG.standard_normal((5, 8), np.float32), "stack": RNG.standard_normal((3, 8, 8), np.float32)}


def dense(w, x):
    h = jax.nn.relu(x @ w["in"])
    return jnp.sum(jax.nn.relu(h @ w["stack"][0]) ** 2)


def scanned(w, x):
    h, _ = jax.lax.scan(lambda h, w: (jax.nn.relu(h @ w), None), jax.nn.relu(x @ w["in"]), w["stack"])
    return jnp.sum(h**2)


def active(layers, x=X):
    """Per example, of so many layers, in NumPy."""
    h = np.maximum(x @ W["in"], 0)
    counts = (h > 0).sum(1)
    for w in W["stack"][:layers]:
        h = np.maximum(h @ w, 0)
        counts = counts + (h > 0).sum(1)
    return counts


def check(network, counts, elements):
    assert (network.elements, int(network.examples)) == (elements, len(counts))
    share = counts / elements
    found = [network.total, network.spread, network.most, network.fewest]
    want = [share.sum(), ((share - share.mean()) ** 2).sum(), counts.max(), counts.min()]
    np.testing.assert_allclose(np.asarray(found, float), want, rtol=1e-5, atol=1e-6)
    bins = np.minimum(counts * rx.probes.ACTIVE_BINS // elements, rx.probes.ACTIVE_BINS - 1)
    np.testing.assert_array_equal(network.histogram, np.bincount(bins, minlength=rx.probes.ACTIVE_BINS))


@pytest.mark.parametrize("transform", [rx.probe, rx.probe_grad])
@pytest.mark.parametrize(("fun", "layers"), [(dense, 1), (scanned, 3)])
def test_all_sites_together(transform, fun, layers):
    _, stats = jax.jit(transform(fun, network=True))(W, X)
    check(stats.network, active(layers), 8 * (1 + layers))


def test_batches_of_different_lengths_merge(tmp_path):
    step = jax.jit(rx.probe(dense, network=True))
    parts = [step(W, x)[1] for x in (X[:2], X[2:3], X[3:])]
    save(rx.merge(parts[0], parts[1]), tmp_path / "stats.npz")
    check(rx.merge(load(tmp_path / "stats.npz")[0], parts[2]).network, active(1), 16)


def test_nothing_seen_adds_nothing():
    step = jax.jit(rx.watch(dense, every=2, network=True))
    seen, unseen = step(0, W, X)[1], step(1, W, X)[1]
    check(rx.merge(unseen, seen).network, active(1), 16)
    assert rx.summarize(unseen).network is None


def test_positions_are_elements():
    images = RNG.standard_normal((4, 3, 3, 2), np.float32)
    check(rx.probe(rx.relu, network=True)(images)[1].network, (images > 0).sum((1, 2, 3)), 18)


def test_what_sees_other_examples_or_runs_an_unknown_number_of_times_is_left_out():
    def fun(x):
        pooled = rx.relu(x.reshape(4, 3, 5).sum(1))
        looped = jax.lax.while_loop(lambda h: h.sum() > 1e9, rx.elu, x)
        return rx.relu(x), jnp.tanh(x), pooled, looped

    _, stats = rx.probe(fun, network=True)(X)
    assert len(stats) == 4
    unsaturated = 1 - np.tanh(X.astype(np.float64)) ** 2 >= 1e-3
    check(stats.network, (X > 0).sum(1) + unsaturated.sum(1), 10)


def test_under_vmap_there_is_one_of_each():
    batches = X.reshape(3, 4, 5)
    network = jax.vmap(rx.probe(rx.relu, network=True))(batches)[1].network
    assert network.examples.tolist() == [4, 4, 4]
    np.testing.assert_allclose(network.total, (batches > 0).mean(2).sum(1), rtol=1e-6)


def test_it_is_there_where_it_was_asked_for():
    asked, not_asked = (rx.probe(rx.relu, network=network)(X)[1] for network in (True, False))
    assert not_asked.network is None
    assert rx.probe(lambda x: x, network=True)(X)[1].network is None
    with pytest.raises(ValueError, match=r"networks of 5 and 0 outputs per example: .*network=True in both or in none"):
        rx.merge(asked, not_asked)
    for verb in (rx.probe, rx.probe_grad):
        with pytest.raises(ValueError, match=r"got network=True and a mask.*expected one of them"):
            verb(rx.relu, network=True, mask=np.arange(12) < 6)


def test_its_summary_says_how_many():
    network = rx.summarize(rx.probe(dense, network=True)(W, X)[1]).network
    counts = active(1)
    assert (network.elements, network.examples) == (16, 12)
    found = [network.active_fraction, network.std, network.fewest, network.most]
    np.testing.assert_allclose(
        found, np.array([counts.mean(), counts.std(), counts.min(), counts.max()]) / 16, rtol=1e-5
    )
    assert f"of the 16 outputs at all sites {counts.mean():.1f} are active for one example" in str(network)
    assert f"{counts.min()} to {counts.max()} over 12" in str(network)


@pytest.mark.own_precision
def test_sites_of_two_precisions():
    with jax.enable_x64(True):
        x = jnp.asarray(X)
        _, stats = rx.probe(lambda x: (rx.relu(x), rx.elu(x.astype(jnp.float64))), network=True)(x)
    assert stats["relu"].total.dtype == stats["elu"].total.dtype == np.float64
    np.testing.assert_allclose(stats["relu"].total, np.maximum(X, 0).sum(0), rtol=1e-6)
    check(stats.network, 2 * (X > 0).sum(1), 10)
