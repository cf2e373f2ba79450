"""What a study's history says about every set of params after a full training.

One observation per trial and rung. A trial that diverged, ran out of memory or of time counts at the end as the worst
value seen; whether memory and time suffice is a Gaussian process of its own (Gardner et al., ICML 2014).
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from sweeper.search.samplers.acquisition import Acquisition
from sweeper.search.samplers.coordinates import Array, Coordinates
from sweeper.search.samplers.gaussian_process import Hyperparameters, Observations, Process, fit

MOST = 260
"""Observations in the model: a Cholesky factor of so many costs a millisecond."""
OFTEN = 16
"""Up to so many trials hyperparameters are fitted anew for each, later after every eighth more."""
FITS_KEPT = 64
OWN_MERIT = 0.5
"""How much of what a trial's last value has beyond the model counts for it: that may be luck, or merit of its own."""


def is_bad(trial: FrozenTrial) -> bool:
    """Diverged, out of memory or out of time: it has no value of its own."""
    unbounded = trial.state is TrialState.COMPLETE and not math.isfinite(trial.value or 0.0)
    return unbounded or "bad" in trial.user_attrs


def is_infeasible(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get("bad") in ("out_of_memory", "timeout")


def is_paused(trial: FrozenTrial) -> bool:
    return trial.state is TrialState.RUNNING and bool(trial.user_attrs.get("paused"))


def is_pending(trial: FrozenTrial) -> bool:
    """In training now."""
    return trial.state is TrialState.RUNNING and not is_paused(trial)


@dataclass(frozen=True)
class Ladder:
    """`rungs`: epochs done when a trial is judged, the last are all `epochs`. No epochs: only final values count."""

    epochs: int | None
    rungs: tuple[int, ...]

    def time(self, epoch: int) -> float:
        """0 after the first epoch, 1 after the last: what one more epoch changes shrinks with their number."""
        assert self.epochs is not None
        return math.log(epoch) / math.log(self.epochs) if self.epochs > 1 else 1.0

    def curve(self, trial: FrozenTrial) -> dict[float, float]:
        """Time → value, at the rungs and where the trial stands; finite ones only."""
        values: dict[float, float | None] = {}
        if self.epochs is not None:
            steps = [step for step in trial.intermediate_values if 1 <= step <= self.epochs]
            kept = [step for step in steps if step in self.rungs or step == max(steps)]
            values |= {self.time(step): trial.intermediate_values[step] for step in kept}
        if trial.state is TrialState.COMPLETE:
            values[1.0] = trial.value
        return {time: value for time, value in values.items() if value is not None and math.isfinite(value)}


class Surrogate:
    """`trials`: those with params that say something or are pending, by number.

    Values are minimised: `sign` is -1 where more is better. `process` is None while there are no values.
    """

    def __init__(self, trials: Sequence[FrozenTrial], coordinates: Coordinates, ladder: Ladder, sign: float) -> None:
        self.trials = trials
        self.coordinates = coordinates
        self.sites = coordinates.sites([trial.params for trial in trials])
        self._points = coordinates.full(self.sites)
        self._index = {trial.number: index for index, trial in enumerate(trials)}
        self._pending = np.flatnonzero([is_pending(trial) for trial in trials])
        data = self._observations(ladder, sign)
        self.process = Process(_standardised(_capped(data)), self._fitted(data)) if len(data) else None

    def _observations(self, ladder: Ladder, sign: float) -> Observations:
        rows = [
            (index, time, sign * value)
            for index, trial in enumerate(self.trials)
            if not is_bad(trial)
            for time, value in ladder.curve(trial).items()
        ]
        if rows:
            worst = max(value for _, _, value in rows)
            rows += [(index, 1.0, worst) for index, trial in enumerate(self.trials) if is_bad(trial)]
        rows.sort(key=lambda row: row[:2])
        owners = np.array([index for index, _, _ in rows], dtype=np.intp)
        points = self._points[owners]
        points[:, -1] = [time for _, time, _ in rows]
        return Observations(points, owners, np.array([value for _, _, value in rows]))

    def _fitted(self, data: Observations) -> Hyperparameters:
        """From trials that are over, as a rule: then the same ones fit until an eighth more have come."""
        early = data.select(data.trials < _settled(len(self.trials) - len(self._pending)))
        return _fit(_standardised(_capped(early if len(early) else data)))

    def __contains__(self, number: int) -> bool:
        return number in self._index

    def means(self, numbers: Sequence[int]) -> Array:
        """Of these trials after a full training, standardised; lower is better."""
        assert self.process is not None
        return self.process.posterior(self._points[[self._index[number] for number in numbers]])[0]

    def merits(self, numbers: Sequence[int]) -> Array:
        """The means, and OWN_MERIT."""
        assert self.process is not None
        data = self.process.data
        beyond = data.targets - self.process.posterior(data.points)[0]
        last = dict(zip(data.trials, beyond, strict=True))
        return self.means(numbers) + OWN_MERIT * np.array([last.get(self._index[number], 0.0) for number in numbers])

    def leaders(self, count: int) -> Array:
        """Sites of the trials with the lowest means."""
        assert self.process is not None
        known = np.unique(self.process.data.trials)
        means = self.process.posterior(self._points[known])[0]
        return self.sites[known[np.argsort(means, kind="stable")[:count]]]

    def acquisition(self) -> Acquisition:
        """For a new trial: those in training count as if they had ended at their means."""
        assert self.process is not None
        believing = self.process.believing(self._points[self._pending], self._pending)
        return Acquisition(believing, self._best, self._constraint)

    def worth(self, numbers: Sequence[int]) -> Array:
        """log EI of these trials after a full training."""
        assert self.process is not None
        points = self._points[[self._index[number] for number in numbers]]
        return Acquisition(self.process, self._best, self._constraint)(points)

    def shift(self, number: int) -> float:
        """By how much its own observations have changed the log EI of a trial."""
        assert self.process is not None
        index = self._index[number]
        if (self.process.data.trials == index).all():
            return 0.0
        before = Acquisition(self.process.without(index), self._best)
        after = Acquisition(self.process, self._best)
        return float((after(self._points[[index]]) - before(self._points[[index]]))[0])

    @cached_property
    def _best(self) -> float:
        """The lowest mean after a full training, of trials that had one if there are any."""
        assert self.process is not None
        data = self.process.data
        full = [index for index in data.trials[data.points[:, -1] == 1.0] if not is_bad(self.trials[index])]
        return float(self.process.posterior(self._points[full or data.trials])[0].min())

    @cached_property
    def _constraint(self) -> Process | None:
        """Of labels: 1 for trials that memory and time sufficed for, -1 for the others; None while there are none."""
        over = np.array([is_infeasible(trial) for trial in self.trials])
        if not over.any():
            return None
        known = np.setdiff1d(np.arange(len(self.trials)), self._pending)[-MOST:]
        labels = Observations(self._points[known], known, np.where(over[known], -1.0, 1.0))
        return Process(labels, _fit(labels))


_fits: OrderedDict[bytes, Hyperparameters] = OrderedDict()


def _fit(data: Observations) -> Hyperparameters:
    """`fit`, remembered: a function of the observations alone."""
    key = hashlib.sha256(data.points.tobytes() + data.trials.tobytes() + data.targets.tobytes()).digest()
    if key not in _fits:
        _fits[key] = fit(data)
    _fits.move_to_end(key)
    while len(_fits) > FITS_KEPT:
        _fits.popitem(last=False)
    return _fits[key]


def _settled(trials: int) -> int:
    """How many of so many trials hyperparameters are fitted to."""
    size = min(trials, OFTEN)
    while size >= OFTEN and size + size // 8 <= trials:
        size += size // 8
    return size


def _standardised(data: Observations) -> Observations:
    """Mean 0, deviation 1; above the median by more than the best is below it, all are the same."""
    targets = np.minimum(data.targets, 2.0 * np.median(data.targets) - data.targets.min())
    return replace(data, targets=(targets - targets.mean()) / (targets.std() or 1.0))


def _capped(data: Observations) -> Observations:
    """At most MOST: all full ones if they fill no more than half, the best of the highest rungs, others evenly."""
    if len(data) <= MOST:
        return data
    order = np.lexsort((data.targets, -data.points[:, -1]))
    full = min(int((data.points[:, -1] == 1.0).sum()), MOST // 2)
    first = full + (MOST - full) // 2
    evenly = np.linspace(first, len(data) - 1, MOST - first).astype(int)
    return data.select(np.sort(order[np.concatenate([np.arange(first), evenly])]))
