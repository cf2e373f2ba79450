"""Studies of Optuna's taken over as ours: paused, to be asked like any other, and to begin another where they ended."""

from __future__ import annotations

import math
import sqlite3
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.engine.opening import StudySettings
from sweeper.search.optuna.database import SPACE
from sweeper.search.optuna.frozen import METRICS
from sweeper.search.optuna.inference import space_of
from sweeper.search.optuna.space import OptunaSpace
from sweeper.search.optuna.storage import METRIC_NAMES
from sweeper.search.space import SearchSpace
from sweeper.store import imports, reads
from sweeper.store.connection import Store
from sweeper.store.schema import APPLICATION_ID
from sweeper.words.errors import ConfigError, StudyTaken
from sweeper.words.metrics import OBJECTIVE
from sweeper.words.records import Direction, Failure, StudyRecord, StudyState, TrialState
from sweeper.words.settings import Settings

SEARCH = {"name": "optuna", "stages": [{"name": "search", "sampler": "tpe"}]}
STATES = {
    OptunaState.COMPLETE: TrialState.COMPLETE,
    OptunaState.PRUNED: TrialState.PRUNED,
    OptunaState.FAIL: TrialState.FAIL,
}


@dataclass(frozen=True)
class Found:
    """A study of Optuna's, read."""

    source: str
    name: str
    direction: Direction
    metric: str
    attributes: Mapping[str, Any]
    trials: Sequence[FrozenTrial]

    @cached_property
    def own(self) -> OptunaSpace | None:
        """The space that an exported study of ours had."""
        return OptunaSpace(SearchSpace.from_json(self.attributes[SPACE])) if SPACE in self.attributes else None

    @cached_property
    def space(self) -> SearchSpace:
        return self.own.space if self.own else space_of(self.trials)

    @cached_property
    def epochs(self) -> dict[int, int]:
        """Optuna's steps may be anything that rises: an epoch is a step's place among all of the study."""
        steps = {step for trial in self.trials for step in trial.intermediate_values}
        return {step: epoch for epoch, step in enumerate(sorted(steps))}

    def add(self, store: Store, name: str | None = None) -> StudyRecord:
        """Write it into a store as a paused study; raises ConfigError or StudyTaken.

        Numbers, dates, params, values and curves stay. A trial that ran or waited is PRUNED where it has reported, else
        FAIL `killed`. Attributes that are numbers become metrics.
        """
        if not len(self.space):
            raise ConfigError(f"A study has parameters, but no trial of {self.name!r} in {self.source} has any.")
        settings = self._settings(name or self.name, store.path.parent if store.path else Path("runs"))
        full, told = settings.plan.full_epochs, f"imported from {self.source}, where it is {self.name}"
        granted = len(self.trials) * (full or 1)
        definition = {
            **settings.definition(),
            "name": settings.name,
            "folder": str(settings.folder.absolute()),
            "config": settings.config,
            "budget": settings.asked.budget,
            "full_epochs": full,
            "budget_epochs": granted,
            "granted_epochs": granted,
            "state": StudyState.PAUSED,
            "message": told,
        }
        stage = {"stage": 0, "name": "search", "epochs": full, "sampler": "tpe", "ranges": self.space.to_json()}
        trials = list(map(self._trial, self.trials))
        epochs = [row for trial in self.trials for row in self._reports(trial)]
        try:
            imports.add_study(store, definition, [stage], trials, epochs, told)
        except StudyTaken as error:
            raise StudyTaken(f"{error} Give it another one here: --as NAME.") from None
        return reads.study(store, settings.name)

    def _settings(self, name: str, folder: Path) -> StudySettings:
        """Its budget is as many full trainings as it has trials."""
        try:
            asked = Settings(
                study=name,
                space={},
                search=SEARCH,
                epochs=len(self.epochs) or None,
                budget=len(self.trials),
                metric=self.metric,
                direction=self.direction,
                folder=folder,
            )
            return StudySettings.of(asked, self.space, {})
        except ConfigError as error:
            raise ConfigError(f"{error} Give it one here: --as NAME.") from None

    def _trial(self, trial: FrozenTrial) -> dict[str, Any]:
        curve, attributes = self._curve(trial), trial.user_attrs
        state, failure, message, value = _outcome(trial, curve)
        begun, ended = _dates(trial)
        seconds = attributes.get("seconds") if self.own else None
        return {
            "number": trial.number,
            "state": state,
            "failure": failure,
            "message": message,
            "seed": 0,
            "params": {name: self.own.decode(name, v) if self.own else v for name, v in trial.params.items()},
            "value": value,
            "metrics": {self.metric: value, **_metrics(attributes, METRICS if self.own else "")},
            "epochs_done": max(curve, default=-1) + 1,
            "target_epochs": len(self.epochs) or None,
            "created": begun,
            "started": begun,
            "finished": ended,
            "seconds": seconds if isinstance(seconds, int | float) else ended - begun,
        }

    def _reports(self, trial: FrozenTrial) -> Iterator[dict[str, Any]]:
        """Optuna keeps no time of a step: a trial's are spread evenly."""
        curve = self._curve(trial)
        begun, ended = _dates(trial)
        each = (ended - begun) / max(len(curve), 1)
        for nth, (epoch, value) in enumerate(curve.items(), start=1):
            row = {"number": trial.number, "epoch": epoch, "metrics": {self.metric: value}, "value": value}
            yield {**row, "seconds": each, "reported": begun + nth * each}

    def _curve(self, trial: FrozenTrial) -> dict[int, float | None]:
        """By epoch; a value that is no number is None."""
        told = sorted(trial.intermediate_values.items())
        return {self.epochs[step]: value if math.isfinite(value) else None for step, value in told}


