"""What theory says of a user's model: the mean field of its own weights where it is a plain stack, else a reason."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import relujax as rx
from relujax.report import as_run, from_json

WIDTH, EXAMPLES = 8, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(EXAMPLES, 5)).astype(np.float32)
Y = np.arange(EXAMPLES) % 3
KERNELS = [RNG.normal(size=shape).astype(np.float32) for shape in ((5, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH))]
BIASES = [RNG.normal(size=WIDTH).astype(np.float32) for _ in KERNELS]
READOUT = RNG.normal(size=(WIDTH, 3)).astype(np.float32)
PARAMS = {
    **{f"layer{i}": {"kernel": w, "bias": b} for i, (w, b) in enumerate(zip(KERNELS, BIASES, strict=True))},
    "readout": READOUT,
}
#: Of a leaky ReLU of slope a, E f^2 / q = E f'^2 = (1 + a^2) / 2.
SRELU = ("left", "left_slope", "right", "right_slope")
LEFT = {"relu": 0.5, "leaky": (1 + 0.09) / 2}
relu, leaky = jax.nn.relu, functools.partial(rx.leaky_relu, negative_slope=0.3)


def plain(params, x, acts=(relu, relu, relu)):
    for i, act in enumerate(acts):
        x = act(x @ params[f"layer{i}"]["kernel"] + params[f"layer{i}"]["bias"][None])
    return x @ params["readout"]


def law(left=(0.5, 0.5, 0.5), kernels=KERNELS, biases=BIASES):
    """Root mean squares of the outputs, and factors of the gradient's norm, by hand."""
    square, outputs, factors = float(np.mean(X.astype(float) ** 2)), [], []
    for kernel, bias, part in zip(kernels, biases, left, strict=True):
        variance = len(kernel) * np.mean(kernel.astype(float) ** 2)
        square = part * (variance * square + np.mean(bias.astype(float) ** 2))
        outputs.append(np.sqrt(square))
        factors.append(np.sqrt(variance * part))
    return outputs, factors


def check(found, left=(0.5, 0.5, 0.5), **weights):
    outputs, factors = law(left, **weights)
    np.testing.assert_allclose(found.predicted["output_rms"], outputs, rtol=1e-5)
    if found.loss is not None:
        want = found.summary[-1].signal_norm * np.cumprod([1, *factors[:0:-1]])[::-1]
        np.testing.assert_allclose(found.predicted["signal_norm"], want, rtol=1e-5)
    assert not any("prediction" in note for note in found.notes)


def diagnose(model, x=X, params=PARAMS, **options):
    return rx.diagnose(model, (x, Y), loss="cross_entropy", params=params, spectrum_examples=0, **options)


@pytest.mark.parametrize(
    ("acts", "left"),
    [
        ((relu, relu, relu), ("relu", "relu", "relu")),
        ((leaky, relu, leaky), ("leaky", "relu", "leaky")),
        ((lambda x: jnp.where(x > 0, x, jnp.float32(0.3) * x), rx.relu, relu), ("leaky", "relu", "relu")),
    ],
    ids=["relu", "parameter", "written_out"],
)
def test_a_plain_stack(acts, left):
    check(diagnose(functools.partial(plain, acts=acts)), [LEFT[name] for name in left])


def test_without_a_loss_the_way_forward_alone():
    found = rx.diagnose(plain, X, params=PARAMS, spectrum_examples=0)
    check(found)
    assert set(found.predicted) == {"output_rms"}


def test_a_stack_that_is_scanned():
    weights = (jnp.stack(KERNELS[1:]), jnp.stack(BIASES[1:]))

    def model(params, x):
        h = relu(x @ params["first"])
        h, _ = jax.lax.scan(lambda h, layer: (relu(h @ layer[0] + layer[1][None]), None), h, params["rest"])
        return h @ params["readout"]

    found = diagnose(model, params={"first": KERNELS[0], "rest": weights, "readout": READOUT})
    assert [row.step for row in found.summary] == [(), (0,), (1,)]
    check(found, biases=[np.zeros(WIDTH), *BIASES[1:]])


def test_a_scan_in_reverse_is_a_reason():
    def model(params, x):
        h, _ = jax.lax.scan(lambda h, w: (relu(h @ w), None), relu(x @ params["first"]), params["rest"], reverse=True)
        return h @ params["readout"]

    found = diagnose(model, params={"first": KERNELS[0], "rest": jnp.stack(KERNELS[1:]), "readout": READOUT})
    assert found.predicted == {}
    [note] = [note for note in found.notes if "prediction" in note]
    assert "or the scan that it is in runs in reverse" in note


def test_kernels_with_the_units_first():
    params = {f"layer{i}": w.T for i, w in enumerate(KERNELS)} | {"readout": READOUT}

    def model(params, x):
        for i in range(3):
            x = jax.vmap(lambda x, i=i: relu(params[f"layer{i}"] @ x))(x)  # which makes arrays (units, examples)
        return x @ params["readout"]

    check(diagnose(model, params=params), biases=[np.zeros(WIDTH)] * 3)


