"""Strictness for every test: no silent promotion of dtypes or ranks; with and without x64 by environment."""

from pathlib import Path

import jax
import pytest
from browser import chromium

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

HERE = Path(__file__).parent
#: Whose programs XLA compiles without most of its optimisations, in half the time: they are about what is counted,
#: written and shown. Numbers of functions, gradients, spectra and theory, and the probe's own tests, are as users have
#: them.
COMPILED_QUICKLY = (
    "claims",
    "cli",
    "probes/test_family.py",
    "probes/test_gains.py",
    "probes/test_inside.py",
    "probes/test_swap.py",
    "report",
    "test_linen.py",
    "test_nnx.py",
    "test_study.py",
    "test_training.py",
)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module", autouse=True)
def programs(request):
    before = jax.config.values["jax_disable_most_optimizations"]
    quickly = any(request.path.is_relative_to(HERE / part) for part in COMPILED_QUICKLY)
    jax.config.update("jax_disable_most_optimizations", before or quickly)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
    jax.clear_caches()  # hardly any program serves two files, and all of them together are gigabytes
