"""Ctrl-C while a command is being imported, and where Python swallows it."""

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from workplace import run

import relujax

pytestmark = pytest.mark.own_precision

ROOT = Path(relujax.__file__).parents[1]
#: The script that pip installs, and Ctrl-C as soon as a module is asked for. Where tests run in the background,
#: Ctrl-C is ignored until that is set.
SCRIPT = """
import signal, sys
import _relujax_command

module, handler = sys.argv.pop(1), sys.argv.pop(1)
signal.signal(signal.SIGINT, getattr(signal, handler))

class CtrlC:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == module:
            sys.meta_path.remove(CtrlC)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, CtrlC)
sys.exit(_relujax_command.main())
"""
SWALLOWED = """
import gc, signal, time

def late():
    def callback(*_):
        gc.callbacks.remove(callback)
        signal.raise_signal(signal.SIGINT)
    gc.callbacks.append(callback)
    gc.collect()
    for _ in range(500):
        time.sleep(0.01)
    raise RuntimeError("nobody stopped this")
"""


def started(module, *words, handler="default_int_handler"):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT, module, handler, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": paths})


@pytest.mark.parametrize("module", ["jax", "relujax.cli._main", "rich.table"])
def test_while_modules_are_imported_it_ends_the_command_quietly(module):
    done = started(module, "list")
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "relujax: interrupted; nothing was written\n"


def test_what_a_shell_started_in_the_background_goes_on():
    done = started("jax", "--version", handler="SIG_IGN")
    assert (done.returncode, done.stdout) == (0, f"relujax {relujax.__version__}\n")


def test_it_is_not_lost_in_a_callback_whose_exceptions_python_ignores(capsys):
    Path("slow_models.py").write_text(SWALLOWED)
    usual, start, handler = sys.unraisablehook, time.monotonic(), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run("sites slow_models:late --data good.npz") == 130
    finally:
        signal.signal(signal.SIGINT, handler)
    assert time.monotonic() - start < 4
    assert capsys.readouterr().err == "relujax: interrupted; nothing was written\n"
    assert sys.unraisablehook is usual


def test_the_script_that_is_installed_is_this_one():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert config["project"]["scripts"] == {"relujax": "_relujax_command:main"}
    assert "_relujax_command.py" in config["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
