"""How long a study still takes and how sure that is: what is left of it, played through many times with recent trials.

A trial has a cost in units (1, or the epochs that it was granted) and takes some seconds. Those that ended last and
those that run now are the ones seen: a running one counts for as long as its pace so far says, or else the short ones,
which end first, would speak for all. Each time as many of them are drawn again (the bootstrap: Efron, "Bootstrap
methods", 1979), for a few trials do not say what the mean is, and the workers, as each becomes free, take trials of
these until nothing is queued. What is left of a running trial goes on at its own pace.

The middle nine tenths of these endings are the range. Played with trials of all lengths (a logarithm's deviation of 0.2
to 0.6, one to eight workers, ten to fifty seen) it holds the truth in about four of five cases, for a few skewed
durations show less than there is; and only as long as the trials to come resemble them.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LEAST = 3
"""Of fewer trials nobody knows how much they differ."""
TIMES = 60
ONE_BY_ONE = 32
"""So many queued trials, the last ones, are played singly; those before them keep all workers busy, as one sum."""
BELIEF = 0.7
"""Two more trials are seen than there were, that differ by such a share from the mean: a few that happen to be alike do
not say that all are."""
UNSTEADY = 0.05
"""A trial's epochs to come differ from those so far by such a share."""

Seen = tuple[float, float]
"""Units and seconds of a trial."""


@dataclass(frozen=True, slots=True)
class Running:
    """A trial that is trained: the units of the epochs that it has done and has yet to do, and its seconds so far.

    `step`: the units of one epoch; the one that is trained now is anywhere between its begin and its end.
    """

    done: float
    left: float
    seconds: float
    step: float = 0.0

    def seen(self, ended: Sequence[Seen]) -> Seen:
        """As it is expected: at its own pace so far."""
        if self.done:
            return self.done + self.left, self._whole(0.5)
        longer = self._longer(ended)
        return self.left, sum(longer) / len(longer)

    def remaining(self, seen: Sequence[Seen], draw: random.Random) -> float:
        """Its seconds to come, one time."""
        if self.done:
            return max(0.0, self._whole(draw.random()) * draw.gauss(1.0, UNSTEADY) - self.seconds)
        return draw.choice(self._longer(seen)) - self.seconds

    def _longer(self, seen: Sequence[Seen]) -> list[float]:
        """Before its first epoch has ended it may become any that took longer than it has; if none did, half again."""
        wholes = (seconds / max(1.0, units) * self.left for units, seconds in seen)
        return [whole for whole in wholes if whole > self.seconds] or [1.5 * self.seconds]

    def _whole(self, part: float) -> float:
        return max(self.seconds, self.seconds / (self.done + part * self.step) * (self.done + self.left))


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """`between`: in most cases it ends there; None where too few trials say."""

    seconds: float
    between: tuple[float, float] | None = None


def time_left(queued: float, running: Sequence[Running], ended: Sequence[Seen], workers: int) -> TimeLeft | None:
    """The time until `queued` units and the `running` trials are trained; None while it is unknown.

    The same arguments give the same answer.
    """
    if queued <= 0 and sum(each.left for each in running) <= 0:
        return TimeLeft(0.0)
    if not workers or sum(seconds for _, seconds in ended) <= 0:
        return None
    seen = [*ended, *(each.seen(ended) for each in running)]
    draw = random.Random(0)
    times = sorted(_time(max(0.0, queued), running, again, workers, draw) for again in _drawn(seen, draw))
    edge = TIMES // 20
    between = (times[edge], times[-1 - edge]) if len(ended) >= LEAST else None
    return TimeLeft(sum(times) / TIMES, between)


def _rate(seen: Sequence[Seen]) -> float:
    """Seconds per unit."""
    return sum(seconds for _, seconds in seen) / max(1.0, sum(units for units, _ in seen))


def _drawn(seen: Sequence[Seen], draw: random.Random) -> Iterator[list[Seen]]:
    rate, units = _rate(seen), sum(units for units, _ in seen) / len(seen)
    believed = [(units, rate * units * (1 + sign * BELIEF)) for sign in (-1, 1)]
    return (draw.choices([*seen, *believed], k=len(seen)) for _ in range(TIMES))


def _time(queued: float, running: Sequence[Running], seen: Sequence[Seen], workers: int, draw: random.Random) -> float:
    """Until the last worker ends, one time."""
    free = [each.remaining(seen, draw) for each in running]
    free += [0.0] * (workers - len(free))
    near = min(queued, ONE_BY_ONE * sum(units for units, _ in seen) / len(seen))
    if queued > near:
        free = _filled(free, _rate(seen) * (queued - near))
    heapq.heapify(free)
    for units, seconds in draw.choices(seen, k=2 * ONE_BY_ONE):
        if near <= 0:
            break
        heapq.heapreplace(free, free[0] + seconds * min(1.0, near / max(1.0, units)))
        near -= max(1.0, units)
    return max(free)


def _filled(free: Sequence[float], seconds: float) -> list[float]:
    """When workers that become free at these times are free again, after so many seconds of work that they share."""
    starts, total = sorted(free), seconds
    for count, start in enumerate(starts, 1):
        total += start
        if count == len(starts) or total / count <= starts[count]:
            return [max(each, total / count) for each in starts]
    return starts
