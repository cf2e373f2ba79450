"""`sweeper failures`: what went wrong, grouped by its cause: first collected as plain data, then drawn for eyes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.program import typed
from sweeper.report.numbers import place, plain, reason
from sweeper.report.sheet import log_of
from sweeper.report.summary import options
from sweeper.store import reads
from sweeper.store.breaker import cause_of
from sweeper.store.connection import Store
from sweeper.trial import Failure, StudyRecord

COLUMNS = ("count", "failure", "message", "numbers", "told_by", "traceback", "log")
TAIL_LINES = 8
SHOWN_NUMBERS = 8


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
        "log": log_of(Path(study.folder) / f"{last['number']:04d}", last["log"]),
    }


def numbers(store: Store, study: StudyRecord, failure: Failure | None = None) -> list[int]:
    """The failed trials, of one reason or of any, that are worth another try: not those that are hidden."""
    rows = reads.failures(store, study.id)
    return sorted(row["number"] for row in rows if row["hidden"] is None and failure in (None, row["failure"]))


# ---- drawn -----------------------------------------------------------------------------------------------------------


def draw(store: Store, study: StudyRecord, causes: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A block for each cause; print it with `crop=False`, so that paths stay whole."""
    parts = [line for cause in causes for line in (*_block(cause), Text())]
    asked = options(store, study.name)
    return Group(*parts, Text(typed(f"one of them: sweeper show N {asked}"), style="dim"), _again(causes, asked))


def _block(cause: Mapping[str, Any]) -> list[Text]:
    lines = plain(cause["traceback"] or "").rstrip().splitlines()
    cut = f" ({len(lines) - TAIL_LINES} lines above left out)" if len(lines) > TAIL_LINES else ""
    trace = [Text(f"  {line}") for line in lines[-TAIL_LINES:]]
    return [
        Text(f"{cause['count']} × {reason(cause['failure'], cause['message'])}", style="bold red"),
        Text(f"trial{'' if cause['count'] == 1 else 's'} {_listed(cause['numbers'])}"),
        *([Text(f"the traceback of trial {cause['told_by']}{cut}:"), *trace] if trace else []),
        *([Text(f"log: {place(cause['log'])}", no_wrap=True, overflow="ignore")] if cause["log"] else []),
    ]


def _listed(found: Sequence[int]) -> str:
    more = f", … and {len(found) - SHOWN_NUMBERS} more" if len(found) > SHOWN_NUMBERS else ""
    return ", ".join(map(str, found[:SHOWN_NUMBERS])) + more


def _again(causes: Sequence[Mapping[str, Any]], asked: str) -> Text:
    command = typed(f"sweeper retry --reason {causes[0]['failure']} {asked}")
    return Text(f"after mending: {command}", style="dim", no_wrap=True, overflow="ignore")  # to be copied whole
