"""Columns of a study as pandas frames, whose types are the same whatever is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.analysis import columns
from sweeper.analysis.confirmation import Standing
from sweeper.search.space import Categorical, Float, Parameter, SearchSpace
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.records import Failure, StudyRecord, TrialState

if TYPE_CHECKING:
    import pandas as pd

Kind = str | tuple[str, ...]
"""Of a column: float, int, bool, text, time, object, or the values of a category."""

STATES = tuple(map(str, TrialState))
FAILURES = tuple(map(str, Failure))
TRIAL_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("number", "stage", "epochs_done", "target_epochs", "seed", "attempt", "repeats"), "int"),
    **dict.fromkeys(("value", "seconds"), "float"),
    **dict.fromkeys(("host", "device", "message", "hidden"), "text"),
    **dict.fromkeys(("created", "started", "finished"), "time"),
    "state": STATES,
    "failure": FAILURES,
}
EPOCH_KINDS: dict[str, Kind] = {
    "number": "int", "epoch": "int", "value": "float", "seconds": "float", "reported": "time"
}  # fmt: skip
FAILURE_KINDS: dict[str, Kind] = {
    "number": "int", "failure": FAILURES, "message": "text", "epochs_done": "int", "traceback": "text"
}  # fmt: skip
WORKER_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("id", "pid"), "int"),
    **dict.fromkeys(("host", "device", "engine", "log"), "text"),
    **dict.fromkeys(("started", "beat", "ended"), "time"),
    "ending": "text",
    "trials": "int",
    **dict.fromkeys(("seconds", "utilisation", "seconds_idle", "seconds_useful", "load"), "float"),
    **dict.fromkeys(("memory_bytes", "memory_total_bytes"), "int"),
}
CONFIRMED_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("number", "seeds", "failed", "open"), "int"),
    **dict.fromkeys(("first", "mean", "deviation", "probability"), "float"),
    "standing": tuple(map(str, Standing)),
}
RANGE_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("name", "kind", "scale"), "text"),
    **dict.fromkeys(("low", "high", "step", "limit_low", "limit_high"), "float"),
    "choices": "object",
    "when": "text",
}

BORDER_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("parameter", "verdict", "edge", "scale"), "text"),
    **dict.fromkeys(("low", "high"), "object"),
    **dict.fromkeys(("widen_low", "widen_high"), "float"),
    "best": "object",
    "position": "float",
    **dict.fromkeys(("top", "at_edge"), "int"),
    **dict.fromkeys(("expected", "p_value"), "float"),
    **dict.fromkeys(("trials", "failed", "tried"), "int"),
    "sentence": "text",
}


def trials(store: Store, study: StudyRecord, found: columns.Columns) -> pd.DataFrame:
    """Flat columns of trials, with the reasons of those that are hidden."""
    why = reads.hidden(store, study.id, found["number"])
    hidden = [why.get(number) for number in found["number"]]
    kinds = {f"params.{parameter.name}": _kind(parameter) for parameter in SearchSpace.from_json(study.space)}
    return frame({**found, "hidden": hidden}, {**TRIAL_KINDS, **kinds})


def epochs(store: Store, study: StudyRecord) -> pd.DataFrame:
    """Every reported epoch by trial and epoch."""
    return frame(columns.epoch_columns(store, study), EPOCH_KINDS)


def of_rows(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """The columns that are named, of rows that may have others."""
    return frame({name: [row.get(name) for row in rows] for name in kinds}, kinds)


def frame(found: columns.Columns, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """A frame whose columns have the same types whatever is in it; metrics are floats."""
    import pandas as pd

    return pd.DataFrame({name: _typed(values, kinds.get(name, "float")) for name, values in found.items()})


def _typed(values: list[Any], kind: Kind) -> Any:
    """Whole numbers and truths with something missing are pandas' own `Int64` and `boolean`."""
    import pandas as pd

    if isinstance(kind, tuple):
        return pd.Categorical(values, categories=list(kind))
    if kind == "time":
        microseconds = (pd.Series(values, dtype="float64") * 1e6).round().astype("Int64")
        return pd.to_datetime(microseconds, unit="us", utc=True).astype("datetime64[us, UTC]")
    missing = any(value is None for value in values)
    dtypes = {
        "float": "float64",
        "int": "Int64" if missing else "int64",
        "bool": "boolean" if missing else "bool",
        "text": "str",
        "object": "object",
    }
    return pd.Series(values, dtype=dtypes[kind])


def _kind(parameter: Parameter) -> Kind:
    if not isinstance(parameter, Categorical):
        return "float" if isinstance(parameter, Float) else "int"
    types = {type(choice) for choice in parameter.choices if choice is not None}
    known = {frozenset({bool}): "bool", frozenset({int}): "int", frozenset({str}): "text"}
    if types <= {int, float} and float in types:
        return "float"
    return known.get(frozenset(types), "object")
