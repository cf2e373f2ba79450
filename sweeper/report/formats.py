"""The answers' formats. JSON, CSV and Parquet keep every digit; a table is for eyes (`tables`)."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sweeper.words.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


def as_json(value: Any) -> str:
    """Strict JSON, with a line's end; of a list each item is a line."""
    if isinstance(value, list):
        return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False, allow_nan=False) for item in value) + "\n]\n"
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A header and a line for each row; a list or a mapping stands as JSON, what is missing as nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(row.get(column)) for column in columns] for row in rows])
    return text.getvalue()


def as_parquet(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """The rows with the types that their values have; times are UTC, a list or a mapping stands as JSON."""
    import pandas as pd

    from sweeper.analysis.columns import TIMES

    frame = pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype="object") for name in columns})
    for name in columns:
        times = name in (*TIMES, "time") and all(isinstance(value, str) for value in frame[name].dropna())
        frame[name] = pd.to_datetime(frame[name], utc=True) if times else frame[name].infer_objects().convert_dtypes()
    return parquet_of(frame)


def parquet_of(frame: pd.DataFrame) -> bytes:
    """A column of values of several kinds stands as JSON."""
    refuse_parquet()
    mixed = {
        name: frame[name].map(lambda value: None if value is None else json.dumps(value, ensure_ascii=False))
        for name in frame.columns
        if frame[name].dtype == "object" and {type(value) for value in frame[name].dropna()} - {str}
    }
    return frame.assign(**mixed).to_parquet()


def refuse_parquet() -> None:
    """Raises ConfigError where Parquet cannot be written; asked before the work, and pyarrow is not imported for it."""
    if importlib.util.find_spec("pyarrow") is None:
        cure = "pip install 'sweeper-hpo[parquet]', or ask for csv or json"
        raise ConfigError(f"Parquet needs pyarrow, which is not installed: {cure}.")


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
