"""Saved runs, read again."""

import json
import types
from collections.abc import Mapping
from dataclasses import astuple, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..health import Alarm, Alarms, NetworkSummary, SiteSummary, Skipped, Summary
from ..probes import Opaque
from ._diagnosis import SCHEMA, Diagnosis
from ._run import History, Run, as_run, checked

_PLAIN = ("examples", "loss", "accuracy", "notes", "title", "predicted")


def from_json(text: str) -> list[Run]:
    """Runs from what :func:`relujax.report.to_json`, ``Run.to_json`` or ``Diagnosis.to_json`` wrote.

    Args:
        text: the JSON.

    Returns:
        The runs. They are equal to those that were written; NaN and infinities are numbers again.

    Raises:
        ValueError: for text that is no JSON, was written with another schema, or lacks something.

    >>> import jax.numpy as jnp, relujax as rx
    >>> saved = rx.diagnose(rx.relu, jnp.ones((4, 2)), spectrum_examples=0).to_json()
    >>> [run] = from_json(saved)
    >>> run.stages["as given"].summary[0].active_fraction
    1.0
    """
    expected = "expected what relujax.report.to_json wrote"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"got text that is no JSON ({error}): {expected}") from error
    if not isinstance(value, dict) or "schema" not in value:
        raise ValueError(f"got JSON without a schema number: {expected}")
    if value["schema"] != SCHEMA:
        raise ValueError(
            f"got schema {value['schema']!r}: expected {SCHEMA}, which this version of relujax writes; write the runs "
            "again with it, or read them with the version that wrote them"
        )
    try:
        json.dumps(value, ensure_ascii=False).encode()  # not halves of surrogate pairs, which JSON can spell
        if "runs" not in value:
            return [as_run(_diagnosis(value))]
        runs = [_run(run) for run in _of(list, value["runs"])]
        checked(runs)
        return runs
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"got JSON of schema {SCHEMA} that is damaged ({error!r}): {expected}") from error


def _run(value: Mapping[str, Any]) -> Run:
    return Run(
        name=_typed(str, value["name"]),
        stages={name: _diagnosis(stage) for name, stage in value["stages"].items()},
        facts=_of(dict, value["facts"]),
        history=_history(value["history"]),
        init_signal=_typed(Mapping[str, tuple[float, ...]], value["init_signal"]),
        notes=_typed(tuple[str, ...], value["notes"]),
    )


def _history(value: Any) -> History | None:
    found = _typed(History | None, value)
    if found is not None and (not found.step or len({len(curve) for curve in astuple(found)}) > 1):
        raise ValueError("its curves have no points, or not equally many")
    return found


def _check_row(row: SiteSummary) -> None:
    counts = (row.units, row.examples)
    together = ((row.signal_norm, row.signal_zero_fraction), (row.singular_values, row.rank))
    if min(counts) < 1 or not row.active_histogram or any((a is None) != (b is None) for a, b in together):
        raise ValueError(f"the row of {row.name!r} does not hold together")


def _diagnosis(value: Mapping[str, Any]) -> Diagnosis:
    rows, opaque = _typed(tuple[SiteSummary, ...], value["sites"]), _typed(tuple[Opaque, ...], value["opaque"])
    if not rows:
        raise ValueError("there is no layer in it")
    for row in rows:
        _check_row(row)
    hints = get_type_hints(Diagnosis)
    plain = {name: _typed(hints[name], value[name]) for name in _PLAIN}
    found = Alarms(_typed(tuple[Alarm, ...], value["alarms"]), _typed(tuple[Skipped, ...], value["skipped"]))
    network = _typed(NetworkSummary | None, value["network"])
    return Diagnosis(summary=Summary(rows, opaque, network), alarms=found, **plain)


def _typed(hint: Any, value: Any) -> Any:
    """A value that went through JSON, as what its type says: lists as tuples and records, "nan" as a number."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _typed(next(arg for arg in args if arg is not type(None)), value)
    if is_dataclass(hint):
        make: Any = hint
        hints = get_type_hints(make)
        return make(**{field.name: _typed(hints[field.name], value[field.name]) for field in fields(make)})
    if origin is tuple:
        return tuple(_typed(args[0], item) for item in _of(list, value))
    if origin is Mapping:
        return {name: _typed(args[1], item) for name, item in value.items()}
    if origin is Literal:
        if value not in args:
            raise ValueError(f"{value!r} is none of {args}")
        return value
    if hint is float:
        return float(value)
    return _of(hint, value)


def _of(hint: type, value: Any) -> Any:
    if not isinstance(value, hint):
        raise TypeError(f"{value!r} is no {hint.__name__}")
    return value
