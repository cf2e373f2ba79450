from __future__ import annotations

from pathlib import Path

import pytest

import filling
from sweeper.analysis.progress import snapshot
from sweeper.store import claims, schema, writes
from sweeper.store.connection import Store
from sweeper.words.records import Failure, StudyState, TrialState


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sweeper.db'}"


def look(store: Store):
    return snapshot(store, filling.record(store))


def test_a_running_study(url: str) -> None:
    store, _ = filling.running_study(url)
    progress = look(store)
    assert (progress.done, progress.budget, progress.standing) == (4, 8, "running")
    assert progress.counts == {TrialState.COMPLETE: 3, TrialState.FAIL: 1, TrialState.RUNNING: 1}
    assert progress.failures == {Failure.ERROR: 1}
    assert [record.number for record in progress.latest] == [3, 2, 1, 0]
    assert progress.best is not None
    assert progress.best.number == 1
    (running,) = progress.running
    assert (running.number, running.epochs_done, running.target_epochs, running.device) == (4, 2, 4, "cpu")
    assert 0 <= running.seconds < 30
    assert [worker.trial for worker in progress.workers] == [4]


def test_time_left_counts_what_the_running_trials_have_done(url: str) -> None:
    store, _ = filling.running_study(url)
    progress = look(store)
    assert progress.seconds_left is not None
    assert progress.seconds_left_range is not None
    assert 0.5 * 3 < progress.seconds_left < 1.5 * 4
    low, high = progress.seconds_left_range
    assert 0 < low < progress.seconds_left < high


def test_a_promoted_trial_is_not_charged_for_the_time_it_was_paused(url: str) -> None:
    store, study_id = filling.study(url)
    hand = filling.worker(store, study_id)
    filling.begin(store, study_id, hand, 2, 0.4)
    with store.write() as connection:
        long_ago = {"started": schema.now() - 3600.0, "attempt": 2, "seconds": 1.5}
        connection.execute(schema.trials.update().values(**long_ago))
    (running,) = look(store).running
    assert 1.5 <= running.seconds < 60
    with store.write() as connection:
        connection.execute(schema.epochs.update().values(attempt=2))
    (running,) = look(store).running
    assert 1.5 < running.seconds < 60


def test_time_left_is_unknown_before_the_first_trial_ends(url: str) -> None:
    store, study_id = filling.study(url)
    assert look(store).seconds_left is None
    filling.begin(store, study_id, filling.worker(store, study_id), 1, 0.5)
    assert look(store).seconds_left is None


def test_standings(url: str) -> None:
    store, study_id = filling.study(url, budget=1)
    assert look(store).standing == "empty"
    hand = filling.worker(store, study_id)
    filling.complete(store, study_id, hand, 0.5)
    assert (look(store).standing, look(store).seconds_left) == ("complete", 0.0)
    writes.set_budget(store, study_id, 3, 12)
    assert look(store).standing == "running"
    claims.end_worker(store, hand, "left")
    assert look(store).standing == "interrupted"
    writes.set_state(store, study_id, StudyState.STOPPED, "the disk is full")
    assert (look(store).standing, look(store).message) == ("stopped", "the disk is full")


def test_a_worker_whose_process_is_gone_is_not_alive(url: str) -> None:
    store, study_id = filling.study(url)
    gone = {"host": filling.process.host(), "pid": 2**22 + 1, "process_started": 1.0}
    claims.add_worker(store, study_id, **gone, device="cpu", engine="local")
    assert look(store).workers == ()


def test_it_is_cheap_whatever_the_number_of_trials(url: str) -> None:
    store, _ = filling.many(url, 5000)
    plans = filling.plans(store, snapshot, filling.record(store))
    assert len(plans) <= 8
    for plan in plans:
        assert "SCAN" not in plan
        assert "autoindex" not in plan
        assert "TEMP B-TREE FOR ORDER BY" not in plan
