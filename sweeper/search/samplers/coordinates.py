"""Parameters as columns of numbers.

A *site* is a row with one number per parameter: the position of a number on its own scale, the index of a choice, NaN
where a parameter is inactive. A *point* is what a Gaussian process measures distances between: an inactive number
stands in the middle, choices are one-hot, so that two of them are as far apart as 0.7 · √2 of a number's range; choices
that are growing numbers (batch sizes 16, 32, 64) lie evenly on one column, in their order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Array = NDArray[np.float64]
Params = Mapping[str, Any]
Conditions = Mapping[str, Mapping[str, Collection[Any]]]
"""child → parent → the parent's values with which the child is active; all of its parents must agree."""

CHOICE = 0.7
MIDDLE = 0.5
MISSING = math.nan
"""Stands for the value of an inactive parameter: None may be a choice."""
COARSE = 16
"""A grid of more values than this is climbed like a continuum."""
SPREADS = (0.01, 0.3)
"""How far from a site its near ones lie, as shares of the box; drawn on the log scale."""


class Numeric:
    """0 and 1 are the edges of what the box and the values seen span; proposals lie in the box and on the grid."""

    width = 1

    def __init__(
        self, distribution: FloatDistribution | IntDistribution, box: tuple[float, float], seen: Sequence[float]
    ) -> None:
        self._log = distribution.log
        self._step = distribution.step
        self._origin = distribution.low
        self._whole = isinstance(distribution, IntDistribution)
        self._low, self._high = self._onto_grid(max(box[0], distribution.low), min(box[1], distribution.high))
        half = 0.5 * (self._step or 0)  # Each value of a grid is the middle of its cell.
        self._start = float(self._scaled(min([self._low, *seen]) - half))
        self._length = float(self._scaled(max([self._high, *seen]) + half)) - self._start
        self.bounds = float(self._position(self._low - half)), float(self._position(self._high + half))
        self.continuous = self._step is None or (self._high - self._low) / self._step >= COARSE
        self.values = np.empty(0) if self.continuous else self._grid()

    def _onto_grid(self, low: float, high: float) -> tuple[float, float]:
        if self._step is None:
            return low, high
        first = math.ceil((low - self._origin) / self._step - 1e-9)
        last = max(first, math.floor((high - self._origin) / self._step + 1e-9))
        return self._origin + first * self._step, self._origin + last * self._step

    def _grid(self) -> Array:
        assert self._step is not None
        count = round((self._high - self._low) / self._step) + 1
        return np.asarray(self._position(self._low + self._step * np.arange(count)))

    def _scaled(self, value: Any) -> Any:
        return np.log(value) if self._log else value

    def _position(self, value: Any) -> Any:
        scaled = self._scaled(value) - self._start
        return scaled / self._length if self._length > 0 else 0 * scaled + MIDDLE

    def _number(self, site: Any) -> Any:
        """The nearest value in the box and on the grid."""
        scaled = self._start + site * self._length
        value = np.exp(scaled) if self._log else scaled
        if self._step is not None:
            value = self._origin + self._step * np.round((value - self._origin) / self._step)
        return np.clip(value, self._low, self._high)

    def sites(self, values: Sequence[Any]) -> Array:
        """`MISSING` stays NaN."""
        return np.asarray(self._position(np.array(values, dtype=float)))

    def value(self, site: float) -> float | int:
        number = float(self._number(site))
        return round(number) if self._whole else number

    def snap(self, sites: Array) -> Array:
        return np.clip(sites, *self.bounds) if self._step is None else np.asarray(self._position(self._number(sites)))

    def at(self, units: Array) -> Array:
        low, high = self.bounds
        return self.snap(low + (high - low) * units)

    def near(self, sites: Array, spread: Array, rng: np.random.Generator) -> Array:
        low, high = self.bounds
        return self.snap(sites + spread * (high - low) * rng.standard_normal(len(sites)))

    def points(self, sites: Array) -> Array:
        """(m,) → (m, 1)"""
        return np.where(np.isnan(sites), MIDDLE, sites)[:, None]


class Choice:
    """A column for each choice, all 0 where the parameter is inactive."""

    continuous = False
    bounds = (0.0, 0.0)

    def __init__(self, distribution: CategoricalDistribution) -> None:
        self._distribution = distribution
        self.width = len(distribution.choices)
        self.values = np.arange(self.width, dtype=float)

    def sites(self, values: Sequence[Any]) -> Array:
        index = self._distribution.to_internal_repr
        return np.array([math.nan if value is MISSING else index(value) for value in values], dtype=float)

    def value(self, site: float) -> Any:
        return self._distribution.to_external_repr(site)

    def snap(self, sites: Array) -> Array:
        return sites

    def at(self, units: Array) -> Array:
        return np.minimum(np.floor(units * self.width), self.width - 1.0)

    def near(self, sites: Array, spread: Array, rng: np.random.Generator) -> Array:
        """Each changes with the probability `spread`."""
        return np.where(rng.random(len(sites)) < spread, self.at(rng.random(len(sites))), sites)

    def points(self, sites: Array) -> Array:
        """(m,) → (m, choices)"""
        hot: Array = CHOICE * (sites[:, None] == self.values[None, :])
        return hot


