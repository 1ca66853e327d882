"""What tests of experiments share."""

import jax
import pytest

from relujax.claims._lab import Lab


@pytest.fixture(autouse=True)
def lax_promotion():
    """Optax and Flax promote silently."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="session")
def lab():
    """One for all experiments, so that each network is made once."""
    return Lab(2, quick=True)