def read(source: str, name: str | None = None) -> Found:
    """A study of Optuna's from a file (SQLite, or a journal) or a URL; without `name` the only one that it holds.

    Only read: a database of an older Optuna is not upgraded. Raises ConfigError.
    """
    try:
        storage = _open(source)
        studies = {study.study_name: study for study in storage.get_all_studies()}
    except ConfigError:
        raise
    except Exception as error:  # of Optuna, SQLAlchemy or a driver, each its own
        reason, *_ = " ".join(str(error.__cause__ or error).split()).split(" [SQL: ")
        law = "An import reads a database of Optuna's (a SQLite file, a journal, or a URL)"
        raise ConfigError(f"{law}, but {source} cannot be read: {reason}") from error
    names = ", ".join(studies)
    if not studies:
        raise ConfigError(f"An import takes a study of Optuna's, but {source} holds none.")
    if name is None and len(studies) > 1:
        raise ConfigError(f"An import takes one study (--study NAME), but {source} holds several: {names}.")
    name = name or names
    if name not in studies:
        raise ConfigError(f"An import takes a study that there is, but {source} has no {name!r}; it holds: {names}.")
    found = studies[name]
    if len(found.directions) != 1:
        raise ConfigError(f"A study has one metric, but {name!r} in {source} has {len(found.directions)}.")
    metric, *_ = found.system_attrs.get(METRIC_NAMES) or [OBJECTIVE]
    trials = storage.get_all_trials(found._study_id, deepcopy=False)
    direction = Direction.MAXIMIZE if found.directions[0] == StudyDirection.MAXIMIZE else Direction.MINIMIZE
    return Found(source, name, direction, str(metric), found.user_attrs, trials)


def _open(source: str) -> BaseStorage:
    if "://" in source:
        if not source.startswith("sqlite"):
            return RDBStorage(source, skip_table_creation=True)
        source = source.partition(":///")[2]
    file = Path(source).expanduser()
    if not file.is_file():
        raise ConfigError(f"An import reads a database of Optuna's, but there is no file {source}.")
    if not _is_sqlite(file):
        return JournalStorage(JournalFileBackend(str(file)))
    return RDBStorage(f"sqlite:///{_read_only(file)}&uri=true", skip_table_creation=True)


def _is_sqlite(file: Path) -> bool:
    """SQLite itself is asked: closing a file drops the locks that this process holds on it elsewhere."""
    try:
        with closing(sqlite3.connect(_read_only(file), uri=True)) as raw:
            (mark,) = raw.execute("PRAGMA application_id").fetchone()
    except sqlite3.DatabaseError:
        return False
    if mark == APPLICATION_ID:
        raise ConfigError(f"An import reads a database of Optuna's, but {file} is a study store: --store names it.")
    return True


def _read_only(file: Path) -> str:
    return f"file:{urllib.parse.quote(str(file.absolute()))}?mode=ro"


def _outcome(
    trial: FrozenTrial, curve: Mapping[int, float | None]
) -> tuple[TrialState, Failure | None, str | None, float | None]:
    known = [value for value in curve.values() if value is not None]
    value = trial.value if trial.value is not None else known[-1] if known else None
    message = trial.user_attrs.get("message")
    told = message if isinstance(message, str) else None
    if not trial.state.is_finished():
        was = f"it was {trial.state.name} when its study was imported"
        if value is None:
            return TrialState.FAIL, Failure.KILLED, was, None
        return TrialState.PRUNED, None, was, value
    if value is not None and not math.isfinite(value):
        return TrialState.FAIL, Failure.DIVERGED, f"its value is {value}", None
    if trial.state is not OptunaState.FAIL:
        return STATES[trial.state], None, told, value
    named = trial.user_attrs.get("failure")
    failure = Failure(named) if named in list(Failure) else Failure.ERROR
    return TrialState.FAIL, failure, told or trial.system_attrs.get("fail_reason"), None


def _dates(trial: FrozenTrial) -> tuple[float, float]:
    begun = trial.datetime_start or trial.datetime_complete or datetime.now()
    return begun.timestamp(), max(begun, trial.datetime_complete or begun).timestamp()


def _metrics(attributes: Mapping[str, Any], prefix: str) -> dict[str, float]:
    numbers = {k: v for k, v in attributes.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {k.removeprefix(prefix): v for k, v in numbers.items() if k.startswith(prefix) and math.isfinite(v)}
