"""What a person changes of trials: failed ones tried again, bad ones hidden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from sweeper.store.connection import Store
from sweeper.store.schema import studies, trials
from sweeper.store.statements import next_revision, note_event
from sweeper.words.errors import StoreError
from sweeper.words.records import StudyState, TrialState


def retry(store: Store, study_id: int, numbers: Iterable[int]) -> None:
    """Put FAIL trials back to WAITING: they go on from their checkpoints; what was granted is not granted again.

    The attempt stays, so that whoever failed them is still fenced off, and a study that was stopped is opened. Raises
    StoreError, and changes nothing, where one of them is not FAIL.
    """
    cleared = dict.fromkeys(("finished", "failure", "message", "traceback"))
    with store.write() as connection:
        revision = next_revision(connection, study_id)  # first, for it locks the study's row
        found = _these(connection, study_id, numbers)
        if others := [f"trial {row.number} is {row.state}" for row in found if row.state != TrialState.FAIL]:
            raise StoreError(f"A trial must be FAIL to be retried, but {', '.join(others)}: leave that out.")
        for row in found:
            values = {"state": TrialState.WAITING, "kills": 0, "revision": revision, **cleared}
            _change(connection, study_id, row.number, values)
            text = f"trial {row.number} put back after FAIL {row.failure}: {row.message}"
            note_event(connection, study_id, "retried", text, row.number)
        if found:
            _open_stopped(connection, study_id)


def _open_stopped(connection: sa.Connection, study_id: int) -> None:
    stopped = (studies.c.id == study_id) & (studies.c.state == StudyState.STOPPED)
    values = {"state": StudyState.OPEN, "message": None, "failures_in_a_row": 0}
    if connection.execute(studies.update().where(stopped).values(**values)).rowcount:
        note_event(connection, study_id, "open", "opened, for failed trials were put back")


def hide(store: Store, study_id: int, numbers: Iterable[int], why: str) -> None:
    """From now on these trials are no best ones, and samplers are told nothing of them. Raises StoreError."""
    with store.write() as connection:
        revision = next_revision(connection, study_id)
        for row in _these(connection, study_id, numbers):
            _change(connection, study_id, row.number, {"hidden": why, "revision": revision})
            note_event(connection, study_id, "hidden", f"trial {row.number} hidden: {why}", row.number)


def unhide(store: Store, study_id: int, numbers: Iterable[int]) -> None:
    """Take `hide` back. Raises StoreError, and changes nothing, where one of them is not hidden."""
    with store.write() as connection:
        revision = next_revision(connection, study_id)
        found = _these(connection, study_id, numbers)
        if others := [str(row.number) for row in found if row.hidden is None]:
            raise StoreError(f"A trial must be hidden to be shown again, but these are not: {', '.join(others)}.")
        for row in found:
            _change(connection, study_id, row.number, {"hidden": None, "revision": revision})
            note_event(connection, study_id, "unhidden", f"trial {row.number} counts again: {row.hidden}", row.number)


def _these(connection: sa.Connection, study_id: int, numbers: Iterable[int]) -> Sequence[Any]:
    """The trials of these numbers, each once; raises StoreError for a number that there is not."""
    asked = sorted(set(numbers))
    names = "number state failure message hidden".split()
    query = sa.select(*(trials.c[name] for name in names)).where(trials.c.study_id == study_id)
    found = connection.execute(query.where(trials.c.number.in_(asked)).order_by(trials.c.number)).all()
    if missing := sorted(set(asked) - {row.number for row in found}):
        last = connection.scalar(sa.select(studies.c.next_number).where(studies.c.id == study_id))
        there = f"is in 0..{last - 1}" if last else "is none yet, for the study has no trial"
        raise StoreError(f"A trial's number {there}, but got {', '.join(map(str, missing))}.")
    return found


def _change(connection: sa.Connection, study_id: int, number: int, values: Mapping[str, Any]) -> None:
    here = (trials.c.study_id == study_id, trials.c.number == number)
    connection.execute(trials.update().where(*here).values(**values))
