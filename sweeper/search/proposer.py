"""Proposals for trials: an in-memory Optuna study mirrors the store's history and is asked once for each trial.

The store stays the only truth. Optuna sees every trial under its own number, in the order of the numbers, whatever the
order in which the news arrived, and each proposal comes from a fresh sampler seeded by the study's seed and the trial's
number. So a proposal is a function of (space, history, sampler, seed, number): a resumed study proposes what an
undisturbed one would, and trial n of a random or Sobol search is the same for any number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as OptunaState

from sweeper.search.optuna.mirror import Mirror, frozen_trial
from sweeper.search.optuna.space import OptunaSpace
from sweeper.search.samplers import JOINT, SamplerFactory, quiet, recipe
from sweeper.search.space import Categorical, SearchSpace
from sweeper.words.errors import SpaceError
from sweeper.words.records import Direction, Failure, TrialRecord, TrialState


class Judge(Protocol):
    """What a sampler that `judges` has besides Optuna's methods."""

    def goes_on(self, study: optuna.Study, trial: FrozenTrial) -> bool: ...

    def promote(self, study: optuna.Study, epochs_left: int) -> int | None: ...

    def recommend(self, study: optuna.Study, count: int, /) -> Sequence[int]: ...


class Proposer:
    """Kept in a worker: told what is new in the store, and asked once for each trial.

    Raises ConfigError for a sampler that does not exist or cannot be built. What holds for the samplers that would keep
    a state of their own (CMA-ES, NSGA-II) stands at `sweeper.search.samplers`.
    """

    def __init__(
        self,
        space: SearchSpace,
        direction: Direction,
        sampler: str | Mapping[str, Any],
        seed: int,
        *,
        wide: SearchSpace | None = None,
        rungs: Sequence[int] = (),
        budget: float | None = None,
    ) -> None:
        """`space` has the ranges as they are now, `wide` all that they may become (a sampler that sees every epoch is
        told of trials there too). `rungs`: the epochs of each stage; `budget`: in full trainings."""
        chosen = recipe(sampler)
        self.judges = hasattr(chosen.cls, "goes_on")
        self._space = OptunaSpace(wide or space if self.judges else space, smooth=chosen.cls in JOINT, box=space)
        self._direction = direction
        conditional = [parameter.name for parameter in space if parameter.when]
        plan = {"epochs": rungs[-1] if rungs else None, "rungs": tuple(rungs) or None, "budget": budget}
        self._samplers = SamplerFactory(
            chosen,
            self._space.distributions,
            conditional,
            self._space.from_unit,
            StudyDirection[direction.name],
            seed,
            {
                **plan,
                "start_seed": seed,
                "space": self._space.distributions,
                "ranges": _ranges(space),
                "conditions": self._space.conditions(),
            },
        )
        self._mirror = Mirror()
        with quiet():
            optuna.create_study(study_name="mirror", storage=self._mirror, direction=StudyDirection[direction.name])
        self._records: dict[int, TrialRecord] = {}
        self._values: dict[int, float] = {}
        self._bad: dict[int, float | None] = {}  # number → the value it was told with, None: not yet told

    @property
    def uses_history(self) -> bool:
        """False where trial n follows from n and the seed alone: then a worker need not read the history."""
        return self._samplers.uses_history

    def update(self, trials: Iterable[TrialRecord]) -> None:
        """Take over new or changed trials, in any order; a repetition changes nothing.

        Complete trials are told with their value, pruned and paused ones with their last value, those that wait or run
        with params are pending. A trial that diverged, ran out of memory or of time, or ended at a value that is no
        number is told as bad as the worst finite one so far (until there is one: not at all). Failures `killed` and
        `error` say nothing about the params; params outside the space as it is now are left out.

        A sampler that sees every epoch is told them all, with `user_attrs` paused and bad: what those are is for it
        to judge.
        """
        if not self.uses_history:
            return
        for record in trials:
            if self._records.get(record.number) != record:
                self._records[record.number] = record
                self._place(record)

    def suggest(self, number: int) -> dict[str, Any]:
        """The params of trial `number`: plain values of the active parameters, parents first.

        Until the store says otherwise they count as pending here. A worker that has read other news proposes otherwise.
        """
        self._drop(number)
        self._records.pop(number, None)
        self._tell_bad()
        with quiet():
            params = self._ask(number)
        self._space.box.validate(params)
        if not self.uses_history:
            self._mirror.clear()
        return params

    def goes_on(self, record: TrialRecord) -> bool:
        """Whether a trial at the end of a stage is worth the next one's epochs; only of a sampler that `judges`."""
        self.update([record])
        study, judge = self._judge(record.number)
        trial = self._mirror.get_trial(record.number)
        with quiet():
            return bool(judge.goes_on(study, trial))

    def promote(self, number: int, epochs_left: int) -> int | None:
        """A paused trial that is worth more than a new one, `number` would be its; only of a sampler that `judges`."""
        study, judge = self._judge(number)
        with quiet():
            return judge.promote(study, epochs_left)

    def recommend(self, count: int) -> list[int]:
        """The best trials by what the sampler's model believes, by number; only of a sampler that `judges`."""
        study, judge = self._judge(0)
        with quiet():
            return list(judge.recommend(study, count))

    def _judge(self, number: int) -> tuple[optuna.Study, Judge]:
        study, sampler = self._prepared(number)
        return study, cast(Judge, sampler)

    def _prepared(self, number: int) -> tuple[optuna.Study, BaseSampler]:
        self._mirror.number = number
        self._mirror.forget_study_attributes()
        with quiet():
            study = optuna.load_study(study_name="mirror", storage=self._mirror)
            history = self._mirror.get_all_trials(0, deepcopy=False, states=(OptunaState.COMPLETE,))
            return study, self._samplers.build(number, study, history)

    def _ask(self, number: int) -> dict[str, Any]:
        study, sampler = self._prepared(number)
        study.sampler = sampler
        trial = study.ask()
        params: dict[str, Any] = {}
        for parameter in self._space.box.in_order():
            if self._space.box.is_active(parameter, params):
                value = _suggest(trial, parameter.name, self._space.distributions[parameter.name])
                params[parameter.name] = self._space.decode(parameter.name, value)
        return params

    def _place(self, record: TrialRecord) -> None:
        if record.params is None:
            return  # A number just claimed: if it was proposed here, that proposal is still pending.
        self._drop(record.number)
        try:
            self._space.space.validate(record.params)
        except SpaceError:
            return
        if self.judges:
            self._put_curve(record)
            return
        if _is_bad(record):
            self._bad[record.number] = None
            return
        state, value = _outcome(record)
        if value is not None:
            self._values[record.number] = value
        self._put(record, state, value)

    def _drop(self, number: int) -> None:
        self._values.pop(number, None)
        self._bad.pop(number, None)
        self._mirror.remove(number)

    def _tell_bad(self) -> None:
        if not self._bad or not self._values:
            return
        worst = (max if self._direction is Direction.MINIMIZE else min)(self._values.values())
        for number, told in self._bad.items():
            if told != worst:
                self._bad[number] = worst
                self._put(self._records[number], OptunaState.COMPLETE, worst)

    def _put_curve(self, record: TrialRecord) -> None:
        """Every epoch of a trial, for a sampler that sees them; a paused one runs on, some day."""
        state, value = _outcome(record)
        attributes: dict[str, Any] = {}
        if _is_bad(record):
            state, value = OptunaState.PRUNED, None
            attributes["bad"] = str(record.failure or Failure.DIVERGED)
        elif record.state is TrialState.PAUSED:
            state, attributes["paused"] = OptunaState.RUNNING, True
        curve = {done: each for done, each in record.curve.items() if each is not None and math.isfinite(each)}
        params = self._space.encode(record.params or {})
        distributions = self._space.distributions_of(params)
        told = value if state is OptunaState.COMPLETE else None
        self._mirror.place(
            frozen_trial(
                record.number,
                state,
                params,
                distributions,
                value=told,
                intermediate_values=curve,
                user_attrs=attributes,
            )
        )

    def _put(self, record: TrialRecord, state: OptunaState, value: float | None) -> None:
        params = self._space.encode(record.params or {})
        steps = {record.epochs_done: value} if state is OptunaState.PRUNED and value is not None else {}
        told = value if state is OptunaState.COMPLETE else None
        distributions = self._space.distributions_of(params)
        self._mirror.place(
            frozen_trial(record.number, state, params, distributions, value=told, intermediate_values=steps)
        )


def _ranges(space: SearchSpace) -> dict[str, tuple[float, float]]:
    return {p.name: (p.low, p.high) for p in space if not isinstance(p, Categorical)}


def _is_bad(record: TrialRecord) -> bool:
    if record.state is TrialState.FAIL:
        return record.failure is not None and record.failure.is_bad
    if record.state in (TrialState.COMPLETE, TrialState.PRUNED):
        return record.value is not None and not math.isfinite(record.value)
    return False


def _outcome(record: TrialRecord) -> tuple[OptunaState, float | None]:
    """Optuna's state of a trial that is not bad, and its value if it is over."""
    match record.state:
        case TrialState.COMPLETE if record.value is not None:
            return OptunaState.COMPLETE, record.value
        case TrialState.PRUNED | TrialState.PAUSED:
            return OptunaState.PRUNED, record.value
        case TrialState.COMPLETE | TrialState.FAIL:
            return OptunaState.FAIL, None
    return OptunaState.RUNNING, None


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            return trial.suggest_float(name, low, high, step=step, log=log)
        case IntDistribution(low=low, high=high, log=log, step=step):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case CategoricalDistribution(choices=choices):
            return trial.suggest_categorical(name, choices)
    raise AssertionError(distribution)
