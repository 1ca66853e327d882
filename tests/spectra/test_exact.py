"""Spectra: NumPy's singular values of Jacobians that are written down by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from relujax.spectra import _jacobian, numerical_rank

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def svd(jacobian):
    return np.linalg.svd(np.float64(jacobian), compute_uv=False)


def assert_values(found, jacobian):
    """Absolute error against the largest value: all that a float32 SVD promises."""
    want = svd(jacobian)
    assert found.shape == want.shape
    np.testing.assert_allclose(found, want, atol=2e-6 * want[0], rtol=1e-5)


@pytest.mark.parametrize(("outputs", "inputs"), [(7, 3), (3, 7), (5, 5), (1, 6), (6, 1)])
def test_a_linear_map_has_the_singular_values_of_its_matrix(outputs, inputs):
    matrix = normal(outputs, inputs)
    found = rx.spectrum(lambda x: matrix @ x)(normal(inputs))
    assert found.shape == (min(outputs, inputs),)
    assert_values(found, matrix)


@pytest.mark.parametrize(("outputs", "inputs"), [(6, 4), (4, 6)])
def test_the_jacobian_is_taken_at_the_point(outputs, inputs):
    matrix, x = normal(outputs, inputs), normal(inputs)
    slope = 1 - np.tanh(np.float64(matrix @ x)) ** 2
    assert_values(rx.spectrum(lambda x: rx.tanh(matrix @ x))(x), slope[:, None] * matrix)


def test_a_scalar_function_has_the_norm_of_its_gradient():
    x = normal(2, 3)
    found = rx.spectrum(lambda x: jnp.sum(x**2))(x)
    np.testing.assert_allclose(found, [2 * np.linalg.norm(x)], rtol=1e-6)


def test_trees_in_and_out_are_one_matrix():
    matrix = normal(2, 3)
    x = {"a": normal(3), "b": normal(2, 2)}
    found = rx.spectrum(lambda x: (matrix @ x["a"], {"c": 3 * x["b"]}))(x)
    jacobian = np.zeros((6, 7))
    jacobian[:2, :3], jacobian[2:, 3:] = matrix, 3 * np.eye(4)
    assert_values(found, jacobian)


def test_vmap_gives_every_example_its_own_spectrum():
    matrix, xs = normal(4, 3), normal(5, 3)
    fun = rx.spectrum(lambda x: rx.tanh(matrix @ x))
    found = jax.jit(jax.vmap(fun))(xs)
    assert found.shape == (5, 3)
    for values, x in zip(found, xs, strict=True):
        assert_values(values, (1 - np.tanh(np.float64(matrix @ x)) ** 2)[:, None] * matrix)


def test_values_descend_and_a_lost_direction_is_zero():
    found = rx.spectrum(lambda x: x * np.float32([0.5, 0, 4, 2]))(normal(4))
    assert found.tolist() == [4, 2, 0.5, 0]


def test_an_orthogonal_map_has_ones_only():
    rotation = np.linalg.qr(normal(8, 8))[0]
    np.testing.assert_allclose(rx.spectrum(lambda x: rotation @ x)(normal(8)), np.ones(8), rtol=1e-5)


def test_the_rank_of_a_relu_layer_is_how_many_units_are_active():
    matrix, xs = normal(8, 8), normal(20, 8)
    found = jax.vmap(rx.spectrum(lambda x: rx.relu(matrix @ x)))(xs)
    active = (xs @ matrix.T > 0).sum(axis=1)
    assert len(set(active)) > 3
    np.testing.assert_array_equal(numerical_rank(found, 8), active)


def test_a_function_without_forward_mode_does_where_outputs_are_fewer():
    @jax.custom_vjp
    def reverse_only(x):
        return x[:2] * 3

    reverse_only.defvjp(lambda x: (x[:2] * 3, None), lambda _, g: (jnp.concatenate([3 * g, jnp.zeros(3, g.dtype)]),))
    np.testing.assert_allclose(rx.spectrum(reverse_only)(normal(5)), [3, 3], rtol=1e-6)


def test_half_precision_jacobians_are_decomposed_in_float32():
    found = rx.spectrum(lambda x: x * 2)(jnp.ones(3, jnp.bfloat16))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, [2, 2, 2], rtol=0 if jax.default_backend() == "cpu" else 3e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_jacobian_that_is_not_finite_has_no_values_and_prints_nothing(bad, capfd):
    found = rx.spectrum(lambda x: jnp.full((3, 3), bad, "float32") @ x)(normal(3))
    assert np.isnan(found).all()
    assert capfd.readouterr() == ("", "")  # LAPACK complains of infinities on the standard output


WEIGHTS = [normal(6, 4), normal(5, 6), normal(7, 5)]


def mlp(weights, x):
    for weight in weights:
        x = rx.relu(weight @ x)
    return x.sum()


def wrapped_mlp(weights, x):
    x = jax.jit(lambda x: rx.relu(weights[0] @ x))(x)
    x = jax.checkpoint(lambda x: rx.relu(weights[1] @ x))(x)
    return jax.jit(jax.checkpoint(lambda x: rx.relu(weights[2] @ x)))(x).sum()


def products(x):
    """Of masks and weights: the Jacobian from the input to each layer's output."""
    jacobian, h, found = np.eye(4), np.float64(x), []
    for weight in WEIGHTS:
        h = weight @ h
        jacobian = np.diag(h > 0) @ weight @ jacobian
        h = np.maximum(h, 0)
        found.append(jacobian)
    return found


