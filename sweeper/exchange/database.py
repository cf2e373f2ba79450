"""A study of ours as a plain one of Optuna's, in a SQLite file for `optuna.load_study`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from sweeper.errors import ConfigError
from sweeper.exchange.frozen import at_rest
from sweeper.exchange.storage import LiveStorage
from sweeper.samplers import quiet
from sweeper.store.connection import Store
from sweeper.trial import StudyRecord

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
    building = file.absolute().with_name(f".{file.name}.{os.getpid()}")
    try:
        count = _copy(LiveStorage(store), study, building)
        os.replace(building, file)
    except OSError as error:
        raise ConfigError(f"The export {file} cannot be written: {error}.") from error
    finally:
        building.unlink(missing_ok=True)
    return count


def _copy(live: LiveStorage, study: StudyRecord, file: Path) -> int:
    trials = list(map(at_rest, live.get_all_trials(study.id, deepcopy=False)))
    notes = {**live.get_study_user_attrs(study.id), SPACE: live.space(study.id).to_json()}
    with quiet():
        storage = RDBStorage(f"sqlite:///{file}")
        directions = StudyDirection[study.direction.name]
        copied = optuna.create_study(storage=storage, study_name=study.name, direction=directions)
        copied.set_metric_names([study.metric])
        for key, value in notes.items():
            copied.set_user_attr(key, value)
    session = storage.scoped_session()
    for trial in trials:
        session.add_all(_rows(trial, copied._study_id))
    session.commit()
    storage.remove_session()
    storage.engine.dispose()
    return len(trials)


def _rows(trial: FrozenTrial, study_id: int) -> Iterator[Any]:
    """A trial in Optuna's tables; all in one transaction, where `study.add_trials` takes twenty times as long."""
    trial._validate()
    key = {"trial_id": trial.number + 1}
    dates = {"datetime_start": trial.datetime_start, "datetime_complete": trial.datetime_complete}
    yield models.TrialModel(**key, number=trial.number, study_id=study_id, state=trial.state, **dates)
    if trial.value is not None:
        value, kind = models.TrialValueModel.value_to_stored_repr(trial.value)
        yield models.TrialValueModel(**key, objective=0, value=value, value_type=kind)
    for name, distribution in trial.distributions.items():
        number, text = distribution.to_internal_repr(trial.params[name]), distribution_to_json(distribution)
        yield models.TrialParamModel(**key, param_name=name, param_value=number, distribution_json=text)
    for step, each in trial.intermediate_values.items():
        value, sort = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(each)
        yield models.TrialIntermediateValueModel(
            **key, step=step, intermediate_value=value, intermediate_value_type=sort
        )
    for name, note in trial.user_attrs.items():
        yield models.TrialUserAttributeModel(**key, key=name, value_json=json.dumps(note))
