"""Scrambled Sobol points as an Optuna sampler: trial n gets point n, whoever asks, whenever, after whatever history.

Sobol points fill the unit cube more evenly than random ones, and do so at every length. Source: Owen, "Scrambling
Sobol' and Niederreiter-Xing points", J. Complexity 1998, as in `scipy.stats.qmc.Sobol`. Optuna's own `QMCSampler`
counts its points inside one study object, so that two workers, or one after a restart, would draw the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from sweeper.words.seeds import derive


class SobolSampler(BaseSampler):
    """Every parameter, a conditional one too, has its own dimension; those of inactive parameters are left unused.

    So the points stay even in the whole cube, and in every branch of it. `distributions`: one per dimension, by name.
    `from_unit`: a point (len(distributions),) of the unit cube to the parameters that are active there.
    """

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        from_unit: Callable[[Sequence[float]], Mapping[str, Any]],
        seed: int,
    ) -> None:
        self._distributions = dict(distributions)
        self._from_unit = from_unit
        self._seed = seed
        from scipy.stats import qmc  # SciPy's statistics take longer to import than all else here

        self._engine = qmc.Sobol(len(self._distributions), scramble=True, rng=seed) if self._distributions else None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self._engine is None:
            return {}
        params = self._from_unit(self.point(trial.number))
        return {name: _within(value, self._distributions[name]) for name, value in params.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """For a parameter that is none of the dimensions: a random value of its own."""
        random = RandomSampler(seed=derive(self._seed, trial.number, param_name))
        return random.sample_independent(study, trial, param_name, param_distribution)

    def point(self, number: int) -> list[float]:
        """Point `number` of the sequence, counted from 0: (dimensions,), each in [0, 1)."""
        assert self._engine is not None
        if number < self._engine.num_generated:
            self._engine.reset()
        if skipped := number - self._engine.num_generated:
            self._engine.fast_forward(skipped)
        # One at a time: SciPy warns about other lengths than powers of two.
        point: list[float] = self._engine.random(1)[0].tolist()
        return point


def _within(value: Any, distribution: BaseDistribution) -> Any:
    """Optuna throws a value away, and asks for another, that rounding has put an ulp outside of its range."""
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return min(max(value, distribution.low), distribution.high)
    return value
