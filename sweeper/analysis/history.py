"""Who trained, and what happened, as rows; times are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.analysis import accounts
from sweeper.store import reads
from sweeper.store.attempts import lives
from sweeper.store.breaker import device_name
from sweeper.store.connection import Store
from sweeper.words.numbers import iso
from sweeper.words.records import StudyRecord

TIME = ("trials", "seconds", "utilisation", "seconds_idle", "seconds_useful")
LOAD = ("load", "memory_bytes", "memory_total_bytes")
WORKER = ("id", "host", "pid", "device", "engine", "trial", "started", "beat", "ended", "ending", *TIME, *LOAD, "log")
EVENT = ("time", "kind", "number", "user", "message")
Row = Mapping[str, Any]


def workers(store: Store, study: StudyRecord) -> list[dict[str, Any]]:
    """Every worker that there was; `ending` is `alive`, `paused` with its device, or `gone` where it died unseen.

    `seconds`: how long it lived; `utilisation`: the share of it in which it held one of its `trials`. `load`: of its
    device, at its last beat.
    """
    spent = accounts.of_workers(accounts.collect(store, study))
    paused = {row["device"] for row in reads.paused_devices(store, study.id)}
    held = {row["worker_id"]: row["number"] for row in reads.running_trials(store, study.id)}
    return [
        {
            **{name: row.get(name) for name in WORKER},
            **{name: iso(row[name]) for name in ("started", "beat", "ended")},
            **spent.get(row["id"], {}),
            "trial": held.get(row["id"]),
            "ending": row["ending"] or _standing(row, paused),
        }
        for row in reads.worker_rows(store, study.id)
    ]


def _standing(row: Row, paused: set[str]) -> str:
    if not lives(row):
        return "gone"
    return "paused" if device_name(row["host"], row["slot"], row["device"]) in paused else "alive"


def events(store: Store, study: StudyRecord) -> list[dict[str, Any]]:
    rows = reads.event_rows(store, study.id)
    return [{**{name: row[name] for name in EVENT}, "time": iso(row["time"])} for row in rows]
