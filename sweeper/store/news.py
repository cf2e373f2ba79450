"""What is new in a study since it was last read, for whoever keeps a view of all its trials up to date."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from sweeper.store.connection import Store
from sweeper.store.reads import trial_record
from sweeper.store.schema import epochs, trials
from sweeper.trial import TrialRecord, TrialState

_COLUMNS = [column for column in trials.c if column.name != "traceback"]


@dataclass(frozen=True, slots=True)
class Dated:
    """A trial with its curve, its dates (seconds since 1970, UTC) and why it is hidden."""

    record: TrialRecord
    revision: int
    hidden: str | None
    created: float
    started: float | None
    finished: float | None


def news(store: Store, study_id: int, since_revision: int) -> list[Dated]:
    """The trials that changed after a revision and those that run, for an epoch's report raises no revision.

    Every trial is among them, those that are hidden or repeat others too. One snapshot, each part by an index.
    """
    changed = (trials.c.study_id == study_id, trials.c.revision > since_revision)
    running = (trials.c.study_id == study_id, trials.c.state == TrialState.RUNNING)
    found: dict[int, Dated] = {}
    with store.read() as connection:
        for which in (changed, running):
            rows = connection.execute(sa.select(*_COLUMNS).where(*which)).all()
            curves = _curves(connection, *which) if rows else {}
            for row in rows:
                record = replace(trial_record(row), curve=curves.get(row.number, {}))
                dates = (row.created, row.started, row.finished)
                found[row.number] = Dated(record, row.revision, row.hidden, *dates)
    return [found[number] for number in sorted(found)]


def _curves(connection: sa.Connection, *which: sa.ColumnElement[bool]) -> dict[int, dict[int, float | None]]:
    """The metric by epochs done."""
    here = (epochs.c.study_id == trials.c.study_id) & (epochs.c.number == trials.c.number)
    query = sa.select(epochs.c.number, epochs.c.epoch, epochs.c.value).join_from(trials, epochs, here).where(*which)
    found: dict[int, dict[int, float | None]] = {}
    for number, epoch, value in connection.execute(query.order_by(epochs.c.number, epochs.c.epoch)):
        found.setdefault(number, {})[epoch + 1] = value
    return found
