"""What is new in a study since it was last read, for whoever keeps a view of all its trials up to date."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from sweeper.store.connection import Store
from sweeper.store.reads import curves_where, trial_record
from sweeper.store.schema import trials
from sweeper.words.records import TrialRecord, TrialState

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
    changed, running = trials.c.revision > since_revision, trials.c.state == TrialState.RUNNING
    found: dict[int, Dated] = {}
    with store.read() as connection:
        for which in (changed, running):
            rows = connection.execute(sa.select(*_COLUMNS).where(trials.c.study_id == study_id, which)).all()
            curves = curves_where(connection, study_id, which) if rows else {}
            for row in rows:
                record = replace(trial_record(row), curve=curves.get(row.number, {}))
                dates = (row.created, row.started, row.finished)
                found[row.number] = Dated(record, row.revision, row.hidden, *dates)
    return [found[number] for number in sorted(found)]
