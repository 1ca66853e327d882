"""Sites: which calls are activations and which are not, what they are named after, and where the user wrote them."""

import functools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.experimental import pallas as pl

import relujax as rx

PARAMS = {
    "hidden": {"kernel": jnp.ones((4, 8), "float32"), "bias": jnp.zeros((1, 8), "float32")},
    "out": {"kernel": jnp.ones((8, 2), "float32"), "bias": jnp.zeros((1, 2), "float32")},
}
X = jnp.ones((3, 4), "float32")


def line_of(mark):
    """``file:line`` of the line of this file that ends in the comment ``mark``."""
    lines = Path(__file__).read_text().splitlines()
    [number] = [i for i, line in enumerate(lines, 1) if line.endswith(f"# {mark}")]
    return f"{__file__}:{number}"


def opaque(fun, *args):
    return jax.eval_shape(rx.probe(fun), *args)[1].opaque


def summary(sites):
    return [(site.name, site.kind, site.shape) for site in sites]


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint, lambda f: jax.jit(jax.checkpoint(jax.jit(f)))])
@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (jax.nn.relu, "relu"),
        (rx.relu, "relu"),
        (jax.nn.leaky_relu, "leaky_relu"),
        (rx.leaky_relu, "leaky_relu"),
        (functools.partial(rx.leaky_relu, negative_slope=0.2), "leaky_relu"),
        (lambda h: rx.prelu(h, 0.25), "prelu"),
        (jax.nn.elu, "elu"),
        (rx.elu, "elu"),
        (jax.nn.silu, "silu"),
        (jax.nn.swish, "silu"),
        (jnp.tanh, "tanh"),
        (rx.tanh, "tanh"),
        (jax.nn.sigmoid, "sigmoid"),
        (rx.sigmoid, "sigmoid"),
        (jax.nn.selu, "selu"),  # calls elu inside: the outermost name counts, once
        (jax.nn.mish, "mish"),
        (jax.nn.relu6, "relu6"),
        (jax.nn.softplus, "softplus"),
    ],
)
def test_each_kind_is_one_site_also_inside_jit_and_checkpoint(act, kind, wrap):
    def fun(params, x):
        return act(x @ params["hidden"]["kernel"] + params["hidden"]["bias"]) @ params["out"]["kernel"]

    [site] = rx.sites(wrap(fun), PARAMS, X)
    assert (site.name, site.kind, site.shape, site.dtype) == (f"hidden/{kind}", kind, (3, 8), "float32")
    assert site.weights == ("hidden/bias", "hidden/kernel")
    assert (site.unit_axis, site.units, site.size, site.executions) == (1, 8, 8, 1)


def test_a_wrapped_block_is_named_as_a_bare_one_in_execution_order():
    def block(layer, x, act):
        return act(x @ layer["kernel"] + layer["bias"])

    def fun(params, x):
        h = jax.jit(lambda layer, x: block(layer, x, rx.relu))(params["hidden"], x)
        return jax.checkpoint(lambda layer, x: block(layer, x, jnp.tanh))(params["out"], h)

    found = rx.sites(fun, PARAMS, X)
    assert summary(found) == [("hidden/relu", "relu", (3, 8)), ("out/tanh", "tanh", (3, 2))]
    assert [site.weights for site in found] == [("hidden/bias", "hidden/kernel"), ("out/bias", "out/kernel")]
    assert found[0].path < found[1].path


def test_shapes_are_enough():
    shapes = jax.eval_shape(lambda: (PARAMS, X))
    found = rx.sites(lambda p, x: rx.relu(x @ p["hidden"]["kernel"]), *shapes)
    assert summary(found) == [("hidden/relu", "relu", (3, 8))]


def test_repeated_names_get_suffixes():
    def fun(params, x):
        for _ in range(3):
            x = rx.relu(x @ params["w"])
        return jnp.tanh(x)

    found = rx.sites(fun, {"w": jnp.ones((4, 4), "float32")}, X)
    assert [site.name for site in found] == ["w/relu", "w/relu_1", "w/relu_2", "tanh"]
    assert [site.weights for site in found] == [("w",), ("w",), ("w",), ()]


def test_without_parameters_the_kind_or_the_name_scope_is_the_name():
    def fun(x):
        with jax.named_scope("decoder"):
            x = jax.nn.relu(x)
        return jax.nn.relu(jax.nn.relu(x))

    assert [site.name for site in rx.sites(fun, X)] == ["decoder/relu", "relu", "relu_1"]


