"""What is a layer's and what belongs to a loss, a likelihood or a norm, where both look alike."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.scipy.stats import norm

import relujax as rx

W = jax.ShapeDtypeStruct((4, 4), "float32")
X = jax.ShapeDtypeStruct((3, 4), "float32")


def kinds(fun):
    """What the probe finds in ``fun(w, x)``, traced as people trace."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return [site.kind for site in rx.sites(fun, {"w": W, "least": jax.ShapeDtypeStruct((4,), "float32")}, X)]


def opaque(fun):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return jax.eval_shape(rx.probe(fun), {"w": W, "least": jax.ShapeDtypeStruct((4,), "float32")}, X)[1].opaque


def spline(p, x):
    slopes = jnp.pad(1e-3 + jax.nn.softplus(x @ p["w"]), ((0, 0), (1, 1)), constant_values=1.0)
    left, right = slopes[:, :-1][:, :4], slopes[:, 1:][:, :4]
    y = (x * left + right) / (1 + left + right)
    return -jnp.mean(norm.logpdf(y) + jnp.log(left * x**2 + right))


def rendered(p, x):
    alpha = 1 - jnp.exp(-jax.nn.softplus(x @ p["w"] - 1.0) * 0.1)
    passed = jnp.cumprod(1 - alpha, axis=-1)
    return jnp.mean((jnp.sum(alpha * passed * x, axis=-1) - 1) ** 2)


def beta(p, x):
    a, b = jnp.split(1.0 + jax.nn.softplus(x @ p["w"]), 2, axis=-1)
    return -jnp.mean(x[:, 0] * jax.scipy.stats.beta.logpdf(jax.nn.sigmoid(x[:, :2]), a, b).sum(-1))


def bounded(p, x):
    log_var = p["least"] + jax.nn.softplus(x @ p["w"] - p["least"])
    return jnp.mean(x**2 * jnp.exp(-log_var) + log_var)


def bounded_twice(p, x):
    log_var = 0.5 - jax.nn.softplus(0.5 - x @ p["w"])
    return bounded({"w": jnp.eye(4), "least": p["least"]}, log_var)


BIAS = jnp.asarray([0.5, -0.5, 1.0, 0.0], "float32")


def consistency(p, x):
    return jnp.mean((jax.nn.sigmoid(x @ p["w"]) - jax.nn.sigmoid(2 * x @ p["w"])) ** 2)


def crps(p, x):
    deviation = jax.nn.softplus(x @ p["w"])
    z = x / deviation
    return jnp.mean(deviation * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / jnp.sqrt(jnp.pi)))


@pytest.mark.parametrize(
    ("fun", "expected"),
    [
        (lambda p, x: -jnp.sum(jnp.log(jax.nn.sigmoid(x @ p["w"] + 2.0))), ["sigmoid"]),
        (lambda p, x: jnp.sum(x * jnp.tanh(x @ p["w"] - 1.0)), ["tanh"]),
        (lambda p, x: jnp.sum(jax.nn.gelu(x @ p["w"] + 1.0)), ["gelu"]),
        (lambda p, x: jnp.sum(x @ p["w"] * jax.nn.sigmoid(x @ p["w"])), ["sigmoid"]),
        (lambda p, x: jnp.sum((lambda h: h * jax.nn.sigmoid(h))(x @ p["w"])), ["silu"]),
        (spline, ["softplus"]),
        (rendered, ["softplus"]),
        (beta, ["softplus", "sigmoid"]),
        (bounded, ["softplus"]),
        (bounded_twice, ["softplus", "softplus"]),
        (lambda p, x: jnp.sum(x * jnp.exp(jax.nn.log_sigmoid(x @ p["w"]))), ["log_sigmoid"]),
        (consistency, ["sigmoid", "sigmoid"]),
        (lambda p, x: jnp.mean(jax.nn.relu(x @ p["w"] + BIAS)), ["relu"]),
        (lambda p, x: jnp.mean(jnp.abs(jax.nn.softplus(x @ p["w"]) - x)), ["softplus"]),
        (crps, ["softplus"]),
    ],
    ids=[
        "shifted sigmoid",
        "shifted tanh",
        "shifted gelu",
        "a gate of another value",
        "silu written out",
        "slopes of a spline",
        "a density",
        "concentrations",
        "a bound of the log-variance",
        "bounds on both sides",
        "a gate in logarithms",
        "predictions that should agree",
        "a bias that is closed over",
        "absolute errors",
        "a deviation in a score",
    ],
)
def test_a_layer_that_only_a_scalar_depends_on_is_one(fun, expected):
    assert kinds(fun) == expected


def focal(p, x):
    entropy = jax.nn.softplus(-x @ p["w"])
    return jnp.mean((1 - jnp.exp(-entropy)) ** 2 * entropy)


def mixture(p, x):
    log_probs = -jax.nn.softplus(x @ p["w"])
    return -jnp.mean(jax.nn.logsumexp(log_probs, axis=-1))


def logistic_bins(p, x):
    h = x @ p["w"]
    return -jnp.mean(jnp.log(jnp.maximum(jax.nn.sigmoid(h + 0.1) - jax.nn.sigmoid(h - 0.1), 1e-9)))


def squashed(p, x):
    raw = x @ p["w"]
    return (norm.logpdf(raw) - 2 * (jnp.log(2.0) - raw - jax.nn.softplus(-2 * raw))).sum(-1)


def lovasz(p, x):
    errors = jnp.take_along_axis(1 - x @ p["w"], jnp.argsort(x @ p["w"], axis=-1), axis=-1)
    return jnp.mean(jnp.sum(jax.nn.relu(errors) * jnp.arange(4), -1))