def test_flax_modules():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.List([nnx.Linear(a, WIDTH, rngs=rngs) for a in (5, WIDTH)])
            self.out = nnx.Linear(WIDTH, 3, rngs=rngs)

        def __call__(self, x):
            for layer in self.hidden:
                x = nnx.relu(layer(x))
            return self.out(x)

    net = Net(nnx.Rngs(0))
    kernels = [np.asarray(layer.kernel[...]) for layer in net.hidden]
    check(diagnose(net, params=None), left=(0.5, 0.5), kernels=kernels, biases=[np.zeros(WIDTH)] * 2)

    class Twin(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3)(linen.relu(linen.Dense(WIDTH)(x.reshape(len(x), -1))))

    images = X[:, :4].reshape(-1, 2, 2)
    variables = Twin().init(jax.random.key(0), images)
    found = diagnose((Twin(), variables), images, params=None)
    kernel = np.asarray(variables["params"]["Dense_1"]["kernel"], float)
    want = np.sqrt(4 * np.mean(kernel**2) * np.mean(images.astype(float) ** 2) / 2)
    np.testing.assert_allclose(found.predicted["output_rms"], [want], rtol=1e-5)


def test_parameters_that_come_in_the_order_of_their_names():
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.last = nnx.Linear(5, WIDTH, rngs=rngs), nnx.Linear(WIDTH, 3, rngs=rngs)
            self.act = rx.nnx.SReLU()

        def __call__(self, x):
            return self.last(self.act(self.first(x)))

    net = Net(nnx.Rngs(0))
    found = diagnose(net, params=None)
    kernel = np.asarray(net.first.kernel[...], float)
    q = 5 * np.mean(kernel**2) * np.mean(X.astype(float) ** 2)
    act = functools.partial(rx.srelu, **{name: np.asarray(getattr(net.act, name)[...]).item() for name in SRELU})
    want = np.sqrt(rx.theory.moments(act, q).second)
    np.testing.assert_allclose(found.predicted["output_rms"], [want], rtol=1e-5)


def test_the_inputs_are_those_of_all_batches():
    x = X * np.where(np.arange(EXAMPLES) < 2, 0.01, 1)[:, None].astype(np.float32)
    whole, parts = (diagnose(plain, x, batch_size=size) for size in (EXAMPLES, 2))
    np.testing.assert_allclose(parts.predicted["output_rms"], whole.predicted["output_rms"], rtol=1e-5)


def test_a_backward_pass_of_another_rule_is_not_predicted():
    found = diagnose(functools.partial(plain, acts=(rx.guided_relu,) * 3))
    np.testing.assert_allclose(found.predicted["output_rms"], law()[0], rtol=1e-5)
    assert "signal_norm" not in found.predicted


def test_what_is_measured_of_a_wide_stack_lies_near():
    key = jax.random.key(1)
    width, depth = 512, 6
    weights = jax.random.normal(key, (depth, width, width), "float32") * jnp.float32((2 / width) ** 0.5)

    def model(weights, x):
        for w in weights:
            x = jnp.tanh(x @ w)
        return x

    x = jax.random.normal(key, (64, width), "float32")
    found = rx.diagnose(model, (x, np.zeros(64)), loss=lambda out, y: out[:, 0], params=list(weights))
    for name, measured in (("output_rms", "root_mean_square"), ("signal_norm", "signal_norm")):
        values = [getattr(row, measured) for row in found.summary]
        np.testing.assert_allclose(found.predicted[name], values, rtol=0.1)


def skips(params, x):
    h = relu(x @ params["layer0"]["kernel"])
    return (h + relu(h @ params["layer1"]["kernel"])) @ params["readout"]


def residual(params, x):
    h = relu(x @ params["layer0"]["kernel"])
    return relu(h + h @ params["layer1"]["kernel"]) @ params["readout"]


def normalised(params, x):
    h = relu(x @ params["layer0"]["kernel"])
    return relu((h - h.mean(axis=-1, keepdims=True)) @ params["layer1"]["kernel"]) @ params["readout"]


def by_unit(params, x):
    h = x @ params["layer0"]["kernel"]
    return rx.prelu(h, params["layer0"]["bias"][None]) @ params["readout"]


def by_unit_written_out(params, x):
    h = x @ params["layer0"]["kernel"]
    return jnp.where(h > 0, h, params["layer1"]["bias"][None] * h) @ params["readout"]


def convolved(params, x):
    h = jnp.stack([x, x, x], axis=1)
    return relu(h @ params["layer0"]["kernel"]).mean(axis=1) @ params["readout"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (skips, "its output does not follow from the last activation alone"),
        (residual, "layer1/relu is not of one dense layer's output"),
        (normalised, "layer1/relu is not of one dense layer's output"),
        (by_unit, "layer0/prelu has a parameter that is not one number"),
        (by_unit_written_out, "layer0/prelu has a parameter that is not one number"),
        (convolved, "layer0/relu is not what follows one dense layer"),
    ],
)
def test_any_other_model_has_a_reason_in_its_place(model, reason):
    found = diagnose(model)
    assert found.predicted == {}
    [note] = [note for note in found.notes if "prediction" in note]
    assert note.startswith("no prediction beside it: theory has one for a plain stack of dense layers, and ")
    assert note.endswith(reason)


def test_weights_that_are_zero_have_a_reason():
    found = diagnose(plain, params=jax.tree.map(np.zeros_like, PARAMS))
    assert "expected a positive variance" in next(note for note in found.notes if "prediction" in note)


def test_it_can_be_left_out():
    found = diagnose(plain, predict=False)
    assert found.predicted == {}
    assert not any("prediction" in note for note in found.notes)


def test_it_is_saved_and_read():
    found = diagnose(plain)
    [run] = from_json(found.to_json())
    assert run == as_run(found)
    assert run.stages["as given"].predicted == found.predicted != {}
