"""Backward statistics: the gradient at every site, counted on its way back, which changes nothing."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

RNG = np.random.default_rng(1)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


PARAMS = {"a": normal(6, 16), "b": normal(16, 9), "c": normal(9, 2), "d": normal(2, 4)}
X, LABELS = normal(24, 6), np.arange(24) % 4


def forward(params, x, shift=None, wrap=lambda f: f):
    """Four layers; ``shift`` is added to the activations, so that its gradient is the signal there."""
    shift = shift or {"a/relu": 0, "b/elu": 0, "c/relu": 0}
    x = wrap(lambda w, x: rx.relu(x @ w))(params["a"], x) + shift["a/relu"]
    x = wrap(lambda w, x: rx.elu(x @ w))(params["b"], x) + shift["b/elu"]
    x = wrap(lambda w, x: jax.nn.relu(x @ w))(params["c"], x) + shift["c/relu"]
    return x @ params["d"]


def loss(params, x, labels, shift=None, wrap=lambda f: f):
    logits = jax.nn.log_softmax(forward(params, x, shift, wrap))
    return -jnp.take_along_axis(logits, labels[:, None], axis=1).mean()


def checkpointed(params, x, labels):
    return loss(params, x, labels, wrap=lambda f: jax.jit(jax.checkpoint(f)))


@functools.cache
def probed(fun):
    return jax.jit(rx.probe_grad(fun))(PARAMS, X, LABELS)


def signals(params, x, labels):
    """Full-size zero perturbations of every site, and the gradient with respect to them."""
    zeros = {"a/relu": jnp.zeros((24, 16)), "b/elu": jnp.zeros((24, 9)), "c/relu": jnp.zeros((24, 2))}
    zeros = jax.tree.map(lambda z: z.astype(jnp.float32), zeros)
    return jax.jit(jax.grad(lambda shift: loss(params, x, labels, shift)))(zeros)


def same(got, want):
    jax.tree.map(np.testing.assert_array_equal, got, want)


@pytest.mark.parametrize("fun", [loss, checkpointed])
def test_loss_and_gradients_are_bitwise_those_of_value_and_grad(fun):
    got, stats = probed(fun)
    same(got, jax.jit(jax.value_and_grad(fun))(PARAMS, X, LABELS))
    assert list(stats) == ["a/relu", "b/elu", "c/relu"]


@pytest.mark.parametrize("fun", [loss, checkpointed])
def test_the_signal_is_the_gradient_of_a_full_size_perturbation(fun):
    _, stats = probed(fun)
    for name, g in signals(PARAMS, X, LABELS).items():
        g = np.asarray(g, np.float64)
        np.testing.assert_allclose(stats[name].signal.norm, np.sqrt((g**2).sum(0)), rtol=1e-5, err_msg=name)
        np.testing.assert_array_equal(stats[name].signal.zeros, (g == 0).sum(0), err_msg=name)
    # Examples whose last two units are both dead get no gradient at all: zeros there, but not everywhere.
    assert 0 < stats["b/elu"].signal.zeros.sum() < 24 * 9


def test_forward_statistics_are_those_of_probe():
    _, stats = probed(checkpointed)
    _, want = jax.jit(rx.probe(checkpointed))(PARAMS, X, LABELS)
    for name in want:
        for field in ("examples", "count", "active", "passing", "nonfinite", "histogram"):
            np.testing.assert_array_equal(getattr(stats[name], field), getattr(want[name], field))
        for field in ("total", "square", "largest"):
            np.testing.assert_allclose(getattr(stats[name], field), getattr(want[name], field), rtol=1e-6)
    assert stats.opaque == want.opaque


@pytest.mark.parametrize("argnums", [1, -1, (0, 1), [1, 0], (-2, -1)], ids=str)
def test_argnums(argnums):
    def fun(w, x):
        return (rx.relu(x @ w) ** 2).sum()

    @jax.jit
    def ours_and_theirs(w, x):
        return rx.probe_grad(fun, argnums=argnums)(w, x)[0], jax.value_and_grad(fun, argnums=argnums)(w, x)

    got, want = ours_and_theirs(PARAMS["a"], X)
    chex.assert_trees_all_close(got, want, rtol=1e-5)
    assert type(got[1]) is type(want[1])


@pytest.mark.parametrize("argnums", [2, (0, 2), -3])
def test_argnums_out_of_range(argnums):
    with pytest.raises((TypeError, ValueError), match="argnums"):
        jax.eval_shape(rx.probe_grad(lambda w, x: rx.relu(x @ w).sum(), argnums=argnums), PARAMS["a"], X)


def test_aux():
    def fun(w, x):
        h = rx.relu(x @ w)
        return (h**2).sum(), {"largest": h.max(), "count": jnp.int32(3)}

    got, stats = jax.jit(rx.probe_grad(fun, has_aux=True))(PARAMS["a"], X)
    chex.assert_trees_all_close(got, jax.jit(jax.value_and_grad(fun, has_aux=True))(PARAMS["a"], X), rtol=1e-5)
    assert list(stats) == ["relu"]


def test_a_site_that_the_loss_does_not_depend_on_gets_a_signal_of_zeros():
    def fun(x):
        return rx.relu(x).sum(), (rx.tanh(x), rx.elu(jax.lax.stop_gradient(x)))

    _, stats = jax.jit(rx.probe_grad(fun, has_aux=True))(X)
    for name in ("tanh", "elu"):
        np.testing.assert_array_equal(stats[name].signal.norm, np.zeros(6))
        np.testing.assert_array_equal(stats[name].signal.zeros, np.full(6, 24))


def _target_network(params, target, x):
    with_target = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w), None), x, target["c"])[0]
    with_target = jax.jit(lambda h: jax.checkpoint(rx.elu)(h @ target["b"]))(with_target)
    return jnp.mean((rx.relu(x @ params["a"]) @ params["b"] - jax.lax.stop_gradient(with_target)) ** 2)


def _rounded(params, target, x):
    classes = rx.relu(x @ params["a"]).argmax(axis=1).astype("float32")
    return (rx.elu(x @ params["b"]) * classes[:, None]).sum()


@pytest.mark.parametrize(
    ("loss", "reached"),
    [
        (_target_network, {"a/relu": True, "tanh": False, "elu": False}),
        (_rounded, {"a/relu": False, "b/elu": True}),
    ],
)
def test_sites_to_which_no_gradient_can_come_are_marked(loss, reached):
    params = {k: jax.random.normal(jax.random.key(i), (4, 4), X.dtype) for i, k in enumerate("ab")}
    args = params, params | {"c": jnp.stack([params["a"]] * 3)}, X[:, :4]
    probed = rx.probe_grad(loss, gains=True)
    for run in (probed, jax.jit(probed), probed, jax.jit(lambda *args: rx.watch(loss, every=2)(4, *args))):
        (value, grads), stats = run(*args)
        assert {name: of.site.reached for name, of in stats.items()} == reached
        zero = {name: not np.any(of.signal.norm) for name, of in stats.items()}
        assert zero == {name: not there for name, there in reached.items()}
        assert {row.site: row.reached for row in rx.summarize(rx.merge(stats, stats))} == reached
        chex.assert_trees_all_close((value, grads), jax.value_and_grad(loss)(*args), rtol=1e-5)


def test_a_gradient_that_is_zero_by_chance_is_not_marked():
    """The layer above is dead: a way is there, and nothing comes on it."""
    (_, _), stats = rx.probe_grad(lambda x: (rx.relu(rx.tanh(x) - 2) @ x.T).sum())(X)
    assert [(of.site.reached, not np.any(of.signal.norm)) for of in stats.values()] == [(True, True), (True, False)]


def test_rows_of_a_scan_that_starts_at_its_last_layer_come_in_the_order_of_execution():
    weights = normal(3, 6, 6) * np.float32([[[0.3]], [[0.5]], [[2.0]]])

    def of(weights, reverse):
        def last(params, x):
            return jax.lax.scan(lambda h, w: (rx.relu(h @ w), None), x, params["w"], reverse=reverse)[0]

        params = {"w": weights}
        probed = rx.probe_grad(lambda params, x: (last(params, x) ** 2).sum(), gains=True)
        (value, grads), stats = probed(params, X)
        spectra = jax.vmap(rx.layer_spectra(last, 1, to_output=True), (None, 0))(params, X[:2])
        return value, grads["w"], stats, rx.probe(last)(params, X), spectra

    value, grads, *got = of(weights, True)
    chex.assert_trees_all_close((value, grads[::-1], *got), of(weights[::-1], False), rtol=1e-5)


def test_a_loss_that_is_no_scalar():
    with pytest.raises(TypeError, match=r"scalar.*\(24, 4\)"):
        jax.eval_shape(rx.probe_grad(forward), PARAMS, X)


@pytest.mark.parametrize("kept", [np.arange(3), jax.random.key(0), True])
def test_what_has_no_gradient_is_named(kept):
    with pytest.raises(TypeError, match=r"\['kept'\] of argument 1.*expected floats.*nnx"):
        rx.probe_grad(lambda x, params: rx.relu(x * params["w"]).sum(), argnums=(0, 1))(X, {"w": 2.0, "kept": kept})


SCALED = jax.jit(rx.probe_grad(lambda x, scale: (scale * rx.relu(x)).sum()))


@pytest.mark.parametrize("scale", [1e-30, 1e-37, 1e30])
def test_a_signal_whose_square_underflows_or_overflows(scale):
    (_, grad), stats = SCALED(np.ones((9, 2), np.float32), np.float32(scale))
    np.testing.assert_allclose(grad, np.full((9, 2), scale), rtol=1e-6)
    np.testing.assert_allclose(stats["relu"].signal.norm, [3 * scale] * 2, rtol=1e-6, atol=0)
    np.testing.assert_array_equal(stats["relu"].signal.zeros, [0, 0])


def test_a_nan_in_the_signal_shows():
    x = np.ones((4, 2), np.float32)
    weight = np.array([[1, 1], [1, np.nan], [1, 1], [0, 0]], np.float32)
    _, stats = jax.jit(rx.probe_grad(lambda x: (weight * rx.relu(x)).sum()))(x)
    np.testing.assert_allclose(stats["relu"].signal.norm, [np.sqrt(3), np.nan], rtol=1e-6)
    np.testing.assert_array_equal(stats["relu"].signal.zeros, [1, 1])


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float64])
def test_signals_are_measured_in_float32_at_least(dtype):
    def fun(x):
        return (rx.relu(x) * jnp.asarray(100, dtype)).astype(jnp.float32).sum()

    with jax.enable_x64(jax.config.jax_enable_x64 or dtype == jnp.float64):
        (_, grad), stats = jax.jit(rx.probe_grad(fun))(jnp.ones((4096, 2), dtype))
    assert grad.dtype == dtype
    np.testing.assert_allclose(stats["relu"].signal.norm, [6400.0] * 2, rtol=1e-6)
    assert stats["relu"].signal.norm.dtype == (dtype if dtype == jnp.float64 else jnp.float32)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 2, 4)], ids=str)
def test_all_axes_but_the_last_are_summed(shape):
    weight = normal(*shape)
    weight[..., 0] = 0
    _, stats = jax.jit(rx.probe_grad(lambda x: (weight * rx.tanh(x)).sum()))(np.zeros(shape, np.float32))
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(stats["tanh"].signal.norm, np.sqrt((weight**2).sum(axes)), rtol=1e-6)
    np.testing.assert_array_equal(stats["tanh"].signal.zeros, (weight == 0).sum(axes))


def test_a_training_step_uses_it_as_value_and_grad_and_compiles_once():
    traced_once = chex.assert_max_traces(loss, n=1)

    @jax.jit
    def step(params):
        (value, grads), stats = rx.probe_grad(traced_once)(params, X, LABELS)
        return jax.tree.map(lambda p, g: p - np.float32(0.1) * g, params, grads), value, stats

    params, values = PARAMS, []
    for _ in range(5):
        params, value, stats = step(params)
        values.append(value.item())
    assert values[-1] < values[0]
    assert all(np.isfinite(site.signal.norm).all() for site in stats.values())


MASK = np.arange(24) % 3 == 0


def test_what_a_mask_leaves_out_is_not_counted_in_the_signal():
    _, stats = jax.jit(rx.probe_grad(loss, mask=MASK))(PARAMS, X, LABELS)
    for name, g in signals(PARAMS, X, LABELS).items():
        np.testing.assert_array_equal(stats[name].signal.zeros, (np.asarray(g)[MASK] == 0).sum(0), err_msg=name)
        np.testing.assert_allclose(stats[name].signal.norm, np.linalg.norm(g, axis=0), rtol=1e-5, err_msg=name)
    assert all(0 <= row.signal_zero_fraction <= 1 for row in rx.summarize(stats))


@pytest.mark.parametrize(("option", "value"), [("mask", MASK), ("unit_axis", 0)])
def test_an_option_for_a_site_that_is_not_there(option, value):
    for verb in (rx.probe, rx.probe_grad):
        with pytest.raises(ValueError, match=f"got {option} for a site 'a/rleu' that is not there.*'a/relu'"):
            jax.eval_shape(verb(loss, **{option: {"a/rleu": value}}), PARAMS, X, LABELS)


@pytest.mark.parametrize("scanned", [False, True])
def test_called_inside_shard_map(scanned):
    def loss(w, x):
        if scanned:
            return jnp.mean(jax.lax.scan(lambda h, w: (rx.tanh(h @ w), None), x, jnp.stack([w, w]))[0])
        return jnp.mean(jax.nn.relu(x @ w))

    def measured(step, w, x):
        stats = rx.probe_grad(loss, gains=True)(w, x)[1], rx.watch(loss, every=2)(step, w, x)[1]
        return jax.tree.map(lambda value: value[None], stats)

    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    args = 4, jax.random.normal(jax.random.key(0), (3, 3)), jax.random.normal(jax.random.key(1), (5, 3))
    specs = (spec(), spec(), spec("data"))
    mapped = jax.shard_map(measured, mesh=mesh, in_specs=specs, out_specs=spec("data"))
    got, want = (jax.tree.leaves(jax.jit(f)(*args)) for f in (mapped, measured))  # a scan stands elsewhere in it
    chex.assert_trees_all_close(got, want, rtol=1e-6)


def test_a_loss_that_shard_map_has_averaged_by_itself():
    def loss(w, x):
        return jax.lax.pmean(jnp.mean(jax.nn.relu(x @ w)), "data")

    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    args = jax.random.normal(jax.random.key(0), (3, 3)), jax.random.normal(jax.random.key(1), (5, 3))
    got, want = (
        jax.jit(jax.shard_map(grad, mesh=mesh, in_specs=(spec(), spec("data")), out_specs=spec()))(*args)
        for grad in (lambda *args: rx.probe_grad(loss)(*args)[0][1], jax.grad(loss))
    )
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("argnums", [np.int64(1), [0, 1], (np.int64(-1),)])
def test_argument_numbers_of_other_types(argnums):
    def loss(w, x):
        return rx.relu(x @ w).sum()

    args = PARAMS["a"], X
    got = rx.probe_grad(loss, argnums)(*args)[0][1]
    plain = int(argnums) if isinstance(argnums, np.int64) else tuple(map(int, argnums))
    chex.assert_trees_all_close(got, jax.grad(loss, plain)(*args), rtol=1e-6)


@pytest.mark.parametrize("rows", [128, 7])
def test_a_signal_whose_squares_underflow_overflow_or_are_not_numbers(rows):
    """Measured by parts, 64 of them or one: squares of 3e-30 are 0 in float32, those of 3e20 infinite."""
    g = np.zeros((rows, 3), np.float32)
    g[:, 0] = 3e-30
    g[::2, 1], g[1, 1] = 1, np.nan
    g[0, 2], g[1, 2] = 3e20, 4e20
    _, stats = rx.probe_grad(lambda x: jnp.sum(rx.relu(x) * g))(jnp.ones_like(g))
    signal = stats["relu"].signal
    np.testing.assert_allclose(signal.norm, np.float32([3e-30 * rows**0.5, np.nan, 5e20]), rtol=1e-5)
    assert signal.zeros.tolist() == [0, rows // 2 - 1, rows - 2]


def activations_more(loss, weights, x):
    """What the gradient takes more with statistics than without, in arrays of the size of ``x``."""
    weights = [jax.ShapeDtypeStruct(shape, "float32") for shape in weights]
    x = jax.ShapeDtypeStruct(x, "float32")
    plain, probed = (
        jax.jit(step).lower(weights, x).compile().memory_analysis().temp_size_in_bytes
        for step in (jax.grad(loss), rx.probe_grad(loss))
    )
    return (probed - plain) / (4 * x.size)


@pytest.mark.parametrize("act", [rx.elu, jnp.tanh], ids=["elu", "tanh"])
def test_statistics_of_a_layer_take_no_memory_while_the_next_ones_are_measured(act):
    def loss(weights, x):
        *hidden, last = weights
        for w in hidden:
            x = act(x @ w)
        return jnp.sum((x @ last) ** 2)

    # Beside activations there are, per layer, counts and sums of 32 units and of 512 examples.
    more = [activations_more(loss, [(32, 32)] * (layers + 1), (512, 32)) for layers in (2, 5)]
    assert more[1] - more[0] < 1.5


@pytest.mark.parametrize("act", [jax.nn.relu, rx.relu], ids=["jax.nn", "relujax"])
def test_an_output_that_only_the_loss_takes_is_not_kept_until_the_backward_pass(act):
    def loss(weights, x):
        for w in weights:
            x = act(x @ w)
        return jnp.sum(x**2)

    # Counts and sums of 128 units and of 512 examples, in two layers.
    assert activations_more(loss, [(128, 128)] * 2, (512, 128)) < 0.5