class Mlp(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.first = nnx.Linear(4, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(8, 8, rngs=rngs), nnx.Linear(8, 2, rngs=rngs)])

    def __call__(self, x):
        x = jax.nn.relu(self.norm(self.first(x)))  # nnx relu
        x = rx.elu(self.blocks[0](self.drop(x)))
        return jax.nn.softmax(rx.tanh(self.blocks[1](x)))


@pytest.mark.parametrize("train", [True, False])
def test_nnx(train):
    model = nnx.eval_shape(Mlp)
    model.train() if train else model.eval()
    graph, state = nnx.split(model)
    found = rx.sites(lambda state, x: nnx.merge(graph, state)(x), state, X)
    # Batch statistics, the clamp of their variance, dropout and softmax are no activations.
    assert summary(found) == [
        ("first/relu", "relu", (3, 8)),
        ("blocks/0/elu", "elu", (3, 8)),
        ("blocks/1/tanh", "tanh", (3, 2)),
    ]
    assert found[0].source == line_of("nnx relu")
    assert [site.weights for site in found] == [
        (f"{module}/bias", f"{module}/kernel") for module in ("first", "blocks/0", "blocks/1")
    ]


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.silu(nn.Dense(8)(x))  # linen silu


class Net(nn.Module):
    @nn.compact
    def __call__(self, image, train):
        x = nn.Conv(3, (3, 3))(image)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))  # linen relu
        x = nn.Dropout(0.5, deterministic=not train)(nn.max_pool(x, (2, 2), strides=(2, 2)))
        x = Block()(x.reshape(x.shape[0], -1))
        x = nn.LayerNorm()(Block()(x))
        return nn.log_softmax(nn.Dense(2)(x))


@pytest.mark.parametrize("train", [True, False])
def test_linen(train):
    net, image = Net(), jax.ShapeDtypeStruct((2, 4, 6, 1), jnp.float32)
    variables = jax.eval_shape(lambda key, image: net.init(key, image, False), jax.random.key(0), image)

    def fun(variables, image, key):
        return net.apply(variables, image, train, rngs={"dropout": key}, mutable=["batch_stats"])

    found = rx.sites(fun, variables, image, jax.random.key(1))
    assert summary(found) == [
        ("Conv_0/relu", "relu", (2, 4, 6, 3)),
        ("Block_0/Dense_0/silu", "silu", (2, 8)),
        ("Block_1/Dense_0/silu", "silu", (2, 8)),
    ]
    assert [site.source for site in found] == [line_of("linen relu"), *[line_of("linen silu")] * 2]
    assert found[1].weights == ("Block_0/Dense_0/bias", "Block_0/Dense_0/kernel")
    assert (found[0].units, found[0].size) == (3, 4 * 6 * 3)


@pytest.mark.parametrize("act", [jax.nn.relu, rx.relu, jnp.tanh, jax.nn.silu, rx.leaky_relu], ids=lambda f: f.__name__)
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint, jax.vmap])
def test_the_source_is_the_line_of_the_call(act, wrap):
    def fun(x):
        y = x * 2
        return act(y) * 3  # the call

    [site] = rx.sites(wrap(fun), X)
    assert site.source == line_of("the call")
    assert site.shape == (3, 4)


NO_SITES = {
    "softmax": lambda x: jax.nn.softmax(x, axis=-1),
    "attention": lambda x: jax.nn.dot_product_attention(*[x[None, :, None, :]] * 3),
    "dropout": lambda x: jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), x, 0),
    "variance clamp": lambda x: (x - x.mean()) / jnp.sqrt(jnp.maximum((x**2).mean() - x.mean() ** 2, 0)),
    "a scalar": lambda x: jax.nn.relu(x.sum()) + jnp.tanh(x.mean()),
    "integers": lambda x: jax.nn.relu(x.astype(int)) + rx.relu(x.astype(int)),
    "argmax and top_k": lambda x: (jnp.argmax(x), jax.lax.top_k(x, 2)),
}


@pytest.mark.parametrize("name", NO_SITES)
def test_no_sites(name):
    assert rx.sites(NO_SITES[name], X) == ()
    assert opaque(NO_SITES[name], X) == ()


@pytest.mark.parametrize("approximate", [True, False])
def test_a_gelu_is_one_site_and_its_inside_is_none(approximate):
    def fun(x):
        return jnp.tanh(jax.nn.gelu(x, approximate=approximate))  # gelu and tanh

    found = rx.sites(fun, X)
    assert [site.kind for site in found] == ["gelu", "tanh"]
    assert [site.source for site in found] == [line_of("gelu and tanh")] * 2
    assert opaque(fun, X) == ()


