"""A study's trials or epochs as a file: CSV and JSON by the standard library, Parquet by pandas."""

from __future__ import annotations

import os
from pathlib import Path

from sweeper.errors import ConfigError
from sweeper.report.formats import as_csv, as_json
from sweeper.report.hidden import marked
from sweeper.store import columns
from sweeper.store.connection import Store
from sweeper.trial import StudyRecord

ENDINGS = (".csv", ".json", ".parquet")


def write(store: Store, study: StudyRecord, file: Path, *, epochs: bool = False) -> int:
    """Write every trial, or every epoch, to `file` and return how many; raises ConfigError.

    Another program that reads the file sees the old one or the new one, never a half.
    """
    if file.suffix not in ENDINGS:
        raise ConfigError(f"An export's name ends with {', '.join(ENDINGS)}, but got {str(file)!r}.")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"An export goes to a folder that exists, but {file.parent} does not: make it first.")
    building = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        count = _write(store, study, building, file.suffix, epochs)
        os.replace(building, file)
    except OSError as error:
        raise ConfigError(f"The export {file} cannot be written: {error}.") from error
    finally:
        building.unlink(missing_ok=True)
    return count


def _write(store: Store, study: StudyRecord, file: Path, ending: str, epochs: bool) -> int:
    if ending == ".parquet":
        return _write_parquet(store, study, file, epochs)
    collected = columns.epoch_columns(store, study) if epochs else _trials(store, study)
    rows = columns.rows(collected)
    text = as_csv(rows, list(collected)) if ending == ".csv" else as_json(rows)
    file.write_text(text, encoding="utf-8")
    return len(rows)


def _trials(store: Store, study: StudyRecord) -> columns.Columns:
    return marked(store, study, columns.trial_columns(store, study))


def _write_parquet(store: Store, study: StudyRecord, file: Path, epochs: bool) -> int:
    from sweeper.study import Study

    asked = Study(store, study)
    frame = asked.epochs() if epochs else asked.trials()
    try:
        frame.to_parquet(file)
    except ImportError:
        raise ConfigError(
            "An export to .parquet needs pyarrow, which is not installed: pip install pyarrow, or write .csv."
        ) from None
    return len(frame)
