"""Basic hyperparameter axis plots and isolation plots, as numbers: the metric against one parameter at a time.

After Google's tuning playbook (github.com/google-research/tuning_playbook): whether the best lie inside the range is
seen with the range's edges and the failed trials in the picture; what the parameter is worth is seen where, at each of
its values, all the others are the best that was tried.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.analysis.digest import Digest, sample
from sweeper.search.space import Categorical, Int, Parameter, as_text
from sweeper.words.records import TrialState

MOST_READ = 10_000
MOST_POINTS = 1_500
MOST_FAILED = 300
BINS = 10

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """A trial on an axis. `x`: the value, or the place of the choice (from 0); `stage`: by its place in the plan."""

    number: int
    x: float
    y: float | None
    stage: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Bin:
    """A stretch of the axis, and the best trial in it."""

    low: float
    high: float
    best: Mark
    trials: int


@dataclass(frozen=True, slots=True)
class Axis:
    """`ranges`: as it began, and after each move of it; none for choices. `span`: all that is shown."""

    name: str
    log: bool
    choices: tuple[str, ...]
    ranges: tuple[Span, ...]
    span: Span
    marks: tuple[Mark, ...]
    failed: tuple[Mark, ...]
    bins: tuple[Bin, ...]


def collect(digest: Digest, parameter: Parameter, most: int = MOST_POINTS) -> Axis:
    ranked = sample(digest.ranked, MOST_READ)
    found = [mark for i in ranked if (mark := _mark(digest, parameter, i)) is not None]
    failed = [mark for i in sample(digest.failed, MOST_READ) if (mark := _mark(digest, parameter, i)) is not None]
    ranges = _ranges(digest, parameter.name)
    log = not isinstance(parameter, Categorical) and parameter.log
    if isinstance(parameter, Categorical):
        span = (-0.5, len(parameter.choices) - 0.5)
    else:
        xs = [mark.x for mark in (*found, *failed)]
        span = (min([*xs, *(low for low, _ in ranges)]), max([*xs, *(high for _, high in ranges)]))
    return Axis(
        name=parameter.name,
        log=log,
        choices=tuple(map(as_text, getattr(parameter, "choices", ()))),
        ranges=ranges,
        span=span,
        marks=tuple(found[i] for i in sample(range(len(found)), most)),
        failed=tuple(failed[i] for i in sample(range(len(failed)), min(most, MOST_FAILED))),
        bins=tuple(isolated(found, parameter, span)),
    )


def _mark(digest: Digest, parameter: Parameter, row: int) -> Mark | None:
    """None where the parameter was not active, or the trial failed before its params were proposed."""
    columns, x = digest.columns, digest.place(parameter, row)
    if x is None:
        return None
    complete = columns["state"][row] == TrialState.COMPLETE
    y = None if columns["state"][row] == TrialState.FAIL else columns["value"][row]
    return Mark(columns["number"][row], x, y, columns["stage"][row], complete)


def _ranges(digest: Digest, name: str) -> tuple[Span, ...]:
    """Without those that a move left as they were."""
    found: list[Span] = []
    for space in digest.spaces:
        parameter = space[name]
        if not isinstance(parameter, Categorical) and found[-1:] != [(parameter.low, parameter.high)]:
            found.append((parameter.low, parameter.high))
    return tuple(found)


def isolated(ranked: Sequence[Mark], parameter: Parameter, span: Span) -> list[Bin]:
    """The best of each value or stretch; `ranked`: the best first, trials that got further before others."""
    edges = _edges(ranked, parameter, span)
    lows = [low for low, _ in edges]
    first: dict[int, Mark] = {}
    counts: dict[int, int] = {}
    for mark in ranked:
        index = max(0, bisect.bisect_right(lows, mark.x) - 1)
        first.setdefault(index, mark)
        counts[index] = counts.get(index, 0) + 1
    return [Bin(*edges[index], first[index], counts[index]) for index in sorted(first)]


def _edges(ranked: Sequence[Mark], parameter: Parameter, span: Span) -> list[Span]:
    values = sorted({mark.x for mark in ranked})
    if isinstance(parameter, Categorical):
        return [(index - 0.5, index + 0.5) for index in range(len(parameter.choices))]
    if isinstance(parameter, Int) and len(values) <= BINS and not parameter.log:
        return [(value - 0.5, value + 0.5) for value in values]
    low, high = span
    if low == high:
        return [(low, high)]
    cuts = [_between(low, high, index / BINS, parameter.log) for index in range(BINS + 1)]
    cuts[0], cuts[-1] = low, high
    return list(itertools.pairwise(cuts))


def _between(low: float, high: float, share: float, log: bool) -> float:
    return float(low * (high / low) ** share) if log else low + (high - low) * share
