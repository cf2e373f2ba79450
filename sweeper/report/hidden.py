"""The mark of trials that a person has hidden, as a column of its own: why, or nothing."""

from __future__ import annotations

from sweeper.analysis.columns import Columns
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.records import StudyRecord


def marked(store: Store, study: StudyRecord, columns: Columns) -> Columns:
    """The trials' columns with `hidden` as the last."""
    why = reads.hidden(store, study.id, columns["number"])
    return {**columns, "hidden": [why.get(number) for number in columns["number"]]}
