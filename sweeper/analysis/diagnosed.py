"""What the curves of a study in the store say."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from sweeper.analysis.borders import space_now
from sweeper.analysis.diagnosis import Diagnosis, Run, of_study, of_trial
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.records import EpochReport, Failure, StudyRecord, TrialRecord, TrialState

COLUMNS = ("kind", "severity", "sentence", "cure", "source")
BEST, MOST_RUNS = 5, 200
"""Of a study's trials, whose curves are read: the best ones, and the newest."""
CLASSES = re.compile(r"^\s*(?:num_classes|n_classes|num_labels|classes|outputs):\s*(\d+)\s*$", re.MULTILINE)


def trial(store: Store, study: StudyRecord, number: int) -> tuple[Run, list[Diagnosis]]:
    """A trial's curves, and what they say. Raises StoreError when there is no such number."""
    row = reads.trial(store, study.id, number)
    reports = reads.epoch_reports(store, study.id, number)
    failure = Failure(row["failure"]) if row["failure"] else None
    run = _run(study, number, row["params"], reports, failure, row["message"])
    return run, of_trial(run)


def study(
    store: Store, record: StudyRecord, shares: Sequence[tuple[str, float]] = (), counted: int = 0
) -> list[Diagnosis]:
    """What a study's trials say together; `shares`: what each parameter matters, by so many `counted` trials."""
    found = reads.all_trials(store, record.id)
    hidden = reads.hidden(store, record.id, [each.number for each in found])
    trials = [each for each in found if each.number not in hidden and each.repeats is None]
    best = [each for each in reads.best(store, record, BEST) if each.number not in hidden]
    numbers = {each.number for each in best}
    over = (*(state for state in TrialState if state.is_finished), TrialState.PAUSED)
    others = [each for each in trials if each.state in over and each.number not in numbers][-MOST_RUNS:]
    runs = {each.number: _of_record(store, record, each) for each in (*best, *others)}
    space = space_now(store, record)
    told = {"best": [runs[each.number] for each in best], "runs": list(runs.values())}
    return of_study(space, trials, record.direction, shares=shares, counted=counted, **told)


def importance(store: Store, record: StudyRecord) -> tuple[Sequence[tuple[str, float]], int]:
    """What each parameter matters, the most first, and by how many trials; it takes a second, for Optuna's sake."""
    from sweeper.analysis import digest
    from sweeper.analysis import importance as landscape

    found = landscape.importance(store, digest.collect(store, record))
    return (found.shares, found.trials) if found.trials >= landscape.UNSURE else ((), found.trials)


def _of_record(store: Store, study: StudyRecord, trial: TrialRecord) -> Run:
    reports = reads.epoch_reports(store, study.id, trial.number)
    return _run(study, trial.number, trial.params, reports, trial.failure, trial.message)


def _run(
    study: StudyRecord,
    number: int,
    params: Any,
    reports: Sequence[EpochReport],
    failure: Failure | None,
    message: str | None,
) -> Run:
    return Run(
        number=number,
        params=params or {},
        reports=tuple(each.metrics for each in reports),
        metric=study.metric,
        direction=study.direction,
        failure=failure,
        message=message,
        classes=classes(study),
        epochs=study.full_epochs,
    )


def classes(study: StudyRecord) -> int | None:
    """The number of classes, where the config says it: model.outputs, num_classes and the like."""
    variants = study.config.get("variants") or [{}]
    found = {int(each) for each in CLASSES.findall(str(variants[0].get("yaml", "")))}
    return found.pop() if len(found) == 1 and math.prod(found) > 1 else None