@pytest.mark.parametrize(
    "fun", [lambda x: jnp.tanh(x) + 1, lambda x: x * (1 + rx.tanh(x)), lambda x: 0.5 * (1 + jnp.tanh(x))]
)
def test_a_tanh_that_is_shifted_by_one_is_no_gelu(fun):
    assert [site.kind for site in rx.sites(fun, X)] == ["tanh"]
    assert opaque(fun, X) == ()


def scanned(x):
    return jax.lax.scan(lambda h, _: (rx.relu(h), jnp.tanh(h)), x, length=2)  # scan


def branched(x):
    return jax.lax.cond(x.sum() > 0, lambda x: jnp.tanh(x), lambda x: jax.nn.relu(x), x)  # cond


def looped(x):
    return jax.lax.while_loop(lambda h: h.sum() > 9, lambda h: jax.checkpoint(jax.nn.silu)(h), x)  # while


def custom(x):
    hidden = jax.custom_vjp(lambda x: jnp.tanh(x) * 2)
    hidden.defvjp(lambda x: (hidden(x), x), lambda x, g: (g,))
    return hidden(x)  # custom


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
@pytest.mark.parametrize(
    ("fun", "mark", "kinds", "executions"),
    [
        (scanned, "scan", ["relu", "tanh"], 2),
        (branched, "cond", ["relu", "tanh"], 1),  # branches in the order of their index: false comes first
        (looped, "while", ["silu"], None),
    ],
)
def test_what_is_inside_is_found(fun, mark, kinds, executions, wrap):
    found = rx.sites(lambda x: rx.sigmoid(jax.tree.leaves(wrap(fun)(x))[0]), X)
    assert [site.kind for site in found] == [*kinds, "sigmoid"]
    for site in found[:-1]:
        assert (site.shape, site.executions, site.source) == ((3, 4), executions, line_of(mark))
    assert opaque(fun, X) == ()


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_what_has_its_own_rule_is_not_entered_but_reported_with_what_is_inside(wrap):
    def chain(x):
        return rx.sigmoid(wrap(custom)(x))

    [site] = rx.sites(chain, X)
    [closed] = opaque(chain, X)
    assert site.kind == "sigmoid"
    assert closed.kinds == ("tanh",)
    assert closed.reason == f"the probe does not look inside {closed.primitive}"
    assert closed.source == line_of("custom")


def test_the_test_of_a_while_loop_is_reported():
    def fun(x):
        return jax.lax.while_loop(lambda h: jnp.tanh(h).sum() > 9, lambda h: h / 2, x)

    assert [(part.kinds, "test of a while loop" in part.reason) for part in opaque(fun, X)] == [(("tanh",), True)]


def test_a_callback_is_reported_as_code_that_is_not_jax_s():
    def fun(x):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    [closed] = opaque(fun, X)
    assert closed.kinds == ()
    assert closed.reason == "pure_callback runs code that is not JAX's"


def test_loops_without_an_activation_are_not_worth_a_word():
    assert opaque(lambda x: jax.lax.scan(lambda h, _: (h * 2, None), x, length=2)[0], X) == ()


def test_names_pass_through_what_is_not_entered():
    def fun(params, x):
        h, _ = jax.lax.scan(lambda h, _: (h * 2, None), x @ params["hidden"]["kernel"], length=2)
        return rx.relu(h)

    assert [site.name for site in rx.sites(fun, PARAMS, X)] == ["hidden/relu"]


def test_keyword_calls_are_found():
    [site] = rx.sites(lambda x: rx.elu(x=x, alpha=1.5), X)
    assert (site.kind, site.shape) == ("elu", (3, 4))


W = jnp.ones((4, 4), "float32")


def custom_relu(x):
    @jax.custom_vjp
    def act(x):
        return jnp.maximum(x, 0)

    act.defvjp(lambda x: (act(x), x), lambda x, g: (jnp.where(x > 0, g, 0),))
    return act(x)


