"""A declared rule answers both AD modes, at every order, under every transform, as autodiff of its function does."""

import functools
import inspect
import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import relujax as rx
from relujax.gradients import pack_bits, unpack_bits


@rx.rectifier
def wave(x):
    """Keeps its input."""
    return jnp.sin(x)


wave.defvjp(lambda x: (wave(x), x), lambda x, g: (jnp.cos(x) * g,))


@rx.rectifier
def growth(x):
    return jnp.exp(x)


def _growth_fwd(x):
    y = growth(x)
    return y, y  # one array, twice: the barrier must not tell them apart


growth.defvjp(_growth_fwd, lambda y, g: (y * g,))


@rx.rectifier
def fold(x):
    return jnp.where(x > 0, x, -2 * x)


def _fold_bwd(positive, g):
    return (jnp.where(unpack_bits(positive, g.shape), g, -2 * g),)


fold.defvjp(lambda x: (fold(x), pack_bits(x > 0)), _fold_bwd)

RULES = {
    "input": (wave, jnp.sin),
    "output": (growth, jnp.exp),
    "bits": (fold, lambda x: jnp.where(x > 0, x, -2 * x)),
}

MODES = {
    "grad": lambda f: jax.grad(lambda x: f(x).sum()),
    "jvp": lambda f: lambda x: jax.jvp(f, (x,), (jnp.cos(3 * x),))[1],
    "jacfwd": jax.jacfwd,
    "jacrev": jax.jacrev,
    "hessian": lambda f: jax.hessian(lambda x: (f(x) ** 2).sum()),
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f)),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f)),
    "linearize": lambda f: lambda x: jax.linearize(f, x)[1](jnp.cos(x)),
    "linear_transpose": lambda f: lambda x: jax.linear_transpose(jax.linearize(f, x)[1], x)(jnp.cos(x)),
}

SOME_MODES = ("hessian", "linear_transpose")

policies = jax.checkpoint_policies
WRAPS = {
    "vmap of the last axis": lambda f: jax.vmap(f, in_axes=1, out_axes=1),
    "scan": lambda f: lambda x: jax.lax.scan(lambda _, row: (None, f(row)), None, x)[1],
    "checkpoint": lambda f: jax.checkpoint(f, policy=policies.dots_with_no_batch_dims_saveable),
    "checkpoint that saves dots": lambda f: jax.checkpoint(f, policy=policies.dots_saveable),
    "checkpoint that saves everything": lambda f: jax.checkpoint(f, policy=policies.everything_saveable),
}

# Three rows of five: no multiple of 8 anywhere, and no kink.
X = jnp.array([[-1.5, -0.7, 0.2, 0.9, 1.3], [0.4, -0.1, -1.1, 0.6, 2.0], [0.3, 1.7, -0.4, -2.0, 0.8]], jnp.float32)


def ramp(low, high, shape):
    return np.linspace(low, high, int(np.prod(shape)), dtype=np.float32).reshape(shape)


def assert_close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), got, want)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_autodiff_of_the_plain_function(mode):
    @jax.jit  # compilation is what these tests spend their time on: one for all the rules
    @jax.vmap
    def rules_and_plain(x):
        return [{rule: MODES[mode](pair[i])(x) for rule, pair in RULES.items()} for i in range(2)]

    assert_close(*rules_and_plain(X))


@pytest.mark.parametrize("wrap", WRAPS)
def test_the_derivative_of_a_transformed_function(wrap):
    @jax.jit
    def rules_and_plain(x):
        return [
            {(rule, mode): MODES[mode](f(pair[i]))(x) for rule, pair in RULES.items() for mode in SOME_MODES}
            for i, f in enumerate([WRAPS[wrap], lambda plain: plain])
        ]

    assert_close(*rules_and_plain(X[:2, :3]))


@pytest.mark.parametrize("mode", ["grad", "jvp", "hessian"])
def test_a_rule_feeds_itself_through_the_carry_of_a_scan(mode):
    def thrice(f):
        return lambda x: jax.lax.scan(lambda x, _: (f(x), None), x, length=3)[0]

    assert_close(*jax.jit(lambda x: [MODES[mode](thrice(f))(x) for f in (wave, jnp.sin)])(X[0]))