@pytest.mark.parametrize("model", [mlp, wrapped_mlp])
def test_layer_spectra_are_those_of_products_of_masks_and_weights(model):
    x = normal(4)
    found = rx.layer_spectra(model, argnum=1)(WEIGHTS, x)
    assert list(found) == ["0/relu", "1/relu", "2/relu"]
    for values, jacobian in zip(found.values(), products(x), strict=True):
        assert_values(values, jacobian)


def test_layer_spectra_vmap_over_examples():
    xs = normal(3, 4)
    found = jax.vmap(rx.layer_spectra(mlp, argnum=1), in_axes=(None, 0))(WEIGHTS, xs)
    for number, x in enumerate(xs):
        for values, jacobian in zip(found.values(), products(x), strict=True):
            assert_values(values[number], jacobian)


def test_layer_spectra_differentiate_the_first_argument_by_default():
    found = rx.layer_spectra(lambda x, scale: rx.relu(x * scale))(np.float32([1, -2, 3]), np.float32([3, 5, 4]))
    assert found["relu"].tolist() == [4, 3, 0]


def test_layer_spectra_of_an_input_with_axes():
    x = np.float32([[1, -1, 2], [3, 4, -5]])
    found = rx.layer_spectra(lambda x: rx.leaky_relu(x, 0.5))(x)
    np.testing.assert_allclose(found["leaky_relu"], [1, 1, 1, 1, 0.5, 0.5], rtol=1e-6)


def test_layer_spectra_of_a_part_of_the_output():
    x = np.float32([1, 2, 3])
    found = rx.layer_spectra(lambda x: rx.relu(x * np.float32([2, 3, 4])), select=lambda y: y[1:])(x)
    assert found["relu"].tolist() == [4, 3]


@pytest.mark.parametrize("size", [2, 64])
def test_numerical_rank_counts_what_stands_above_rounding(size):
    floor = size * np.finfo(np.float32).eps
    values = 7 * np.float32([1, 1.01 * floor, 0.99 * floor, 0])
    assert numerical_rank(values, size) == 2


def test_numerical_rank_of_nothing_is_zero_and_rows_count_apart():
    values = np.float32([[0, 0, 0], [3, 2, 1], [1e-20, 1e-21, 1e-30], [np.nan] * 3])
    assert numerical_rank(values, 3).tolist() == [0, 3, 2, 0]


def test_numerical_rank_rounds_as_the_matrix_was_computed():
    values = jnp.array([1.0, 1e-2, 1e-5], "float32")
    assert [int(numerical_rank(values, 3, dtype)) for dtype in (jnp.float32, jnp.float16, jnp.bfloat16)] == [3, 2, 1]


@pytest.mark.parametrize(("outputs", "inputs"), [(7, 3), (3, 7)])
@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_chunks_change_no_value(outputs, inputs, chunk):
    matrix = normal(outputs, inputs)
    assert_values(rx.spectrum(lambda x: matrix @ x, chunk=chunk)(normal(inputs)), matrix)