#: Activations as people write them out, and what each is.
RAW = {
    "maximum": (lambda x: jnp.maximum(x, 0), "relu"),
    "maximum the other way round": (lambda x: jnp.maximum(0.0, x), "relu"),
    "maximum with zeros": (lambda x: jnp.maximum(x, jnp.zeros_like(x)), "relu"),
    "where": (lambda x: jnp.where(x > 0, x, 0), "relu"),
    "where not": (lambda x: jnp.where(x <= 0, 0, x), "relu"),
    "where the other way round": (lambda x: jnp.where(x > 0, x, 0.0), "relu"),
    "times a comparison": (lambda x: x * (x > 0), "relu"),
    "clip from below": (lambda x: jnp.clip(x, 0), "relu"),
    "clip by name": (lambda x: jnp.clip(x, min=0), "relu"),
    "half of x and its size": (lambda x: (x + jnp.abs(x)) / 2, "relu"),
    "a rule of its own": (custom_relu, "relu"),
    "clip to 6": (lambda x: jnp.clip(x, 0, 6), "relu6"),
    "minimum of maximum": (lambda x: jnp.minimum(jnp.maximum(x, 0), 6), "relu6"),
    "clamp": (lambda x: jax.lax.clamp(x.dtype.type(0), x, x.dtype.type(6)), "relu6"),
    "leaky where": (lambda x: jnp.where(x > 0, x, 0.01 * x), "leaky_relu"),
    "leaky maximum": (lambda x: jnp.maximum(x, 0.2 * x), "leaky_relu"),
    "leaky slope": (lambda x: x * jnp.where(x > 0, 1, 0.1), "leaky_relu"),
    "elu": (lambda x: jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0)) - 1), "elu"),
    "silu": (lambda x: x * jax.nn.sigmoid(x), "silu"),
    "silu as a quotient": (lambda x: x / (1 + jnp.exp(-x)), "silu"),
    "sigmoid": (lambda x: 1 / (1 + jnp.exp(-x)), "sigmoid"),
    "gelu of GPT-2": (
        lambda x: 0.5 * x * (1 + jnp.tanh(jnp.sqrt(2 / jnp.pi) * (x + 0.044715 * jnp.power(x, 3)))),
        "gelu",
    ),
    "gelu by erf": (lambda x: x * 0.5 * (1.0 + jax.lax.erf(x / jnp.sqrt(2.0))), "gelu"),
    "quick gelu": (lambda x: x * jax.nn.sigmoid(1.702 * x), "quick_gelu"),
    "mish": (lambda x: x * jnp.tanh(jax.nn.softplus(x)), "mish"),
    "softplus": (lambda x: jnp.logaddexp(x, 0.0), "softplus"),
    "hard silu": (lambda x: x * jax.nn.relu6(x + 3) / 6, "hard_silu"),
    "soft sign": (lambda x: x / (1 + jnp.abs(x)), "soft_sign"),
    "squareplus": (lambda x: 0.5 * (x + jnp.sqrt(x * x + 4)), "squareplus"),
    "sparse plus": (
        lambda x: jnp.where(x <= -1, 0, jnp.where(x >= 1, x, jnp.square(x + 1) / 4)),
        "sparse_plus",
    ),
    "sparse sigmoid": (lambda x: jnp.clip((x + 1) / 2, 0, 1), "sparse_sigmoid"),
    "celu": (lambda x: jnp.maximum(x, 0) + jnp.minimum(0, 0.5 * (jnp.exp(x / 0.5) - 1)), "celu"),
    "select": (lambda x: jnp.select([x > 0], [x], 0.0), "relu"),
    "pieces": (lambda x: jnp.piecewise(x, [x < 0], [lambda v: 0.1 * v, lambda v: v]), "leaky_relu"),
    "pieces for all": (lambda x: jnp.piecewise(x, [x < 0, x >= 0], [lambda v: 0 * v, lambda v: v]), "relu"),
    "select of two": (lambda x: jnp.select([x >= 0, x < 0], [x, 0.2 * x]), "leaky_relu"),
    "select of three": (lambda x: jnp.select([x < 0, x > 6], [0 * x, 0 * x + 6], x), "relu6"),
    "maximum of minimum": (lambda x: jnp.maximum(0, jnp.minimum(6, x)), "relu6"),
    "hard sigmoid": (lambda x: jnp.maximum(0, jnp.minimum(1, (x + 3) / 6)), "hard_sigmoid"),
    "hard sigmoid of relu6": (lambda x: jax.nn.relu6(x + 3) / 6, "hard_sigmoid"),
    "relu6 and a factor": (lambda x: jax.nn.relu6(x) / 5, "relu6"),
    "logarithm": (lambda x: jnp.log(1 + jnp.exp(x)), "softplus"),
    "logarithm near 1": (lambda x: jnp.log1p(jnp.exp(x)), "softplus"),
    "selu to six digits": (lambda x: 1.0507 * jnp.where(x > 0, x, 1.67326 * (jnp.exp(x) - 1)), "selu"),
    "swish of a number": (lambda x: x * jax.nn.sigmoid(1.5 * x), "swish"),
    "soft shrink": (lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.5, 0), "soft_shrink"),
    "soft shrink by cases": (lambda x: jnp.where(x > 0.5, x - 0.5, jnp.where(x < -0.5, x + 0.5, 0)), "soft_shrink"),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint, jax.vmap])
