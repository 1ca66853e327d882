"""Accelerators round the factors of products by default; the spectra ask for full precision, the user's word aside."""

import re

import jax
import jax.numpy as jnp
import pytest

import relujax as rx

KEY = jax.random.key(0)
LAYER = {
    "silent": lambda w, x: rx.relu(w @ x),
    "said": lambda w, x: rx.relu(jnp.matmul(w, x, precision="high")),
}


def precisions(fun, *args) -> set[str]:
    return set(re.findall(r"precision=\(?(?:Precision\.)?(\w+)", str(jax.make_jaxpr(fun)(*args))))


@pytest.mark.parametrize("layer", LAYER)
@pytest.mark.parametrize(
    ("of", "arguments"),
    [
        (rx.spectrum, 1),
        (lambda fun: rx.spectrum(fun, num=1), 2),
        (lambda fun: rx.spectral_density(fun, steps=4, probes=2), 2),
        (rx.layer_spectra, 1),
        (lambda fun: rx.layer_spectra(fun, to_output=True), 1),
        (lambda fun: rx.stack_spectrum([fun, fun]), 1),
    ],
    ids=["spectrum", "largest", "density", "layers", "layers to output", "stack"],
)
def test_products_run_in_full_precision_where_no_other_is_asked_for(of, arguments, layer):
    weights = jnp.eye(40)
    found = precisions(of(lambda x: LAYER[layer](weights, x)), *(jnp.ones(40), KEY)[:arguments])
    assert "None" not in found
    assert ("HIGH" in found) == (layer == "said")
    assert "HIGHEST" in found or layer == "said"