@pytest.mark.parametrize(
    "fun",
    [
        focal,
        lovasz,
        mixture,
        logistic_bins,
        squashed,
        lambda p, x: jax.vmap(lambda x: jnp.sum(jnp.maximum(0, 1 - x @ p["w"])))(x),
        lambda p, x: jax.vmap(lambda x: jnp.maximum(0, 1 - x @ p["w"][:, 0]))(x),
        lambda p, x: jnp.mean(jnp.square(jax.nn.relu(1 - x @ p["w"]))),
    ],
    ids=[
        "focal loss",
        "sorted hinges",
        "mixture",
        "differences of a cumulative distribution",
        "change of variables of each example",
        "hinges of each example",
        "a hinge of each example",
        "squared hinge",
    ],
)
def test_a_term_of_a_loss_or_of_a_likelihood_is_no_layer(fun):
    assert kinds(fun) == []


@pytest.mark.parametrize(
    ("fun", "expected"),
    [
        (lambda p, x: jax.nn.softplus(x @ p["w"]), ["softplus"]),
        (lambda p, x: jax.nn.softplus(x @ p["w"])[:, 0], ["softplus"]),
        (lambda p, x: jax.nn.softplus(x @ p["w"]).mean(0), ["softplus"]),
        (lambda p, x: jnp.maximum(x @ p["w"] - 1, 0), ["relu"]),
        (lambda p, x: (jnp.maximum(x @ p["w"] - 1, 0) @ p["w"]).sum(-1), ["relu"]),
        (lambda p, x: (jax.nn.softplus(x @ p["w"]) @ p["w"]).sum(-1), ["softplus"]),
        (lambda p, x: (lambda h: (h / h.sum(-1, keepdims=True)) @ p["w"])(jax.nn.softplus(x @ p["w"])), ["softplus"]),
        (lambda p, x: jax.nn.sigmoid(x @ p["w"] + 1) - jax.nn.sigmoid(x), ["sigmoid", "sigmoid"]),
    ],
)
def test_what_a_network_returns_is_a_layer_s(fun, expected):
    assert kinds(fun) == expected


@pytest.mark.parametrize(
    ("fun", "kind", "reason"),
    [
        (lambda p, x: jax.nn.relu(1 - (x @ p["w"])[:, 0]), "relu", "as in a hinge loss"),
        (lambda p, x: jnp.mean(jax.nn.relu(1 - x @ p["w"])), "relu", "as in a hinge loss"),
        (squashed, "softplus", "as in a likelihood"),
        (lambda p, x: jnp.mean(jax.nn.softplus(-x @ p["w"])), "softplus", "as in a likelihood"),
    ],
    ids=["hinge of each example", "hinge", "change of variables", "logistic loss"],
)
def test_what_may_be_a_last_layer_or_a_term_of_a_loss_is_listed(fun, kind, reason):
    [part] = opaque(fun)
    assert (part.primitive, part.kinds) == (kind, (kind,))
    assert reason in part.reason


def test_what_is_computed_of_counts_is_no_layer():
    def capacity(p, x):
        hot = jax.nn.one_hot(jnp.argmax(x @ p["w"], -1), 4)
        rank = jnp.cumsum(hot, axis=0) * hot
        place = jnp.maximum(rank - 1, 0).sum(-1)
        return jax.nn.one_hot(place.astype("int32"), 3) @ (x @ p["w"])

    assert kinds(capacity) == []


@pytest.mark.parametrize("table", [jnp.eye(4) - 0.5, None], ids=["a constant", "a parameter"])
def test_what_is_looked_up_by_integers_is_no_count(table):
    def fun(p, x):
        return jnp.maximum((p["w"] if table is None else table)[jnp.argmax(x, -1)], 0) @ p["w"]

    assert kinds(fun) == ["relu"]


def neighbours(clamp, x):
    """The deviation of what each of three nodes receives."""
    receivers = jnp.array([0, 1, 1])
    mean = functools.partial(jax.ops.segment_sum, segment_ids=receivers, num_segments=3)
    return jnp.sqrt(clamp(mean(x**2) - mean(x) ** 2) + 1e-5)


@pytest.mark.parametrize("clamp", [lambda v: jnp.maximum(v, 0), jax.nn.relu], ids=["maximum", "relu"])
@pytest.mark.parametrize("spread", [neighbours, None], ids=["segments", "axis"])
def test_the_clamp_of_a_variance_by_any_name_is_no_layer(spread, clamp):
    def along(clamp, x):
        return jnp.sqrt(clamp((x * x).mean(-1, keepdims=True) - jnp.square(x.mean(-1, keepdims=True))) + 1e-5)

    assert kinds(lambda p, x: (spread or along)(clamp, x @ p["w"]) * (x @ p["w"])) == []


def test_a_root_of_a_named_relu_is_a_layer():
    assert kinds(lambda p, x: jnp.sqrt(jax.nn.relu(jnp.sum(x @ p["w"], -1, keepdims=True) - x) + 1) @ p["w"]) == [
        "relu"
    ]


@pytest.mark.parametrize("loop", ["scan", "fori_loop"])
def test_what_depends_on_the_step_of_a_loop_is_a_layer_as_what_depends_on_data(loop):
    def sample(p, x):
        def step(x, t):
            embedded = jax.nn.silu(jnp.full((3, 4), t) @ p["w"])
            return x + embedded @ p["w"], None

        if loop == "scan":
            return jax.lax.scan(step, x, jnp.arange(5, dtype=x.dtype))[0]
        return jax.lax.fori_loop(0, 5, lambda i, x: step(x, i.astype(x.dtype))[0], x)

    assert kinds(sample) == ["silu"]
    assert opaque(sample) == ()
