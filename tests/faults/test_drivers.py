"""Several drivers on one study, begun at the same instant: they share it, whoever of them dies."""

from __future__ import annotations

import os
import signal

import checker
import lesson
import pytest

import forks

TRIALS, EPOCHS, DRIVERS = 6, 4, 3


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    assert forks.run(lesson.run, folder, trials=TRIALS, epochs=EPOCHS) == 0
    return checker.read_store(folder / "sweeper.db", lesson.STUDY)


@pytest.mark.slow
def test_drivers_that_begin_at_once_share_a_study(tmp_path, alone):
    database = tmp_path / "sweeper.db"
    how = {"trials": TRIALS, "epochs": EPOCHS, "hook": lesson.wait_for(database, DRIVERS)}
    drivers = [forks.start(lesson.run, tmp_path, **how) for _ in range(DRIVERS)]
    assert [forks.ended(driver) for driver in drivers] == [0] * DRIVERS
    left = checker.read_store(database, lesson.STUDY)
    verdict = checker.compare(checker.check(left, trials=TRIALS, epochs=EPOCHS), left, alone)
    assert verdict, str(verdict)
    assert {row["attempt"] for row in left.trials} == {1}
    assert len({row["worker_id"] for row in left.trials}) == DRIVERS, "each of them trained"


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_a_driver_that_dies_takes_nothing_from_the_others(tmp_path, alone, again):
    """Started `again`, it gives back what it held; without, the lease has to run out."""
    database = tmp_path / "sweeper.db"
    how = {"trials": TRIALS, "epochs": EPOCHS, "lease_seconds": 8.0}
    victim = forks.start(lesson.run, tmp_path, **how, hook=lesson.hang(2))
    others = [forks.start(lesson.run, tmp_path, **how, hook=lesson.wait_for(database, DRIVERS)) for _ in range(2)]
    forks.until(lambda: [row for row in lesson.in_hand(database, victim.pid) if row["epochs_done"]], "it hangs", victim)
    os.kill(victim.pid, signal.SIGKILL)
    if again:
        assert forks.ended(victim) == -9
        others.append(forks.start(lesson.run, tmp_path, **how))
    assert [forks.ended(driver) for driver in others] == [0] * len(others)
    left = checker.read_store(database, lesson.STUDY)
    verdict = checker.compare(checker.check(left, trials=TRIALS, epochs=EPOCHS), left, alone)
    assert verdict, str(verdict)
    assert sum(row["kills"] for row in left.trials) == 1