@pytest.mark.parametrize("name", RAW)
def test_raw_forms(name, wrap, dtype):
    act, kind = RAW[name]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = rx.sites(lambda w, x: wrap(act)(x @ w) @ w, W.astype(dtype), X.astype(dtype))
    assert [site.kind for site in found] == [kind]


@pytest.mark.parametrize(
    ("act", "kind"),
    [(lambda x: jnp.where(x > 0, x, 0.0), "relu"), (jax.nn.elu, "elu"), (jax.nn.selu, "selu")],
    ids=["where", "elu", "selu"],
)
def test_vmap_that_moves_the_mapped_axis_inside_an_activation_hides_it_not(act, kind):
    def fun(w, x):
        return jax.vmap(lambda x: w @ act(w @ x))(x)  # maps the last axis of w @ x, and where the first one

    rows = jnp.linspace(-2, 2, 12, dtype="float32").reshape(3, 4)
    weights = jnp.eye(4, dtype="float32") - 0.5
    [site] = rx.sites(fun, weights, rows)
    assert (site.kind, site.shape) == (kind, (3, 4))
    out, stats = jax.jit(rx.probe(fun))(weights, rows)
    np.testing.assert_allclose(out, fun(weights, rows), rtol=1e-6)
    expected = np.asarray(act(rows @ weights.T))
    np.testing.assert_array_equal(stats[site.name].active, (expected > 0).sum(0))
    np.testing.assert_allclose(stats[site.name].total, expected.sum(0), rtol=1e-5)

    def loss(*args):
        return jnp.sum(fun(*args) ** 2)

    (_, grads), _ = jax.jit(rx.probe_grad(loss))(weights, rows)
    np.testing.assert_allclose(grads, jax.grad(loss)(weights, rows), rtol=1e-5)


@pytest.mark.parametrize("name", ["mish", "hard silu", "silu"])
def test_what_is_inside_a_written_out_activation_is_not_reported_as_closed(name):
    with jax.numpy_dtype_promotion("standard"):
        assert opaque(lambda w, x: RAW[name][0](x @ w) @ w, W, X) == ()


def test_thresholds_that_are_learnt_make_soft_shrinks():
    def lista(params, y):
        b = y @ params["w"]
        z = jnp.zeros_like(b)
        for _ in range(2):
            u = b + z @ params["w"]
            z = jnp.sign(u) * jnp.maximum(jnp.abs(u) - params["threshold"], 0)
        return z

    with jax.numpy_rank_promotion("allow"):
        found = rx.sites(lista, {"w": W, "threshold": jnp.ones(4, "float32")}, X)
    assert [site.kind for site in found] == ["soft_shrink", "soft_shrink"]


def test_a_slope_that_is_learnt_makes_a_prelu_and_a_beta_a_swish():
    params = {"w": W, "slope": jnp.float32(0.1), "beta": jnp.float32(2)}

    def fun(params, x):
        h = x @ params["w"]
        h = jnp.where(h > 0, h, params["slope"] * h) @ params["w"]
        h = (jnp.maximum(h, 0) + params["slope"] * jnp.minimum(h, 0)) @ params["w"]
        return h * jax.nn.sigmoid(params["beta"] * h)

    assert [site.kind for site in rx.sites(fun, params, X)] == ["prelu", "prelu", "swish"]


