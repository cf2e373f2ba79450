"""A study's trials or epochs as a file: CSV and JSON by the standard library, Parquet by pandas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.analysis import columns
from sweeper.analysis.selection import Selection
from sweeper.report.formats import as_csv, as_json, parquet_of, refuse_parquet
from sweeper.store.connection import Store
from sweeper.store.newfile import whole
from sweeper.words.errors import ConfigError
from sweeper.words.records import StudyRecord

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = (".csv", ".json", ".parquet")


def write(
    store: Store, study: StudyRecord, file: Path, *, epochs: bool = False, selection: Selection | None = None
) -> int:
    """Write the trials, or their epochs, to `file` and return how many; raises ConfigError.

    Another program that reads the file sees the old one or the new one, never a half.
    """
    if file.suffix not in ENDINGS:
        raise ConfigError(f"An export's name ends with {', '.join(ENDINGS)}, but got {str(file)!r}.")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"An export goes to a folder that exists, but {file.parent} does not: make it first.")
    if file.suffix == ".parquet":
        refuse_parquet()
    with whole(file, "export") as building:
        return _write(store, study, building, file.suffix, epochs, selection or Selection())


def _write(store: Store, study: StudyRecord, file: Path, ending: str, epochs: bool, selection: Selection) -> int:
    if epochs:
        chosen = None if selection == Selection() else selection.of(store, study)["number"]
        found = _epochs(store, study, chosen)
    else:
        found = selection.of(store, study)
    if ending == ".parquet":
        file.write_bytes(parquet_of(frame(store, study, found["number"], epochs=epochs)))
    else:
        rows = columns.rows(found)
        file.write_text(as_csv(rows, list(found)) if ending == ".csv" else as_json(rows), encoding="utf-8")
    return len(found["number"])


def _epochs(store: Store, study: StudyRecord, chosen: Sequence[int] | None) -> columns.Columns:
    found = columns.epoch_columns(store, study)
    if chosen is None:
        return found
    meant = set(chosen)
    rows = [row for row, number in enumerate(found["number"]) if number in meant]
    return {name: [values[row] for row in rows] for name, values in found.items()}


def frame(store: Store, study: StudyRecord, numbers: Sequence[int], *, epochs: bool = False) -> pd.DataFrame:
    """Those trials in that order, or the epochs of those trials, with the types that a study has in Python."""
    from sweeper.analysis import frames

    meant = list(numbers)
    if epochs:
        every = frames.epochs(store, study)
        return every[every["number"].isin(meant)].reset_index(drop=True)
    return frames.trials(store, study, columns.trial_columns(store, study, numbers=meant))
