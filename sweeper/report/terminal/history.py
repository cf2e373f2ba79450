"""`sweeper workers` and `sweeper events`: who trained, and what happened, as cells; times are UTC."""

from __future__ import annotations

from typing import Any

from sweeper.analysis.history import Row
from sweeper.words.numbers import MISSING, duration, line, place, plain, size


def worker_cells(row: Row) -> dict[str, str]:
    return {
        "worker": str(row["id"]),
        "trial": _text(row["trial"]),
        "device": plain(row["device"]),
        "host": plain(row["host"]),
        "process": str(row["pid"]),
        "engine": plain(row["engine"]),
        "trials": _text(row["trials"]),
        "busy": MISSING if row["utilisation"] is None else f"{row['utilisation']:.0%}",
        "idle": MISSING if row["seconds_idle"] is None else duration(row["seconds_idle"]),
        "load": MISSING if row["load"] is None else f"{row['load']:.0%}",
        "memory": MISSING if row["memory_bytes"] is None else size(row["memory_bytes"]),
        "started (UTC)": _moment(row["started"]),
        "beat (UTC)": _moment(row["beat"]),
        "ending": plain(row["ending"]),
        "log": plain(place(row["log"])) if row["log"] else MISSING,
    }


def event_cells(row: Row) -> dict[str, str]:
    return {
        "time (UTC)": _moment(row["time"]),
        "event": plain(row["kind"]),
        "trial": _text(row["number"]),
        "user": _text(row["user"]),
        "message": line(row["message"]),
    }


def _text(value: Any) -> str:
    return MISSING if value is None else plain(str(value))


def _moment(text: str) -> str:
    """To the second."""
    return text[:19].replace("T", " ")
