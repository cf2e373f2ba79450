"""When a study is over."""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.search.plan import Plan
from sweeper.store import reads, totals
from sweeper.store.connection import Store
from sweeper.words.records import StudyRecord, TrialState


def is_complete(store: Store, study: StudyRecord, plan: Plan, counts: Mapping[TrialState, int] | None = None) -> bool:
    """Whether nothing more can be granted, and no trial waits or runs. `counts`: of trials, if they are known."""
    counts = totals.counts(store, study.id) if counts is None else counts
    if counts.get(TrialState.WAITING) or counts.get(TrialState.RUNNING):
        return False
    paused = totals.furthest_paused(store, study.id) if plan.promotes else None
    if not plan.is_spent(study.granted_epochs, study.budget_epochs, study.next_number, paused):
        return False
    can_repeat = plan.can_repeat(study.granted_epochs, study.budget_epochs)
    return not can_repeat or reads.is_confirmed(store, study)
