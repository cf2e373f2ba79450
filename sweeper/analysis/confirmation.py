"""Confirmation: which of the best trials is truly the best, when each was trained again with other seeds?

The best of many values is optimistic: it was chosen because it was good, by luck too. So a trial's own value says where
to look, and only its repeats, with seeds that nobody has chosen, say how good its params are.

With no knowledge beforehand, and a spread of its own for each trial, the true mean after n repeats has Student's
distribution with n - 1 degrees of freedom, around their mean with its standard error (Box & Tiao, "Bayesian Inference
in Statistical Analysis", 1973, section 2.4; the difference of two is that of Behrens and Fisher). The probability to be
the best of all is the share of joint draws in which it is (Scott, "A modern Bayesian look at the multi-armed bandit",
2010).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sweeper.words.records import FINISHED, Direction, TrialRecord, TrialState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SURE = 0.95
"""A probability from which on a person may rely on it."""
DRAWS = 100_000


class Standing(StrEnum):
    WINS = "wins"
    TIES = "ties"
    LOSES = "loses"
    UNKNOWN = "unknown"
    """There is nothing to compare it with, or too few repeats to say how much they vary."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A trial and what its repeats came to. `first`: its own value; `values`: of the repeats that ended well."""

    number: int
    first: float | None
    values: tuple[float, ...]
    failed: int = 0
    open: int = 0
    """Repeats that wait or run."""

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of one training, estimated from `values`."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


def gather(records: Iterable[TrialRecord]) -> list[Repeated]:
    """Trials with their repeats, which may come in any order; those without a repeat are left out."""
    records = list(records)
    found = []
    for trial in records:
        again = [each for each in records if each.repeats == trial.number]
        ended = [each for each in again if each.state in FINISHED]
        good = [each.value for each in ended if each.state is TrialState.COMPLETE and _is_number(each.value)]
        if again:
            values = tuple(value for value in good if value is not None)
            found.append(Repeated(trial.number, trial.value, values, len(ended) - len(good), len(again) - len(ended)))
    return found


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`probability`: that its true mean is better than those of all others; None where nothing can be said."""

    trial: Repeated
    probability: float | None
    standing: Standing

    def row(self) -> dict[str, Any]:
        trial = self.trial
        return {
            "number": trial.number,
            "first": trial.first,
            "mean": trial.mean,
            "deviation": trial.deviation,
            "seeds": len(trial.values),
            "failed": trial.failed,
            "open": trial.open,
            "probability": self.probability,
            "standing": self.standing.value,
        }


def verdicts(trials: Sequence[Repeated], direction: Direction) -> list[Verdict]:
    """The best mean first; those of which nothing can be said last.

    `wins`: the best with probability 0.95 or more. `ties`: it cannot be told from the one that leads. `loses`: the
    leader is better with probability 0.95 or more.
    """
    sign = direction.sign
    able = sorted((t for t in trials if t.deviation is not None), key=lambda t: (sign * (t.mean or 0.0), t.number))
    rest = [Verdict(trial, None, Standing.UNKNOWN) for trial in trials if trial not in able]
    if len(able) < 2:
        return [*(Verdict(trial, None, Standing.UNKNOWN) for trial in able), *rest]
    draws = sign * _true_means(able)
    best = _share_of_best(draws)
    found = [Verdict(able[0], best[0], Standing.WINS if best[0] >= SURE else Standing.TIES)]
    for index, trial in enumerate(able[1:], start=1):
        leads = _share_of_best(draws[:, [0, index]])[0]
        found.append(Verdict(trial, best[index], Standing.LOSES if leads >= SURE else Standing.TIES))
    return [*found, *rest]


def _true_means(trials: Sequence[Repeated]) -> NDArray[np.float64]:
    """Draws of what the means may truly be, (DRAWS, trials)."""
    import numpy as np

    counts = np.array([len(trial.values) for trial in trials])
    means = np.array([trial.mean for trial in trials])
    errors = np.array([trial.deviation for trial in trials]) / np.sqrt(counts)
    rng = np.random.default_rng(0)
    draws: NDArray[np.float64] = means + errors * rng.standard_t(counts - 1, (DRAWS, len(trials)))
    return draws


def _share_of_best(draws: NDArray[np.float64]) -> list[float]:
    """How often each is the lowest; equal ones share."""
    lowest = draws == draws.min(axis=1, keepdims=True)
    return [float(share) for share in (lowest / lowest.sum(axis=1, keepdims=True)).mean(axis=0)]


def optimism(trial: Repeated, direction: Direction) -> float | None:
    """By how much its own value was better than the mean of its repeats; below 0: it was worse."""
    if trial.first is None or trial.mean is None or not _is_number(trial.first):
        return None
    return direction.sign * (trial.mean - trial.first)
