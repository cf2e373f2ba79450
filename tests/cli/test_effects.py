from __future__ import annotations

from pathlib import Path

import pytest

import filling
from sweeper.analysis.progress import snapshot
from sweeper.cli import effects
from sweeper.store import claims, reads, writes
from sweeper.words.records import StudyState


@pytest.fixture
def store(tmp_path: Path):
    """Its one worker is alive and trains trial 4; five of eight full trainings are granted."""
    store, _ = filling.running_study(f"sqlite:///{tmp_path / 'sweeper.db'}")
    return store


def turned(store, state: StudyState) -> str:
    writes.set_state(store, filling.record(store).id, state)
    return effects.of_state(snapshot(store, filling.record(store)))


def test_what_runs_trains_to_its_end(store) -> None:
    assert "is paused: trial 4 trains to the end, then their workers wait" in turned(store, StudyState.PAUSED)
    assert "is stopped: trial 4 trains to the end, then their workers leave" in turned(store, StudyState.STOPPED)
    assert turned(store, StudyState.OPEN) == "The study digits is open: 1 worker goes on."


def test_where_nobody_works_the_next_start_is_named(store) -> None:
    claims.end_worker(store, 1, "left")
    assert "is paused: no worker is alive." in turned(store, StudyState.PAUSED)
    assert "is stopped: no worker is alive." in turned(store, StudyState.STOPPED)
    assert "no worker is alive, the same command goes on" in turned(store, StudyState.OPEN)


def test_a_retried_trial_waits_for_a_worker(store) -> None:
    study = filling.record(store)

    def said(numbers=(2,), timed_out=False):
        return effects.of_retry(snapshot(store, reads.refreshed(store, study)), numbers, timed_out)

    assert "trial 2 waits to go on from the last checkpoint" in said()
    assert "the next of 1 worker that is free takes it" in said()
    assert "larger timeout" not in said()
    assert "trials 1, 2 wait to go on" in said([2, 1], timed_out=True)
    assert "larger timeout" in said(timed_out=True)
    writes.set_state(store, study.id, StudyState.PAUSED)
    assert "`sweeper resume` goes on" in said()
    writes.set_state(store, study.id, StudyState.OPEN)
    claims.end_worker(store, 1, "left")
    assert "the same command goes on" in said()


@pytest.mark.parametrize(("budget", "meaning"), [(80, "room for 75 more"), (2, "no new trial begins")])
def test_a_budget_counts_full_trainings(store, budget: int, meaning: str) -> None:
    before = filling.record(store)
    writes.set_budget(store, before.id, budget, 4 * budget)
    after = filling.record(store)
    said = effects.of_budget(before, after, snapshot(store, after))
    assert f"is {budget} full trainings (before: 8); 5 are granted already: {meaning}" in said
    assert "at their next claim" in said
    assert f"give budget={budget} there too" in said


@pytest.mark.parametrize(
    ("wanted", "meaning"), [(3, "2 more start."), (2, "1 more starts."), (1, "as many as there are.")]
)
def test_a_number_of_workers_says_who_comes(store, wanted: int, meaning: str) -> None:
    study = filling.record(store)
    said = effects.of_workers(study, snapshot(store, study), wanted)
    assert f"from now on (before: 1): {meaning}" in said
    assert f"give hydra.sweeper.workers={wanted} there too" in said


def test_a_number_of_workers_says_who_goes(store) -> None:
    study = filling.record(store)
    for _ in range(2):
        filling.worker(store, study.id)
    one, two = (effects.of_workers(study, snapshot(store, study), wanted) for wanted in (2, 1))
    assert "digits has 2 workers from now on (before: 3): 1 leaves after the epoch in hand" in one
    assert "digits has 1 worker from now on (before: 3): 2 leave after the epoch in hand" in two


def test_a_number_of_workers_is_each_drivers(store) -> None:
    study = filling.record(store)
    other = filling.worker(store, study.id)
    with store.write() as connection:
        workers = filling.schema.workers
        connection.execute(workers.update().where(workers.c.id == other).values(driver_pid=4711))
    said = effects.of_workers(study, snapshot(store, study), 2)
    assert "2 workers from now on for each of its 2 drivers (before: 2): 2 more start" in said