NEARLY = {
    "a floor above 0": lambda x: jnp.maximum(x, 1e-6),
    "two arrays": lambda x: jnp.maximum(x, x[::-1]),
    "the sign of the transposed": lambda x: (lambda square: square * (square.T > 0))(x[:, :3]) @ x,
    "absolute value": lambda x: jnp.abs(x),
    "a square": lambda x: x * x,
    "an interval": lambda x: jnp.clip(x, 0, 255),
    "an interval from above": lambda x: jnp.maximum(0, jnp.minimum(x, 255)),
    "a logarithm": lambda x: jnp.log(1 + x * x),
    "both sides": lambda x: jnp.clip(x, -1, 1),
    "a mask": lambda x: jnp.where(jnp.arange(4) > 2, x, 0),
    "max pool": lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2), (1, 1), "SAME"),
    "root mean square norm": lambda x: x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6),
    "layer norm": lambda x: (
        (x - x.mean(-1, keepdims=True))
        / jnp.sqrt(jnp.maximum((x**2).mean(-1, keepdims=True) - x.mean(-1, keepdims=True) ** 2, 0) + 1e-5)
    ),
    "uniform noise": lambda x: x + jax.random.uniform(jax.random.key(0), x.shape),
}


@pytest.mark.parametrize("name", NEARLY)
def test_what_only_looks_like_an_activation(name):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert rx.sites(lambda w, x: NEARLY[name](x @ w) @ w, W, X) == ()


def test_a_root_of_a_relu_is_no_clamp_of_a_variance():
    [site] = rx.sites(lambda w, x: jnp.sqrt(jnp.maximum(x @ w, 0)) @ w, W, X)
    assert site.kind == "relu"


