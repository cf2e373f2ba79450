"""The search space behind a study of Optuna's, whose trials each know their own ranges and nothing of the others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.space import Categorical, Float, Int, Parameter, SearchSpace, When

Params = Mapping[str, Any]


def space_of(trials: Sequence[FrozenTrial]) -> SearchSpace:
    """Every parameter of the trials: choices joined, ranges as wide as all of them, on the scale that came last.

    Where complete trials lack a parameter, and the values of another tell when, that is its condition.
    """
    found: dict[str, list[BaseDistribution]] = {}
    tried: dict[str, list[Any]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            found.setdefault(name, []).append(distribution)
            tried.setdefault(name, []).append(trial.params[name])
    plain = SearchSpace(tuple(_parameter(name, found[name], tried[name]) for name in found))
    whole = [trial.params for trial in trials if trial.state is TrialState.COMPLETE]
    return SearchSpace(tuple(replace(each, when=_when(each.name, plain, whole)) for each in plain))


def _parameter(name: str, found: Sequence[BaseDistribution], tried: Sequence[Any]) -> Parameter:
    numbers = [each for each in found if isinstance(each, FloatDistribution | IntDistribution)]
    if len(numbers) < len(found):
        choices = [choice for each in found if isinstance(each, CategoricalDistribution) for choice in each.choices]
        return Categorical(name, _distinct([*choices, *tried]))
    low, high, log = min(each.low for each in numbers), max(each.high for each in numbers), numbers[-1].log
    if low == high:
        return Categorical(name, _distinct(tried))
    step = numbers[0].step if len({(each.low, each.step) for each in numbers}) == 1 else None
    if all(isinstance(each, IntDistribution) for each in numbers):
        return Int(name, int(low), int(high), log and low > 0, 1 if log else int(step or 1))
    return Float(name, float(low), float(high), log and low > 0, None if log else step)


def _when(name: str, space: SearchSpace, whole: Sequence[Params]) -> tuple[When, ...]:
    """The parameter of the fewest values that tell whether this one is there; none where it always is."""
    have, lack = [p for p in whole if name in p], [p for p in whole if name not in p]
    found: list[When] = []
    for parent in space if have and lack else ():
        if isinstance(parent, Float) or not all(parent.name in params for params in have):
            continue
        there = _distinct([params[parent.name] for params in have])
        there = tuple(sorted(there)) if isinstance(parent, Int) else there
        elsewhere = _distinct([params[parent.name] for params in lack if parent.name in params])
        if elsewhere and len(_distinct([*there, *elsewhere])) == len(there) + len(elsewhere):
            found.append(When(parent.name, there))
    return tuple(sorted(found, key=lambda when: len(when.values))[:1])


def _distinct(values: Sequence[Any]) -> tuple[Any, ...]:
    """Told apart by type too, as a space does: 1, 1.0 and true differ."""
    return tuple({(type(value), value): value for value in values}.values())
