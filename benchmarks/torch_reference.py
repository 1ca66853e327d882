"""What PyTorch computes, value and gradient, on a grid: the data that tests/test_torch.py compares relujax.torch with.

PyTorch is no dependency of relujax, so this script imports nothing of it and runs in an environment of its own:

python3.11 -m venv vtorch && vtorch/bin/pip install torch==2.13.0 numpy
vtorch/bin/python benchmarks/torch_reference.py

Every value stands alone in a row of 64 equal ones, where PyTorch takes the vectorised path that a model's tensors
take. What a tensor of one element, on the scalar path, gives otherwise is printed: PyTorch's answer there depends on
where in memory a number stands.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import torch  # type: ignore[import-not-found]
import torch.nn.functional as F  # type: ignore[import-not-found]

OUT = Path(__file__).parents[1] / "tests" / "data" / "torch_2_13.json"
DTYPES = {"float32": (torch.float32, torch.int32, ">u4"), "float16": (torch.float16, torch.int16, ">u2")}
DTYPES["bfloat16"] = (torch.bfloat16, torch.int16, ">u2")
LANES = 64

#: Name, arguments in PyTorch's order. The arguments of prelu and glu that are arrays come from the grid, in `evaluate`.
CASES = [
    ("relu", {}),
    ("relu6", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.2}),
    ("leaky_relu", {"negative_slope": -0.5}),
    ("leaky_relu", {"negative_slope": 0.0}),
    ("prelu", {}),
    ("rrelu", {}),
    ("rrelu", {"lower": 0.25, "upper": 0.75}),
    ("elu", {}),
    ("elu", {"alpha": 0.5}),
    ("elu", {"alpha": -0.5}),
    ("celu", {}),
    ("celu", {"alpha": 0.5}),
    ("celu", {"alpha": 3.0}),
    ("selu", {}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("silu", {}),
    ("mish", {}),
    ("softplus", {}),
    ("softplus", {"beta": 2.0}),
    ("softplus", {"beta": 0.5, "threshold": 1.0}),
    ("softsign", {}),
    ("softshrink", {}),
    ("softshrink", {"lambd": 0.0}),
    ("softshrink", {"lambd": 2.0}),
    ("hardshrink", {}),
    ("hardshrink", {"lambd": 0.0}),
    ("hardshrink", {"lambd": 2.0}),
    ("hardtanh", {}),
    ("hardtanh", {"min_val": 0.5, "max_val": 2.0}),
    ("hardsigmoid", {}),
    ("hardswish", {}),
    ("logsigmoid", {}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("tanhshrink", {}),
    ("threshold", {"threshold": 0.5, "value": 0.25}),
    ("threshold", {"threshold": -1.0, "value": 20.0}),
    ("glu", {}),
]
KINKS = [0.5, 1.0, 2.0, 3.0, 6.0, 10.0, 20.0, 40.0]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 3.0, -200.0, 200.0, 30000.0, -30000.0]


def grid(dtype: torch.dtype, bits: torch.dtype) -> torch.Tensor:
    """Kinks with both neighbours, the middle, the tails and what is not finite."""
    info = torch.finfo(dtype)
    kinks = torch.tensor([sign * k for k in KINKS for sign in (1, -1)], dtype=dtype)
    steps = [(kinks.view(bits) + step).view(dtype) for step in (-1, 0, 1)]
    middle = torch.linspace(-5.25, 5.25, 43, dtype=torch.float64)
    tails = torch.tensor(
        [1e-4, 1e-2, 0.1, 7.5, 8.75, 12, 15, 17.5, 25, 50, 88.5, 100, 104, 1000, 60000], dtype=torch.float64
    )
    extremes = torch.tensor([info.tiny, info.max, np.inf, 0.0], dtype=torch.float64)
    rest = torch.cat([middle, tails, -tails, extremes, -extremes, torch.tensor([np.nan], dtype=torch.float64)])
    return torch.cat([*steps, rest.to(dtype)])


def pairs(x: torch.Tensor) -> torch.Tensor:
    """The grid beside itself shuffled, and every special number with every other."""
    special = torch.tensor(list(itertools.product(SPECIAL, SPECIAL)), dtype=torch.float64).T.to(x.dtype)
    return torch.cat([torch.stack([x, x.roll(37)]), special], dim=1)


def weights(x: torch.Tensor) -> torch.Tensor:
    """A weight of prelu for each number of the grid."""
    return torch.tensor([0.25, -0.5, 0.0, 1.0, 2.0], dtype=x.dtype).repeat(len(x))[: len(x)]


def evaluate(name: str, arguments: dict, x: torch.Tensor, lanes: int) -> list[torch.Tensor]:
    """The value and the gradients of its sum, each of the grid's shape."""
    if name == "glu":
        x = pairs(x).unsqueeze(-1).repeat(1, 1, lanes).requires_grad_()
        y = F.glu(x, dim=0)
        y.backward(torch.ones_like(y))
        return [y[:, :, 0].flatten(), x.grad[:, :, 0].flatten()]
    if name == "prelu":
        w = weights(x).requires_grad_()
        x = x.repeat(lanes, 1).requires_grad_()
        y = F.prelu(x, w)
        y.backward(torch.ones_like(y))
        of_x = x.grad[0].clone()
        w.grad = None
        F.prelu(x[:1], w).backward(torch.ones_like(y[:1]))  # so that each weight's gradient is of one number
        return [y[0], of_x, w.grad]
    x = x.unsqueeze(-1).repeat(1, lanes).requires_grad_()
    fun = getattr(F, name) if hasattr(F, name) else getattr(torch, name)
    y = fun(x, **arguments) if name == "gelu" else fun(x, *arguments.values())  # in PyTorch's order
    y.backward(torch.ones_like(y))
    for result in (y, x.grad):
        assert torch.equal(result.nan_to_num(7.5), result[:, :1].expand_as(result).nan_to_num(7.5)), name
    return [y[:, 0], x.grad[:, 0]]


