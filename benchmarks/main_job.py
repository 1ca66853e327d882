"""The main job as a user runs it, `relujax diagnose`: its time, its known results, and the README's picture.

python -m benchmarks.main_job
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from relujax import study
from relujax.report import overview

from ._common import finish

_PICTURE = Path(__file__).parent.parent / "docs" / "gradients-over-depth.png"
_ACTIVATIONS = ("relu", "leaky_relu", "elu", "tanh", "sigmoid")


def command_seconds() -> float:
    """A fresh process, compilation included."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(
            [Path(sys.executable).with_name("relujax"), "diagnose", "--out", f"{folder}/report.html"],
            check=True,
            capture_output=True,
        )
        return time.perf_counter() - start


def main() -> None:
    seconds = command_seconds()
    data = study.digits()
    runs = [study.run(study.Settings(name), data) for name in _ACTIVATIONS]
    figure, _ = overview(runs)
    _PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(_PICTURE, dpi=110)
    rows = []
    for run in runs:
        before, after = run.stages.values()
        signal = [row.signal_norm or 0.0 for row in before.summary]
        rows.append(
            {
                "activation": run.name,
                "init": str(run.facts["init"]),
                "signal, first / last": signal[0] / signal[-1],
                "active at init": sum(r.active_fraction for r in before.summary) / len(before.summary),
                "dead at init": sum(r.dead for r in before.summary),
                "dead trained": sum(r.dead for r in after.summary),
                "held-out accuracy": run.history.accuracy[-1] if run.history else float("nan"),
            }
        )
    by_name = {row["activation"]: row for row in rows}
    default = runs[0].init_signal["lecun_normal"]
    halving = (default[0] / default[-1]) ** (2 / (len(default) - 1))
    rows.append({"activation": "relu, squared signal per layer, Flax's default init", "init": f"{halving:.3f}"})
    claims = {
        f"`relujax diagnose` takes at most 90 s ({seconds:.0f} s here)": seconds <= 90,
        "sigmoid's signal vanishes: first below 1e-9 of last": by_name["sigmoid"]["signal, first / last"] < 1e-9,
        "plain tanh's shrinks: first below 0.6 of last": by_name["tanh"]["signal, first / last"] < 0.6,
        "ReLU is about half active": 0.4 < by_name["relu"]["active at init"] < 0.6,
        "He holds ReLU's signal within a factor of 3": 1 / 3 < by_name["relu"]["signal, first / last"] < 3,
        f"Flax's default halves ReLU's squared signal per layer ({halving:.3f})": 0.4 < halving < 0.6,
    }
    finish("main_job", rows, claims, "The main job")


if __name__ == "__main__":
    main()