LOSSES = {
    "hinge": lambda logits, y: jnp.maximum(0, 1 - y * logits).mean(),
    "hinge by name": lambda logits, y: jax.nn.relu(1 - y * logits).mean(),
    "cross-entropy of logits": lambda logits, y: -jnp.mean(y * jax.nn.log_sigmoid(logits)),
    "stable cross-entropy": lambda z, y: jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z)))),
    "logistic": lambda logits, y: jax.nn.softplus(-y * logits).mean(),
    "huber": lambda z, y: jnp.where(jnp.abs(z - y) < 1, 0.5 * (z - y) ** 2, jnp.abs(z - y) - 0.5).mean(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_belongs_to_the_loss_is_no_site(name):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = rx.sites(lambda w, x: LOSSES[name](jnp.maximum(x @ w, 0) @ w, x), W, X)
    assert [site.kind for site in found] == ["relu"]


@pytest.mark.parametrize(
    "nll",
    [
        lambda y, mean, width: -jnp.mean(jax.scipy.stats.norm.logpdf(y, mean, width)),
        lambda y, mean, width: jnp.mean(jnp.log(width + 1e-3) + 0.5 * ((y - mean) / (width + 1e-3)) ** 2),
        lambda y, mean, width: jnp.mean(width - y * jnp.log(width)),
    ],
    ids=["normal", "written out", "poisson"],
)
def test_a_softplus_of_which_a_likelihood_takes_the_logarithm_is_a_layer_s(nll):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = rx.sites(lambda w, x: nll(x, x @ w, 0.1 + 0.9 * jax.nn.softplus(x @ w)), W, X)
    assert [site.kind for site in found] == ["softplus"]


@pytest.mark.parametrize("act", [jax.nn.softplus, jax.nn.log_sigmoid, jax.nn.mish], ids=lambda act: act.__name__)
@pytest.mark.parametrize(
    "differentiate",
    [
        lambda net: jax.grad(lambda x: jnp.sum(net(x) ** 2)),
        lambda net: lambda x: jax.jvp(net, (x,), (x,)),
        lambda net: jax.vmap(jax.hessian(lambda x: jnp.sum(net(x)))),
    ],
    ids=["grad", "jvp", "hessian"],
)
def test_a_derivative_of_softplus_is_no_log_sigmoid(act, differentiate):
    found = rx.sites(lambda w, x: differentiate(lambda x: act(x @ w) @ w)(x), W, X)
    assert [site.kind for site in found] == [act.__name__]


INSIDE = (
    *("relu", "relu6", "elu", "selu", "silu", "mish", "softplus", "squareplus", "sparse_plus", "sparse_sigmoid"),
    *("sigmoid", "tanh", "soft_sign", "hard_silu", "gelu"),
)


@pytest.mark.parametrize("name", INSIDE)
def test_what_is_differentiated_inside_is_of_its_kind(name):
    """As in losses on derivatives of a network, where a derivative of the call stands in its place."""
    act = getattr(jax.nn, name)
    inner = jax.grad(lambda x, w: jnp.sum(act(act(x @ w) @ w) @ w))
    assert [site.kind for site in rx.sites(lambda w, x: inner(x, w), W, X)] == [name, name]


def test_a_scale_that_is_the_exponent_of_a_tanh_keeps_the_tanh():
    [site] = rx.sites(lambda w, x: x * jnp.exp(jnp.tanh(x @ w)), W, X)
    assert site.kind == "tanh"


def test_the_signal_at_a_softplus_is_that_at_its_value_and_not_that_in_its_derivative():
    def loss(w, x):
        return jnp.sum((jax.nn.softplus(x @ w) @ w) ** 2)

    def with_tangent(w, x):
        return jnp.sum(jax.jvp(lambda x: jax.nn.softplus(x @ w) @ w, (x,), (x,))[0] ** 2)

    expected, measured = (rx.probe_grad(fun)(W, X)[1]["softplus"].signal.norm for fun in (loss, with_tangent))
    np.testing.assert_allclose(measured, expected, rtol=1e-6)


def test_the_backward_pass_of_a_training_step_is_not_counted_again():
    def step(w, x):
        return jax.grad(jax.checkpoint(lambda w: jnp.sum(jnp.tanh(jax.nn.relu(x @ w) @ w))))(w)

    assert [site.kind for site in rx.sites(step, W, X)] == ["relu", "tanh"]


@pytest.mark.parametrize(
    ("unit", "kind"), [(rx.reglu, "relu"), (rx.geglu, "gelu"), (rx.swiglu, "silu"), (rx.drelu, "relu")]
)
def test_a_gated_unit_is_of_the_kind_of_its_gate(unit, kind):
    assert [site.kind for site in rx.sites(lambda w, x: unit(x @ w, x * 2), W, X)] == [kind]


@pytest.mark.parametrize("glu", [jax.nn.glu, rx.glu])
def test_glu_is_a_sigmoid(glu):
    assert [site.kind for site in rx.sites(lambda w, x: glu(x @ w), W, X)] == ["sigmoid"]


@pytest.mark.parametrize(
    ("member", "kind"),
    [(lambda x: rx.top_k(x, 2), "top_k"), (rx.crelu, "crelu"), (lambda x: rx.maxout(x, 2), "maxout")],
)
def test_members_that_are_not_elementwise(member, kind):
    assert [site.kind for site in rx.sites(lambda w, x: member(x @ w), W, X)] == [kind]


def test_a_scanned_stack_is_named_by_its_weights_and_says_that_its_steps_are_layers():
    params = {"layers": {"kernel": jnp.ones((5, 4, 4), "float32")}}

    def fun(params, x):
        return jax.lax.scan(lambda h, layer: (rx.relu(h @ layer["kernel"]), None), x, params["layers"])[0]

    [site] = rx.sites(fun, params, X)
    assert (site.name, site.steps, site.layers, site.executions) == ("layers/relu", (5,), (True,), 5)
    [site] = rx.sites(lambda w, x: jax.lax.scan(lambda h, _: (rx.relu(h @ w), None), x, length=7)[0], W, X)
    assert (site.steps, site.layers, site.executions) == ((7,), (False,), 7)


def test_a_function_that_cannot_be_traced():
    def fun(x):
        return x if x.sum() > 0 else -x

    with pytest.raises(
        TypeError, match=r"got fun, which JAX cannot trace \(.*expected a function that jax.jit accepts"
    ):
        rx.sites(fun, X)


def test_arguments_that_are_no_arrays_are_named():
    """As Equinox keeps its activations in the tree of its weights."""
    with pytest.raises(TypeError, match=r"got a \w+ among the arrays, argument \[0\]\['act'\]: .*equinox.partition"):
        rx.sites(lambda model, x: model["act"](x @ model["w"]), {"w": W, "act": jax.nn.relu}, X)


def kernel(x):
    """ReLU in Pallas, interpreted."""

    def body(x_ref, y_ref):
        y_ref[...] = jnp.maximum(x_ref[...], 0)

    return pl.pallas_call(body, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True)(x)


@jax.custom_vjp
def differentiable_kernel(x):
    return kernel(x)


differentiable_kernel.defvjp(lambda x: (kernel(x), x), lambda x, g: (jnp.where(x > 0, g, 0),))


@pytest.mark.parametrize("wrap", [lambda f: f, jax.checkpoint, jax.jit], ids=["plain", "checkpoint", "jit"])
@pytest.mark.parametrize("act", [kernel, differentiable_kernel])
def test_a_pallas_kernel_runs_as_it_is_and_is_listed(act, wrap):
    def model(w, x):
        return jax.nn.tanh(wrap(act)(x @ w["a"]) @ w["b"])

    w = {"a": np.eye(4, dtype=np.float32), "b": np.eye(4, dtype=np.float32)}
    x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)
    out, stats = jax.jit(rx.probe(model))(w, x)
    np.testing.assert_allclose(out, np.tanh(np.maximum(x, 0)), rtol=1e-6)
    [part] = stats.opaque
    assert (part.primitive, part.kinds, part.reason) == ("pallas_call", (), "pallas_call runs code that is not JAX's")
    assert "test_sites.py:" in part.source
    assert list(stats) == ["b/tanh"]


