"""What the commands are tried on: models that can be imported, small data, and what every error looks like."""

import json
import re
from pathlib import Path

import numpy as np

from relujax import cli, study

MODELS = """
import numpy as np
import relujax as rx
from flax import linen, nnx

W = np.sin(np.arange(12, dtype=np.float32)).reshape(4, 3)

class Net(nnx.Module):
    def __init__(self):
        self.hidden = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    def __call__(self, x):
        return rx.relu(self.hidden(x))

class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        return rx.relu(linen.Dense(3, name="hidden")(x))

def pair():
    return LinenNet(), {"params": {"hidden": {"kernel": W, "bias": W[0]}}}

def function():
    return lambda x: rx.relu(x @ W)

def dead():
    return lambda x: rx.relu(x @ W - 1000)

def normalised():
    return lambda x: rx.relu((x - x.mean(0)) / x.std(0))

def talks():
    print("loading weights ...")
    return function()

def leaves():
    raise SystemExit(7)

def small_batches_only():
    def model(x):
        assert len(x) <= 64
        return rx.relu(x @ W)
    return model

def linear():
    return lambda x: x @ W

def raises():
    raise RuntimeError("no weights\\nin this folder")

def needs(size):
    return None

def nothing():
    return None

NUMBER = 3
"""
RNG = np.random.default_rng(0)
X = RNG.standard_normal((9, 4)).astype(np.float32)
Y = np.int32(np.arange(9) % 3)
DIGITS = study.digits
STACK = "--activation relu --depth 2 --width 4 --steps 3"


def few_digits(seed):
    """The first of them: one shape of batch is quicker to compile than two."""
    data = DIGITS(seed)
    return study.Digits(*((x[:n], y[:n]) for (x, y), n in ((data.train, 128), (data.test, 40))))


def run(line):
    return cli.main(line.split())


def files():
    """Everything that is not Python's own."""
    return {str(p) for p in Path().rglob("*") if "__pycache__" not in p.parts}


def read(path):
    return json.loads(Path(path).read_text())


def assert_one_line(capsys, message):
    printed = capsys.readouterr()
    assert printed.err.startswith("relujax: "), printed.err
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.out + printed.err
    assert "report:" not in printed.out
    assert re.search(message, printed.err), printed.err