def encode(x: torch.Tensor, bits: torch.dtype, stored: str) -> str:
    return x.detach().contiguous().view(bits).numpy().view(stored[1:]).astype(stored).tobytes().hex()


def report(name: str, arguments: dict, x: torch.Tensor, many: list, dtype: str) -> None:
    if name in ("glu", "prelu"):
        return
    single = [torch.cat(column) for column in zip(*(evaluate(name, arguments, v.view(1), 1) for v in x), strict=True)]
    for what, a, b in zip(("value", "slope"), many, single, strict=True):
        a, b = a.detach().double(), b.detach().double()
        eps = torch.finfo(x.dtype).eps
        same = (a == b) | (a.isnan() & b.isnan()) | ((a - b).abs() <= 8 * eps * b.abs())
        for at in (~same).nonzero().flatten().tolist():
            print(f"{name}{arguments} {dtype} {what} at {x[at].item():g}: {a[at]:g} in a row, {b[at]:g} alone")


def main() -> None:
    torch.set_num_threads(1)
    inputs, rows = {"grid": {}, "pairs": {}, "weights": {}}, []
    for dtype, (kind, bits, stored) in DTYPES.items():
        x = grid(kind, bits)
        for key, value in {"grid": x, "pairs": pairs(x), "weights": weights(x)}.items():
            inputs[key][dtype] = encode(value, bits, stored)
    for name, arguments in CASES:
        row = {"name": name, "arguments": arguments}
        for dtype, (kind, bits, stored) in DTYPES.items():
            x = grid(kind, bits)
            results = evaluate(name, arguments, x, LANES)
            report(name, arguments, x, results, dtype)
            row[dtype] = [encode(result, bits, stored) for result in results]
        rows.append(row)
    made = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(), "inputs": inputs}
    lines = ",\n".join(json.dumps(row) for row in rows)
    OUT.write_text(json.dumps(made)[:-1] + ', "cases": [\n' + lines + "\n]}\n", encoding="utf-8")
    print(f"{OUT}: {OUT.stat().st_size / 1e3:.0f} KB, {len(x)} numbers, {len(CASES)} cases")


if __name__ == "__main__":
    main()