class Ordered(Choice):
    """Choices that are growing numbers: one column, each in the middle of its share of it."""

    def __init__(self, distribution: CategoricalDistribution) -> None:
        super().__init__(distribution)
        self._count, self.width = self.width, 1

    def at(self, units: Array) -> Array:
        return np.minimum(np.floor(units * self._count), self._count - 1.0)

    def near(self, sites: Array, spread: Array, rng: np.random.Generator) -> Array:
        moved = sites + spread * self._count * rng.standard_normal(len(sites))
        return np.clip(np.round(moved), 0.0, self._count - 1.0)

    def points(self, sites: Array) -> Array:
        """(m,) → (m, 1)"""
        return np.where(np.isnan(sites), MIDDLE, (sites + 0.5) / self._count)[:, None]


class Coordinates:
    """The way from params to sites to points, and back. `seen`: the params of the history, in or outside the box."""

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        ranges: Mapping[str, tuple[float, float]],
        conditions: Conditions,
        seen: Sequence[Params],
    ) -> None:
        self.names = list(distributions)
        self.axes = [_axis(name, distributions[name], ranges.get(name), seen) for name in self.names]
        self.offsets = np.cumsum([0, *(axis.width for axis in self.axes)])
        """Each parameter's first column in a point."""
        self._conditions = [
            (child, self.names.index(parent), self.axes[self.names.index(parent)].sites(list(values)))
            for child, name in enumerate(self.names)
            for parent, values in conditions.get(name, {}).items()
        ]

    def sites(self, history: Sequence[Params]) -> Array:
        """(trials, parameters)"""
        columns = [
            axis.sites([params.get(name, MISSING) for params in history])
            for name, axis in zip(self.names, self.axes, strict=True)
        ]
        return np.column_stack(columns)

    def params(self, site: Array) -> dict[str, Any]:
        """Of the active parameters."""
        axes = zip(self.names, self.axes, site, strict=True)
        return {name: axis.value(position) for name, axis, position in axes if not np.isnan(position)}

    def full(self, sites: Array) -> Array:
        """The points after a full training, time 1 in the last column: (m, parameters) → (m, width + 1)."""
        columns = [axis.points(sites[:, index]) for index, axis in enumerate(self.axes)]
        return np.concatenate([*columns, np.ones((len(sites), 1))], axis=1)

    def at(self, units: Array) -> Array:
        """Points of the unit cube to sites in the box: (m, parameters)."""
        return self._pruned(self._all_at(units))

    def near(self, site: Array, count: int, rng: np.random.Generator) -> Array:
        """Copies with about half of the parameters moved, some a little and some far: (count, parameters)."""
        sites = self._filled(np.repeat(site[None, :], count, axis=0), rng)
        spread = SPREADS[0] * (SPREADS[1] / SPREADS[0]) ** rng.random(count)
        moved = np.column_stack([axis.near(sites[:, index], spread, rng) for index, axis in enumerate(self.axes)])
        return self._pruned(np.where(rng.random(sites.shape) < 0.5, moved, self.snap(sites)))

    def neighbours(self, site: Array, rng: np.random.Generator) -> Array:
        """All sites where one choice, or one number of a coarse grid, is another: (some, parameters)."""
        steps = [(i, value) for i, axis in enumerate(self.axes) if not np.isnan(site[i]) for value in axis.values]
        sites = self._filled(np.repeat(site[None, :], len(steps), axis=0), rng)
        for row, (index, value) in enumerate(steps):
            sites[row, index] = value
        return self._pruned(sites)

    def snap(self, sites: Array) -> Array:
        """The nearest sites in the box and on the grid."""
        return np.column_stack([axis.snap(sites[:, index]) for index, axis in enumerate(self.axes)])

    def among(self, sites: Array, taken: Array) -> NDArray[np.bool_]:
        """(m,): which of the sites are among those taken, up to rounding."""
        known = {row.tobytes() for row in _rounded(taken)}
        return np.array([row.tobytes() in known for row in _rounded(sites)], dtype=bool)

    def _all_at(self, units: Array) -> Array:
        return np.column_stack([axis.at(units[:, index]) for index, axis in enumerate(self.axes)])

    def _filled(self, sites: Array, rng: np.random.Generator) -> Array:
        """Any values for what is inactive: it may become active."""
        return np.where(np.isnan(sites), self._all_at(rng.random(sites.shape)), sites)

    def _pruned(self, sites: Array) -> Array:
        """NaN for what is inactive. Parents of parents come first or last: the rules are applied until all hold."""
        for _ in self._conditions:
            before = np.isnan(sites).sum()
            for child, parent, keeping in self._conditions:
                active = (np.abs(sites[:, parent, None] - keeping[None, :]) < 1e-9).any(1)
                sites[~active, child] = np.nan
            if np.isnan(sites).sum() == before:
                break
        return sites


def _axis(
    name: str, distribution: BaseDistribution, box: tuple[float, float] | None, seen: Sequence[Params]
) -> Numeric | Choice:
    if isinstance(distribution, CategoricalDistribution):
        return Ordered(distribution) if _is_ordered(distribution.choices) else Choice(distribution)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    values = [params[name] for params in seen if name in params]
    return Numeric(distribution, box or (distribution.low, distribution.high), values)


def _is_ordered(choices: Sequence[Any]) -> bool:
    """Whether they are three numbers or more, each above the one before."""
    numbers = [c for c in choices if isinstance(c, int | float) and not isinstance(c, bool) and math.isfinite(c)]
    return len(numbers) == len(choices) > 2 and all(a < b for a, b in itertools.pairwise(numbers))


def _rounded(sites: Array) -> Array:
    return np.nan_to_num(np.round(sites, 9), nan=-1.0) + 0.0  # -0.0 has other bytes than 0.0.
