"""Which parameters matter, and the metric over the two that matter most: numbers for importance and contour.

Importance is PED-ANOVA (Watanabe, Bansal & Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
Arbitrary Subspaces", IJCAI 2023), by Optuna: how much a parameter tells the best tenth of the trials from all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweeper.analysis.digest import Digest, is_counted, sample
from sweeper.search.space import Categorical, Parameter
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.records import TrialRecord, TrialState

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 20
"""Complete trials without which importance is not told: the best tenth of fewer is one or two trials."""
UNSURE = 60
"""With fewer it is told with a caution."""
MOST_TRIALS = 2_000
GRID = 32
WIDTH = 0.07
"""Of the kernel that the contour is smoothed with, as a share of an axis."""
NEAR = 0.3
"""Trials' worth of weight that a place needs to be drawn: where nobody was, nothing is claimed."""


@dataclass(frozen=True, slots=True)
class Importance:
    """Shares that sum to 1, the largest first, by so many complete trials; none where these are too few."""

    shares: tuple[tuple[str, float], ...]
    trials: int
    left_out: tuple[str, ...] = ()
    """Conditional parameters: it is told of those alone that every trial has."""


@dataclass(frozen=True, slots=True)
class Contour:
    """A local mean of the metric, `heights[y][x]`; None where no trial was near. Choices stand at their places."""

    names: tuple[str, str]
    x: tuple[float, ...]
    y: tuple[float, ...]
    heights: tuple[tuple[float | None, ...], ...]
    points: tuple[tuple[float, float, float, int], ...]
    """x, y, value and number of the trials that it rests on."""


def importance(store: Store, digest: Digest) -> Importance:
    rows = digest.complete
    if len(rows) < FEWEST:
        return Importance((), len(rows))
    numbers = {digest.columns["number"][i] for i in sample(sorted(rows), MOST_TRIALS)}
    found = reads.all_trials(store, digest.study.id, [TrialState.COMPLETE])
    trials = [trial for trial in found if trial.number in numbers]
    varied = [parameter.name for parameter in digest.parameters]
    told = _told(digest, trials) if len({trial.value for trial in trials}) > 1 else {}
    shares = {name: share for name, share in told.items() if name in varied}
    whole = sum(shares.values())
    ordered = sorted(shares, key=lambda name: -shares[name]) if whole else []
    left_out = tuple(name for name in varied if told and name not in told)
    return Importance(tuple((name, shares[name] / whole) for name in ordered), len(trials), left_out)


def _told(digest: Digest, trials: Sequence[TrialRecord]) -> dict[str, float]:
    from sweeper.search.optuna.importance import ped_anova  # imports Optuna

    return ped_anova(digest.space, trials, digest.study.direction)


def contour(digest: Digest, names: Sequence[str]) -> Contour | None:
    """Over the first two of the parameters; None where there are not two, or hardly a trial."""
    if len(names) < 2 or len(digest.complete) < FEWEST:
        return None
    one, other = (digest.space[name] for name in names[:2])
    placed = [(i, digest.place(one, i), digest.place(other, i)) for i in sample(digest.complete, MOST_TRIALS)]
    found = [(i, x, y) for i, x, y in placed if x is not None and y is not None]
    rows, xs, ys = [i for i, _, _ in found], [x for _, x, _ in found], [y for _, _, y in found]
    values = np.array([digest.scale.shown(digest.columns["value"][i]) for i in rows])
    if len(set(xs)) < 2 or len(set(ys)) < 2:
        return None
    grid_x, grid_y = _grid(one, xs), _grid(other, ys)
    heights = _smooth(
        _unit(one, xs, xs), _unit(other, ys, ys), values, _unit(one, grid_x, xs), _unit(other, grid_y, ys)
    )
    numbers = digest.columns["number"]
    own = digest.columns["value"]
    return Contour(
        (one.name, other.name),
        tuple(grid_x),
        tuple(grid_y),
        tuple(tuple(None if math.isnan(height) else float(height) for height in row) for row in heights),
        tuple((x, y, own[i], numbers[i]) for x, y, i in zip(xs, ys, rows, strict=True)),
    )


def _grid(parameter: Parameter, places: Sequence[float]) -> list[float]:
    low, high = min(places), max(places)
    if isinstance(parameter, Categorical):
        return [float(index) for index in range(len(parameter.choices))]
    if is_counted(parameter, low, high):
        return [float(value) for value in range(int(low), int(high) + 1)]
    if parameter.log:
        return [float(value) for value in np.geomspace(low, high, GRID)]
    return [float(value) for value in np.linspace(low, high, GRID)]


def _unit(parameter: Parameter, places: Sequence[float], all_places: Sequence[float]) -> NDArray[np.float64]:
    """In [0, 1] on the parameter's scale; choices and a few numbers stand so far apart that they do not mix."""
    given, known = np.array(places, dtype=float), np.array(all_places, dtype=float)
    if isinstance(parameter, Categorical) or is_counted(parameter, min(all_places), max(all_places)):
        return given
    if parameter.log:
        given, known = np.log(given), np.log(known)
    low, high = known.min(), known.max()
    return np.asarray((given - low) / (high - low))


def _smooth(
    xs: NDArray[np.float64],
    ys: NDArray[np.float64],
    values: NDArray[np.float64],
    grid_x: NDArray[np.float64],
    grid_y: NDArray[np.float64],
) -> NDArray[np.float64]:
    """A mean of the trials' values weighted by nearness, (len(grid_y), len(grid_x))."""
    near_x = np.exp(-0.5 * ((grid_x[:, None] - xs[None, :]) / WIDTH) ** 2)
    near_y = np.exp(-0.5 * ((grid_y[:, None] - ys[None, :]) / WIDTH) ** 2)
    weights, sums = near_y @ near_x.T, (near_y * values) @ near_x.T
    heights = np.full(weights.shape, np.nan)
    known = weights > NEAR
    heights[known] = sums[known] / weights[known]
    return heights
