"""A search space as Optuna's distributions: values are encoded and decoded where Optuna cannot hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweeper.search.space import Categorical, Float, Int, Parameter, SearchSpace

MANY = 32  # As many whole numbers as this may be counted one by one.


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
            name: {choice_text(choice): label for label, choice in choices.items()}
            for name, choices in self._choices.items()
        }
        self._shared: dict[tuple[str, ...], dict[str, BaseDistribution]] = {}

    def encode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Values as Optuna knows them, parents first; what the space does not hold is left out."""
        return {
            name: self._by_text[name][choice_text(params[name])] if name in self._by_text else params[name]
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
    return [choice_text(choice) for choice in choices]


def choice_text(choice: Any) -> str:
    return json.dumps(choice, sort_keys=True, default=repr)
