"""Which part of a gradient's change is the activations', and which the weights': against backpropagation by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

RNG = np.random.default_rng(8)
WEIGHTS = [RNG.standard_normal((10, 10)).astype(np.float32) / 3 for _ in range(4)]
PARAMS = {"w": WEIGHTS, "out": RNG.standard_normal((10, 3)).astype(np.float32)}
X = RNG.standard_normal((16, 10)).astype(np.float32)


def by_hand(weights, slope_of, act):
    """Backpropagation of half a sum of squares in float64: norms before and behind each activation, in order."""
    h, slopes = np.float64(X), []
    for w in weights:
        z = h @ np.float64(w)
        h, slopes = act(z), [*slopes, slope_of(z)]
    out = np.float64(PARAMS["out"])
    g, before, behind = h @ out @ out.T, [], []
    for w, slope in zip(reversed(weights), reversed(slopes), strict=True):
        before.insert(0, np.linalg.norm(g))
        behind.insert(0, np.linalg.norm(g * slope))
        g = (g * slope) @ np.float64(w).T
    return np.array(before), np.array(behind)


def elu_slope(z):
    return np.where(z > 0, 1, np.exp(np.minimum(z, 0)))


RELU = (lambda z: 1.0 * (z > 0), lambda z: np.maximum(z, 0))
LEAKY = (lambda z: np.where(z > 0, 1, 0.2), lambda z: np.where(z > 0, z, 0.2 * z))
ELU = (elu_slope, lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))))
TANH = (lambda z: 1 - np.tanh(z) ** 2, np.tanh)
ACTIVATIONS = {
    "jax.nn.relu": (jax.nn.relu, *RELU),
    "rx.relu": (rx.relu, *RELU),
    "maximum": (lambda x: jnp.maximum(x, 0), *RELU),
    "where": (lambda x: jnp.where(x > 0, x, 0.2 * x), *LEAKY),
    "rx.elu": (rx.elu, *ELU),
    "tanh": (jnp.tanh, *TANH),
}


def unrolled(act, weights, x):
    for w in weights["w"]:
        x = act(x @ w)
    return jnp.sum((x @ weights["out"]) ** 2) / 2


def scanned(act, weights, x):
    x, _ = jax.lax.scan(lambda x, w: (act(x @ w), None), x, weights["w"])
    return jnp.sum((x @ weights["out"]) ** 2) / 2


def checkpointed(act, weights, x):
    x, _ = jax.lax.scan(jax.checkpoint(lambda x, w: (act(x @ w), None)), x, weights["w"])
    return jnp.sum((x @ weights["out"]) ** 2) / 2


@functools.cache
def summary(model, name):
    weights = PARAMS if model is unrolled else PARAMS | {"w": np.stack(WEIGHTS)}
    probed = rx.probe_grad(functools.partial(model, ACTIVATIONS[name][0]), gains=True)
    (_, grads), stats = jax.jit(probed)(weights, X)
    return rx.summarize(stats), grads["w"]


@pytest.mark.parametrize("model", [unrolled, scanned, checkpointed])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gains_are_those_of_backpropagation_by_hand(model, name):
    rows, _ = summary(model, name)
    before, behind = by_hand(WEIGHTS, *ACTIVATIONS[name][1:])
    np.testing.assert_allclose([row.activation_gain for row in rows], behind / before, rtol=1e-4)
    assert rows[0].weight_gain is None
    np.testing.assert_allclose([row.weight_gain for row in rows[1:]], before[:-1] / behind[1:], rtol=1e-4)


@pytest.mark.parametrize("name", ["jax.nn.relu", "where"])
def test_gradients_and_signals_are_those_without_gains(name):
    rows, grads = summary(unrolled, name)
    (_, want), stats = jax.jit(rx.probe_grad(functools.partial(unrolled, ACTIVATIONS[name][0])))(PARAMS, X)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), grads, want["w"])
    plain = rx.summarize(stats)
    np.testing.assert_allclose([row.signal_norm for row in rows], [row.signal_norm for row in plain], rtol=1e-5)
    assert all(row.activation_gain is None and row.weight_gain is None for row in plain)


def test_the_logarithms_of_the_gains_add_up_to_that_of_the_norms():
    rows, _ = summary(scanned, "rx.elu")
    parts = sum(np.log(row.activation_gain) + np.log(row.weight_gain) for row in rows[1:])
    assert parts == pytest.approx(np.log(rows[0].signal_norm / rows[-1].signal_norm), rel=1e-6)


def test_a_layer_that_no_gradient_can_reach_is_passed_over():
    """Between two that one reaches, such as a teacher's."""
    rng = np.random.default_rng(0)
    a, b, teacher = (rng.standard_normal((4, 4)).astype(np.float32) for _ in range(3))

    def loss(params, x):
        h = rx.relu(x @ params["a"])
        wanted = jax.lax.stop_gradient(jnp.tanh(h @ teacher))
        return jnp.sum((rx.elu(h @ params["b"]) - wanted) ** 2)

    x = rng.standard_normal((8, 4)).astype(np.float32)
    first, cut, last = rx.summarize(jax.jit(rx.probe_grad(loss, gains=True))({"a": a, "b": b}, x)[1])
    assert (first.reached, cut.reached, last.reached) == (True, False, True)
    h = np.maximum(x @ a, 0)
    z = h @ b
    of_output = 2 * (np.where(z > 0, z, np.expm1(np.minimum(z, 0))) - np.tanh(h @ teacher))
    of_input = of_output * np.where(z > 0, 1, np.exp(np.minimum(z, 0)))
    np.testing.assert_allclose(last.weight_gain, np.linalg.norm(of_input @ b.T) / np.linalg.norm(of_input), rtol=1e-4)
    assert cut.weight_gain is None


