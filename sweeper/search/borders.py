"""Border verdicts: do the best values of a parameter crowd an edge of its range, and what is there to do?

Everything is told on the parameter's own scale, where its range is [0, 1], and at the edge that is nearer to the best
trial. The good trials *crowd* that edge if

1. the best lies in the outer tenth of the range, and so does another of the best five (of whole numbers and choices the
   outermost one counts, however few there are);
2. the better a trial, the nearer to that edge it lies, all others being equal, and that is not luck: p ≤ 0.01.

The second is the partial rank correlation given the other parameters (a ridge regression with their squares). Nothing
less will do beside a Bayesian sampler: it goes where it was good, so three in a row at an edge are soon luck; and as
its later trials are better and less spread, a parameter that does not matter at all seems to have its best where it
came to rest: the plain correlation called half of those wrong. A slope is seen before many trials lie at the edge; the
first test keeps quiet where the optimum is near an edge, but inside. experiments/benchmarks/borders.py measures how
often the rule is wrong on random data, asked once or every five trials all along, and how soon it is right.

Where the first holds and the second does not, the winner may still be at an edge, where the sampler has put most of
its trials. If more of the best five lie there than an even spread would put there (p ≤ 0.01), that is no *inside*: the
verdict is *too few trials to say*, and names the edge.

Trials that diverged or ran out of memory or time are told by where they are: were they among the crowd, or beyond it,
the edge is one of stability, and a wider range would hold nothing but more of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from sweeper.search import significance
from sweeper.search.ranges import around, ranged, wider
from sweeper.search.significance import TINY, Array
from sweeper.search.space import Categorical, Parameter, SearchSpace
from sweeper.search.verdict import MIN_TRIALS, OUTER, BorderKind, Edge, Scale, Verdict
from sweeper.words.records import Direction, TrialRecord, TrialState

TOP = 5
CROWD = 2
"""So many of the top lie at a crowded edge, the best among them."""
LUCK = 0.01
"""The largest p-value of a slope; less for a zone wider than a tenth, where the best lie by chance more often."""
MOVING_LUCK = 0.3
"""For ranges that are to be moved, within limits that a person gave: one widened without need costs little, one that
stays wrong costs the sweep."""
FAILING, FAILING_SLOPE = 0.2, 0.05
"""A stability limit fails so large a share of the trials at it, and more than elsewhere with such a p-value."""


def verdicts(
    space: SearchSpace,
    trials: Sequence[TrialRecord],
    direction: Direction,
    *,
    full_epochs: int | None = None,
    luck: float = LUCK,
) -> list[Verdict]:
    """One verdict for each numeric parameter and each ordered categorical, in the order of the space.

    Trials that got further come first, then the better value, as in successive halving: those of a few epochs may be
    given beside complete ones. `full_epochs`: how far a complete trial came that no plan gave a number of epochs.
    A conditional parameter is judged by the trials in which it is active. Failures `killed` and `error` say nothing.
    `luck`: the largest p-value of a slope; a larger one finds an edge sooner, and calls more of them wrong.
    """
    good = ranked(trials, direction, full_epochs)
    bad = [trial for trial in trials if trial.failure and trial.failure.is_bad]
    columns = {parameter.name: _columns(parameter, [trial for _, trial in good]) for parameter in space}
    return [_verdict(parameter, good, bad, columns, luck) for parameter in space if _has_edges(parameter)]


def widened(space: SearchSpace, found: Sequence[Verdict]) -> SearchSpace:
    """The space with the crowded ranges moved, as far as `limits` are given and reach; the others are a person's."""
    moves = {verdict.parameter: verdict.widen_to for verdict in found if verdict.widen_to is not None}

    def moved(parameter: Parameter) -> Parameter:
        if isinstance(parameter, Categorical) or parameter.limits is None or parameter.name not in moves:
            return parameter
        low, high = moves[parameter.name]
        return ranged(parameter, low, high)

    return SearchSpace(tuple(map(moved, space)))


def narrowed(
    space: SearchSpace,
    trials: Sequence[TrialRecord],
    direction: Direction,
    *,
    keep: float = 0.2,
) -> SearchSpace:
    """The space around the best `keep` of the trials, as one does by hand (CS231n's notes: from coarse to fine).

    Each range shrinks, on its own scale, to where those lie and half their mean gap on each side, at the most to a
    tenth. It never leaves the range that is; a parameter with fewer than three such trials stays.
    """
    good = [trial for _, trial in ranked(trials, direction)]
    top = good[: max(3, math.ceil(keep * len(good)))]

    def closed(parameter: Parameter) -> Parameter:
        units = [min(max(_unit(parameter, trial), 0.0), 1.0) for trial in top if _has(parameter, trial)]
        return parameter if isinstance(parameter, Categorical) or len(units) < 3 else around(parameter, units)

    return SearchSpace(tuple(map(closed, space)))


