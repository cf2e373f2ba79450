"""Optuna samplers by name or dotted path, built anew for every proposal, and what two of them keep of the past.

A sampler that lives as long as its worker draws from one stream of random numbers: what it proposes then depends on
how often *this* process has asked before, and a resumed study goes another way. So each proposal gets a fresh sampler,
seeded by the study's seed and the trial's number, and everything else it knows follows from the history alone.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna import samplers
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, create_trial

from sweeper.search.samplers.multi_fidelity import MultiFidelitySampler
from sweeper.search.samplers.sobol import SobolSampler
from sweeper.words.errors import ConfigError
from sweeper.words.seeds import derive

NAMES: dict[str, type[BaseSampler]] = {
    "random": samplers.RandomSampler,
    "sobol": SobolSampler,
    "tpe": samplers.TPESampler,
    "gp": samplers.GPSampler,
    "cmaes": samplers.CmaEsSampler,
    "nsgaii": samplers.NSGAIISampler,
    "multi_fidelity": MultiFidelitySampler,
    "brute_force": samplers.BruteForceSampler,
}
# They propose trial n from n and the seed alone. Optuna's grid is shuffled by its seed: one order for the whole study.
WITHOUT_HISTORY = (samplers.RandomSampler, SobolSampler, samplers.GridSampler)
ONE_SEED = (SobolSampler, samplers.GridSampler)
# Their joint space is what all finished trials have in common: here always the parameters without a condition.
JOINT = (samplers.TPESampler, samplers.GPSampler, samplers.CmaEsSampler, samplers.NSGAIISampler)


@contextmanager
def quiet() -> Iterator[None]:
    """No Optuna news and no warnings inside; the person's own Optuna studies keep their verbosity."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True)
class Recipe:
    """A sampler class and its arguments; `seed` is the person's own, instead of the study's."""

    cls: type[BaseSampler]
    arguments: Mapping[str, Any]
    seed: int | None = None

    def build(self, study_seed: int, number: int, **changes: Any) -> BaseSampler:
        known = inspect.signature(self.cls).parameters
        arguments = {k: v.build(study_seed, number) if isinstance(v, Recipe) else v for k, v in self.arguments.items()}
        if "seed" in known:
            seed = study_seed if self.seed is None else self.seed
            arguments["seed"] = seed if self.cls in ONE_SEED else derive(seed, "proposal", number)
        if "warn_independent_sampling" in known and known["warn_independent_sampling"].default is True:
            arguments.setdefault("warn_independent_sampling", False)
        return self.cls(**(arguments | changes))


def recipe(spec: str | Mapping[str, Any]) -> Recipe:
    """Read `tpe`, `{name: tpe, n_startup_trials: 5}` or `{_target_: optuna.samplers.TPESampler, n_startup_trials: 5}`.

    Raises ConfigError for an unknown name, a path that leads to no sampler, and arguments that it does not take.
    """
    arguments: dict[str, Any] = {"name": spec} if isinstance(spec, str) else dict(spec)
    if len({"name", "_target_"} & set(arguments)) != 1:
        raise ConfigError(f"A sampler needs `name` or `_target_` and not both, but got {arguments}.")
    cls = _named(arguments.pop("name")) if "name" in arguments else _imported(arguments.pop("_target_"))
    seed = arguments.pop("seed", None)
    arguments = {k: recipe(v) if isinstance(v, Mapping) and "_target_" in v else v for k, v in arguments.items()}
    result = Recipe(cls, arguments, seed)
    _try(result)
    return result


def _named(name: Any) -> type[BaseSampler]:
    if isinstance(name, str) and "." in name:
        return _imported(name)
    if name not in NAMES:
        raise ConfigError(
            f"No sampler {name!r}; known: {', '.join(NAMES)}; any other by its path, `_target_: optuna.samplers.…`."
        )
    return NAMES[name]


def _imported(path: Any) -> type[BaseSampler]:
    module, _, attribute = str(path).rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"`_target_` must be the dotted path of a class, but got {path!r}: {error}.") from error
    if not (isinstance(cls, type) and issubclass(cls, BaseSampler)):
        raise ConfigError(f"`_target_` must be an optuna.samplers.BaseSampler, but {path} is {cls!r}.")
    if cls is samplers.QMCSampler:
        raise ConfigError(f"{path} counts its points in one process and would repeat them here; use `sampler: sobol`.")
    return cls


