"""Every notebook runs from its first cell to its last, and what is committed of it is of these very cells."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import jupytext
import nbformat
import pytest

pytestmark = pytest.mark.own_precision

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[!_]*.py"))
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
#: Of one notebook with its outputs; a whole report has 2 MB, and belongs in a file of its own.
LARGEST = 400_000

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 6


@each
def test_it_runs(path):
    # In a process of its own: one of them sets how many devices there are.
    environment = os.environ | {"RELUJAX_SHORT": "1", "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@each
def test_the_ipynb_has_the_same_cells_and_carries_their_outputs(path):
    kept = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(kept)
    assert [(cell.cell_type, cell.source) for cell in kept.cells] == [
        (cell.cell_type, cell.source) for cell in jupytext.read(path).cells
    ], f"run: python notebooks/_build.py {path.stem}"
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert {output.name for output in outputs if output.output_type == "stream"} <= {"stdout"}
    assert "image/png" in code[-1].outputs[-1].data  # the picture worth keeping
    assert path.with_suffix(".ipynb").stat().st_size < LARGEST


@each
def test_it_opens_and_installs_in_colab_from_this_repository(path):
    first, install = jupytext.read(path).cells[:2]
    owner_and_name = REPOSITORY.removeprefix("https://github.com/")
    address = f"https://colab.research.google.com/github/{owner_and_name}/blob/main/notebooks/{path.stem}.ipynb"
    assert f"]({address})" in first.source
    assert f'git+{REPOSITORY}"' in install.source
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"[{path.stem}]: {address}\n" in readme
    assert f"(notebooks/{path.stem}.ipynb)" in readme
