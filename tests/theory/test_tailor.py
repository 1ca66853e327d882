"""Tailored activations have the maps that were asked for."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest

import relujax as rx


@pytest.mark.parametrize(
    ("depth", "slope", "scale"),
    [(50, 0.4305229485024, 1.2989477863189), (100, 0.57043953105872, 1.2284042448193)],
)
def test_the_leaky_rectifier_of_the_tat_paper(depth, slope, scale):
    """Plain MLP, eta 0.9: by 30-digit root finding on the closed form."""
    found = rx.theory.tailor("leaky_relu", depth)
    np.testing.assert_allclose((found.negative_slope, found.output_scale), (slope, scale), rtol=1e-13)
    assert (found.method, found.input_scale, found.input_shift, found.output_shift) == ("tat", 1, 0, 0)


@pytest.mark.parametrize(("depth", "eta"), [(13, 0.9), (50, 0.9), (1000, 0.99), (1, 0.1), (3, 0.5)])
def test_uncorrelated_inputs_end_at_eta(depth, eta):
    found = rx.theory.tailor("relu", depth, eta)
    shared = rx.theory.correlation_map(found)
    c = functools.reduce(lambda c, _: shared(c), range(depth), 0.0)
    np.testing.assert_allclose(c, eta, rtol=1e-12)
    np.testing.assert_allclose(shared.second, 1, rtol=1e-14)


@pytest.mark.parametrize(("depth", "eta", "least"), [(12, 0.9, 13), (1, 0.9, 13), (4, 0.75, 6)])
def test_what_no_slope_reaches_comes_with_the_least_depth_that_does(depth, eta, least):
    with pytest.raises(ValueError, match=rf"got eta={eta} at depth {depth}.*expected a depth of at least {least} "):
        rx.theory.tailor("leaky_relu", depth, eta)
    with pytest.raises(ValueError, match="got eta"):
        rx.theory.tailor("leaky_relu", least - 1, eta)
    assert rx.theory.tailor("leaky_relu", least, eta).negative_slope >= 0


#: By DeepMind's dks 0.1.2 (numpy core), whose searches stop at 1e-8: input scale, input shift, output shift and scale.
DKS = {
    ("tanh", "dks"): (0.1284404787, 0.5707795475, -0.5098072417, 10.6044476247),
    ("softplus", "tat"): (0.2121012164, 0.5400250751, -0.9970455849, 7.4557362723),
    ("silu", "tat"): (0.1233588636, 0.4474844795, -0.2715723948, 11.3041556804),
}


@pytest.mark.parametrize(("name", "method"), DKS)
def test_smooth_functions_as_dks_has_them(name, method):
    found = rx.theory.tailor(name, 50, method=method)
    got = found.input_scale, found.input_shift, found.output_shift, found.output_scale
    np.testing.assert_allclose(got, DKS[name, method], rtol=2e-8)


@pytest.mark.parametrize("depth", [5, 100])
@pytest.mark.parametrize(("name", "method"), [("gelu", "tat"), ("sigmoid", "tat"), ("elu", "tat"), ("selu", "dks")])
def test_the_maps_of_a_layer_are_what_was_asked_for(name, method, depth):
    """By the moments and maps of the tailored function itself."""
    found = rx.theory.tailor(name, depth, method=method)
    moments = rx.theory.moments(found)
    np.testing.assert_allclose(moments.second, 1, rtol=1e-10)
    q = rx.theory.length_map(found, 1.0)(np.array([1 - 1e-3, 1 + 1e-3]))
    np.testing.assert_allclose((q[1] - q[0]) / 2e-3, 1, rtol=1e-5)
    shared = rx.theory.correlation_map(found)
    if method == "dks":
        np.testing.assert_allclose(shared(0.0), 0, atol=1e-12)
        np.testing.assert_allclose(shared.slope(1.0) ** depth, 1.5, rtol=1e-9)
    else:
        np.testing.assert_allclose(shared.slope(1.0), 1, rtol=1e-9)
        bend = (shared.slope(1.0) - shared.slope(1 - 1e-6)) / 1e-6
        np.testing.assert_allclose(bend * depth, 0.3, rtol=1e-3 if name == "elu" else 1e-6)


def test_a_tailored_function_keeps_the_dtype_of_its_input():
    x = jnp.array([-1.0, 2.0], "bfloat16")
    for found in (rx.theory.tailor("leaky_relu", 50), rx.theory.tailor("tanh", 50)):
        assert found(x).dtype == jnp.bfloat16
    leaky = rx.theory.tailor("leaky_relu", 50)
    want = leaky.output_scale * np.array([-leaky.negative_slope, 2.0])
    np.testing.assert_allclose(leaky(jnp.array([-1.0, 2.0], "float32")), want, rtol=1e-6)


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (("leaky_relu", 0), {}, "got depth=0: expected a whole number, 1 or more"),
        (("leaky_relu", 2.5), {}, "got depth=2.5"),
        (("leaky_relu", 50, 1.0), {}, "got eta=1.0: expected a correlation between 0 and 1"),
        (("tanh", 50), {"tau": -1.0}, "got tau=-1.0: expected a positive curvature"),
        (("tanh", 50), {"method": "dks", "zeta": 1.0}, "got zeta=1.0: expected a slope above 1"),
        (("tanh", 50), {"method": "tta"}, 'got method=.tta.: expected "tat" or "dks"'),
        (("relu", 50), {"method": "dks"}, "expected a function that bends; use method="),
        (("selu", 50), {}, "whose slope jumps: expected a smooth function or a leaky rectifier; use method="),
        (("hard_tanh", 50), {"method": "dks"}, "for which no shifts and scales do: expected .*; try"),
        (("unknown", 50), {}, "unknown activation 'unknown'"),
    ],
)
def test_bad_input(args, options, message):
    with pytest.raises(ValueError, match=message):
        rx.theory.tailor(*args, **options)