def test_every_mixture_of_modes_up_to_order_two():
    with jax.enable_x64(True):
        check_grads(wave, (np.linspace(-1.2, 1.2, 5),), order=2, modes=("fwd", "rev"))


def by_jvp(fun, x, direction):
    _, derivative, every = jax.jvp(fun, (x,), (direction,), has_aux=True)
    return derivative, every


def by_vjp(fun, x, direction):
    _, pull, every = jax.vjp(fun, x, has_aux=True)
    [derivative] = pull(direction)
    return derivative, every


def tower(differentiate, fun, order, direction):
    """``x -> [value, first derivative, ...]``, each the derivative of the one before along ``direction``."""
    if order == 0:
        return lambda x: [fun(x)]
    below = tower(differentiate, fun, order - 1, direction)

    def last(x):
        every = below(x)
        return every[-1], every

    def derivatives(x):
        derivative, every = differentiate(last, x, direction)
        return [*every, derivative]

    return derivatives


@pytest.mark.own_precision
@pytest.mark.parametrize("differentiate", [by_jvp, by_vjp])
def test_derivatives_of_the_family_up_to_order_three_away_from_kinks(differentiate):
    x, h = np.array([-3.6, -2.4, -1.4, -0.7, 0.25, 0.75, 1.6, 2.4, 4.2]), 1e-5
    direction = np.cos(np.arange(x.size)) + 1.5
    rows = [row for row in rx.ACTIVATIONS.values() if row.elementwise and row.forward_mode]
    assert all(np.abs(x - kink).min() > 0.1 for row in rows for kink in row.kinks)

    @jax.jit
    def family(x):
        along = jnp.tile(direction, 3)
        return {row.name: tower(differentiate, functools.partial(row.fun, **row.example), 3, along)(x) for row in rows}

    with jax.enable_x64(True):
        derivatives = family(np.concatenate([x, x + h * direction, x - h * direction]))
    for name, orders in derivatives.items():
        for order, (below, this) in enumerate(itertools.pairwise(orders), 1):
            _, up, down = np.split(np.asarray(below), 3)
            difference = (up - down) / (2 * h)
            np.testing.assert_allclose(this[: x.size], difference, rtol=1e-6, atol=1e-7, err_msg=f"{name}, {order}")


@pytest.mark.parametrize("wrap", WRAPS)
def test_the_slope_is_the_declared_one_and_not_autodiff_of_the_body(wrap):
    @rx.rectifier
    def marked(x):
        return x

    marked.defvjp(lambda x: (marked(x), None), lambda _, g: (7 * g,))

    @jax.jit
    def rule_and_plain(x):
        funs = (WRAPS[wrap](marked), lambda x: 7 * x)
        return [{mode: MODES[mode](f)(x) for mode in ("grad", "jvp", "linearize")} for f in funs]

    assert_close(*rule_and_plain(X))


@pytest.mark.parametrize("shape", [(), (8,), (2, 17), (3, 0)], ids=str)
def test_any_shape(shape):
    @jax.jit
    def rules_and_plain(x):
        return [
            {(rule, mode): MODES[mode](pair[i])(x) for rule, pair in RULES.items() for mode in ("grad", "jvp")}
            for i in range(2)
        ]

    assert_close(*rules_and_plain(ramp(-1.29, 1.41, shape)))


def product_rule():
    seen = []

    @rx.rectifier
    def product(x, a=3.0):
        return x * a

    def fwd(x, a):
        seen.append((x.perturbed, a.perturbed, isinstance(a.value, float)))
        return product(x.value, a.value), (x.value, a.value)

    product.defvjp(fwd, lambda kept, g: (kept[1] * g, kept[0] * g), symbolic_zeros=True)
    return product, seen


@pytest.mark.parametrize(
    "shapes", [((2, 3), ()), ((2, 3), (1, 3)), ((2, 1), (1, 3)), ((), (4,)), ((1, 1), (2, 3))], ids=str
)
def test_broadcast_arguments_get_summed_cotangents(shapes):
    product, _ = product_rule()
    args = tuple(ramp(1 + i, 2 + i, shape) for i, shape in enumerate(shapes))
    weight = ramp(-1, 3, np.broadcast_shapes(*shapes))

    def both_modes(fun, args):
        gradient = jax.grad(lambda x, a: (weight * fun(x, a)).sum(), argnums=(0, 1))
        return gradient(*args), jax.jvp(fun, args, args)

    got, want = jax.jit(lambda *args: [both_modes(fun, args) for fun in (product, lambda x, a: x * a)])(*args)
    assert [g.shape for g in got[0]] == list(shapes)
    assert_close(got, want)