def test_a_chunk_bounds_the_memory_of_the_passes():
    """The matrix takes 4 * 64 * 64 bytes; all passes at once hold 64 rows of each of the wide layer's 4,096 units."""
    wide = normal(4096, 64)

    def temporary(chunk):
        run = jax.jit(_jacobian.jacobian, static_argnums=(0, 2))
        compiled = run.lower(lambda x: rx.tanh(wide @ x) @ wide, np.ones(64, np.float32), chunk).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(8) < temporary(None) / 4
    assert temporary(None) < 3 * 4 * 64 * 4096


@pytest.mark.own_precision
@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the workspace of the CPU's SVD")
@pytest.mark.parametrize(
    ("hidden", "size", "chunk", "bytes_"),
    [
        (4096, 64, None, 1.07e6),
        (4096, 64, 8, 0.15e6),
        (128, 128, None, 3 * 4 * 128**2),
        (128, 128, 8, 3 * 4 * 128**2),
    ],
)
def test_temporary_memory_is_what_the_docstring_says(hidden, size, chunk, bytes_):
    into, out = normal(hidden, size), normal(size, hidden)
    run = jax.jit(rx.spectrum(lambda x: out @ rx.relu(into @ x), chunk=chunk))
    found = run.lower(np.ones(size, np.float32)).compile().memory_analysis().temp_size_in_bytes
    assert found <= 1.05 * bytes_


def test_chunks_that_are_none():
    with pytest.raises(ValueError, match=r"got chunk=0: expected a whole number, 1 or more"):
        rx.spectrum(rx.relu, chunk=0)


def test_layer_spectra_to_the_output():
    x, readout = normal(4), normal(3, 7)
    found = rx.layer_spectra(lambda w, x: readout @ rx.relu(w[1] @ rx.relu(w[0] @ x)), argnum=1, to_output=True)(
        [normal(6, 4), normal(7, 6)], x
    )
    assert [values.to_output.shape for values in found.values()] == [(3,), (3,)]
    assert_values(list(found.values())[-1].to_output, readout)


def test_layer_spectra_to_the_output_of_a_scanned_stack_vmapped():
    weights, xs = normal(3, 4, 4), normal(2, 4)

    def net(x):
        return jax.lax.scan(lambda h, w: (rx.leaky_relu(w @ h, 0.5), None), x, weights)[0]

    found = jax.vmap(rx.layer_spectra(net, to_output=True))(xs)
    [values] = found.values()
    assert values.to_output.shape == (2, 4)
    assert (values.to_output[:, 0] >= 1).all()  # the last layer's output is the output


def test_a_scanned_stack_has_a_spectrum_per_layer():
    weights, x = normal(3, 4, 4), normal(2, 4)
    weights[1, :, 0] = 0  # a rank less from the second layer on

    def net(params, x):
        return jax.lax.scan(lambda h, w: (rx.leaky_relu(h @ w, 0.5), None), x, params["w"])[0]

    h, layers = np.float64(x), []
    for w in weights:
        pre = h @ w
        slopes = np.where(pre > 0, 1, 0.5)
        layers.append(w.T * slopes[..., None])  # per example
        h = pre * slopes
    found = rx.layer_spectra(net, argnum=1, select=lambda y: y[1], to_output=True)({"w": jnp.asarray(weights)}, x)
    forward = rx.layer_spectra(net, argnum=1, select=lambda y: y[1])({"w": jnp.asarray(weights)}, x)
    assert list(found) == list(forward) == ["w/leaky_relu[0]", "w/leaky_relu[1]", "w/leaky_relu[2]"]
    from_input, others = np.eye(4), np.zeros((4, 4))
    for i, name in enumerate(found):
        from_input = layers[i][1] @ from_input
        # Of the whole input, (2, 4), to the second example, and from there to the whole output.
        for values in (found[name].from_input, forward[name]):
            assert_values(values, np.concatenate([others, from_input], axis=1))
        to_output = np.linalg.multi_dot([*(layer[1] for layer in reversed(layers[i + 1 :])), np.eye(4), np.eye(4)])
        assert_values(found[name].to_output, np.concatenate([others, to_output]))


