"""What members refuse: shapes that do not fit, axes that are not there, numbers that make no sense."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx

X = np.linspace(-3, 4, 32, dtype=np.float32).reshape(4, 8)
PAIRS = [(row, name) for row in rx.ACTIVATIONS.values() if row.elementwise for name in row.hyperparameters]
EACH = pytest.mark.parametrize(("row", "name"), PAIRS, ids=lambda v: v if isinstance(v, str) else v.name)
#: What jax.nn has too, and broadcasts the other way as well.
OF_JAX_NN = {("leaky_relu", "negative_slope"), ("elu", "alpha"), ("celu", "alpha"), ("squareplus", "b")}


def of(row, name):
    rest = {k: v for k, v in row.example.items() if k != name}
    return lambda x, value: row.fun(x, **rest, **{name: value})


@EACH
def test_a_hyperparameter_that_does_not_fit_is_refused(row, name):
    got = rf"{row.name} got {name} of shape \(7,\) for \w+ of shape \(4, 8\): expected a number,? (or )?one per "
    for call in (of(row, name), jax.grad(lambda x, value: of(row, name)(x, value).sum(), argnums=(0, 1))):
        with pytest.raises(ValueError, match=got):
            call(X, np.full(7, 0.5, np.float32))


@EACH
def test_a_complex_hyperparameter_is_refused(row, name):
    with pytest.raises(TypeError, match=f"{row.name} got {name} of complex64: expected a real dtype; cast with "):
        of(row, name)(X, np.complex64(0.5 + 1j))


@EACH
def test_a_hyperparameter_does_not_enlarge_the_result_unless_jax_nn_s_does(row, name):
    for x, shape in ((X[:, :1], (1, 8)), (X[0], (4, 8)), (X[0, 0], (8,))):
        value = np.full(shape, 0.5, np.float32)
        call = functools.partial(jax.eval_shape, of(row, name), x, value)
        if (row.name, name) in OF_JAX_NN:
            with jax.numpy_rank_promotion("allow"):
                assert call().shape == jax.eval_shape(getattr(jax.nn, row.name), x, value).shape
        else:
            with pytest.raises(ValueError, match=rf"{row.name} got {name} of shape"):
                call()


@pytest.mark.parametrize(("name", "argument"), sorted(OF_JAX_NN))
@pytest.mark.parametrize("wrt", [(0,), (1,), (0, 1)], ids=str)
def test_a_hyperparameter_that_enlarges_the_result_has_the_gradients_of_jax_nn_s(name, argument, wrt):
    for x, shape in ((X[0], (4, 8)), (X[:, :1], (1, 8)), (X[:, :1], (4, 9)), (X[0, 0], (7,))):
        value = np.linspace(0.25, 2, math.prod(shape), dtype=np.float32).reshape(shape)
        ours, theirs = (
            jax.grad(lambda *args, of=of: jnp.sin(getattr(of, name)(*args)).sum(), wrt) for of in (rx, jax.nn)
        )
        with jax.numpy_rank_promotion("allow"):
            for got, want in zip(ours(x, value), theirs(x, value), strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@EACH
@pytest.mark.parametrize("shape", [(), (1,), (8,), (1, 8), (4, 1), (4, 8), (1, 1, 1)], ids=str)
def test_what_broadcasts_fits(row, name, shape):
    value = np.full(shape, 0.5, np.float32)
    if len(shape) == 3 and (row.name, name) in OF_JAX_NN:
        pytest.skip("jax.nn gives the result its rank")
    y, grads = jax.eval_shape(
        lambda x, v: (of(row, name)(x, v), jax.grad(lambda v: of(row, name)(x, v).sum())(v)), X, value
    )
    assert (y.shape, grads.shape) == ((4, 8), shape)


def test_one_number_of_one_axis_fits_a_scalar():
    assert rx.nnx.PReLU()(jnp.float32(-2)).shape == ()
    slopes = jax.vmap(jax.grad(lambda x: rx.prelu(x, jnp.array([0.5]))))(jnp.array([-1.0, 2.0]))
    assert slopes.tolist() == [0.5, 1.0]


def test_prelu_says_which_axis_has_the_channels():
    with pytest.raises(ValueError, match=r"prelu got slope of shape \(8,\) for .* per channel of axis 0, \(4,\)"):
        rx.prelu(X, np.ones(8, np.float32), axis=0)
    assert rx.prelu(X, np.ones(4, np.float32), axis=0).shape == (4, 8)


@pytest.mark.parametrize("axis", [2, -3])
@pytest.mark.parametrize(
    "call",
    [
        *(functools.partial(fun) for fun in (rx.crelu, rx.bipolar_relu, rx.glu, rx.maxout)),
        *(functools.partial(fun, k=1) for fun in (rx.top_k, rx.gaussian_top_k)),
        functools.partial(rx.prelu, slope=jnp.ones(8)),
    ],
    ids=lambda call: call.func.__name__,
)
def test_an_axis_that_is_not_there_has_one_message(call, axis):
    message = rf"{call.func.__name__} got an input of shape \(4, 8\) and axis {axis}: expected one of its axes, -2 to 1"
    with pytest.raises(ValueError, match=message):
        call(X, axis=axis)


def test_a_scalar_has_no_axis():
    for fun in (rx.glu, rx.crelu, rx.bipolar_relu):
        message = rf"{fun.__name__} got an input of shape \(\) and axis -1: expected an array with an axis"
        with pytest.raises(ValueError, match=message):
            fun(1.0)
    with pytest.raises(ValueError, match="batch_top_k got an input of shape"):
        rx.batch_top_k(1.0, 1)


NONSENSE = [
    (rx.relu_n, {"n": 0}, "n=0: expected a number above 0"),
    (rx.relu_n, {"n": -1.5}, "n=-1.5: expected a number above 0"),
    (rx.relu_n, {"n": float("nan")}, "n=nan: expected a number above 0"),
    (rx.soft_shrink, {"lambd": -0.5}, "lambd=-0.5: expected a number of at least 0"),
    (rx.hard_shrink, {"lambd": np.float32(-1)}, "lambd=-1.0: expected a number of at least 0"),
    (rx.hard_tanh, {"min": 2.0}, "min=2.0 and max=1.0: expected min <= max"),
    (rx.rrelu, {"key": None, "lower": 0.5, "upper": 0.25}, "lower=0.5 and upper=0.25: expected lower <= upper"),
    (rx.srelu, dict(zip(("right", "right_slope", "left", "left_slope"), (-1, 1.0, 1, 1.0), strict=True)), "left=1 and"),
    (rx.softplus, {"beta": 0}, "beta=0: expected a number above 0"),
    (rx.relu_power, {"power": 0.0}, "power=0.0: expected a number above 0"),
    (rx.pelu, {"alpha": 1.0, "beta": -1.0}, "beta=-1.0: expected a number above 0"),
    (rx.clamped_swiglu, {"up": X, "limit": -7.0}, "limit=-7.0: expected a number above 0"),
    (rx.jump_relu, {"threshold": 0.5, "bandwidth": 0.0}, "bandwidth=0.0: expected a number above 0"),
]


@pytest.mark.parametrize(("fun", "given", "message"), NONSENSE, ids=lambda v: getattr(v, "__name__", None))
def test_numbers_that_make_no_sense_are_refused(fun, given, message):
    message = f"{fun.__name__} got {message}"
    for call in (
        lambda: fun(X, **given),
        lambda: fun(X, *given.values()),
        lambda: jax.jit(lambda x: fun(x, **given))(X),
        lambda: rx.activation(fun.__name__, **given),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    if rx.ACTIVATIONS[fun.__name__].module:
        given = {k: v for k, v in given.items() if k != "key"}
        with pytest.raises(ValueError, match=message):
            rx.nnx.MODULES[fun.__name__](**given)


def test_numbers_at_the_border_are_taken():
    assert rx.soft_shrink(-1.0, 0).item() == rx.hard_shrink(-1.0, 0.0).item() == -1
    assert rx.hard_tanh(3.0, 1.0, 1.0).item() == 1
    assert rx.rrelu(-1.0, None, 0.25, 0.25).item() == -0.25


def test_numbers_that_only_the_device_knows_are_not_looked_at():
    assert rx.relu_n(X, jnp.float32(-1)).shape == X.shape
    assert jax.jit(rx.relu_n)(X, -1.0).shape == X.shape


def test_what_jax_nn_takes_is_taken():
    for name, given in (("celu", {"alpha": -1.0}), ("elu", {"alpha": -1.0}), ("squareplus", {"b": -0.5})):
        got, want = (getattr(module, name)(X, **given) for module in (rx, jax.nn))
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_an_argument_too_few_or_too_many_is_an_error_of_the_function():
    with pytest.raises(TypeError, match="missing a required argument: 'n'"):
        rx.relu_n(X)
    with pytest.raises(TypeError, match="unexpected keyword argument 'm'"):
        rx.relu_n(X, 1.0, m=1.0)
