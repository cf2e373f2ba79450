"""Bayesian optimisation that sees every rung: a Gaussian process over parameters and epochs proposes and judges.

Trials climb a ladder of rungs (a ninth, a third, all of the epochs), going on from their checkpoints. What a few epochs
say counts as far as it foretells the end: the process has a length scale over the epochs, too. A trial goes on as long
as its own rungs leave at least half of the improvement that was expected of it without them.

Sources: Swersky, Snoek & Adams, "Freeze-Thaw Bayesian Optimization", 2014 (a Gaussian process over curves half way);
Kandasamy, Dasarathy, Schneider & Póczos, "Multi-fidelity Bayesian Optimisation with Continuous Approximations", ICML
2017 (the fidelity as an input). The columns, the process and the acquisition have modules of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import ThreadpoolController

from sweeper.search.samplers.acquisition import maximise
from sweeper.search.samplers.coordinates import Conditions, Coordinates
from sweeper.search.samplers.surrogate import Ladder, Surrogate, is_bad, is_paused

STRAIGHT = 3
"""As many of the first trials, the best after the first rung, go on to the end."""
START_EACH, START_SHARE = 3, 0.1
"""Starting points for each parameter, and the share of the budget's epochs that they take at most."""
FULL_START_EACH, FULL_START_SHARE = 1, 0.2
"""The same where each starting point is a full training."""
WORTH = math.log(0.5)
"""A trial goes on while its own rungs have not changed its log EI by less than this."""
EXPLORING = 5
"""Every fifth new trial is one more starting point: the model alone settles in the first good basin that it sees, and
a few epochs elsewhere cost little."""
LEADERS = 5
LEAST_RUNG = 3
"""After fewer epochs the order of trials says little about the end."""

Space = dict[str, BaseDistribution]


