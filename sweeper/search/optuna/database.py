"""A study of ours as a plain one of Optuna's, in a SQLite file for `optuna.load_study`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from sweeper.search.optuna.storage import Mirrored, notes
from sweeper.search.samplers import quiet
from sweeper.store.connection import Store
from sweeper.store.newfile import whole
from sweeper.words.errors import ConfigError
from sweeper.words.records import StudyRecord

SPACE = "sweeper:space"
"""Where the study says what its space was: conditions, and choices that Optuna cannot hold."""


def write(store: Store, study: StudyRecord, file: Path) -> int:
    """Write the study to a new file and return how many trials it has. Raises ConfigError.

    Trials keep their numbers and dates. One that runs or is paused is PRUNED there, for nobody goes on with it.
    """
    if file.exists():
        raise ConfigError(f"A study is written to a new file, but {file} is there: choose another name, or remove it.")
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"An export goes to a folder that exists, but {file.parent} does not: make it first.")
    with whole(file, "export") as building:
        return _copy(store, study, building)


def _copy(store: Store, study: StudyRecord, file: Path) -> int:
    mirrored = Mirrored(store)
    mirrored.look(study, over=True)
    with quiet():
        storage = RDBStorage(f"sqlite:///{file}")
        directions = StudyDirection[study.direction.name]
        copied = optuna.create_study(storage=storage, study_name=study.name, direction=directions)
        copied.set_metric_names([study.metric])
        for key, value in {**notes(study), SPACE: mirrored.space.to_json()}.items():
            copied.set_user_attr(key, value)
    _insert(storage.scoped_session(), mirrored.trials, copied._study_id)
    storage.remove_session()
    storage.engine.dispose()
    return len(mirrored.trials)


def _insert(session: Any, trials: Sequence[FrozenTrial], study_id: int) -> None:
    """All in one transaction into Optuna's tables, where `study.add_trials` takes a hundred times as long."""
    for trial in trials:
        trial._validate()
        dates = {"datetime_start": trial.datetime_start, "datetime_complete": trial.datetime_complete}
        key = {"trial_id": trial.number + 1, "number": trial.number, "study_id": study_id}
        session.add(models.TrialModel(**key, state=trial.state, **dates))
    session.flush()
    for model, rows in PARTS:
        table: Any = model.__table__
        if found := [{"trial_id": trial.number + 1, **row} for trial in trials for row in rows(trial)]:
            session.execute(table.insert(), found)
    session.commit()


def _values(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    if trial.value is not None:
        value, kind = models.TrialValueModel.value_to_stored_repr(trial.value)
        yield {"objective": 0, "value": value, "value_type": kind}


def _params(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for name, distribution in trial.distributions.items():
        value, text = distribution.to_internal_repr(trial.params[name]), distribution_to_json(distribution)
        yield {"param_name": name, "param_value": value, "distribution_json": text}


def _curve(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for step, each in trial.intermediate_values.items():
        value, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(each)
        yield {"step": step, "intermediate_value": value, "intermediate_value_type": kind}


def _notes(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for name, note in trial.user_attrs.items():
        yield {"key": name, "value_json": json.dumps(note)}


PARTS: list[tuple[Any, Callable[[FrozenTrial], Iterator[dict[str, Any]]]]] = [
    (models.TrialValueModel, _values),
    (models.TrialParamModel, _params),
    (models.TrialIntermediateValueModel, _curve),
    (models.TrialUserAttributeModel, _notes),
]
