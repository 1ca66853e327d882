"""Sites: which calls are activations and which are not, what they are named after, and where the user wrote them."""

import functools
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

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


def test_a_tanh_gelu_is_reported_and_its_tanh_is_no_site():
    def fun(x):
        return jnp.tanh(jax.nn.gelu(x, approximate=True))  # gelu and tanh

    [site] = rx.sites(fun, X)
    [closed] = opaque(fun, X)
    assert (site.kind, site.source) == ("tanh", line_of("gelu and tanh"))
    assert closed.kinds == ("gelu",)
    assert "tanh form" in closed.reason
    assert closed.source == line_of("gelu and tanh")


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
    ("fun", "primitive", "kinds"),
    [
        (scanned, "scan", {"relu", "tanh"}),
        (branched, "cond", {"relu", "tanh"}),
        (looped, "while", {"silu"}),
        (custom, "custom", {"tanh"}),
    ],
)
def test_what_is_not_entered_is_reported_with_what_is_inside(fun, primitive, kinds, wrap):
    def chain(x):
        out = jax.tree.leaves(wrap(fun)(x))[0]
        return rx.sigmoid(out)

    [site] = rx.sites(chain, X)
    [closed] = opaque(chain, X)
    assert site.kind == "sigmoid"
    assert closed.primitive.startswith(primitive)
    assert (set(closed.kinds), len(closed.kinds)) == (kinds, len(kinds))
    assert closed.reason == f"the probe does not look inside {closed.primitive} yet"
    assert closed.source == line_of(primitive)


def test_a_callback_is_reported_as_having_nothing_to_look_into():
    def fun(x):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    [closed] = opaque(fun, X)
    assert closed.kinds == ()
    assert "no jaxpr to look into" in closed.reason


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
