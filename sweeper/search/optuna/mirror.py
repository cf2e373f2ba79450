"""A study of Optuna's in memory that a sampler reads: the trials that it was told, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Container
from datetime import datetime, timedelta
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

START = datetime(2000, 1, 1)  # Records carry durations, no dates.


class Mirror(InMemoryStorage):
    """Optuna's trials under our own numbers: a number may come late, come again with other values, or never."""

    number = 0
    """The number of the next trial that asks."""

    def place(self, trial: FrozenTrial) -> None:
        trials: list[FrozenTrial | None] = self._slots(0)
        trials.extend([None] * (trial.number + 1 - len(trials)))
        trials[trial.number] = trial
        self._trial_id_to_study_id_and_number[trial.number] = (0, trial.number)

    def remove(self, number: int) -> None:
        trials = self._slots(0)
        if number < len(trials):
            trials[number] = None

    def clear(self) -> None:
        self._slots(0).clear()

    def forget_study_attributes(self) -> None:
        self._studies[0].system_attrs = {}

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        self.place(frozen_trial(self.number, OptunaState.RUNNING, {}, {}))
        return self.number

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[OptunaState] | None = None
    ) -> list[FrozenTrial]:
        if states == (OptunaState.WAITING,):
            return []  # `Study.ask` would take one for the new trial.
        trials = [t for t in self._slots(study_id) if t is not None and (states is None or t.state in states)]
        return copy.deepcopy(trials) if deepcopy else trials

    def _slots(self, study_id: int) -> list[Any]:
        return self._studies[study_id].trials


def frozen_trial(
    number: int,
    state: OptunaState,
    params: dict[str, Any],
    distributions: dict[str, BaseDistribution],
    *,
    value: float | None = None,
    intermediate_values: dict[int, float] | None = None,
    user_attrs: dict[str, Any] | None = None,
    seconds: float = 0.0,
) -> FrozenTrial:
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=value,
        params=params,
        distributions=distributions,
        intermediate_values=intermediate_values or {},
        user_attrs=user_attrs or {},
        system_attrs={},
        datetime_start=None if state is OptunaState.WAITING else START,
        datetime_complete=START + timedelta(seconds=seconds) if state.is_finished() else None,
    )
