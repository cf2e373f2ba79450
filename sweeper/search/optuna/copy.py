"""A copy of a study for Optuna's plots, importance and dashboard."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.search.optuna.mirror import frozen_trial
from sweeper.search.optuna.space import OptunaSpace, choice_text
from sweeper.search.samplers import quiet
from sweeper.search.space import Categorical, Parameter, SearchSpace
from sweeper.words.records import Direction, TrialRecord, TrialState


def to_optuna(
    space: SearchSpace,
    trials: Iterable[TrialRecord],
    direction: Direction,
    name: str = "sweeper",
    metric: str | None = None,
    epochs: Mapping[int, Sequence[tuple[int, float | None]]] | None = None,
) -> optuna.Study:
    """A copy for Optuna's plots, importance and dashboard, in memory and on its own: what happens to it stays there.

    Optuna numbers trials by their order, so the real number stands in `user_attrs["number"]`. PAUSED is RUNNING, a
    COMPLETE trial whose value is no number is FAIL; `user_attrs["state"]` holds our own word. Records carry no dates:
    all start at the same moment and take their training time. `epochs`: by number, (epoch, value) of the metric.
    """
    records = sorted(trials, key=lambda record: record.number)
    covered = OptunaSpace(covering(space, records))
    with quiet():
        study = optuna.create_study(study_name=name, direction=StudyDirection[direction.name])
        if metric is not None:
            study.set_metric_names([metric])
        study.add_trials([_copied(record, covered, (epochs or {}).get(record.number, ())) for record in records])
    return study


def _copied(record: TrialRecord, space: OptunaSpace, epochs: Sequence[tuple[int, float | None]]) -> FrozenTrial:
    params = space.encode(record.params or {})
    state, value = copied_outcome(record)
    notes = {
        "number": record.number,
        "state": record.state.value,
        "failure": record.failure.value if record.failure else None,
        "message": record.message,
        "stage": record.stage,
        "epochs": record.epochs_done,
    }
    return frozen_trial(
        record.number,
        state,
        params,
        space.distributions_of(params),
        value=value,
        intermediate_values={epoch: value for epoch, value in epochs if value is not None},
        user_attrs={key: value for key, value in notes.items() if value is not None},
        seconds=record.seconds,
    )


def copied_outcome(record: TrialRecord) -> tuple[OptunaState, float | None]:
    value = record.value if record.value is not None and math.isfinite(record.value) else None
    match record.state:
        case TrialState.COMPLETE:
            return (OptunaState.COMPLETE, value) if value is not None else (OptunaState.FAIL, None)
        case TrialState.PRUNED:
            return OptunaState.PRUNED, value
        case TrialState.WAITING | TrialState.FAIL:
            return OptunaState[record.state.value], None
    return OptunaState.RUNNING, None


def covering(space: SearchSpace, records: Sequence[TrialRecord]) -> SearchSpace:
    """The space with ranges as wide as the values tried: a range may have moved, and Optuna refuses outsiders."""
    return SearchSpace(
        tuple(_wide(p, [r.params[p.name] for r in records if r.params and p.name in r.params]) for p in space)
    )


def _wide(parameter: Parameter, values: Sequence[Any]) -> Parameter:
    if isinstance(parameter, Categorical):
        gone = {choice_text(value): value for value in values if not parameter.contains(value)}
        return replace(parameter, choices=(*parameter.choices, *gone.values()))
    low, high = min([parameter.low, *values]), max([parameter.high, *values])
    return replace(parameter, low=low, high=high, limits=None)
