from __future__ import annotations

import heapq
import random
from collections.abc import Iterator

import pytest

from sweeper.analysis.timeleft import Running, time_left

EPOCHS = 20
MIXED = (3, 3, 3, 7, 20)


def sweep(draw: random.Random, workers: int, trials: int, look_after: int, spread: float, costs: tuple[int, ...]):
    """A simulated sweep, looked at when so many trials have ended: the time that was left, and what is said of it."""
    free, spans = [0.0] * workers, []
    for _ in range(trials):
        units = draw.choice(costs)
        begin = heapq.heappop(free)
        spans.append((begin, begin + units * draw.lognormvariate(0.0, spread), units))
        heapq.heappush(free, spans[-1][1])
    ends = sorted(end for _, end, _ in spans)
    now = ends[look_after - 1]
    ended = [(float(units), end - begin) for begin, end, units in sorted(spans, key=lambda span: span[1]) if end <= now]
    queued = sum(units for begin, _, units in spans if begin > now)
    return ends[-1] - now, time_left(queued, list(in_hand(spans, now)), ended[-50:], workers)


def in_hand(spans: list[tuple[float, float, int]], now: float) -> Iterator[Running]:
    for begin, end, units in spans:
        if begin <= now < end:
            step = units / EPOCHS
            done = int((now - begin) / (end - begin) * EPOCHS) * step
            yield Running(done, units - done, now - begin, step)


@pytest.mark.parametrize(
    ("workers", "trials", "look_after", "spread", "costs"),
    [
        (1, 40, 10, 0.6, (1,)),
        (1, 60, 20, 0.2, MIXED),
        (2, 40, 20, 0.6, (1,)),
        (2, 100, 30, 0.6, MIXED),
        (4, 40, 36, 0.4, (1,)),
        (4, 200, 60, 0.6, (1,)),
        (8, 100, 40, 0.4, (1,)),
        (8, 200, 60, 0.4, MIXED),
    ],
)
def test_the_range_holds_the_truth_in_about_four_of_five_cases(workers, trials, look_after, spread, costs) -> None:
    draw = random.Random(3)
    cases = [sweep(draw, workers, trials, look_after, spread, costs) for _ in range(60)]
    held = sum(said.between[0] <= truth <= said.between[1] for truth, said in cases) / len(cases)
    bias = sum(said.seconds for _, said in cases) / sum(truth for truth, _ in cases)
    assert held >= 0.65
    assert 0.9 <= bias <= 1.1


def test_over_all_such_sweeps_it_is_not_far_too_wide() -> None:
    draw = random.Random(4)
    asked = [(w, 40, n, spread, (1,)) for w in (1, 2, 4) for n in (10, 20, 30) for spread in (0.3, 0.6, 0.9)]
    cases = [sweep(draw, *each) for each in asked for _ in range(8)]
    held = sum(said.between[0] <= truth <= said.between[1] for truth, said in cases) / len(cases)
    assert 0.7 <= held <= 0.9


def test_the_range_is_narrower_the_more_trials_were_seen_and_are_left() -> None:
    draw = random.Random(0)
    seconds = [draw.lognormvariate(0.0, 0.5) for _ in range(50)]

    def width(seen: int, queued: int) -> float:
        said = time_left(queued, (), [(1.0, each) for each in seconds[:seen]], 2)
        assert said is not None
        assert said.between is not None
        return said.between[1] / said.between[0]

    assert width(50, 200) < width(10, 200)
    assert width(50, 200) < width(50, 10)


def test_what_runs_goes_on_at_its_own_pace() -> None:
    slow = Running(done=5, left=5, seconds=100.0, step=1)
    said = time_left(0, [slow], [(10.0, 1.0)] * 5, 2)
    assert said is not None
    assert 70 < said.seconds < 110
    assert said.between is not None
    assert said.between[0] > 50


def test_nobody_knows_before_a_trial_has_ended_or_without_a_worker() -> None:
    assert time_left(5, (), (), 1) is None
    assert time_left(5, (), [(1.0, 2.0)], 0) is None
    assert time_left(5, (), [(1.0, 0.0)], 1) is None
    one = time_left(5, (), [(1.0, 2.0)], 1)
    assert one is not None
    assert one.between is None
    assert 8 < one.seconds < 12


def test_nothing_left_takes_no_time_and_the_same_question_gets_the_same_answer() -> None:
    assert time_left(0, (), (), 0).seconds == 0
    asked = (30.0, [Running(0.0, 1.0, 3.0)], [(1.0, 2.0), (1.0, 5.0), (1.0, 3.0)], 2)
    assert time_left(*asked) == time_left(*asked)


def test_many_queued_trials_are_reckoned_as_one_sum() -> None:
    ended = [(1.0, 1.0 + index % 5) for index in range(50)]
    for queued in (1_000, 10_000_000):
        said = time_left(queued, (), ended, 4)
        assert said is not None
        assert said.seconds == pytest.approx(3 * queued / 4, rel=0.1)
