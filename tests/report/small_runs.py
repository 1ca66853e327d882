"""Runs for a report, made of small diagnoses and never trained; every text in them can be any string."""

from dataclasses import replace

from small_models import PARAMS, X, Y, apply

import relujax as rx
from relujax.report import History, Run

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&lt;"
HISTORY = History(step=(1, 2, 3), loss=(2.5, 1.25, 0.625), gradient_norm=(4.0, 0.5, 3.0), accuracy=(0.1, 0.3, 0.4375))
SIGNALS = {"lecun_normal": (1e-4, 1e-2), "he_normal": (0.9, 1.1)}
#: One alarm of each severity.
ALARMS = tuple(
    rx.Alarm(f"rule {s}", s, "first/relu", "model.py:7", f"message {s}", f"remedy {s}", f"reference {s}")
    for s in ("critical", "warning", "info")
)


def diagnosis(title="small", **changes):
    found = rx.diagnose(apply, (X, Y), params=PARAMS, loss="cross_entropy", title=title, predict=False)
    return replace(found, **changes)


def named(text):
    """A diagnosis in which everything that has a name has this one."""
    found = diagnosis(text)
    rows = tuple(replace(row, name=f"{text}/relu", source=text, kind=text) for row in found.summary)
    alarm = replace(ALARMS[0], rule=text, site=text, source=text, message=text, remedy=text, reference=text)
    return replace(found, summary=replace(found.summary, rows=rows), alarms=(alarm,), notes=(text,))


def two_runs(of, names=("one", "two"), stages=("before", "after"), facts=None):
    """Two trained runs of two stages each."""
    return [
        Run(name, dict.fromkeys(stages, of), facts=facts or {}, history=HISTORY, init_signal=SIGNALS) for name in names
    ]
