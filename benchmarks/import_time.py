"""What `import relujax` costs on top of `import jax`, which it imports first: both timed in each fresh process.

python -m benchmarks.import_time
"""

import compileall
import statistics
import subprocess
import sys
from pathlib import Path

import relujax

from ._common import finish

_ROUNDS = 15
_CODE = """
from time import perf_counter as now
start = now(); import jax; middle = now(); import relujax; end = now()
print(middle - start, end - start)
"""


def seconds() -> tuple[float, float]:
    out = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, check=True).stdout.split()
    return float(out[0]), float(out[1])


def main() -> None:
    # pip compiles what it installs; an editable checkout may never have been compiled.
    compileall.compile_dir(Path(relujax.__file__).parent, quiet=1)
    seconds()
    pairs = [seconds() for _ in range(_ROUNDS)]
    ratio = statistics.median(ours / peer for peer, ours in pairs)
    peer, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    row = {"what": "import", "jax, s": peer, "relujax, s": ours, "ratio, median of pairs": ratio}
    finish("import_time", [row], {"import relujax costs at most 1.10x import jax": ratio <= 1.10}, "Import time")


if __name__ == "__main__":
    main()
