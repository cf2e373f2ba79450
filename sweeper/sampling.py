"""Proposals for trials: an in-memory Optuna study mirrors the store's history and is asked once for each trial.

The store stays the only truth. Optuna sees every trial under its own number, in the order of the numbers, whatever the
order in which the news arrived, and each proposal comes from a fresh sampler seeded by the study's seed and the trial's
number. So a proposal is a function of (space, history, sampler, seed, number): a resumed study proposes what an
undisturbed one would, and trial n of a random or Sobol search is the same for any number of workers.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import NoneType
from typing import Any, Protocol, cast

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial
from optuna.trial import TrialState as OptunaState

from sweeper.errors import SpaceError
from sweeper.samplers import JOINT, SamplerFactory, quiet, recipe
from sweeper.space import Categorical, Float, Int, Parameter, SearchSpace
from sweeper.trial import Direction, Failure, TrialRecord, TrialState

START = datetime(2000, 1, 1)  # Records carry durations, no dates.
MANY = 32  # As many whole numbers as this may be counted one by one.
BAD_FAILURES = frozenset({Failure.DIVERGED, Failure.OUT_OF_MEMORY, Failure.TIMEOUT})


class Judge(Protocol):
    """What a sampler that `judges` has besides Optuna's methods."""

    def goes_on(self, study: optuna.Study, trial: FrozenTrial) -> bool: ...

    def promote(self, study: optuna.Study, epochs_left: int) -> int | None: ...

    def recommend(self, study: optuna.Study, count: int, /) -> Sequence[int]: ...


class OptunaSpace:
    """A search space in Optuna's words. Choices that it cannot hold, or tell apart (1 and true), go in as JSON text."""

    def __init__(self, space: SearchSpace, smooth: bool = False, box: SearchSpace | None = None) -> None:
        """`box`: the ranges that proposals lie in, where `space` is wider (what Optuna's trials may hold).

        `smooth`: whole numbers of many values go in as real ones, and come back rounded.

        Optuna's TPE and GP treat each value of an Int by itself, in Python: at 1,000 trials one Int of 500 values took
        three quarters of a proposal's time.
        """
        self.space = space
        self.box = box or space
        self.distributions = {parameter.name: _distribution(parameter, smooth) for parameter in space.in_order()}
        self._choices = {
            p.name: dict(zip(_labels(p.choices), p.choices, strict=True)) for p in space if isinstance(p, Categorical)
        }
        self._by_text = {
            name: {_text(choice): label for label, choice in choices.items()} for name, choices in self._choices.items()
        }
        self._shared: dict[tuple[str, ...], dict[str, BaseDistribution]] = {}

    def encode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Values as Optuna knows them, parents first; what the space does not hold is left out."""
        return {
            name: self._by_text[name][_text(params[name])] if name in self._by_text else params[name]
            for name in self.distributions
            if name in params and self.space[name].contains(params[name])
        }

    def decode(self, name: str, value: Any) -> Any:
        """Optuna's value as a plain Python one, or the choice itself."""
        if name in self._choices:
            return self._choices[name][value]
        parameter = self.box[name]
        assert isinstance(parameter, Float | Int)
        if isinstance(parameter, Int):
            value = parameter.low + parameter.step * round((value - parameter.low) / parameter.step)
        return min(max(value, parameter.low), parameter.high)

    def from_unit(self, point: Sequence[float]) -> dict[str, Any]:
        """A point of the unit cube, dimensions parents first, as Optuna's values of the parameters active there."""
        return self.encode(self.space.from_unit(dict(zip(self.distributions, point, strict=True))))

    def conditions(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        """Child → parent → the parent's values with which the child is active."""
        return {
            parameter.name: {
                when.parameter: tuple(v for each in when.values for v in self.encode({when.parameter: each}).values())
                for when in parameter.when
            }
            for parameter in self.space
            if parameter.when
        }

    def distributions_of(self, encoded: Mapping[str, Any]) -> dict[str, BaseDistribution]:
        """One dictionary for all trials with the same active parameters: they are many."""
        names = tuple(encoded)
        return self._shared.setdefault(names, {name: self.distributions[name] for name in names})


def _distribution(parameter: Parameter, smooth: bool) -> BaseDistribution:
    match parameter:
        case Float():
            return FloatDistribution(parameter.low, parameter.high, parameter.log, parameter.step)
        case Int(low=low, high=high, step=step) if smooth and (high - low) // step >= MANY:
            return FloatDistribution(low - step / 2, high + step / 2, parameter.log)
        case Int():
            return IntDistribution(parameter.low, parameter.high, parameter.log, parameter.step)
        case Categorical():
            return CategoricalDistribution(_labels(parameter.choices))


def _labels(choices: Sequence[Any]) -> list[Any]:
    plain = all(isinstance(choice, NoneType | bool | int | float | str) for choice in choices)
    if plain and len(set(choices)) == len(choices):
        return list(choices)
    return [_text(choice) for choice in choices]


def _text(choice: Any) -> str:
    return json.dumps(choice, sort_keys=True, default=repr)


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
        self.place(_frozen(self.number, OptunaState.RUNNING, {}, {}))
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


class Proposer:
    """Kept in a worker: told what is new in the store, and asked once for each trial.

    Raises ConfigError for a sampler that does not exist or cannot be built. What holds for the samplers that would keep
    a state of their own (CMA-ES, NSGA-II) stands at `sweeper.samplers`.
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
            _frozen(
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
        self._mirror.place(_frozen(record.number, state, params, distributions, value=told, intermediate_values=steps))


def _ranges(space: SearchSpace) -> dict[str, tuple[float, float]]:
    return {p.name: (p.low, p.high) for p in space if not isinstance(p, Categorical)}


def _is_bad(record: TrialRecord) -> bool:
    if record.state is TrialState.FAIL:
        return record.failure in BAD_FAILURES
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


def _frozen(
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
    return _frozen(
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
        gone = {_text(value): value for value in values if not parameter.contains(value)}
        return replace(parameter, choices=(*parameter.choices, *gone.values()))
    low, high = min([parameter.low, *values]), max([parameter.high, *values])
    return replace(parameter, low=low, high=high, limits=None)