class MultiFidelitySampler(BaseSampler):
    """`epochs` of a full training and the `rungs` on the way, counted in epochs done; without them a plain GP.

    `space`: all distributions, None: what the history shows of them. `ranges`: the current box by name, inside the
    distributions; proposals lie in it, what was seen outside still counts. `conditions`: child → parent → values of
    the parent with which the child is active. `budget`: full trainings planned, for the number of starting points,
    unless `n_startup_trials` says it. `seed` is for the proposal; from `start_seed`, None: the same, follow the
    starting points, whoever asks for them.
    """

    def __init__(
        self,
        *,
        epochs: int | None = None,
        rungs: Sequence[int] | None = None,
        budget: float | None = None,
        seed: int | None = None,
        start_seed: int | None = None,
        space: Mapping[str, BaseDistribution] | None = None,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        conditions: Conditions | None = None,
        n_startup_trials: int | None = None,
    ) -> None:
        self._ladder = Ladder(epochs, tuple(rungs or ladder(epochs)))
        self._budget = budget
        self._seed = seed
        self._start_seed = seed if start_seed is None else start_seed
        self._given_space = None if space is None else dict(space)
        self._ranges = ranges or {}
        self._conditions = conditions or {}
        self._n_startup_trials = n_startup_trials
        self._independent = RandomSampler(seed=seed)

    def reseed_rng(self) -> None:
        self._independent.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> Space:
        """All parameters, conditional ones too; of a history those that have had one distribution only."""
        self._raise_error_if_multi_objective(study)
        return self._space(study)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        self._raise_error_if_multi_objective(study)
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: Space) -> dict[str, Any]:
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        with one_thread():
            surrogate = self._surrogate(study, search_space, apart_from=trial.number)
            if surrogate.process is None or self._is_start(trial.number, search_space):
                return self._start(trial.number, surrogate.coordinates)
            rng = np.random.default_rng(None if self._seed is None else [self._seed, trial.number])
            leaders = surrogate.leaders(LEADERS)
            site = maximise(surrogate.acquisition(), surrogate.coordinates, leaders, surrogate.sites, rng)
            return surrogate.coordinates.params(site)

    def goes_on(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether a trial at a rung is worth the epochs to the next one."""
        done = max(trial.intermediate_values, default=0)
        if self._ladder.epochs is None or done >= self._ladder.epochs:
            return False
        space = self._space(study)
        if trial.number < self._startup(space):
            return trial.number in self._straight(study, space)
        with one_thread():
            surrogate = self._surrogate(study, space)
            if surrogate.process is None or trial.number not in surrogate:
                return True
            return surrogate.shift(trial.number) >= WORTH

    def promote(self, study: Study, epochs_left: int | None = None) -> int | None:
        """The number of a paused trial to go on with instead of proposing a new one, None: there is none.

        The best of the first trials; and where `epochs_left` are too few for a full training, what they suffice for.
        """
        paused = [trial for trial in study.get_trials(deepcopy=False) if is_paused(trial)]
        if self._ladder.epochs is None or not paused:
            return None
        space = self._space(study)
        straight = self._straight(study, space)
        if chosen := [trial.number for trial in paused if trial.number in straight]:
            return chosen[0]
        if epochs_left is None or epochs_left >= self._ladder.epochs:
            return None
        left = {t.number: self._ladder.epochs - max(t.intermediate_values, default=0) for t in paused}
        with one_thread():
            surrogate = self._surrogate(study, space)
            able = [number for number, epochs in left.items() if epochs <= epochs_left and number in surrogate]
            if not able or surrogate.process is None:
                return None
            return able[int(np.argmax(surrogate.worth(able)))]

    def recommend(self, study: Study, k: int = 1) -> list[int]:
        """Numbers of the best trials by what model and values say together, among those that had the most epochs."""
        space = self._space(study)
        if not space:
            return []
        with one_thread():
            surrogate = self._surrogate(study, space)
            reached = {t.number: max(self._ladder.curve(t), default=-1.0) for t in surrogate.trials if not is_bad(t)}
            if surrogate.process is None:
                return []
            most = [number for number, time in reached.items() if time == max(reached.values())]
            return [most[index] for index in np.argsort(surrogate.merits(most), kind="stable")[:k]]

    def _space(self, study: Study) -> Space:
        if self._given_space is not None:
            return dict(self._given_space)
        found: Space = {}
        several: set[str] = set()
        for trial in study.get_trials(deepcopy=False):
            for name, distribution in trial.distributions.items():
                first = found.setdefault(name, distribution)
                if first is not distribution and first != distribution:
                    several.add(name)
        return {n: found[n] for n in sorted(found) if n not in several and not found[n].single()}

    def _is_start(self, number: int, space: Space) -> bool:
        """Whether a trial is a Sobol point: the first ones, and later those that explore where that is cheap."""
        return number < self._startup(space) or (len(self._ladder.rungs) > 1 and number % EXPLORING == 0)

    def _startup(self, space: Space) -> int:
        """How many Sobol points come first."""
        if self._n_startup_trials is not None:
            return self._n_startup_trials
        is_cheap = len(self._ladder.rungs) > 1
        each, share = (START_EACH, START_SHARE) if is_cheap else (FULL_START_EACH, FULL_START_SHARE)
        cost = self._ladder.rungs[0] / (self._ladder.epochs or 1) if is_cheap else 1.0
        wanted = len(space) * each
        return max(4, wanted if self._budget is None else min(wanted, int(share * self._budget / cost)))

    def _start(self, number: int, coordinates: Coordinates) -> dict[str, Any]:
        """Point `number` of a scrambled Sobol sequence."""
        from scipy.stats import qmc  # SciPy's statistics take longer to import than all else here

        engine = qmc.Sobol(len(coordinates.names), scramble=True, rng=self._start_seed)
        if number:  # SciPy overflows at 0.
            engine.fast_forward(number)
        return coordinates.params(coordinates.at(engine.random(1))[0])

    def _straight(self, study: Study, space: Space) -> set[int]:
        """Once all of the first trials are at the first rung or over: the numbers of the best of them."""
        first, startup = self._ladder.rungs[0], self._startup(space)
        trials = study.get_trials(deepcopy=False)
        begun = [trial for trial in trials if trial.number < startup]
        there = [trial for trial in begun if first in trial.intermediate_values]
        on_the_way = any(not t.state.is_finished() and first not in t.intermediate_values for t in begun)
        if on_the_way or all(trial.number < startup - 1 for trial in trials):
            return set()
        ranked = sorted((_sign(study) * t.intermediate_values[first], t.number) for t in there if not is_bad(t))
        return {number for _, number in ranked[:STRAIGHT]}

    def _surrogate(self, study: Study, space: Space, apart_from: int | None = None) -> Surrogate:
        trials = [
            trial
            for trial in study.get_trials(deepcopy=False)
            if trial.number != apart_from
            and trial.state not in (TrialState.WAITING, TrialState.FAIL)
            and not space.keys().isdisjoint(trial.params)
        ]
        coordinates = Coordinates(space, self._ranges, self._conditions, [trial.params for trial in trials])
        return Surrogate(trials, coordinates, self._ladder, _sign(study))


def ladder(epochs: int | None) -> list[int]:
    """A ninth, a third and all of the epochs."""
    if epochs is None:
        return []
    return sorted({epochs, *(rung for rung in (round(epochs / 9), round(epochs / 3)) if rung >= LEAST_RUNG)})


def _sign(study: Study) -> float:
    return -1.0 if study.direction is StudyDirection.MAXIMIZE else 1.0


@contextmanager
def one_thread() -> Iterator[None]:
    """Matrices this small go eight times slower where BLAS shares them out, and more where workers share the cores."""
    with _pools().limit(limits=1):
        yield


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()