@pytest.mark.parametrize(
    ("argnums", "expected"), [((0,), (True, False)), ((1,), (False, True)), ((0, 1), (True, True))]
)
def test_symbolic_zeros_say_which_arguments_are_differentiated(argnums, expected):
    product, seen = product_rule()
    grads = jax.grad(lambda x, a: product(x, a).sum(), argnums=argnums)(jnp.float32(2), jnp.float32(5))
    assert [g.item() for g in grads] == [[5.0, 2.0][n] for n in argnums]
    assert set(seen) == {(*expected, False)}


def test_a_default_that_nobody_passed_reaches_the_rule_as_a_python_number():
    product, seen = product_rule()
    assert jax.grad(product)(2.0).item() == 3.0
    assert set(seen) == {(True, False, True)}


def test_stopped_and_integer_inputs_have_no_slope():
    product, _ = product_rule()
    assert jax.grad(lambda x: product(jax.lax.stop_gradient(x), x))(3.0).item() == 3.0
    whole = jnp.arange(-2, 3)
    weighted = jax.grad(lambda w: (w * rx.relu(whole).astype(jnp.float32)).sum())(jnp.ones(5, jnp.float32))
    np.testing.assert_array_equal(weighted, [0, 0, 0, 1, 2])


@pytest.mark.parametrize("mode", ["grad", "jvp"])
def test_differentiating_before_the_rule_is_declared(mode):
    @rx.rectifier
    def undeclared(x):
        return x * 2

    assert undeclared(3.0).item() == 6.0
    with pytest.raises(TypeError, match=r"undeclared.*before its rule was declared.*undeclared\.defvjp\(fwd, bwd\)"):
        MODES[mode](undeclared)(jnp.float32(1))


@pytest.mark.parametrize("fun", [wave, *(row.fun for row in rx.ACTIVATIONS.values())], ids=lambda f: f.__name__)
def test_the_outermost_layer_is_one_jit_named_after_the_function(fun):
    row = rx.ACTIVATIONS.get(fun.__name__)
    [eqn] = jax.make_jaxpr(functools.partial(fun, **(row.example if row else {})))(jnp.ones((2, 4), jnp.float32)).eqns
    assert eqn.primitive.name in ("jit", "pjit")
    assert eqn.params["name"] == fun.__name__


def test_a_rectifier_looks_like_its_function():
    assert (wave.__name__, wave.__doc__, wave.__module__) == ("wave", "Keeps its input.", __name__)
    assert list(inspect.signature(wave).parameters) == ["x"]
    assert repr(wave) == "<rectifier wave>"


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (3, 0)])
@pytest.mark.parametrize("fun", [rx.relu, rx.leaky_relu, rx.sparse_sigmoid, rx.elu, rx.few_bit(rx.gelu)])
def test_an_empty_batch_has_a_gradient(fun, shape):
    assert jax.grad(lambda x: fun(x).sum())(jnp.zeros(shape, jnp.float32)).shape == shape


@pytest.mark.parametrize("fun", [rx.elu, rx.selu, rx.relu_squared])
def test_the_second_derivative_at_a_kink_does_not_depend_on_what_is_kept(fun):
    second = [jax.grad(jax.grad(lambda x, kept=kept: fun(x, residual=kept)))(0.0) for kept in (None, "input")]
    np.testing.assert_allclose(second[0], second[1], rtol=0 if jax.default_backend() == "cpu" else 1e-6)


def test_flags_are_taken_as_numpy_and_python_have_them_and_nothing_else():
    for flag in (False, 0, np.bool_(False)):
        assert rx.gelu(-1.0, flag) == rx.gelu(-1.0, approximate=False)
    with pytest.raises(TypeError, match="gelu got approximate='none': expected a Python bool"):
        rx.gelu(1.0, "none")


def test_members_are_pickled_by_name():
    for fun in (rx.relu, rx.gelu, rx.top_k):
        assert pickle.loads(pickle.dumps(fun)) is fun