def test_a_gradient_goes_through_a_kernel_that_has_one():
    def loss(w, x):
        return jnp.tanh(differentiable_kernel(x @ w["a"]) @ w["b"]).sum()

    w, x = {"a": np.eye(4, dtype=np.float32), "b": np.eye(4, dtype=np.float32)}, np.ones((3, 4), np.float32)
    (_, grads), stats = jax.jit(rx.probe_grad(loss))(w, x)
    np.testing.assert_allclose(grads["a"], jax.grad(loss)(w, x)["a"], rtol=1e-6)
    assert list(stats) == ["b/tanh"]
    assert [part.primitive for part in stats.opaque] == ["pallas_call"]


@pytest.mark.parametrize("loop", ["scan", "while"])
def test_a_loop_over_layers_is_none_of_the_loss_though_its_result_is_only_summed(loop):
    def layer(x, w):
        return jnp.maximum(x @ w, 0), None

    def fun(params, x):
        if loop == "scan":
            return jax.lax.scan(layer, x, params["w"])[0].sum()
        return jax.lax.fori_loop(0, x.shape[0], lambda i, x: layer(x, params["w"][i])[0], x).sum()

    w, x = jax.ShapeDtypeStruct((3, 4, 4), "float32"), jax.ShapeDtypeStruct((8, 4), "float32")
    assert [site.kind for site in rx.sites(fun, {"w": w}, x)] == ["relu"]


def test_a_hinge_loss_summed_over_parts_of_a_batch_is_no_site():
    def fun(params, x):
        def part(total, x):
            return total + jnp.maximum(1 - x @ params["w"], 0).sum(), None

        return jax.lax.scan(part, jnp.float32(0), x)[0]

    assert (
        rx.sites(fun, {"w": jax.ShapeDtypeStruct((4, 4), "float32")}, jax.ShapeDtypeStruct((8, 2, 4), "float32")) == ()
    )


def test_what_may_be_a_hinge_loss_or_a_last_layer_is_listed():
    _, stats = rx.probe(lambda w, x: jnp.mean(jax.nn.relu(jax.nn.relu(x @ w) @ w + 1.0)))(
        jnp.ones((4, 4)), jnp.ones((8, 4))
    )
    assert list(stats) == ["relu"]
    [part] = stats.opaque
    assert (part.primitive, part.kinds) == ("relu", ("relu",))
    assert "as in a hinge loss" in part.reason


def test_a_parameter_that_is_called_value_keeps_its_name():
    def fun(params, x):
        x = jax.nn.relu(x @ params["attention"]["query"])
        return jax.nn.tanh(jax.nn.gelu(x @ params["attention"]["value"]) @ params["value"])

    w, x = jax.ShapeDtypeStruct((4, 4), "float32"), jax.ShapeDtypeStruct((8, 4), "float32")
    found = rx.sites(fun, {"attention": {"query": w, "value": w}, "value": w}, x)
    assert [site.weights for site in found] == [("attention/query",), ("attention/value",), ("value",)]
    assert [site.name for site in found] == ["attention/relu", "attention/gelu", "value/tanh"]


def test_parameters_whose_paths_read_the_same_are_told_apart():
    params = {"a": {"w": np.ones((3, 3), np.float32)}, "a/w": np.zeros((3, 3), np.float32)}
    x = np.ones((2, 3), np.float32)

    def fun(params, x):
        return rx.relu(rx.relu(x @ params["a"]["w"]) @ params["a/w"])

    assert [site.weights for site in rx.sites(fun, params, x)] == [("a/w",), ("a/w_1",)]
    gradient = jax.grad(lambda params: fun(params, x).sum() + fun(params, x + 1).sum())(params)
    leaves = dict(zip(rx.probes.parameter_names((gradient,)), jax.tree.leaves(gradient), strict=True))
    assert leaves["a/w"] is gradient["a"]["w"]
    assert leaves["a/w_1"] is gradient["a/w"]
