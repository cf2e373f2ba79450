"""A whole study that was run elsewhere, written at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.store.connection import Store
from sweeper.store.schema import epochs, trials
from sweeper.store.statements import note_event
from sweeper.store.writes import insert_study

Rows = Sequence[Mapping[str, Any]]


def add_study(
    store: Store, definition: Mapping[str, Any], stages: Rows, trial_rows: Rows, epoch_rows: Rows, told: str
) -> int:
    """Add a study with all its trials in the order of their numbers, or nothing of it; raises StudyTaken.

    The rows of a table have the same keys each; `told` is the event that says where the study comes from.
    """
    with store.write() as connection:
        counts = {"next_number": len(trial_rows), "revision": len(trial_rows)}
        study_id = insert_study(connection, {**definition, **counts}, stages)
        own = {"study_id": study_id, "attempt": 1}
        revised = [{**row, **own, "revision": revision} for revision, row in enumerate(trial_rows, start=1)]
        for table, rows in ((trials, revised), (epochs, [{**row, **own} for row in epoch_rows])):
            if rows:
                connection.execute(table.insert(), rows)
        note_event(connection, study_id, "imported", told)
    return study_id
