"""relujax.torch against what PyTorch 2.13 computed (benchmarks/torch_reference.py), value and gradient."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from properties.float_grids import FLUSHED, ulps

import relujax as rx

pytestmark = pytest.mark.own_precision

DATA = json.loads((Path(__file__).parent / "data" / "torch_2_13.json").read_text(encoding="utf-8"))
CASES = {f"{row['name']}({', '.join(f'{k}={v}' for k, v in row['arguments'].items())})": row for row in DATA["cases"]}
DTYPES = ("float32", "float16", "bfloat16")
RESULTS = ("value", "slope", "slope of weight")
ULPS = {"float32": 4, "float16": 1, "bfloat16": 1}

CANCELS = "PyTorch's 1 + erf or 1 + tanh has no digits left in the left tail, nor what is taken from it"
SUM = "PyTorch's slope is a sum or product of rounded terms, off by some units in the last place of 1"
COMPOSED = "PyTorch composes it of operations that each round, and that cancel"
OUTPUT = "PyTorch takes the slope from the rounded output, ours in half precision from the input"
XLA = "XLA's tanh is off by up to 4.3 ulp, and so is what is taken from it, in ulp of 1"
EXPONENT = "one exponential of a sum: its relative error grows with the input, where the slope vanishes"
#: Where the difference is not within ULPS: function, result, dtype; the largest difference, and why.
ROUNDING = {
    ("selu", "slope", "float32"): (2e-10, EXPONENT),
    ("gelu", "value", "float32"): (7e-7, CANCELS),
    ("gelu", "value", "bfloat16"): (3e-7, CANCELS),
    ("gelu", "slope", "float32"): (7e-7, CANCELS),
    ("gelu", "slope", "float16"): (7e-7, CANCELS),
    ("gelu", "slope", "bfloat16"): (7e-7, CANCELS),
    ("silu", "slope", "float32"): (1e-6, SUM),
    ("mish", "slope", "float32"): (1e-6, SUM),
    ("softsign", "slope", "float32"): (2e-8, COMPOSED),
    ("softsign", "slope", "float16"): (1.5e-4, COMPOSED),
    ("softsign", "slope", "bfloat16"): (4e-3, COMPOSED),
    ("glu", "slope", "float16"): (5e-4, OUTPUT + "; in units of the other half"),
    ("glu", "slope", "bfloat16"): (4e-3, OUTPUT + "; in units of the other half"),
    ("sigmoid", "slope", "float16"): (2.5e-4, OUTPUT),
    ("sigmoid", "slope", "bfloat16"): (2e-3, OUTPUT),
    ("tanh", "slope", "float32"): (4e-7, XLA),
    ("tanh", "slope", "float16"): (5e-4, OUTPUT),
    ("tanh", "slope", "bfloat16"): (4e-3, OUTPUT),
    ("tanhshrink", "value", "float32"): (1.5e-7, XLA),
    ("tanhshrink", "slope", "float32"): (1.5e-7, XLA),
    ("tanhshrink", "slope", "bfloat16"): (4e-3, OUTPUT),
}
if jax.default_backend() != "cpu":  # XLA's logistic is off by up to an ulp there, and the slope is taken from it
    ROUNDING |= dict.fromkeys([("sigmoid", "slope", "float32"), ("glu", "slope", "float32")], (1.2e-7, OUTPUT))
#: What is not matched: at which input, and what PyTorch gives. It gives the input itself for a tensor of one element,
#: and in float16; only the vectorised path overflows, and multiplies infinity by 0.
UNMATCHED = {
    ("gelu()", "value", dtype): {float(jnp.finfo(dtype).max): np.inf, np.inf: np.nan}
    for dtype in ("float32", "bfloat16")
}


def decode(text, dtype):
    stored = np.dtype(">u4" if dtype == "float32" else ">u2")
    return np.frombuffer(bytes.fromhex(text), stored).astype(stored.newbyteorder("=")).view(jnp.dtype(dtype))


def given(key, dtype):
    return decode(DATA["inputs"][key][dtype], dtype)


def primals(name, dtype):
    if name == "glu":
        return (given("pairs", dtype).reshape(2, -1),)
    if name == "prelu":
        return given("grid", dtype)[None], given("weights", dtype)
    return (given("grid", dtype),)


def backward(row, *args):
    """By keyword."""
    bound = {"dim": 0} if row["name"] == "glu" else row["arguments"]
    y, pullback = jax.vjp(lambda *args: getattr(rx.torch, row["name"])(*args, **bound), *args)
    return [y, *pullback(jnp.ones_like(y))]


def forward(row, *args):
    """By position. The slope of glu is one for each half, as they are."""
    more = [0] if row["name"] == "glu" else row["arguments"].values()
    fun = lambda *args: getattr(rx.torch, row["name"])(*args, *more)  # noqa: E731
    if row["name"] == "glu":
        of_a, of_b = (jnp.stack([jnp.full_like(args[0][0], i == j) for j in (0, 1)]) for i in (0, 1))
        y, first = jax.jvp(fun, args, (of_a,))
        # Beside an infinite gate 0 times infinity is NaN, in this direction and in no gradient.
        return [y, jnp.stack([first, jax.jvp(fun, args, (of_b,))[1]])]
    out = [
        jax.jvp(lambda x, i=i: fun(*args[:i], x, *args[i + 1 :]), (args[i],), (jnp.ones_like(args[i]),))
        for i in range(len(args))
    ]
    return [out[0][0], *(slope for _, slope in out)]


@functools.cache
def computed(dtype, compute):
    """``{case: results}``, in one compilation."""
    inputs = {key: primals(row["name"], dtype) for key, row in CASES.items()}
    every = jax.jit(lambda inputs: {key: compute(CASES[key], *args) for key, args in inputs.items()})(inputs)
    return {key: [np.asarray(result).ravel() for result in results] for key, results in every.items()}


def differences(key, dtype, compute, rounding=True):
    """A line for each number that is not equal; ``UNMATCHED`` left out."""
    name = CASES[key]["name"]
    x = given("pairs" if name == "glu" else "grid", dtype).astype(np.float64)
    for what, got, text in zip(RESULTS, computed(dtype, compute)[key], CASES[key][dtype], strict=False):
        want = decode(text, dtype)
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        got, want = got.astype(np.float64), want.astype(np.float64)
        finite = np.isfinite(got) & np.isfinite(want)
        near = np.where(finite, got, 0), np.where(finite, want, 0)
        atol, _ = ROUNDING.get((name, what, dtype), (0, "")) if rounding else (0, "")
        if name == "glu" and what == "slope":  # in units of the half that the gate multiplies
            a = np.abs(x[: len(x) // 2])
            atol = atol * np.tile(np.where((a > 1) & np.isfinite(a), a, 1), 2)
        # A result that is subnormal, or has been on the way, is flushed to 0 by XLA.
        close = (ulps(*near, jnp.dtype(dtype)) <= ULPS[dtype]) | (
            np.abs(near[0] - near[1]) <= np.maximum(atol, 2 * FLUSHED)
        )
        same = np.where(finite, close, (got == want) | (np.isnan(got) & np.isnan(want)))
        for i in np.flatnonzero(~same):
            expected = UNMATCHED.get((key, what, dtype), {}).get(x[i % len(x)], 0.0)
            if not np.array_equal(expected, want[i], equal_nan=True) or np.isfinite(expected):
                yield f"{what} at {x[i % len(x)]}: {got[i]}, PyTorch has {want[i]}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("key", CASES)
def test_values_and_gradients_are_pytorch_s(key, dtype):
    assert list(differences(key, dtype, backward)) == []


@pytest.mark.parametrize("key", [key for key in CASES if key != "glu()"])
def test_forward_mode_and_arguments_by_position_give_the_same(key):
    assert list(differences(key, "float32", forward)) == []


@pytest.mark.parametrize(("name", "what", "dtype"), ROUNDING)
def test_the_table_of_differences_lists_no_more_than_there_are(name, what, dtype):
    found = [line for key in CASES if CASES[key]["name"] == name for line in differences(key, dtype, backward, False)]
    assert [line for line in found if line.startswith(f"{what} at")]


@pytest.mark.parametrize(("key", "what", "dtype"), UNMATCHED)
def test_what_is_not_matched_is_the_input(key, what, dtype):
    x = given("grid", dtype).astype(np.float64)
    for at in UNMATCHED[key, what, dtype]:
        got = computed(dtype, backward)[key][RESULTS.index(what)].astype(np.float64)
        assert (got[x == at] == at).all()


#: relujax's name where it is not PyTorch's, and the arguments that make it the same function.
SAME = {"hardtanh": "hard_tanh", "hardsigmoid": "hard_sigmoid", "hardswish": "hard_silu", "softsign": "soft_sign"}
SAME |= {"softshrink": "soft_shrink", "hardshrink": "hard_shrink", "logsigmoid": "log_sigmoid"}
CALLED = {name.partition("(")[0] for name in CASES} - {"prelu", "glu", "rrelu", "threshold", "tanhshrink"}


@pytest.mark.parametrize("name", sorted(CALLED))
def test_relujax_is_never_worse_than_pytorch_in_float32(name):
    row, x = rx.ACTIVATIONS[SAME.get(name, name)], given("grid", "float32")
    exact_gelu = {"approximate": False} if name == "gelu" else {}
    with jax.enable_x64(True):
        wide = jnp.clip(x.astype(np.float64), -300, 300)
        want, pull = jax.vjp(lambda x: row.plain(x, **exact_gelu), wide)
        slope = row.slope(wide) if row.slope else pull(jnp.ones_like(want))[0]
        want, slope = np.asarray(want), np.asarray(slope)
    got, pull = jax.vjp(lambda x: row.fun(x, **exact_gelu), x)
    ours = got, pull(jnp.ones_like(got))[0]
    theirs = [decode(text, "float32") for text in CASES[f"{name}()"]["float32"]]
    here = np.all([np.abs(x - k) > 1e-6 for k in row.kinks], axis=0) & (np.abs(x) < 300)
    for exact, *both in zip((want, slope), ours, theirs, strict=True):
        normal = here & (np.abs(exact) >= FLUSHED)
        if exact is slope and not row.monotone:  # where it crosses 0 near -1 its terms cancel, to luck
            normal &= (np.abs(exact) > 0.05) | (np.abs(x) > 3)
        if exact is slope and row.residual == "output":  # which tells the slope to ulp of 1, and not of itself
            errors = [np.abs(np.asarray(of, np.float64) - exact)[normal] / np.finfo(np.float32).eps for of in both]
        else:
            errors = [ulps(np.asarray(of), exact, jnp.float32)[normal] for of in both]
        assert errors[0].max() <= max(4.5, errors[1].max())  # 4.5: XLA's tanh


def test_every_function_is_compared():
    assert {row["name"] for row in CASES.values()} == set(rx.torch.__all__)
    assert DATA["torch"].startswith("2.13")


def test_glu_in_forward_mode_along_the_last_axis():
    x = jnp.array([[1.0, -2.0, 0.5, 3.0]])
    plain = lambda x: x[:, :2] / (1 + jnp.exp(-x[:, 2:]))  # noqa: E731
    np.testing.assert_allclose(jax.jacfwd(rx.torch.glu)(x), jax.jacfwd(plain)(x), rtol=1e-6, atol=1e-7)
    for shape, dim in (((3,), -1), ((), -1), ((2, 3), 1), ((2,), 1)):
        with pytest.raises(ValueError, match="glu got an input of shape"):
            rx.torch.glu(jnp.ones(shape), dim)


def test_prelu_has_its_channels_on_axis_1():
    x = jnp.array(np.random.default_rng(0).normal(size=(4, 3, 5)), jnp.float32)
    weight = jnp.array([0.5, -1.0, 2.0], jnp.float32)
    of_weight = jax.grad(lambda w: (rx.torch.prelu(x, w) ** 2).sum())(weight)
    y = jnp.where(x > 0, x, weight[None, :, None] * x)
    np.testing.assert_array_equal(rx.torch.prelu(x, weight), y)
    np.testing.assert_allclose(of_weight, (2 * y * jnp.minimum(x, 0)).sum((0, 2)), rtol=1e-5)
    one = jax.grad(lambda w: rx.torch.prelu(x, w).sum())(weight[:1])
    np.testing.assert_allclose(one, jnp.minimum(x, 0).sum()[None], rtol=1e-5)
    with pytest.raises(ValueError, match=r"prelu got a weight of shape \(5,\): expected \(\), \(1,\) or \(3,\)"):
        rx.torch.prelu(x, jnp.ones(5))


def test_rrelu_draws_a_slope_for_each_element():
    x = jnp.linspace(-4, 3, 1000, dtype=jnp.float32)
    draw = functools.partial(rx.torch.rrelu, training=True, key=jax.random.key(1))
    slopes = jax.grad(lambda x: draw(x).sum())(x)
    np.testing.assert_array_equal(draw(x), slopes * x)
    assert (slopes[x > 0] == 1).all()
    below = slopes[x <= 0]
    assert 1 / 8 <= below.min() < 0.13
    assert 0.33 < below.max() <= 1 / 3 + 1e-6
    with pytest.raises(ValueError, match="training=True and no key"):
        rx.torch.rrelu(x, training=True)
    with pytest.raises(ValueError, match=r"lower=0.5 and upper=0.25"):
        rx.torch.rrelu(x, 0.5, 0.25)


def test_gelu_knows_two_formulas():
    with pytest.raises(ValueError, match="gelu got approximate='erf': expected 'none' or 'tanh'"):
        rx.torch.gelu(1.0, approximate="erf")


def test_integers_become_floats_and_relu_keeps_them():
    x = jnp.array([-2, 0, 3])
    assert rx.torch.relu(x).dtype == x.dtype
    for name in set(rx.torch.__all__) - {"relu", "prelu", "threshold", "glu"}:
        assert jnp.issubdtype(getattr(rx.torch, name)(x).dtype, jnp.floating), name
    assert rx.torch.threshold(x, 1, 7).tolist() == [7, 7, 3]
    assert rx.torch.prelu(x, 0.5).tolist() == [-1, 0, 3]


def test_a_gradient_of_a_hyperparameter():
    x = jnp.array([-2.0, 0.0, 3.0])
    assert jax.grad(lambda a: rx.torch.leaky_relu(x, a).sum())(0.1).item() == -2
    assert jax.grad(lambda a: rx.torch.hardtanh(x, -1.0, a).sum())(1.0).item() == 1
    assert jax.grad(lambda a: rx.torch.softshrink(x, a).sum())(0.5).item() == 0
    assert jax.jvp(rx.torch.softplus, (3.0, 2.0, 1.0), (0.0, 1.0, 1.0))[1].item() == 0


def test_softplus_takes_a_negative_beta():
    x = np.linspace(-30, 30, 61)
    for beta in (-1.0, -0.5, -3.0):
        tail = np.logaddexp(0, beta * x) / beta
        slope_of_beta = x / (1 + np.exp(-beta * x)) / beta - tail / beta
        linear = beta * x > 20
        with jax.enable_x64(True):
            y = rx.torch.softplus(x, beta)
            of_x, of_beta = jax.vmap(jax.grad(rx.torch.softplus, (0, 1)), (0, None))(x, beta)
        np.testing.assert_allclose(y, np.where(linear, x, tail), rtol=1e-12)
        np.testing.assert_allclose(of_x, np.where(linear, 1, 1 / (1 + np.exp(-beta * x))), rtol=1e-12)
        np.testing.assert_allclose(of_beta, np.where(linear, 0, slope_of_beta), rtol=1e-9, atol=1e-14)


def test_a_probe_knows_them_by_relujax_s_names():
    kinds = {"softsign": "soft_sign", "softshrink": "soft_shrink", "hardshrink": "hard_shrink"}
    kinds |= {"hardtanh": "hard_tanh", "hardswish": "hard_silu", "logsigmoid": "log_sigmoid"}
    kinds |= {name: name for name in ("relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus", "tanh")}
    for name, kind in kinds.items():
        assert [site.kind for site in rx.sites(getattr(rx.torch, name), jnp.ones(3))] == [kind], name


def test_threshold_masks_with_infinities():
    assert rx.torch.threshold(jnp.array([-1.0, 2.0]), 0.0, -jnp.inf).tolist() == [-jnp.inf, 2]
    assert rx.threshold(jnp.array([-jnp.inf, 2.0]), jnp.inf, 0.0).tolist() == [0, 0]


def test_numbers_that_torch_refuses():
    with pytest.raises(ValueError, match=r"lambd=-1\.0: expected a number of at least 0"):
        rx.torch.softshrink(1.0, -1.0)
    with pytest.raises(ValueError, match=r"min=2\.0 and max=1\.0"):
        rx.torch.hardtanh(1.0, 2.0, 1.0)
    with pytest.raises(ValueError, match=r"min=2\.0 and max=1\.0"):
        rx.torch.hardtanh(1.0, min_val=2.0)


def test_a_slope_that_does_not_fit_is_refused():
    x = jnp.array([-1.0, 2.0])
    for shape in ((4, 2), (3,)):
        with pytest.raises(ValueError, match=r"leaky_relu got negative_slope of shape .* for input of shape \(2,\)"):
            rx.torch.leaky_relu(x, jnp.full(shape, 0.5))
    assert rx.torch.leaky_relu(x, jnp.full((1, 1), 0.5)).tolist() == [-0.5, 2.0]
