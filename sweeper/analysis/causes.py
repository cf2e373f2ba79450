"""What went wrong in a study, grouped by its cause."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sweeper.analysis.sheet import log_of
from sweeper.store import reads
from sweeper.store.breaker import cause_of
from sweeper.store.connection import Store
from sweeper.words.records import Failure, StudyRecord

COLUMNS = ("count", "failure", "message", "numbers", "told_by", "traceback", "log")


def collect(store: Store, study: StudyRecord, among: Collection[int] | None = None) -> list[dict[str, Any]]:
    """One row for each cause, the most frequent first, told by its latest trial; `among` these trials, or all.

    A cause is the reason and the exception's own line: a traceback's last line, but for texts of several lines, whose
    first one says more. Numbers in it do not tell causes apart: every trial runs out of memory at another byte, and
    diverges at another learning rate.
    """
    causes: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in reads.failures(store, study.id):
        if among is not None and row["number"] not in among:
            continue
        said = _said(row)
        what = said.partition(" at epoch ")[0] if row["failure"] == Failure.DIVERGED else said
        causes.setdefault((row["failure"], cause_of(what)), []).append(row)
    return [_cause(study, rows) for rows in sorted(causes.values(), key=len, reverse=True)]


def _said(row: Mapping[str, Any]) -> str:
    """A hard timeout or a kill leaves a message and no traceback."""
    lines: list[str] = (row["traceback"] or "").strip().splitlines()
    return str(row["message"] or (lines[-1] if lines else ""))


def _cause(study: StudyRecord, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    last = rows[-1]
    return {
        "count": len(rows),
        "failure": last["failure"],
        "message": _said(last),
        "numbers": sorted(row["number"] for row in rows),
        "told_by": last["number"],
        "traceback": last["traceback"],
        "log": log_of(study.trial_folder(last["number"]), last["log"]),
    }


def numbers(store: Store, study: StudyRecord, failure: Failure | None = None) -> list[int]:
    """The failed trials, of one reason or of any, that are worth another try: not those that are hidden."""
    rows = reads.failures(store, study.id)
    return sorted(row["number"] for row in rows if row["hidden"] is None and failure in (None, row["failure"]))