# ---- which trials count ----------------------------------------------------------------------------------------------


def ranked(
    trials: Sequence[TrialRecord], direction: Direction, full_epochs: int | None = None
) -> list[tuple[float, TrialRecord]]:
    """The trials that have a value and did not fail, the best first, each with its place; equals share theirs."""

    def merit(trial: TrialRecord) -> tuple[float, float]:
        return -_reach(trial, full_epochs), direction.sign * _finite(trial.value)

    told = [trial for trial in trials if _tells(trial)]
    found: list[tuple[float, TrialRecord]] = []
    for _, group in groupby(sorted(told, key=merit), key=merit):
        equals = list(group)
        place = len(found) + (len(equals) - 1) / 2
        found += [(place, trial) for trial in equals]
    return found


def _tells(trial: TrialRecord) -> bool:
    return trial.state is not TrialState.FAIL and trial.params is not None and math.isfinite(_finite(trial.value))


def _finite(value: float | None) -> float:
    return math.nan if value is None else value


def _reach(trial: TrialRecord, full_epochs: int | None) -> float:
    """A complete trial that stopped by itself came as far as it was to go."""
    if trial.state is not TrialState.COMPLETE:
        return trial.epochs_done
    return trial.target_epochs or full_epochs or math.inf


def _has(parameter: Parameter, trial: TrialRecord) -> bool:
    """Whether it is active there; of choices only those that are still there."""
    if trial.params is None or parameter.name not in trial.params:
        return False
    return not isinstance(parameter, Categorical) or parameter.contains(trial.params[parameter.name])


def _unit(parameter: Parameter, trial: TrialRecord) -> float:
    assert trial.params is not None
    return parameter.to_unit(trial.params[parameter.name])


# ---- the verdict on one parameter ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Side:
    """A parameter seen from the edge that is nearer to the best trial.

    Nearness is 1 at the edge, 0 at the other end and more than 1 beyond it. Trials beyond the other end come from
    before the range moved and tell nothing about this edge: they are left out. The zone is the outer tenth, or the
    outermost cell where that is wider; `width` is its share of the range.
    """

    edge: Edge
    places: list[float]
    near: list[float]
    beside: Array
    """What else may have made a trial good, (trials, columns)."""
    failed: list[float]
    zone: float
    width: float

    @classmethod
    def of(
        cls,
        parameter: Parameter,
        good: Sequence[tuple[float, TrialRecord]],
        bad: Sequence[TrialRecord],
        beside: Array,
    ) -> _Side:
        edge: Edge = "upper" if _unit(parameter, good[0][1]) >= 0.5 else "lower"

        def nearness(unit: float) -> float:
            return unit if edge == "upper" else 1 - unit

        near = [nearness(_unit(parameter, trial)) for _, trial in good]
        kept = [index for index, each in enumerate(near) if each > -TINY]
        failed = [each for each in (nearness(_unit(parameter, trial)) for trial in bad) if each > -TINY]
        outermost = nearness(parameter.to_unit(_ends(parameter)[edge == "upper"]))
        is_cell = outermost < 1 - OUTER
        zone, width = (outermost, 2 * (1 - outermost)) if is_cell else (1 - OUTER, OUTER)
        places = [good[index][0] for index in kept]
        return cls(edge, places, [near[index] for index in kept], beside[kept], failed, zone - TINY, width)

    def is_crowded(self, luck: float) -> bool:
        best_is_there = self.near[0] >= self.zone and _count(self.near[:TOP], self.zone) >= CROWD
        return best_is_there and self.slope <= luck * OUTER / self.width

    @property
    def is_in_doubt(self) -> bool:
        """Whether more of the best lie there, the very best too, than of trials that are spread evenly."""
        found = _count(self.near[:TOP], self.zone)
        return self.near[0] >= self.zone and significance.of_share(TOP, self.width, found) <= LUCK

    @cached_property
    def slope(self) -> float:
        """The chance that the better trials lie so much nearer to this edge, all else being equal, by luck."""
        return significance.of_slope(-np.array(self.places), np.array(self.near), self.beside)

    @property
    def unstable(self) -> float | None:
        """Where the trials begin that fail far more often than the others: with the zone, or beyond the best."""
        return next((start for start in (self.zone, self.near[0]) if self._fails(start)), None)

    def _fails(self, start: float) -> bool:
        failed, tried = self.count(start)
        if failed < 2 or failed < FAILING * tried:
            return False
        everything = len(self.near) + len(self.failed)
        return significance.of_count(everything, len(self.failed), tried, failed) <= FAILING_SLOPE

    def count(self, start: float) -> tuple[int, int]:
        """How many failed from there on, of how many."""
        failed = _count(self.failed, start)
        return failed, failed + _count(self.near, start)


