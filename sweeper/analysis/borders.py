"""The border verdicts on a study in the store: judged by what its trials are now, and as flat rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sweeper.search.borders import verdicts
from sweeper.search.space import SearchSpace
from sweeper.search.verdict import Verdict
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.records import StudyRecord, TrialState

COLUMNS = (
    "parameter",
    "verdict",
    "edge",
    "scale",
    "low",
    "high",
    "widen_low",
    "widen_high",
    "best",
    "position",
    "top",
    "at_edge",
    "expected",
    "p_value",
    "trials",
    "failed",
    "tried",
    "sentence",
)
OVER = (*(state for state in TrialState if state.is_finished), TrialState.PAUSED)


def space_now(store: Store, study: StudyRecord) -> SearchSpace:
    """The space with the ranges as the study searches them now."""
    return SearchSpace.from_json(reads.current_space(store, study)[0])


def judge(store: Store, study: StudyRecord) -> list[Verdict]:
    """The verdicts on the ranges as they are now, by all trials that are over or paused and not hidden."""
    trials = reads.all_trials(store, study.id, OVER)
    hidden = reads.hidden(store, study.id, [trial.number for trial in trials])
    shown = [trial for trial in trials if trial.number not in hidden and trial.repeats is None]
    return verdicts(space_now(store, study), shown, study.direction, full_epochs=study.full_epochs)


def collect(found: Sequence[Verdict]) -> list[dict[str, Any]]:
    """One flat row for each verdict, under `COLUMNS`."""
    return [_row(verdict) for verdict in found]


def _row(verdict: Verdict) -> dict[str, Any]:
    widen_low, widen_high = verdict.widen_to or (None, None)
    own = {"verdict": verdict.kind.value, "widen_low": widen_low, "widen_high": widen_high}
    return {name: own[name] if name in own else getattr(verdict, name) for name in COLUMNS}
