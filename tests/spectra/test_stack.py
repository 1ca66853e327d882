"""Log singular values of deep stacks against exact products in mpmath, closed forms, and counts of active units."""

import functools
import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx
from benchmarks.exact_products import exact_log_singular_values, layer_jacobians
from relujax.spectra import _stack, lyapunov_exponents

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def linear(h, w):
    return w @ h


def relu_layer(h, w):
    return rx.relu(w @ h)


def leaky_layer(h, w):
    return rx.leaky_relu(w @ h, 0.2)


@pytest.mark.parametrize(("compensated", "error"), [(True, 1e-4), (False, 5e-3)])
def test_every_value_of_a_leaky_stack_is_right_where_a_plain_product_keeps_few(compensated, error):
    rng, width, slope = np.random.default_rng(1), 8, 0.2
    scale = np.sqrt(2 / (1 + slope**2) / width) * np.exp(0.08)  # against what so narrow a stack loses per layer
    weights = (scale * rng.standard_normal((200, width, width))).astype(np.float32)
    x = rng.standard_normal(width).astype(np.float32)
    want = exact_log_singular_values(layer_jacobians(weights, x, slope), digits=400)
    assert want[0] - want[-1] > 300  # nats, where float32 spans 16
    found = jax.jit(rx.stack_spectrum(rx.Scan(leaky_layer, jnp.asarray(weights)), compensated=compensated))(x)
    np.testing.assert_allclose(found, want, atol=error, rtol=0)


def known_stack(*conditions, width=40):
    """Layers that hand orthogonal directions on, and the logarithms of the singular values of their product."""
    rng = np.random.default_rng(3)
    sizes = np.stack([np.geomspace(1, 1 / condition, width) for condition in conditions])
    turns = np.linalg.qr(rng.standard_normal((len(conditions) + 1, width, width)))[0]
    return np.float32(turns[1:] * sizes[:, None, :] @ turns[:-1].swapaxes(1, 2)), np.log(sizes).sum(axis=0)


@pytest.mark.parametrize("compensated", [False, True])
def test_groups_of_layers_shrink_where_layers_part_more(compensated):
    """A tame half, then layers of which one alone nearly fills the digits of float32."""
    weights, want = known_stack(*[1.1] * 40, *[3e3] * 20)
    found = jax.jit(rx.stack_spectrum(rx.Scan(linear, weights), compensated=compensated))(normal(40))
    np.testing.assert_allclose(found, want, atol=5e-3)


def test_examples_decide_together_how_many_layers_to_factor_at_once():
    tame, of_tame = known_stack(*[1.1] * 40)
    wild, of_wild = known_stack(*[1.1] * 20, *[3e3] * 20)
    run = jax.vmap(lambda w: rx.stack_spectrum(rx.Scan(linear, w))(jnp.ones(40, "float32")))
    both = np.stack([tame, wild])
    np.testing.assert_allclose(jax.jit(run)(both), [of_tame, of_wild], atol=5e-3)
    [groups] = [eqn for eqn in jax.make_jaxpr(run)(both).jaxpr.eqns if eqn.primitive.name == "while"]
    [predicate] = groups.params["cond_jaxpr"].out_avals
    assert predicate.shape == ()  # an axis of examples would make each compute both sides of every decision


def test_weights_that_a_compiled_function_closes_over_are_checked_there():
    weights = normal(3, 4, 4)
    run = jax.jit(lambda x: rx.stack_spectrum(rx.Scan(linear, jnp.asarray(weights)))(x))
    want = np.log(np.linalg.svd(weights[2] @ weights[1] @ weights[0], compute_uv=False))
    np.testing.assert_allclose(run(normal(4)), want, atol=1e-4)
    weights[1, 0, 0] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        jax.jit(lambda x: rx.stack_spectrum(rx.Scan(linear, weights))(x))(normal(4))


def test_layers_may_be_given_random_keys():
    """Which are neither finite nor not."""
    stack = rx.Scan(lambda h, p: p["w"] @ h, {"w": normal(3, 4, 4), "key": jax.random.split(jax.random.key(0), 3)})
    assert np.isfinite(rx.stack_spectrum(stack)(normal(4))).all()