def _verdict(
    parameter: Parameter,
    ranking: Sequence[tuple[float, TrialRecord]],
    bad: Sequence[TrialRecord],
    columns: Mapping[str, Array],
    luck: float,
) -> Verdict:
    low, high = _ends(parameter)
    told = Verdict(parameter.name, BorderKind.FEW, None, low, high, scale=_scale(parameter))
    good = [(place, trial) for place, trial in ranking if _has(parameter, trial)]
    if not good:
        return told
    best = good[0][1]
    assert best.params is not None
    others = [column for name, column in columns.items() if name != parameter.name]
    beside = np.hstack([np.zeros((len(ranking), 0)), *others])
    active = [_has(parameter, trial) for _, trial in ranking]
    side = _Side.of(parameter, good, [trial for trial in bad if _has(parameter, trial)], beside[active])
    position = min(max(_unit(parameter, best), 0.0), 1.0)
    told = replace(told, best=best.params[parameter.name], position=position, trials=len(side.near))
    if len(side.near) < MIN_TRIALS:
        return told
    is_crowded = side.is_crowded(luck)
    in_doubt = not is_crowded and side.is_in_doubt
    unstable = side.unstable if is_crowded else None
    failed, tried = side.count(side.zone if unstable is None else unstable)
    told = replace(
        told,
        kind=BorderKind.FEW if in_doubt else BorderKind.INSIDE if unstable is None else BorderKind.DIVERGENCE,
        edge=side.edge if in_doubt or unstable is not None else None,
        top=TOP,
        at_edge=_count(side.near[:TOP], side.zone),
        expected=TOP * _count(side.near, side.zone) / len(side.near),
        p_value=side.slope,
        failed=failed,
        tried=tried,
    )
    return _crowded(parameter, told, side.edge) if is_crowded and unstable is None else told


def _crowded(parameter: Parameter, told: Verdict, edge: Edge) -> Verdict:
    kind = BorderKind.UPPER if edge == "upper" else BorderKind.LOWER
    if isinstance(parameter, Categorical):
        return replace(told, kind=kind, edge=edge)
    found = wider(parameter, edge)
    if found == (parameter.low, parameter.high):
        return replace(told, kind=BorderKind.LIMIT, edge=edge)
    return replace(told, kind=kind, edge=edge, widen_to=found)


def _has_edges(parameter: Parameter) -> bool:
    return not isinstance(parameter, Categorical) or (parameter.ordered and len(parameter.choices) > 1)


def _ends(parameter: Parameter) -> tuple[Any, Any]:
    if isinstance(parameter, Categorical):
        return parameter.choices[0], parameter.choices[-1]
    return parameter.low, parameter.high


def _scale(parameter: Parameter) -> Scale:
    if isinstance(parameter, Categorical):
        return "choices"
    return "log" if parameter.log else "linear"


def _count(near: Sequence[float], start: float) -> int:
    return sum(each >= start for each in near)


def _columns(parameter: Parameter, trials: Sequence[TrialRecord]) -> Array:
    """What a regression sees of a parameter, (trials, columns): place and square, or a mark for each choice.

    Where it is inactive it is at its mean.
    """
    active = np.array([_has(parameter, trial) for trial in trials], bool)
    units = np.array([_unit(parameter, trial) for trial in trials if _has(parameter, trial)])
    if isinstance(parameter, Categorical) and not parameter.ordered:
        found = (units[:, None] == np.unique(units)).astype(float)
    else:
        found = np.column_stack([units, (units - units.mean()) ** 2]) if len(units) else np.zeros((0, 2))
    columns = np.zeros((len(trials), found.shape[1]))
    columns[active] = found - found.mean(axis=0) if len(units) else found
    return columns


# ---- numbers in words ------------------------------------------------------------------------------------------------