def test_batches_merge():
    probed = jax.jit(rx.probe_grad(functools.partial(unrolled, jnp.tanh), gains=True))
    merged = rx.summarize(rx.merge(*(probed(PARAMS, half)[1] for half in (X[:8], X[8:]))))
    whole, _ = summary(unrolled, "tanh")
    for row, want in zip(merged, whole, strict=True):
        assert row.activation_gain == pytest.approx(want.activation_gain, rel=1e-5)


def test_per_example_under_vmap():
    probed = rx.probe_grad(functools.partial(unrolled, rx.relu), gains=True)
    _, stats = jax.jit(jax.vmap(probed, in_axes=(None, 0)))(PARAMS, X)
    assert [site.signal.behind.shape for site in stats.values()] == [(16,)] * 4
    _, together = jax.jit(probed)(PARAMS, X)
    for name in stats:
        np.testing.assert_allclose(np.linalg.norm(stats[name].signal.behind), together[name].signal.behind, rtol=1e-5)


def test_of_a_gated_unit_it_is_not_told():
    up = WEIGHTS[0]
    probed = jax.jit(rx.probe_grad(lambda w, x: (rx.swiglu(x @ w, x @ up) ** 2).sum(), gains=True))
    [row] = rx.summarize(probed(WEIGHTS[1], X)[1])
    assert row.signal_norm > 0
    assert row.activation_gain is None


def test_a_signal_of_zeros_has_no_gain():
    rows = rx.summarize(jax.jit(rx.probe_grad(lambda x: (0 * rx.tanh(rx.relu(x))).sum(), gains=True))(X)[1])
    assert [(row.activation_gain, row.weight_gain) for row in rows] == [(None, None)] * 2


def test_the_message_says_which_part_is_whose():
    result = rx.diagnose(
        lambda w, x: functools.reduce(lambda x, w: rx.relu(x @ w), w, x), (X, X), params=WEIGHTS, loss="mse"
    )
    [told] = [alarm for alarm in result.alarms if "per layer" in alarm.message or "over depth" in alarm.message]
    slopes, weights = (
        np.exp(np.mean([np.log(getattr(row, f"{part}_gain")) for row in result.summary[1:]]))
        for part in ("activation", "weight")
    )
    assert f"(times {slopes:.2g} by activations, {weights:.2g} by weights)" in told.message


@pytest.mark.parametrize("slope", [0.5, 3.0])
def test_a_maximum_with_a_learned_slope_has_its_own_slopes(slope):
    """``maximum(x, a * x)`` has the slope ``a`` on the other side of 0 once ``a`` is above 1."""
    rng = np.random.default_rng(0)
    x, k = (rng.normal(size=shape).astype(np.float32) for shape in ((7, 4), (4, 3)))
    params = {"a": np.float32(slope), "k": k}

    def loss(params, x):
        return jnp.sum((jnp.maximum(x, params["a"] * x) @ params["k"]) ** 2)

    _, stats = rx.probe_grad(loss, gains=True)(params, x)
    [site] = stats.values()
    want = np.linalg.norm(jax.grad(loss, argnums=1)(params, x))
    np.testing.assert_allclose(site.signal.behind, want, rtol=1e-5)
