"""The studies of a store, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.analysis.progress import snapshot
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.numbers import iso

COLUMNS = ("study", "state", "done", "budget", "metric", "direction", "best", "best_number", "created")
Row = Mapping[str, Any]


def collect(store: Store) -> list[dict[str, Any]]:
    """`state` is complete, running, interrupted, paused, stopped or empty; `done` and `budget` are trials."""
    rows = []
    for study in reads.all_studies(store):
        progress = snapshot(store, study)
        rows.append(
            {
                "study": study.name,
                "state": progress.standing,
                "done": progress.done,
                "budget": progress.budget,
                "metric": study.metric,
                "direction": str(study.direction),
                "best": progress.best.value if progress.best else None,
                "best_number": progress.best.number if progress.best else None,
                "created": iso(study.created),
            }
        )
    return rows