def _try(recipe: Recipe) -> None:
    """Build it once, so that a mistake in the arguments (and Optuna's word on a deprecated one) shows at the start."""
    name, given = recipe.cls.__name__, dict(recipe.arguments)
    known = [] if recipe.cls is SobolSampler else list(inspect.signature(recipe.cls).parameters)
    if unknown := [k for k in given if k not in known]:
        raise ConfigError(f"{name} takes no {', '.join(unknown)}; known: {', '.join(known) or 'only a seed'}.")
    if recipe.cls is samplers.CmaEsSampler and given.get("with_margin"):
        raise ConfigError(
            "CmaEsSampler's with_margin must be false here: its hidden points are not in the study's history."
        )
    if not (recipe.seed is None or isinstance(recipe.seed, int)):
        raise ConfigError(f"A sampler's `seed` must be a whole number, but got {recipe.seed!r}.")
    try:
        if recipe.cls is not SobolSampler:
            recipe.build(0, 0)
    except Exception as error:
        raise ConfigError(f"{name} cannot be built with {given}: {error}") from error


class SamplerFactory:
    """Makes the sampler of each proposal. `conditional`: names of the parameters that are not always active."""

    def __init__(
        self,
        recipe: Recipe,
        distributions: Mapping[str, BaseDistribution],
        conditional: Sequence[str],
        from_unit: Callable[[Sequence[float]], Mapping[str, Any]],
        direction: StudyDirection,
        seed: int,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """`context`: what the sampler may ask to be told, by its arguments' names: ranges, rungs, budget, …"""
        known = inspect.signature(recipe.cls).parameters
        self._context = {k: v for k, v in (context or {}).items() if k in known and k not in recipe.arguments}
        self._recipe = recipe
        self._seed = seed
        cls = recipe.cls
        if cls is samplers.BruteForceSampler:
            _check_finite(distributions)
        self.uses_history = cls not in WITHOUT_HISTORY
        own_seed = seed if self._recipe.seed is None else self._recipe.seed
        self._sobol = SobolSampler(distributions, from_unit, own_seed) if cls is SobolSampler else None
        self._joint: dict[str, BaseDistribution] | None = None
        if cls in JOINT and not self._recipe.arguments.get("group"):
            self._joint = self._joint_space({k: v for k, v in distributions.items() if k not in conditional})
        self._cmaes = CmaMemory(self._recipe, self._joint or {}, direction) if cls is samplers.CmaEsSampler else None

    def build(self, number: int, study: Study, history: Sequence[FrozenTrial]) -> BaseSampler:
        """The sampler for trial `number`; `history`: its complete trials by number, whose attributes it may write."""
        if self._sobol is not None:
            return self._sobol
        sampler = self._recipe.build(self._seed, number, **self._context)
        if self._cmaes is not None:
            self._cmaes.restore(history)
        if isinstance(sampler, samplers.BaseGASampler):
            set_generations(sampler, study, history)
        if self._joint is None:
            return sampler
        # Without a complete trial Optuna finds no common space either, and its GP could not be fitted.
        return JointSampler(sampler, self._joint if history else {})

    def _joint_space(self, unconditional: dict[str, BaseDistribution]) -> dict[str, BaseDistribution]:
        """What the sampler itself would make of a history of one trial: CMA-ES leaves out categoricals, and so on."""
        with quiet():
            study = optuna.create_study()
            study.add_trial(create_trial(params=_any_params(unconditional), distributions=unconditional, value=0.0))
            return self._recipe.build(0, 0).infer_relative_search_space(study, study.trials[0])


def _any_params(distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    return {
        name: distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low  # type: ignore[attr-defined]
        for name, distribution in distributions.items()
    }


def _check_finite(distributions: Mapping[str, BaseDistribution]) -> None:
    endless = [k for k, v in distributions.items() if isinstance(v, FloatDistribution) and v.step is None]
    if endless:
        raise ConfigError(f"brute_force needs a `step` for each real parameter, but got none for {', '.join(endless)}.")


class JointSampler(BaseSampler):
    """Another sampler, told what the joint space is.

    Finding it is most of the work of a fresh sampler (139 of 243 ms at 10,000 trials), and CMA-ES gives up when a
    conditional parameter happens to be active in all trials so far and enters it for a while.
    """

    def __init__(self, sampler: BaseSampler, joint: dict[str, BaseDistribution]) -> None:
        self._sampler = sampler
        self._joint = joint

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._joint)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._sampler.before_trial(study, trial)


class CmaMemory:
    """CMA-ES's mean and covariance, computed again from the history instead of read from anywhere.

    Optuna pickles them into an attribute of the trial that closed a generation; our store holds no pickles. Here the
    complete trials form generations in the order of their numbers, whoever proposed them, after the random first ones.
    With one worker they are the generations of Optuna; with several, a trial proposed from the generation before may
    count in the next, which CMA-ES takes as an injected solution (Hansen, "Injecting external solutions into CMA-ES",
    2011), where Optuna throws it away. Pruned trials are not told. Costs some 3 CPU ms for each generation that is new
    or has changed.
    """

    def __init__(self, recipe: Recipe, joint: Mapping[str, BaseDistribution], direction: StudyDirection) -> None:
        self._recipe = recipe
        self._joint = dict(joint)
        self._direction = direction
        self._size = recipe.arguments.get("popsize") or 4 + int(3 * math.log(max(1, len(joint))))  # Optuna's default
        self._skipped = max(1, recipe.arguments.get("n_startup_trials", 1))
        self._generations: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def restore(self, history: Sequence[FrozenTrial]) -> None:
        """Put the state after the last full generation where Optuna looks for it: at the last complete trial."""
        for trial in history:
            trial.system_attrs = {}
        if not self._joint or not history:
            return
        solutions = history[self._skipped :]
        full = len(solutions) // self._size
        del self._generations[full:]
        for index in range(full):
            self._advance(index, solutions[index * self._size : (index + 1) * self._size])
        if self._generations:
            history[-1].system_attrs = dict(self._generations[-1][1])

    def _advance(self, index: int, solutions: Sequence[FrozenTrial]) -> None:
        signature = tuple((trial.number, trial.value, *trial.params.values()) for trial in solutions)
        if index < len(self._generations) and self._generations[index][0] == signature:
            return
        del self._generations[index:]
        before = self._generations[-1][1] if self._generations else {}
        self._generations.append((signature, self._tell(index, solutions, before)))

    def _tell(self, index: int, solutions: Sequence[FrozenTrial], before: Mapping[str, Any]) -> dict[str, Any]:
        """One generation in a study of its own: Optuna tells its optimizer, and stores it, when the next trial asks."""
        sampler = self._recipe.build(0, 0, n_startup_trials=0)
        study = optuna.create_study(direction=self._direction, sampler=JointSampler(sampler, self._joint))
        tag = {"cma:generation": index, "sepcma:generation": index}
        for trial in solutions:
            params = {name: trial.params[name] for name in self._joint}
            attributes = {**tag, **before} if trial is solutions[-1] else tag
            study.add_trial(
                create_trial(params=params, distributions=self._joint, value=trial.value, system_attrs=attributes)
            )
        assert study.ask().relative_params  # Optuna samples when it is first looked at.
        return {k: v for k, v in study.trials[-1].system_attrs.items() if ":optimizer:" in k}


def set_generations(sampler: samplers.BaseGASampler, study: Study, history: Sequence[FrozenTrial]) -> None:
    """Give each trial the generation that Optuna would have written at its start: `population_size` by number.

    Parents are selected anew for each proposal: 10 CPU ms at 1,000 trials, some 700 at 10,000.
    """
    key, size = f"{type(sampler).__name__}:generation", sampler.population_size or 1
    for index, trial in enumerate(history):
        trial.system_attrs = {key: index // size}
    # From the first on: Optuna would begin with the last and recurse, too deep for Python after some 400 generations.
    for generation in range(1, len(history) // size + 1):
        sampler.get_parent_population(study, generation)
