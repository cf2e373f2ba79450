"""Our trials in Optuna's words, under their own numbers and with their own dates.

PAUSED is RUNNING while it may go on, for Optuna never looks again at a trial that is over; at the study's end it is
PRUNED. A hidden trial, and a COMPLETE one whose value is no number, is FAIL. One that repeats another with another seed
is PRUNED, so that it is neither the best nor counted twice. `user_attrs["state"]` holds our own word.
"""

from __future__ import annotations

import copy
import math
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.search.optuna.copy import copied_outcome
from sweeper.search.optuna.space import OptunaSpace
from sweeper.store.news import Dated

NUMBERS = 2**31
"""Trial ids are unique among all studies: the study's times this, and the number."""
METRICS = "metrics."


def trial_id(study_id: int, number: int) -> int:
    return study_id * NUMBERS + number


def frozen(told: Dated, space: OptunaSpace, metric: str, *, over: bool) -> FrozenTrial:
    """`space` must hold the trial's params. `over`: nobody goes on with a trial that is not finished."""
    record = told.record
    params = space.encode(record.params or {})
    state, value = _outcome(told, over)
    begun = told.created if told.started is None else told.started
    ended = begun + record.seconds if told.finished is None else told.finished
    return FrozenTrial(
        number=record.number,
        trial_id=trial_id(record.study_id, record.number),
        state=state,
        value=value,
        params=params,
        distributions=space.distributions_of(params),
        intermediate_values={done - 1: each for done, each in record.curve.items() if each is not None},
        user_attrs=_notes(told, metric),
        system_attrs={},
        datetime_start=None if state is OptunaState.WAITING else _local(begun),
        datetime_complete=_local(ended) if state.is_finished() else None,
    )


def missing(study_id: int, number: int, created: float) -> FrozenTrial:
    """What stands for a number that a damaged store has lost: Optuna's numbers have no gaps."""
    return FrozenTrial(
        number=number,
        trial_id=trial_id(study_id, number),
        state=OptunaState.FAIL,
        value=None,
        params={},
        distributions={},
        intermediate_values={},
        user_attrs={"message": "the store has lost this trial"},
        system_attrs={},
        datetime_start=_local(created),
        datetime_complete=_local(created),
    )


def redressed(trial: FrozenTrial, space: OptunaSpace) -> FrozenTrial:
    """The same trial in other ranges; the one that was handed out stays as it is."""
    new = copy.copy(trial)
    new.distributions = space.distributions_of(trial.params)
    return new


def _outcome(told: Dated, over: bool) -> tuple[OptunaState, float | None]:
    if told.hidden is not None:
        return OptunaState.FAIL, None
    state, value = copied_outcome(told.record)
    if over and state is OptunaState.RUNNING:
        last = told.record.value
        return OptunaState.PRUNED, last if last is not None and math.isfinite(last) else None
    if told.record.repeats is not None and state is OptunaState.COMPLETE:
        return OptunaState.PRUNED, value
    return state, value


def _notes(told: Dated, metric: str) -> dict[str, Any]:
    """What Optuna has no word for; the metrics beside the study's own as `metrics.<name>`."""
    record = told.record
    notes = {
        "state": record.state.value,
        "failure": record.failure.value if record.failure else None,
        "message": record.message,
        "hidden": told.hidden,
        "repeats": record.repeats,
        "stage": record.stage,
        "epochs": record.epochs_done,
        "seconds": record.seconds,
        **{f"{METRICS}{name}": value for name, value in record.metrics.items() if name != metric},
    }
    return {key: value for key, value in notes.items() if value is not None}


def _local(seconds: float) -> datetime:
    """Optuna's dates are local ones without a zone."""
    return datetime.fromtimestamp(seconds)
