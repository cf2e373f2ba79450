"""How sure it is which trial is the best: what the repeats of the best ones say."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.analysis.confirmation import Verdict, gather, verdicts
from sweeper.search.plan import Plan
from sweeper.store import reads, totals
from sweeper.store.connection import Store
from sweeper.words.records import StudyRecord, TrialRecord, TrialState


def collect(store: Store, study: StudyRecord) -> list[Verdict]:
    """The verdict on each trial that was trained again, the best first; pass a fresh `study`."""
    return verdicts(gather(reads.confirmed_trials(store, study)), study.direction)


def leader(store: Store, study: StudyRecord) -> int | None:
    """The trial with the best repeats; None: none was confirmed."""
    found = collect(store, study)
    return found[0].trial.number if found and found[0].trial.mean is not None else None


def values(store: Store, study: StudyRecord, found: Sequence[Verdict]) -> int:
    """The values that the best was chosen among."""
    complete = totals.counts(store, study.id).get(TrialState.COMPLETE, 0)
    return complete - sum(len(verdict.trial.values) for verdict in found)


def recommended(store: Store, study: StudyRecord, best: TrialRecord) -> int | None:
    """The trial that the model of a multi-fidelity search recommends, where that is not the one with the best value."""
    plan = Plan.from_json(study.plan)
    if not any(stage.sampler == "multi_fidelity" for stage in plan.stages) or study.confirmed is not None:
        return None
    from sweeper.search.search import Search  # imports Optuna

    chosen = next(iter(Search(store, study, plan).best(1)), best.number)
    return chosen if chosen != best.number else None
