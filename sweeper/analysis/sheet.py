"""Everything that is known of one trial, as JSON-plain data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sweeper.analysis import diagnosed, places
from sweeper.analysis.borders import space_now
from sweeper.analysis.columns import epoch_columns, rows
from sweeper.analysis.commands import of_trial
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.errors import StoreError
from sweeper.words.numbers import iso
from sweeper.words.records import StudyRecord

LOG_LINES, LOG_BYTES = 12, 16_384


def collect(store: Store, study: StudyRecord, number: int) -> dict[str, Any]:
    """One trial as JSON-plain data with every digit; raises StoreError when there is no such number."""
    if not study.next_number:
        raise StoreError(f"The study {study.name} has no trial yet, so there is no trial {number} to show.")
    trial = reads.trial(store, study.id, number)
    folder = study.trial_folder(number)
    best = next(iter(reads.best(store, study, 1)), None)
    log = log_of(folder, trial["log"])
    return {
        "study": study.name,
        **{name: trial[name] for name in ("number", "state", "value", "params", "metrics", "stage", "seed")},
        "metric": study.metric,
        "stage_name": study.plan["stages"][trial["stage"]]["name"],
        "places": places.collect(space_now(store, study), trial["params"] or {}),
        "is_best": best is not None and best.number == number,
        **{name: trial[name] for name in ("epochs_done", "target_epochs", "seconds", "attempt", "host", "device")},
        **{name: iso(trial[name]) for name in ("created", "started", "finished")},
        "hidden": trial["hidden"],
        "repeats": trial["repeats"],
        "failure": trial["failure"],
        "message": trial["message"],
        "traceback": trial["traceback"],
        "folder": str(folder),
        "log": log,
        "log_end": end_of(log) if trial["failure"] else None,
        "epochs": rows(epoch_columns(store, study, number)),
        "findings": [found.as_json() for found in diagnosed.trial(store, study, number)[1]],
        "checkpoints": _checkpoints(store, study, number, folder),
        "command": of_trial(study, trial),
    }


def log_of(folder: Path, worker_log: str | None) -> str | None:
    """The trial's own log, else its worker's: a file, or a folder that holds `worker.log`."""
    worker = [Path(worker_log) / "worker.log", Path(worker_log)] if worker_log else []
    return next((str(path) for path in (folder / "train.log", *worker) if path.exists()), worker_log)


def end_of(log: str | None) -> str | None:
    """The last lines of a log; None where there is none, or it cannot be read."""
    try:
        with open(log or "", "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            lines = file.read().decode("utf-8", errors="replace").rstrip().splitlines()
    except OSError:
        return None
    return "\n".join(lines[-LOG_LINES:])


def _checkpoints(store: Store, study: StudyRecord, number: int, folder: Path) -> list[dict[str, Any]]:
    found = reads.checkpoint_rows(store, study.id, number)
    valued = [row for row in found if row["value"] is not None]
    best = min(valued, key=lambda row: study.direction.sign * row["value"], default=None)
    return [
        {
            "epoch": row["epoch"],
            "value": row["value"],
            "size_bytes": row["size_bytes"],
            "is_best": row is best,
            "exists": (folder / row["path"]).exists(),
            "path": str(folder / row["path"]),
        }
        for row in found
    ]