@pytest.mark.parametrize("interval", [None, 1])
def test_no_examples_at_all(interval):
    run = rx.stack_spectrum(rx.Scan(leaky_layer, normal(3, 4, 4)), interval=interval)
    assert jax.vmap(run)(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_a_group_that_does_not_fit_by_one_rounding_is_followed_by_a_smaller_one():
    tried, limit = jnp.arange(2, 1000, dtype=jnp.int32), 6.1
    spread = jnp.full(tried.shape, np.nextafter(np.float32(limit), np.float32(np.inf)))
    fits, size, _ = _stack._planned(spread, tried, tried, 0 * spread, limit)
    assert not fits.any()
    assert (size < tried).all()
    assert (size >= 1).all()


@pytest.mark.parametrize(("condition", "least", "most"), [(1.5, 5, 20), (100.0, 64, 68)])
def test_tame_layers_are_factored_in_groups(condition, least, most, monkeypatch):
    """Groups of 64 layers part directions by 7 nats or so: one layer of 4.6, or up to 17 of 0.4."""
    count, factor = [], _stack.eliminated
    monkeypatch.setattr(_stack, "eliminated", lambda s: jax.debug.callback(lambda: count.append(1)) or factor(s))
    weights, want = known_stack(*[condition] * 64)
    found = rx.stack_spectrum(rx.Scan(linear, weights))(normal(40))
    jax.effects_barrier()
    np.testing.assert_allclose(found, want, atol=5e-3)
    assert least <= len(count) <= most


def test_groups_are_smaller_the_deeper_the_stack_so_that_their_errors_stay_small_together():
    """Orthogonal layers and the slopes of leaky rectifiers, which are given: a rounded point would choose others."""
    rng = np.random.default_rng(4)
    turns = np.linalg.qr(rng.standard_normal((1000, 64, 64)))[0]
    slopes = np.where(rng.random((1000, 64, 1)) < 0.5, 1, 0.2) * np.sqrt(2 / (1 + 0.2**2))
    weights = np.float32(slopes * turns)
    with jax.enable_x64(True):
        want = np.asarray(jax.jit(rx.stack_spectrum(rx.Scan(linear, np.float64(weights)), interval=1))(np.zeros(64)))
    stack, x = rx.Scan(linear, weights), np.zeros(64, np.float32)
    error, of_single_layers = (
        np.abs(np.asarray(jax.jit(rx.stack_spectrum(stack, interval=interval))(x)) - want).max()
        for interval in (None, 1)
    )
    assert error < max(5e-3, 1.5 * of_single_layers)  # products that XLA does not optimise round more by themselves


def slopes_alone(h, w):
    """A linear layer at the point 0, whose Jacobian may grow at any rate while the point stays."""
    return w @ (h - jax.lax.stop_gradient(h))


@pytest.mark.parametrize("interval", [None, 30])
@pytest.mark.parametrize("width", [16, 40])
def test_layers_that_shrink_or_grow_keep_their_digits_in_groups(width, interval):
    """300 layers at each of many rates: a basis of their product alone would leave the range of float32."""
    rates = np.float32([1e-3, 0.01, 0.03, 0.1, 30, 1000])
    turns = np.linalg.qr(np.random.default_rng(0).standard_normal((300, width, width)))[0].astype(np.float32)
    x = np.zeros(width, np.float32)
    run = jax.jit(lambda rate: rx.stack_spectrum(rx.Scan(slopes_alone, rate * turns), interval=interval)(x))
    for rate in rates:
        np.testing.assert_allclose(run(rate), np.full(width, 300 * np.log(np.float64(rate))), atol=1e-3, rtol=0)


@pytest.mark.parametrize("compensated", [False, True])
@pytest.mark.parametrize("rate", [1e-30, 1e-3, 1e30, 2e38])
def test_one_layer_of_any_size_keeps_its_digits(rate, compensated):
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0].astype(np.float32)
    layer = functools.partial(slopes_alone, w=np.float32(rate) * turn)
    found = rx.stack_spectrum([layer], compensated=compensated)(jnp.ones(8, "float32"))
    np.testing.assert_allclose(found, np.full(8, np.log(rate)), atol=2e-5, rtol=0)


def test_tiny_layers_keep_their_digits_in_twice_the_precision():
    """A power of two is exact: it moves every value by its logarithm, where no entry leaves the normal numbers."""
    weights, _ = known_stack(*[3.0] * 40, width=8)
    weights[np.abs(weights) < 2**-8] = 0
    plain, tiny = (
        rx.stack_spectrum(rx.Scan(linear, weights * np.float32(scale)), compensated=True)(jnp.zeros(8, "float32"))
        for scale in (1, 2.0**-117)
    )
    np.testing.assert_allclose(tiny, np.asarray(plain) - 40 * 117 * math.log(2), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("width", "depth"), [(1, 5), (5, 1), (6, 3), (16, 5)])
