"""A store's studies as Optuna reads them, live: plots, importance and dashboards work on a study while it runs.

    study = optuna.load_study(study_name="digits", storage=sweeper.optuna_storage())
    optuna.visualization.plot_param_importances(study)

Nothing is copied anywhere: each question first reads what is new in the store. Optuna asks questions here and changes
nothing; a study goes on by its own command.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from sweeper.search.completion import is_complete
from sweeper.search.optuna.copy import covering
from sweeper.search.optuna.frozen import NUMBERS, frozen, missing, redressed
from sweeper.search.optuna.space import OptunaSpace
from sweeper.search.plan import Plan
from sweeper.search.space import Categorical, SearchSpace, hull
from sweeper.store import reads
from sweeper.store.connection import Store, default_url
from sweeper.store.news import Dated, news
from sweeper.words.errors import StoreError
from sweeper.words.records import StudyRecord

METRIC_NAMES = "study:metric_names"
"""Where Optuna keeps the names of a study's values."""


def optuna_storage(store: str | None = None) -> LiveStorage:
    """The studies of the store at an SQLAlchemy URL (runs/sweeper.db where None), for `optuna.load_study(storage=…)`.

    Live and read-only. Raises StoreError where there is no such store.
    """
    return LiveStorage(Store(store or default_url()))


class Mirrored:
    """One study's trials for Optuna, brought up to date at each look."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._begun: Any = None
        self._space = OptunaSpace(SearchSpace())
        self._revision = 0
        self.trials: list[FrozenTrial] = []

    @property
    def space(self) -> SearchSpace:
        """Ranges as wide as they ever were: what the trials' distributions are made from."""
        return self._space.space

    def look(self, study: StudyRecord, *, over: bool) -> None:
        """Read what is new; lists and trials that were handed out before stay as they were.

        `over`: nobody goes on with what is paused.
        """
        begun = (study.space, study.plan, over)
        if self._begun != begun:  # at first; where its end has come; or it was defined anew, for nothing rested on it
            self._begun, self._revision, self.trials = begun, 0, []
            self._space = OptunaSpace(_tried(study.space))
        told = news(self._store, study.id, self._revision)
        if not told:
            return
        self._widen(study, told)
        trials: list[FrozenTrial | None] = [*self.trials, *[None] * (told[-1].record.number + 1 - len(self.trials))]
        for each in told:
            trials[each.record.number] = frozen(each, self._space, study.metric, over=over)
        self.trials = [trial or missing(study.id, number, study.created) for number, trial in enumerate(trials)]
        self._revision = max(self._revision, *(each.revision for each in told))

    def _widen(self, study: StudyRecord, told: Sequence[Dated]) -> None:
        """One range for all trials, as wide as it ever was: Optuna's importance drops a parameter that has two."""
        moved = [_tried(row["space"]) for row in reads.move_rows(self._store, study.id)]
        space = covering(hull([self.space, *moved]), [each.record for each in told])
        if space != self.space:
            self._space = OptunaSpace(space)
            self.trials = [redressed(trial, self._space) for trial in self.trials]


def _tried(space: Any) -> SearchSpace:
    """The ranges that were searched, without the limits that they might be widened to."""
    parameters = SearchSpace.from_json(space)
    return SearchSpace(tuple(p if isinstance(p, Categorical) else replace(p, limits=None) for p in parameters))


class LiveStorage(BaseStorage):
    """Optuna's storage interface over a store. Every write raises StoreError. May be used by several threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mirrored: dict[int, Mirrored] = {}
        self._lock = threading.Lock()

    # ---- questions ---------------------------------------------------------------------------------------------------

    def get_all_studies(self) -> list[FrozenStudy]:
        return [
            FrozenStudy(
                study_name=study.name,
                direction=_direction(study),
                user_attrs=notes(study),
                system_attrs={METRIC_NAMES: [study.metric]},
                study_id=study.id,
            )
            for study in sorted(reads.all_studies(self._store), key=lambda study: study.id)
        ]

    def get_study_id_from_name(self, study_name: str) -> int:
        try:
            return reads.study(self._store, study_name).id
        except StoreError as error:
            raise KeyError(str(error)) from None

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._study(study_id).name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return [_direction(self._study(study_id))]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return notes(self._study(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return {METRIC_NAMES: [self._study(study_id).metric]}

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[OptunaState] | None = None
    ) -> list[FrozenTrial]:
        study = self._study(study_id)
        with self._lock:
            mirrored = self._mirrored.setdefault(study_id, Mirrored(self._store))
            mirrored.look(study, over=is_complete(self._store, study, Plan.from_json(study.plan)))
            trials = mirrored.trials
        chosen = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def get_trial(self, trial_id: int) -> FrozenTrial:
        study_id, number = divmod(trial_id, NUMBERS)
        trials = self.get_all_trials(study_id, deepcopy=False)
        if number >= len(trials):
            raise KeyError(f"The study {study_id} has {len(trials)} trials, but the number {number} was asked for.")
        return trials[number]

    def _study(self, study_id: int) -> StudyRecord:
        found = {study.id: study for study in reads.all_studies(self._store)}
        if study_id not in found:
            raise KeyError(f"The studies of {self._store.address} have the ids {sorted(found)}, but got {study_id}.")
        return found[study_id]

    # ---- what it refuses ---------------------------------------------------------------------------------------------

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        self._refuse()

    def delete_study(self, study_id: int) -> None:
        self._refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._refuse()

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._refuse()

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self._refuse()

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        self._refuse()

    def set_trial_state_values(self, trial_id: int, state: OptunaState, values: Sequence[float] | None = None) -> bool:
        self._refuse()

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._refuse()

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise StoreError(
            f"Optuna only reads the store {self._store.address}: a study goes on by its own command, and is changed by "
            "`sweeper set, hide, retry, …`. To go on with a copy in Optuna: `study.to_optuna()`, or `sweeper export "
            "--to FILE.db`."
        )


def _direction(study: StudyRecord) -> StudyDirection:
    return StudyDirection[study.direction.name]


def notes(study: StudyRecord) -> dict[str, Any]:
    """What Optuna has no word for."""
    found = {
        "state": study.state,
        "message": study.message,
        "metric": study.metric,
        "search": study.plan.get("search"),
        "budget": study.budget,
        "granted": study.granted_epochs / (study.full_epochs or 1),
        "seed": study.seed,
        "folder": study.folder,
    }
    return {key: value for key, value in found.items() if value is not None}
