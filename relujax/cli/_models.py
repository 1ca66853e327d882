"""The user's own model and data, from the words of the command line."""

import argparse
import importlib
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ._common import BadInput, one_line

METAVAR = "package.module:factory"


def add_model(parser: argparse.ArgumentParser) -> None:
    """The two arguments of commands that look at a model."""
    parser.add_argument("model", metavar=METAVAR, help="makes the model when called")
    parser.add_argument("--data", type=Path, metavar="FILE", required=True, help=".npz with x")


def load_model(where: str) -> Any:
    """What the factory makes."""
    name, colon, attribute = where.partition(":")
    if not (name and colon and attribute):
        raise BadInput(f"got model {where!r}: expected {METAVAR}")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        path = name.removesuffix(".py")
        if path != name:
            raise BadInput(f"got the file {name}: expected a module, as in {path}:{attribute}") from error
        raise BadInput(f"no module named {error.name!r}: expected {where!r} to name an importable module") from error
    except (Exception, SystemExit) as error:
        raise BadInput(f"importing {name} failed: {one_line(error)}; expected a module that imports") from error
    factory = getattr(module, attribute, None)
    if factory is None:
        public = ", ".join(n for n in vars(module) if callable(getattr(module, n)) and not n.startswith("_"))
        raise BadInput(f"module {name} has no {attribute!r}: expected one of its callables ({public or 'it has none'})")
    if not callable(factory):
        raise BadInput(f"{where} is {type(factory).__name__}: expected a callable that makes the model")
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise BadInput(f"{where}() failed: {one_line(error)}; expected a factory that takes no arguments") from error


def load_data(path: Path) -> tuple:
    """``(x,)``, or ``(x, y)``."""
    if not path.is_file():
        raise BadInput(f"no file {path}: expected an .npz with x, and y for a loss")
    if not zipfile.is_zipfile(path):
        raise BadInput(f"{path} is no .npz: expected arrays saved with numpy.savez, x, and y for a loss")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        if not all(isinstance(value, np.ndarray) for value in arrays.values()):
            raise ValueError("it holds files that are no arrays")
    except Exception as error:  # damaged files fail in a dozen ways: zlib, struct, memory, encryption
        why = "it holds pickled objects" if "allow_pickle" in str(error) else one_line(error)
        raise BadInput(f"cannot read {path}: {why}; expected arrays of numbers saved with numpy.savez") from error
    if "x" not in arrays:
        raise BadInput(f"{path} holds {', '.join(arrays) or 'nothing'}: expected x, and y for a loss")
    return (arrays["x"], arrays["y"]) if "y" in arrays else (arrays["x"],)