def test_shallow_stacks_have_the_values_of_their_product_each_to_its_own_precision(width, depth):
    weights = normal(depth, width, width) / np.float32(width**0.5)
    want = exact_log_singular_values(np.float64(weights), digits=60)
    for layers in (rx.Scan(linear, weights), [functools.partial(linear, w=w) for w in weights]):
        np.testing.assert_allclose(jax.jit(rx.stack_spectrum(layers))(normal(width)), want, atol=2e-3, rtol=0)


@pytest.mark.parametrize("widths", [(12, 7, 9), (3, 8, 5), (9, 4, 6, 4), (20, 3)])
def test_layers_of_other_shapes_and_directions_beyond_the_narrowest(widths):
    weights = [normal(b, a) for a, b in itertools.pairwise(widths)]
    product = functools.reduce(lambda a, b: b @ a, map(np.float64, weights))
    found = jax.jit(rx.stack_spectrum([functools.partial(linear, w=w) for w in weights]))(normal(widths[0]))
    rank = min(widths)
    assert found.shape == (min(widths[0], widths[-1]),)
    np.testing.assert_allclose(found[:rank], np.log(np.linalg.svd(product, compute_uv=False)[:rank]), atol=1e-4)
    assert (found[rank:] == -np.inf).all()


def test_few_inputs_through_wide_layers_take_no_wide_matrix():
    weights = [normal(b, a) / np.float32(a**0.5) for a, b in itertools.pairwise((2, 256, 256, 2))]
    run = jax.jit(lambda weights, x: rx.stack_spectrum([functools.partial(leaky_layer, w=w) for w in weights])(x))
    memory = run.lower(weights, normal(2)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4 * 256**2  # of one layer's Jacobian


@pytest.mark.parametrize(("widths", "compensated"), [((100, 8, 8), True), ((8, 33, 8), False), ((8, 8, 33), False)])
def test_bases_are_compensated_where_every_point_is_narrow(widths, compensated):
    """A first layer that narrows is turned into its row space, and multiplies no basis."""
    layers = [functools.partial(leaky_layer, w=normal(b, a)) for a, b in itertools.pairwise(widths)]
    x = normal(widths[0])
    found, want = (jax.make_jaxpr(rx.stack_spectrum(layers, compensated=c))(x) for c in (None, compensated))
    assert str(found) == str(want)


def test_the_rank_of_relu_stacks_is_the_least_number_of_active_units():
    weights, xs = normal(60, 32, 32) * np.float32(0.25), normal(6, 32)
    found = jax.jit(jax.vmap(rx.stack_spectrum(rx.Scan(relu_layer, weights), interval=2)))(xs)
    least = np.full(6, 32)
    for weight in weights:
        xs = np.maximum(xs @ weight.T, 0)
        least = np.minimum(least, (xs > 0).sum(axis=1))
    assert len(set(least)) > 1
    np.testing.assert_array_equal((found > -np.inf).sum(axis=1), least)
    assert (found[:, 1:] <= found[:, :-1]).all()


@pytest.mark.parametrize("interval", [1, 3, 7])
def test_a_remainder_of_layers_is_not_lost(interval):
    scales = np.float32([2, 1, 0.25])
    found = rx.stack_spectrum(rx.Scan(lambda h, w: w * h, np.tile(scales, (10, 1))), interval=interval)(normal(3))
    np.testing.assert_allclose(found, 10 * np.log(scales), atol=1e-5)


def test_identity_zero_and_rank_one():
    np.testing.assert_allclose(rx.stack_spectrum([lambda h: h] * 5)(normal(4)), np.zeros(4), atol=1e-6)
    assert (rx.stack_spectrum([lambda h: 0 * h])(normal(4)) == -np.inf).all()
    one = np.outer(np.float32([1, 2, 3, 4]), np.float32([1, 1, 2, 2]))
    found = rx.stack_spectrum([functools.partial(linear, w=one)] * 4)(normal(4))
    np.testing.assert_allclose(found[0], np.log(np.linalg.norm(np.linalg.matrix_power(np.float64(one), 4))), rtol=1e-6)
    assert (found[1:] == -np.inf).all()


def test_trees_scanned_bodies_and_half_precision():
    params = {"a": np.full((4, 2), 2, np.float32), "b": np.full(4, 0.5, np.float32)}
    stack = rx.Scan(lambda h, p: ({"u": h["u"] * p["a"], "v": h["v"] * p["b"]}, None), params)
    found = rx.stack_spectrum(stack)({"u": normal(2), "v": normal(1)})
    np.testing.assert_allclose(found, np.log([16, 16, 1 / 16]), rtol=1e-5)
    half = rx.stack_spectrum([lambda h: h * jnp.bfloat16(2)] * 3)(jnp.ones(2, "bfloat16"))
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, np.log([8, 8]), atol=0.05)  # directions have 8 bits


