"""Singular values of a model, a few examples at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax.report import model_spectra

RNG = np.random.default_rng(0)
W, X = (RNG.normal(size=shape).astype(np.float32) for shape in ((4, 5), (19, 4)))


def model(w, x):
    return rx.relu(x @ w) @ w.T


@pytest.mark.parametrize("examples", [3, 8, 11, 19, 50])
def test_each_example_has_its_own_whatever_their_number(examples):
    done = []
    found = model_spectra(model, X, params=W, examples=examples, layers=True, progress=done.append)
    count = min(examples, 19)
    assert (sorted(done), done[-1]) == (done, count)
    masks = (X[:count] @ W > 0)[:, None]
    to_layer = np.where(masks, W, 0)
    for name, jacobians in (("output", to_layer @ W.T), ("relu", to_layer)):
        want = np.linalg.svd(jacobians, compute_uv=False)
        assert found[name].shape == (count, 4)
        np.testing.assert_allclose(found[name], want, rtol=1e-4, atol=1e-5)


def test_layers_stand_in_the_order_of_execution():
    def stack(params, x):
        x = jax.lax.scan(lambda h, w: (rx.elu(rx.relu(h @ w)), None), x, params[0])[0]
        for w in params[1:]:
            x = rx.tanh(x @ w)
        return x

    params = [np.stack([np.eye(4, dtype=np.float32)] * 2), *[np.eye(4, dtype=np.float32)] * 10]
    found = model_spectra(stack, X, params=params, examples=1, layers=True)
    scanned = ["0/relu[0]", "elu[0]", "0/relu[1]", "elu[1]"]
    assert list(found) == ["output", *scanned, *(f"{i}/tanh" for i in range(1, 11))]
    summary = rx.diagnose(stack, X, params=params, spectrum_examples=1).summary
    assert [row.name for row in summary] == list(found)[1:]
    for row in summary:  # what is below rounding is not shown
        shown = found[row.name][0, : len(row.singular_values)]
        np.testing.assert_allclose(row.singular_values, shown, rtol=1e-5, err_msg=row.name)
        assert row.rank == (X[0] > 0).sum()


def test_the_largest_alone_and_coupled_examples():
    def centred(w, x):
        return model(w, x - jnp.mean(x, axis=0, keepdims=True))

    whole = model_spectra(centred, X, params=W, examples=10)["output"]
    some = model_spectra(centred, X, params=W, examples=10, num=2)["output"]
    assert some.shape == (10, 2)
    np.testing.assert_allclose(some, whole[:, :2], rtol=1e-4)
    inside = (X[3] - X.mean(axis=0)) @ W > 0
    jacobian = np.where(inside, W, 0) @ W.T * (1 - 1 / 19)
    np.testing.assert_allclose(whole[3], np.linalg.svd(jacobian, compute_uv=False), rtol=1e-4, atol=1e-5)
