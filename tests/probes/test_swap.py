"""Swap and lean: the same model with other activations, or with rules that keep less."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

RNG = np.random.default_rng(3)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


PARAMS = {"first": normal(5, 8), "layers": normal(3, 8, 8) / 2, "last": normal(8, 2), "slope": np.float32(0.3)}
X = normal(16, 5)


def model(act, params, x):
    """Activations outside, inside a scanned and checkpointed layer, and in a branch."""
    h = act(x @ params["first"])
    h, _ = jax.lax.scan(lambda h, w: (jax.checkpoint(lambda h: act(h @ w) + h)(h), None), h, params["layers"])
    h = jax.lax.cond(h.sum() < 1e9, lambda h: jax.jit(act)(h), jnp.cos, h)
    return h @ params["last"]


def both(fun):
    def loss(params):
        y = fun(params, X)
        return jnp.sum(jnp.sin(y)), y

    (_, y), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(PARAMS)
    return y, grads


@pytest.mark.parametrize(
    ("old", "new"),
    [(jax.nn.relu, rx.leaky_relu), (jnp.tanh, jax.nn.gelu), (rx.elu, jnp.cos)],
    ids=["relu", "tanh", "elu"],
)
def test_swap_by_kind(old, new):
    fun = functools.partial(model, old)
    [kind] = {site.kind for site in rx.sites(fun, PARAMS, X)}
    atol = 0 if jax.default_backend() == "cpu" else 3e-6
    chex.assert_trees_all_close(
        both(rx.swap(fun, {kind: new})), both(functools.partial(model, new)), rtol=1e-5, atol=atol
    )


def test_the_name_of_a_site_wins_over_its_kind():
    def fun(act, other, params, x):
        return other(act(x @ params["first"]) @ params["layers"][0]) @ params["last"]

    plain = functools.partial(fun, jax.nn.relu, jax.nn.relu)
    first, second = (site.name for site in rx.sites(plain, PARAMS, X))
    assert first == "first/relu"
    swapped = rx.swap(plain, {"relu": rx.elu, second: rx.tanh})
    chex.assert_trees_all_close(both(swapped), both(functools.partial(fun, rx.elu, rx.tanh)), rtol=1e-5)
    kept = rx.swap(plain, {first: rx.elu})
    chex.assert_trees_all_close(both(kept), both(functools.partial(fun, rx.elu, jax.nn.relu)), rtol=1e-5)


def test_a_slash_says_that_a_name_is_no_kind():
    def fun(act, other, x):
        return other(jnp.cos(act(x)))

    plain = functools.partial(fun, jax.nn.relu, jax.nn.relu)
    assert [site.name for site in rx.sites(plain, X)] == ["relu", "relu_1"]
    for key, act, other in (("relu", rx.elu, rx.elu), ("/relu", rx.elu, jax.nn.relu), ("/relu_1", jax.nn.relu, rx.elu)):
        np.testing.assert_allclose(rx.swap(plain, {key: rx.elu})(X), fun(act, other, X), rtol=1e-6)
    both = rx.swap(plain, {"relu": rx.tanh, "/relu": rx.elu})
    np.testing.assert_allclose(both(X), fun(rx.elu, rx.tanh, X), rtol=1e-6)
    with pytest.raises(ValueError, match=r"cannot swap '/relu_2'"):
        rx.swap(plain, {"/relu_2": rx.elu})(X)


#: Forms with a parameter: at some of its values another member of the registry, or none.
PARAMETRIC = {
    "leaky_relu": lambda x, a: jax.nn.leaky_relu(x, a),
    "elu": lambda x, a: jax.nn.elu(x, a),
    "squareplus": lambda x, a: jax.nn.squareplus(x, a),
    "where": lambda x, a: jnp.where(x > 0, x, a * x),
    "sum": lambda x, a: jnp.maximum(x, 0) + a * jnp.minimum(x, 0),
    "maximum": lambda x, a: jnp.maximum(x, a * x),
    "where elu": lambda x, a: jnp.where(x > 0, x, a * jnp.expm1(x)),
    "clip": lambda x, a: jnp.clip(x, 0, a),
    "threshold": lambda x, a: jnp.where(x > a, x, 0),
    "swish": lambda x, a: x * jax.nn.sigmoid(a * x),
}


@pytest.mark.parametrize("learned", [False, True], ids=["bound", "learned"])
@pytest.mark.parametrize("name", PARAMETRIC)
def test_lean_and_probe_at_several_values_of_a_parameter(name, learned):
    """Off the kinks, where conventions differ; integers are bound as such."""
    x = np.concatenate([np.linspace(-4.01, 4.02, 40), [0.004, -0.004]]).astype(np.float32).reshape(6, 7)

    def results(wrap, number):
        with jax.numpy_dtype_promotion("standard"):
            act = PARAMETRIC[name]
            if learned:
                call = wrap(lambda params, x: act(x, params["a"]) @ jnp.eye(7, dtype=x.dtype))
                return jax.value_and_grad(lambda p: jnp.sum(jnp.sin(call(p, x))))({"a": np.float32(number)})
            call = wrap(lambda x: act(x, number) @ jnp.eye(7, dtype=x.dtype))
            return jax.value_and_grad(lambda x: jnp.sum(jnp.sin(call(x))))(x)

    for number in (0, 1, 2, 0.3, 0.005, -1, -0.4):
        if name == "squareplus" and number <= 0:
            continue  # sqrt(x^2 + b) is of positive b
        plain = results(lambda f: f, number)
        for verb in (rx.lean, lambda f: lambda *args: rx.probe(f)(*args)[0]):
            chex.assert_trees_all_close(results(verb, number), plain, rtol=2e-5, atol=2e-5)


def test_a_form_that_is_one_only_at_some_values_is_found_and_left_alone():
    """The larger of x and a x is PReLU up to a = 1: beyond it the other half is scaled."""

    def fun(params, x):
        return jnp.maximum(x, params["a"] * x)

    x = np.float32([[-1.0, 2.0]])
    [site] = rx.sites(fun, {"a": np.float32(0.5)}, x)
    assert site.kind == "prelu"
    np.testing.assert_array_equal(rx.lean(fun)({"a": np.float32(3)}, x), [[-1.0, 6.0]])


@pytest.mark.parametrize(("slope", "kinds"), [(0.0, ["relu"]), (0.3, ["leaky_relu"]), (3.0, ["leaky_relu"]), (1.0, [])])
def test_slopes_that_are_written_out(slope, kinds):
    assert [site.kind for site in rx.sites(lambda x: jnp.where(x > 0, x, np.float32(slope) * x), X)] == kinds


def test_a_threshold_near_zero_is_no_relu():
    assert not rx.sites(lambda x: jnp.where(x > np.float32(0.01), x, np.float32(0)), X)


RAW = {
    "maximum": lambda x, a: jnp.maximum(x, 0),
    "where": lambda x, a: jnp.where(x > 0, x, 0),
    "times": lambda x, a: x * (x > 0),
    "leaky": lambda x, a: jnp.where(x > 0, x, jnp.float32(0.2) * x),
    "prelu": lambda x, a: jnp.where(x > 0, x, a * x),
    "gelu": lambda x, a: jax.nn.gelu(x),
    "exact gelu": lambda x, a: jax.nn.gelu(x, approximate=False),
    "silu": lambda x, a: x * jax.nn.sigmoid(x),
}


@pytest.mark.parametrize("name", RAW)
def test_swap_and_lean_of_what_is_written_out(name):
    def fun(act, params, x):
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return act(x @ params["first"], params["slope"]) @ params["last"]

    plain = functools.partial(fun, RAW[name])
    [site] = rx.sites(plain, PARAMS, X)
    swapped = both(rx.swap(plain, {site.kind: jnp.cos}))
    y, grads = both(functools.partial(fun, lambda x, a: jnp.cos(x)))
    chex.assert_trees_all_close(swapped, (y, grads), rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(both(rx.lean(plain)), both(plain), rtol=1e-4, atol=1e-6)


WRITTEN = {
    "leaky": lambda x, a: jnp.where(x > 0, x, jnp.float32(0.2) * x),
    "prelu": lambda x, a: jnp.where(x > 0, x, a * x),
    "maximum": lambda x, a: jnp.maximum(x, a * x),
    "silu": lambda x, a: x * (1 / (1 + jnp.exp(-x))),
    "swish": lambda x, a: x * jax.nn.sigmoid(a * x),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_input_and_the_parameter_of_what_is_written_out_come_from_calls(name):
    """From plain calls in which there is no site: nested ones, and one that hands on what another made."""

    def fun(call, params, x):
        h = call(lambda w, x: call(jnp.matmul)(x, w))(params["first"], x)
        slope = call(jnp.clip)(params["slope"], np.float32(0), np.float32(0.9))
        with jax.numpy_rank_promotion("allow"):
            return WRITTEN[name](h, slope) @ params["last"]

    def probed(call):
        results, stats = rx.probe_grad(lambda params, x: jnp.sum(jnp.sin(fun(call, params, x))))(PARAMS, X)
        return results, *stats.values()

    called, plain = (functools.partial(fun, call) for call in (jax.jit, lambda fun: fun))
    want = both(plain)
    for verb in (rx.lean, lambda f: lambda *args: rx.probe(f)(*args)[0]):
        chex.assert_trees_all_close(both(verb(called)), want, rtol=1e-4, atol=1e-5)
    (results, got), (expected, of_plain) = probed(jax.jit), probed(lambda fun: fun)
    chex.assert_trees_all_close(results, expected, rtol=1e-4, atol=1e-5)
    for field in ("active", "passing", "total", "square"):
        np.testing.assert_allclose(getattr(got, field), getattr(of_plain, field), rtol=1e-5)
    np.testing.assert_allclose(got.signal.norm, of_plain.signal.norm, rtol=1e-5)


@pytest.mark.parametrize(("unit", "act"), [(rx.reglu, jax.nn.relu), (rx.swiglu, jax.nn.silu)])
def test_of_a_gated_unit_the_gate_is_swapped(unit, act):
    def fun(params, x):
        h = x @ params["first"]
        return unit(h, h[:, ::-1]) @ params["last"]

    def want(params, x):
        h = x @ params["first"]
        return rx.tanh(h) * h[:, ::-1] @ params["last"]

    [kind] = {site.kind for site in rx.sites(fun, PARAMS, X)}
    assert kind == act.__name__
    chex.assert_trees_all_close(both(rx.swap(fun, {kind: rx.tanh})), both(want), rtol=1e-5)
    chex.assert_trees_all_close(both(rx.lean(fun)), both(fun), rtol=1e-6)


def test_unknown_kinds_and_names():
    fun = functools.partial(model, jax.nn.relu)
    with pytest.raises(ValueError, match=r"cannot swap 'relo'.*expected one such as 'relu'"):
        rx.swap(fun, {"relo": rx.elu})(PARAMS, X)
    with pytest.raises(ValueError, match=r"cannot swap 'frst/relu'.*'first/relu'"):
        rx.swap(fun, {"frst/relu": rx.elu})(PARAMS, X)


def test_a_name_in_the_place_of_a_function():
    with pytest.raises(TypeError, match=r"got 'gelu' in the place of 'relu': expected a function"):
        rx.swap(functools.partial(model, jax.nn.relu), {"relu": "gelu"})


@pytest.mark.parametrize("bad", [lambda x: x.sum(), lambda x: x.astype(jnp.bfloat16), lambda x: x[:, :2]])
def test_a_swap_that_changes_shape_or_dtype(bad):
    with pytest.raises(ValueError, match=r"cannot swap first/relu: .* where the model has float32\[16, 8\]; expected"):
        rx.swap(functools.partial(model, jax.nn.relu), {"relu": bad})(PARAMS, X)


def test_a_gate_that_is_more_than_a_product_is_not_swapped():
    with pytest.raises(ValueError, match=r"cannot swap the gate of relu: drelu is more than its product"):
        rx.swap(lambda x: rx.drelu(x, x), {"relu": rx.elu})(X)


ACTS = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "leaky_relu": functools.partial(jax.nn.leaky_relu, negative_slope=0.2),
    "elu": functools.partial(jax.nn.elu, alpha=0.5),
    "celu": jax.nn.celu,
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "exact gelu": functools.partial(jax.nn.gelu, approximate=False),
    "mish": jax.nn.mish,
    "softplus": jax.nn.softplus,
    "squareplus": jax.nn.squareplus,
    "hard_tanh": jax.nn.hard_tanh,
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_silu": jax.nn.hard_silu,
    "soft_sign": jax.nn.soft_sign,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}


@pytest.mark.parametrize("name", ACTS)
def test_lean_keeps_values_and_gradients_and_never_keeps_more(name):
    fun = functools.partial(model, ACTS[name])
    chex.assert_trees_all_close(both(rx.lean(fun)), both(fun), rtol=2e-4, atol=3e-4)

    def layer(x):
        return ACTS[name](x) * jnp.float32(2)

    shape = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    assert rx.residual_bytes(rx.lean(layer), shape) <= rx.residual_bytes(layer, shape)


def test_lean_with_few_bits_changes_only_gradients_and_only_where_the_input_is_kept():
    for act in (jax.nn.gelu, jax.nn.relu):
        fun = functools.partial(model, act)
        (y, grads), (want, exact) = both(rx.lean(fun, few_bit=2)), both(fun)
        chex.assert_trees_all_close(y, want, rtol=2e-4, atol=1e-5)
        apart = max(
            np.abs(a - b).max() / np.abs(b).max()
            for a, b in zip(*map(jax.tree.leaves, (grads, exact)), strict=True)
            if b.any()
        )
        assert (1e-3 < apart < 1) == (act is jax.nn.gelu)


def test_lean_with_few_bits_leaves_a_learned_parameter_exact():
    def loss(b, x):
        return jax.nn.squareplus(x, b).sum()

    grads = [jax.jit(jax.grad(f, argnums=(0, 1)))(jnp.float32(2), X) for f in (rx.lean(loss, few_bit=2), loss)]
    chex.assert_trees_all_close(*grads, rtol=1e-5)


def test_lean_leaves_rules_of_the_users_own_alone():
    @jax.custom_vjp
    def odd(x):
        return jnp.maximum(x, 0)

    odd.defvjp(lambda x: (odd(x), None), lambda _, g: (jnp.float32(7) * g,))
    grad = jax.grad(lambda x: rx.lean(odd)(x).sum())(X)
    np.testing.assert_array_equal(grad, np.full_like(X, 7))


def test_swapped_models_can_be_probed_and_their_sites_keep_their_lines():
    fun = functools.partial(model, jax.nn.relu)
    swapped = rx.swap(fun, {"relu": rx.leaky_relu})
    before, after = rx.sites(fun, PARAMS, X), rx.sites(swapped, PARAMS, X)
    assert [site.kind for site in after] == ["leaky_relu"] * len(before)
    assert [site.source for site in after] == [site.source for site in before]
    _, stats = jax.jit(rx.probe(swapped))(PARAMS, X)
    assert all((s.passing == s.count[..., None]).all() for s in stats.values())


@pytest.mark.parametrize("act", [jax.nn.gelu, lambda x: x * jax.nn.sigmoid(x), lambda x: jnp.clip(x, 0, 6)])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint], ids=["plain", "jit", "checkpoint"])
def test_what_was_exchanged_leaves_nothing_behind_that_is_found_again(wrap, act):
    def model(w, x):
        return jax.lax.scan(lambda x, _: (wrap(lambda x: act(x @ w))(x), None), x, length=2)[0]

    w, x = jnp.eye(4, dtype="float32"), jnp.linspace(-2, 2, 12, dtype="float32").reshape(3, 4)
    [site] = rx.sites(model, w, x)
    swapped = rx.swap(model, {site.kind: rx.leaky_relu})
    assert [found.kind for found in rx.sites(swapped, w, x)] == ["leaky_relu"]
    np.testing.assert_allclose(swapped(w, x), rx.leaky_relu(rx.leaky_relu(x)), rtol=1e-6)
    assert [found.kind for found in rx.sites(rx.lean(model), w, x)] == [site.kind]


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda h: h.T * jax.nn.sigmoid(h.T), "silu"),
        (lambda h: jnp.where(h.T > 0, h.T, jnp.zeros_like(h.T)), "relu"),
    ],
    ids=["silu", "relu"],
)
def test_an_input_that_is_turned_within_the_activation_stays(act, kind):
    w, x = jnp.eye(4, dtype="float32"), jnp.linspace(-2, 2, 12, dtype="float32").reshape(3, 4)

    def model(w, x):
        return act(x @ w)

    np.testing.assert_allclose(rx.swap(model, {kind: jnp.tanh})(w, x), jnp.tanh(x.T), rtol=1e-6)
    np.testing.assert_allclose(rx.lean(model)(w, x), model(w, x), rtol=1e-6)


def test_what_a_callback_sees_of_an_exchanged_activation_stays():
    w, x = jnp.eye(4, dtype="float32"), jnp.linspace(-2, 2, 12, dtype="float32").reshape(3, 4)
    seen = []

    def model(w, x):
        h = x @ w
        positive = h > 0
        jax.debug.callback(lambda positive: seen.append(int(positive.sum())), positive)
        return jnp.where(positive, h, jnp.zeros_like(h))

    out = rx.swap(model, {"relu": jnp.tanh})(w, x)
    jax.effects_barrier()
    np.testing.assert_allclose(out, jnp.tanh(x), rtol=1e-6)
    assert seen == [6]


def test_what_an_exchanged_activation_shares_with_others_stays():
    def model(w, x):
        h = x @ w
        gate = jax.nn.sigmoid(h)
        return h * gate, gate

    w, x = jnp.eye(4, dtype="float32"), jnp.linspace(-2, 2, 12, dtype="float32").reshape(3, 4)
    swapped = rx.swap(model, {"silu": jax.nn.relu})
    assert [site.kind for site in rx.sites(swapped, w, x)] == ["sigmoid", "relu"]
    np.testing.assert_allclose(swapped(w, x)[1], jax.nn.sigmoid(x), rtol=1e-6)


@pytest.mark.parametrize(
    "inside",
    [
        lambda energy, w, x: jax.value_and_grad(energy, 1)(w, x),
        lambda energy, w, x: jax.jvp(functools.partial(energy, w), (x,), (x,)),
        lambda energy, w, x: jax.lax.cond(x[0, 0] > 0, jax.grad(energy, 1), lambda _, x: x, w, x),
    ],
    ids=["grad", "jvp", "in a branch"],
)
def test_what_the_function_differentiates_itself_is_not_swapped_by_half(inside):
    def energy(w, x):
        return jax.lax.scan(lambda h, _: (jax.nn.silu(h @ w), None), x, length=2)[0].sum()

    def forces(w, x):
        return inside(energy, w, jnp.tanh(x))

    w, x = jnp.eye(4, dtype="float32"), jnp.ones((3, 4), "float32")
    with pytest.raises(ValueError, match=r"cannot swap silu: .*derivative.*expected the function before it is differ"):
        rx.swap(forces, {"silu": jnp.sin})(w, x)
    chex.assert_trees_all_close(rx.swap(forces, {"tanh": jnp.sin})(w, x), inside(energy, w, jnp.sin(x)), rtol=1e-6)
    chex.assert_trees_all_close(rx.lean(forces)(w, x), forces(w, x), rtol=1e-6)