@pytest.mark.parametrize("interval", [None, 2])
def test_compiling_does_not_depend_on_depth(interval):
    def lines(depth):
        run = rx.stack_spectrum(rx.Scan(linear, np.ones((depth, 2, 2), np.float32)), interval=interval)
        return len(jax.jit(run).lower(np.ones(2, np.float32)).as_text().splitlines())

    assert lines(1000) == lines(10)
    traced = chex.assert_max_traces(linear, n=3)  # its shapes, and the scan
    rx.stack_spectrum(rx.Scan(traced, np.ones((500, 2, 2), np.float32)), interval=interval)(np.ones(2, np.float32))


def test_lyapunov_exponents_of_gaussian_layers():
    """Newman, 1986: (log(2 / N) + psi((N - i + 1) / 2)) / 2 for entries of variance 1 / N."""
    width, depth = 4, 4000
    digamma = {1: 0.4227843351 - 1, 2: 0.4227843351, 0.5: -1.9635100260, 1.5: 0.0364899740}
    want = [(math.log(2 / width) + digamma[(width - i) / 2]) / 2 for i in range(width)]
    found = lyapunov_exponents(rx.Scan(linear, normal(depth, width, width) / 2))(normal(width))
    np.testing.assert_allclose(found, want, atol=4 * 1.2 / depth**0.5)  # the log of a chi has deviation below 1.2


def test_ill_conditioned_layers_keep_every_value():
    shrinking = np.tile(np.float32([1, 1e-3]), (99, 1))
    found = rx.stack_spectrum(rx.Scan(lambda h, w: w * h, shrinking))(jnp.ones(2, jnp.float32))
    np.testing.assert_allclose(found, [0, 99 * np.log(np.float32(1e-3))], rtol=1e-5, atol=1e-3)
    rng = np.random.default_rng(0)
    sizes = np.geomspace(1, 1e-5, 8)
    turns = np.linalg.qr(rng.standard_normal((2, 30, 8, 8)))[0]
    dense = np.float32(turns[0] * sizes @ turns[1])
    assert np.isfinite(rx.stack_spectrum(rx.Scan(linear, dense))(jnp.ones(8, jnp.float32))).all()


@pytest.mark.parametrize(("compensated", "kept", "lost"), [(False, 1e-5, 1e-9), (True, 1e-8, 1e-12)])
def test_directions_beyond_the_digits_of_a_factorisation_are_no_values(compensated, kept, lost):
    def values(smallest):
        layer = functools.partial(linear, w=jnp.diag(jnp.array([1, 1, 1, smallest], "float32")))
        return rx.stack_spectrum([layer], compensated=compensated)(jnp.ones(4, "float32"))

    np.testing.assert_allclose(values(kept), [0, 0, 0, np.log(kept)], atol=0.01)
    np.testing.assert_allclose(values(lost), [0, 0, 0, -np.inf], atol=0.01)


def test_what_is_not_finite_is_told_or_nan(capfd):
    with pytest.raises(ValueError, match="got params that are not finite: expected numbers"):
        rx.stack_spectrum(rx.Scan(linear, np.full((3, 2, 2), np.inf, np.float32)))
    bad = np.full((2, 2), np.nan, np.float32)
    assert np.isnan(rx.stack_spectrum([functools.partial(linear, w=bad)])(np.ones(2, np.float32))).all()
    assert capfd.readouterr() == ("", "")


def test_errors_say_what_was_got_and_what_to_do():
    ones = np.ones(2, np.float32)
    with pytest.raises(ValueError, match=r"got no layers: expected at least one"):
        rx.stack_spectrum([])
    with pytest.raises(ValueError, match=r"got interval=0: expected a whole number, 1 or more"):
        rx.stack_spectrum([linear], interval=0)
    with pytest.raises(TypeError, match=r"got a point with int32 numbers: expected floating"):
        rx.stack_spectrum([lambda h: h])(np.ones(2, np.int32))
    with pytest.raises(ValueError, match=r"expected one number of layers, at least 1"):
        rx.stack_spectrum(rx.Scan(linear, np.ones((0, 2, 2), np.float32)))(ones)
    with pytest.raises(ValueError, match=r"expected one number of layers, at least 1"):
        rx.stack_spectrum(rx.Scan(linear, (np.ones((2, 2), np.float32), np.ones((3, 2), np.float32))))(ones)
    with pytest.raises(ValueError, match=r"got a body that turns shapes \(2,\) into \(3,\): expected the same"):
        rx.stack_spectrum(rx.Scan(linear, np.ones((4, 3, 2), np.float32)))(ones)
