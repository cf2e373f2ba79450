"""Who trained what when: the workers' time in lanes, on a clock that stands still while no worker lives."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeper.analysis import accounts
from sweeper.analysis.accounts import Held
from sweeper.store import columns
from sweeper.store.attempts import Attempt
from sweeper.store.breaker import device_name
from sweeper.store.connection import Store
from sweeper.words.records import StudyRecord

MAX_STRETCHES = 2_000
"""What is drawn; where there are more, neighbours of a lane become one."""

Row = Mapping[str, Any]
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A trial in a lane's hands, in seconds of the sweep. `trials`: how many, where neighbours were merged."""

    lane: int
    begin: float
    end: float
    number: int
    trials: int = 1


@dataclass(frozen=True, slots=True)
class Timeline:
    """`lanes`: a name for each device slot; `lives`: when a worker lived there; `cuts`: where the sweep had ended."""

    lanes: tuple[str, ...]
    lives: tuple[tuple[int, float, float], ...]
    stretches: tuple[Stretch, ...]
    cuts: tuple[float, ...]
    seconds: float
    """That any worker lived."""
    ends: Mapping[int, float]
    """When each trial was left for the last time."""


class Clock:
    """Seconds of the sweep: the time in which any of some spans lasted.

    >>> clock = Clock([(100, 110), (105, 120), (500, 510)])
    >>> clock.at(100), clock.at(119), clock.at(300), clock.at(505), clock.seconds, clock.cuts
    (0.0, 19.0, 20.0, 25.0, 30.0, (20.0,))
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        self._begins: list[float] = []
        self._ends: list[float] = []
        self._before: list[float] = []
        self.seconds = 0.0
        for begin, end in _merged(spans):
            self._begins.append(begin)
            self._ends.append(end)
            self._before.append(self.seconds)
            self.seconds += end - begin

    def at(self, moment: float) -> float:
        index = bisect.bisect_right(self._begins, moment) - 1
        return 0.0 if index < 0 else float(self._before[index] + min(moment, self._ends[index]) - self._begins[index])

    @property
    def cuts(self) -> tuple[float, ...]:
        return tuple(map(float, self._before[1:]))


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def collect(store: Store, study: StudyRecord, known: Held) -> tuple[Clock, Timeline]:
    """The clock serves other plots too; `known`: who held what."""
    workers, lifetimes = known.workers, accounts.lifetimes_of(known.workers)
    attempts = _attempts(store, study, known)
    held = _placed(attempts, lifetimes)
    lifetimes = accounts.widened(lifetimes, (each[1:] for each in held))
    clock = Clock(lifetimes.values())
    lanes, lane_of = _lanes(workers, lifetimes)
    stretches = [
        Stretch(lane_of[worker], clock.at(begin), clock.at(end), number) for number, worker, begin, end in held
    ]
    return clock, Timeline(
        lanes=tuple(lanes),
        lives=tuple((lane_of[worker], clock.at(begin), clock.at(end)) for worker, (begin, end) in lifetimes.items()),
        stretches=tuple(_bounded(stretches, clock.seconds)),
        cuts=clock.cuts,
        seconds=clock.seconds,
        ends={each.number: clock.at(each.end) for each in attempts if each.end is not None},
    )


def _attempts(store: Store, study: StudyRecord, known: Held) -> list[Attempt]:
    """Of each trial, in order, who held it when."""
    turns = {each.number: each.attempts for each in known.turns}
    found: list[Attempt] = []
    for number, worker, started, finished, seconds, *_ in columns.trial_table(
        store, study.id, ("number", "worker_id", "started", "finished", "seconds")
    ):
        if number in turns:
            found += turns[number]
        elif started is not None:
            found.append(Attempt(number, worker, started, finished or started + seconds))
    return found


def _placed(attempts: Sequence[Attempt], lifetimes: Mapping[int, Span]) -> list[tuple[int, int, float, float]]:
    """Each with a worker; one of nobody knows whom, or that was trained elsewhere, is left out."""
    return [
        (each.number, each.worker, each.begin, each.end)
        for each in attempts
        if each.worker in lifetimes and each.worker is not None and each.end is not None
    ]


def _lanes(workers: Sequence[Row], lifetimes: Mapping[int, Span]) -> tuple[list[str], dict[int, int]]:
    """A lane for a device slot, with all the workers that came there one after another."""
    names: list[str] = []
    ends: list[float] = []
    lane_of: dict[int, int] = {}
    for row in sorted(workers, key=lambda row: lifetimes[row["id"]]):
        begin, end = lifetimes[row["id"]]
        name = device_name(row["host"], row["slot"], row["device"])
        free = (lane for lane, known in enumerate(names) if known == name and ends[lane] <= begin)
        lane = next(free, len(names))
        if lane == len(names):
            names.append(name)
            ends.append(end)
        ends[lane] = end
        lane_of[row["id"]] = lane
    return _told_apart(names), lane_of


def _told_apart(names: Sequence[str]) -> list[str]:
    """
    >>> _told_apart(["cpu of a", "cpu of b", "cpu of a"])
    ['cpu of a · 1', 'cpu of b', 'cpu of a · 2']
    """
    return [
        name if names.count(name) == 1 else f"{name} · {names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]


def _bounded(stretches: Sequence[Stretch], seconds: float) -> list[Stretch]:
    """At most `MAX_STRETCHES`, by and large: neighbours with hardly a gap between them are drawn as one."""
    ordered = sorted(stretches, key=lambda stretch: (stretch.lane, stretch.begin))
    if len(ordered) <= MAX_STRETCHES:
        return ordered
    wide = seconds * max(1, len({stretch.lane for stretch in ordered})) / MAX_STRETCHES
    merged: list[Stretch] = []
    for stretch in ordered:
        last = merged[-1] if merged else None
        if last and last.lane == stretch.lane and stretch.end - last.begin < wide:
            end = max(last.end, stretch.end)
            merged[-1] = replace(last, end=end, trials=last.trials + 1)
        else:
            merged.append(stretch)
    return merged
