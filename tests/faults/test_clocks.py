"""The database's clock is wrong, jumps ahead and back: no living trial is taken away, no dead one stays."""

from __future__ import annotations

import os
import signal

import checker
import lesson
import pytest

import forks

TRIALS, EPOCHS, WORKERS = 6, 4, 2
DAY = 86_400.0
JUMPS = (0.0, DAY, -DAY, 1e9, -3600.0)


@pytest.fixture
def clock(tmp_path):
    file = tmp_path / "clock"
    lesson.set_clock(file, 0.0)
    return file


@pytest.fixture
def judge(tmp_path):
    """`judge()`: what the sweep in `disturbed` left, and the verdict on it."""

    def check():
        assert forks.run(lesson.run, tmp_path / "undisturbed", trials=TRIALS, epochs=EPOCHS) == 0
        left, expected = (
            checker.read_store(tmp_path / name / "sweeper.db", lesson.STUDY) for name in ("disturbed", "undisturbed")
        )
        return left, checker.compare(checker.check(left, trials=TRIALS, epochs=EPOCHS, clock=False), left, expected)

    return check


@pytest.mark.slow
def test_a_clock_that_jumps_takes_no_trial_from_a_living_worker(tmp_path, clock, judge):
    how = {"trials": TRIALS, "epochs": EPOCHS, "seconds": 0.1, "clock": clock, "hook": lesson.jump(clock, JUMPS)}
    workers = [forks.start(lesson.run, tmp_path / "disturbed", **how) for _ in range(WORKERS)]
    assert [forks.ended(worker) for worker in workers] == [0] * WORKERS
    left, verdict = judge()
    assert verdict, str(verdict)
    assert {row["attempt"] for row in left.trials} == {1}, "nobody lost a lease"
    times = [row["reported"] for row in left.epochs]
    assert max(times) - min(times) > 1e9, "the clock did jump"


@pytest.mark.slow
@pytest.mark.parametrize("wrong_by", [DAY, -DAY])
def test_a_trial_whose_worker_dies_while_the_clock_is_wrong_is_taken_up(tmp_path, clock, judge, wrong_by):
    folder = tmp_path / "disturbed"
    database = folder / "sweeper.db"
    how = {"trials": TRIALS, "epochs": EPOCHS, "lease_seconds": 8.0, "clock": clock}
    victim = forks.start(lesson.run, folder, **how, hook=lesson.hang(1))
    forks.until(lambda: [row for row in lesson.in_hand(database, victim.pid) if row["epochs_done"]], "it hangs", victim)
    heir = forks.start(lesson.run, folder, **how, hook=lesson.wait_for(database, WORKERS))
    forks.until(lambda: lesson.in_hand(database, heir.pid), "it is at work", heir)
    lesson.set_clock(clock, wrong_by)
    os.kill(victim.pid, signal.SIGKILL)
    assert [forks.ended(worker) for worker in (victim, heir)] == [-9, 0]
    left, verdict = judge()
    assert verdict, str(verdict)
    assert [event["number"] for event in left.events if "its lease ran out" in event["message"]] == [0]