def test_steps_in_time_are_one_output_and_select_is_of_each():
    """h_t = tanh(h_{t-1} * w + x_t): all of them depend on the input, and not the first alone."""
    xs, w = normal(3, 2), np.float32(0.7)  # time, examples

    def net(params, xs):
        def step(h, x):
            h = rx.tanh((h * params["w"] + x)[:, None])[:, 0]
            return h, h

        return jax.lax.scan(step, jnp.zeros(2, jnp.float32), xs)[1]

    h, jacobian = 0.0, np.zeros((3, 3, 2))
    for t in range(3):
        h = np.tanh(h * w + xs[t, 1])
        jacobian[t, :, 1] = w * jacobian[t - 1, :, 1] if t else 0
        jacobian[t, t, 1] = 1
        jacobian[t] *= 1 - h**2
    [values] = rx.layer_spectra(net, argnum=1, select=lambda y: y[1])({"w": jnp.float32(w)}, xs).values()
    assert_values(values, jacobian.reshape(3, 6))


def test_a_site_in_a_while_loop_has_no_spectrum_to_the_output():
    def fun(x):
        x = jax.lax.while_loop(lambda x: x.sum() < 3, lambda x: rx.tanh(x) + 2, x)
        return 3 * rx.relu(x)

    x = jnp.ones(2, jnp.float32)
    both = rx.layer_spectra(fun, to_output=True)(x)
    assert list(both) == ["relu"]
    np.testing.assert_allclose(both["relu"].to_output, [3, 3])


def test_select_picks_entries_and_the_argument_may_be_counted_from_the_end():
    w, x = jnp.eye(3, dtype=jnp.float32) * 2, jnp.array([1.0, 2.0, 3.0], jnp.float32)

    def fun(w, x):
        return 5 * rx.relu(x @ w)

    first = rx.layer_spectra(fun, argnum=-1, select=lambda y: y[:1], to_output=True)(w, x)["relu"]
    np.testing.assert_allclose(first.from_input, [2])
    np.testing.assert_allclose(first.to_output, [5])
    np.testing.assert_allclose(rx.layer_spectra(fun, argnum=-1)(w, x)["relu"], [2, 2, 2])


@pytest.mark.parametrize(
    ("fun", "dtype"),
    [
        (jnp.fft.fft, "complex64"),
        (lambda x: (x, jax.lax.complex(x, x)), "complex64"),
        (lambda x: jnp.argmax(x).astype("int32"), "int32"),
        (lambda x: x > 0, "bool"),
    ],
    ids=["complex", "complex in part", "integer", "bool"],
)
@pytest.mark.parametrize("num", [None, 1])
@pytest.mark.own_precision
def test_outputs_without_a_real_derivative_are_refused(fun, dtype, num):
    """Of the four singular values of the Fourier transform, all 2, reverse mode sees three."""
    given = (normal(4),) if num is None else (normal(4), jax.random.key(0))
    with pytest.raises(TypeError, match=rf"got outputs of {dtype} numbers: expected floating ones.*stack"):
        rx.spectrum(fun, num=num)(*given)
    with pytest.raises(TypeError, match=rf"got outputs of {dtype} numbers"):
        rx.spectral_density(fun)(normal(4), jax.random.key(0))


def test_a_complex_output_in_two_parts_has_the_spectrum_of_its_map():
    def parts(x):
        y = jnp.fft.fft(x)
        return y.real, y.imag

    np.testing.assert_allclose(rx.spectrum(parts)(normal(4)), [2, 2, 2, 2], rtol=1e-6)


@pytest.mark.parametrize("to_output", [False, True])
def test_layer_spectra_refuse_what_is_no_floating_array(to_output):
    run = rx.layer_spectra(lambda *xs: rx.relu(xs[0]), to_output=to_output)
    with pytest.raises(TypeError, match=r"got a point with int32 numbers: expected floating ones"):
        run(np.arange(3, dtype=np.int32))
    with pytest.raises(TypeError, match=r"got a dict as argument 0: expected one floating array; pick.*argnum"):
        run({"a": normal(3)})
    with pytest.raises(ValueError, match=r"got a point without numbers"):
        run(normal(0))
    with pytest.raises(ValueError, match=r"got argnum=2 for 2 arguments: expected one of them"):
        rx.layer_spectra(rx.leaky_relu, 2, to_output=to_output)(normal(3), 0.1)


def test_layer_spectra_of_a_numpy_array_in_float64():
    values = rx.layer_spectra(lambda x: rx.relu(3 * x))(np.array([2.0, -1.0]))["relu"]
    assert values.tolist() == [3, 0]
