"""A folder of one's own to work in for every test of a command."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from workplace import MODELS, X, Y, few_digits

from relujax import study


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    """A folder of one's own to work in, with modules of models that can be imported from it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command line adds the working folder
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.delitem(sys.modules, "some_models", raising=False)
    Path("some_models.py").write_text(MODELS)
    Path("broken_module.py").write_text("import no_such_dependency_of_mine")
    Path("failing_module.py").write_text("1 / 0")
    Path("folder").mkdir()
    np.savez("good.npz", x=X, y=Y)
    monkeypatch.setattr(study, "digits", few_digits)
    # Optax and Flax mix dtypes and ranks themselves.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield tmp_path
