"""Writes on one SQLite file by many processes and threads, and what the contract of every backend does not say.

The laws of claim, lease and fence stand in `contracts/test_store_contract.py`, for every backend.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
import sqlalchemy as sa

from sweeper.errors import LeaseLost, StoreError
from sweeper.store import claims, reads, schema, writes
from sweeper.trial import EpochReport, Failure, Idle, StudyState, TrialState

EXPIRED = -1.0


@pytest.fixture
def study(store, begin):
    return begin(store)


@pytest.fixture
def worker(store, study, hire):
    return hire(store, study)


def start(code, store, study, *arguments):
    """Run `code` in another process; it finds `store`, `study_id`, `worker` and `arguments`."""
    head = """
        import json, os, signal, sys, time
        from sweeper.store import claims, reads, writes
        from sweeper.store.connection import Store
        from sweeper.trial import EpochReport, Idle, Lease, TrialRecord, TrialState
        store, study_id, arguments = Store(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
        worker = claims.add_worker(store, study_id, host="here", pid=os.getpid(), device="cpu", engine="test")
    """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", text, f"sqlite:///{store.path}", str(study.id), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
    )


# ---- many processes --------------------------------------------------------------------------------------------------

TAKE_ALL = """
    taken = []
    while isinstance(record := claims.claim(store, study_id, worker, grant_epochs=2), TrialRecord):
        lease = Lease(study_id, record.number, record.attempt, worker)
        writes.set_params(store, lease, {"x": 0.5})
        for epoch in range(2):
            writes.report(store, lease, EpochReport(record.number, epoch, {"val_loss": 0.5}, 0.0), 0.5)
        writes.finish(store, lease, TrialState.COMPLETE, value=0.5)
        taken.append(record.number)
    print(json.dumps(taken))
"""


def test_many_processes_train_every_trial_once_and_spend_exactly_the_budget(store, begin):
    study = begin(store, name="crowd", epochs=2, budget=40)
    crowd = [start(TAKE_ALL, store, study) for _ in range(6)]
    taken = [number for each in crowd for number in json.loads(each.communicate(timeout=120)[0])]
    assert sorted(taken) == list(range(40))
    assert reads.counts(store, study.id) == {TrialState.COMPLETE: 40}
    assert reads.study(store, "crowd").granted_epochs == 80
    assert len(reads.epoch_reports(store, study.id)) == 80


def test_a_kill_in_the_middle_of_a_write_leaves_the_store_as_before(store, study):
    code = """
        record = claims.claim(store, study_id, worker)
        writes._fenced = lambda *args, **more: os.kill(os.getpid(), signal.SIGKILL)
        writes.set_params(store, Lease(study_id, 0, 1, worker), {"x": 0.5})
    """
    killed = start(code, store, study)
    assert killed.wait(timeout=60) == -signal.SIGKILL
    trial = reads.trial(store, study.id, 0)
    assert (trial["params"], trial["attempt"]) == (None, 1)
    assert trial["revision"] == 1
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_the_revisions_of_many_writers_are_never_equal(store, begin, hire, take):
    study = begin(store, name="crowd", budget=30)

    def work():
        worker = hire(store, study)
        for _ in range(10):
            lease = take(store, study, worker)
            writes.set_params(store, lease, {"x": 0.5})

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as connection:
        revisions = connection.scalars(sa.select(schema.trials.c.revision)).all()
    assert len(set(revisions)) == 30


# ---- the lease -------------------------------------------------------------------------------------------------------


def test_the_new_holder_is_not_disturbed_by_the_old_one(store, study, worker, hire, take):
    old = take(store, study, worker, lease_seconds=EXPIRED)
    new = take(store, study, hire(store, study))
    writes.report(store, new, EpochReport(0, 0, {"val_loss": 0.25}, 1.0), 0.25)
    with pytest.raises(LeaseLost):
        writes.report(store, old, EpochReport(0, 0, {"val_loss": 9.0}, 1.0), 9.0)
    writes.finish(store, new, TrialState.COMPLETE, value=0.25)
    with pytest.raises(LeaseLost):
        writes.finish(store, old, TrialState.FAIL, failure=Failure.ERROR, message="late")
    trial = reads.trial(store, study.id, 0)
    assert (trial["state"], trial["value"], trial["attempt"]) == (TrialState.COMPLETE, 0.25, 2)


def test_an_expired_lease_counts_as_a_kill_and_is_told(store, study, worker, take):
    take(store, study, worker, lease_seconds=EXPIRED)
    take(store, study, worker)
    assert reads.trial(store, study.id, 0)["kills"] == 1
    (event,) = [each for each in reads.event_rows(store, study.id) if each["kind"] == "put back"]
    assert event["message"] == "trial 0: its lease ran out"


def test_a_trial_of_a_dead_worker_is_told_with_its_process(store, study, hire, take):
    worker = hire(store, study, pid=4711)
    take(store, study, worker)
    claims.end_worker(store, worker, "died")
    (event,) = [each for each in reads.event_rows(store, study.id) if each["kind"] == "put back"]
    assert "process 4711" in event["message"]
    assert "died" in event["message"]


def test_a_trial_that_killed_too_often_no_longer_blocks_the_end(store, begin, hire):
    study = begin(store, name="short", budget=1)
    worker = hire(store, study)
    for _ in range(claims.MAX_ATTEMPTS):
        claims.claim(store, study.id, worker, lease_seconds=EXPIRED)
    assert claims.claim(store, study.id, worker) is Idle.DONE


def test_a_worker_that_is_gone_is_gone(store, study, worker):
    claims.end_worker(store, worker, "finished")
    claims.end_worker(store, worker, "died")
    (row,) = reads.worker_rows(store, study.id)
    assert row["ending"] == "finished"


def test_a_beat_is_seen(store, study, worker):
    with store.write() as connection:
        connection.execute(schema.workers.update().values(beat=0.0))
    (silent,) = reads.worker_rows(store, study.id)
    claims.beat(store, worker)
    (row,) = reads.worker_rows(store, study.id)
    assert row["beat"] > silent["beat"]
    assert row["beat_seconds_ago"] < silent["beat_seconds_ago"]


# ---- what is stored --------------------------------------------------------------------------------------------------


def test_parameters_come_back_as_they_were(store, study, worker, take):
    params = {"lr": 1e-300, "n": 2**60, "on": True, "none": None, "ü": "a'b\"c\n;--", "list": [1, 2.5, {"a": None}]}
    writes.set_params(store, take(store, study, worker), params)
    (record,) = reads.all_trials(store, study.id)
    assert record.params == params
    assert list(record.params) == list(params)


def test_two_studies_of_one_store_do_not_touch_each_other(store, begin, hire, take):
    one, other = begin(store, name="one"), begin(store, name="other", seed=1)
    lease, same_number = take(store, one, hire(store, one)), take(store, other, hire(store, other))
    writes.finish(store, lease, TrialState.COMPLETE, value=0.5)
    writes.set_state(store, one.id, StudyState.STOPPED)
    assert [record.state for record in reads.all_trials(store, other.id)] == [TrialState.RUNNING]
    writes.report(store, same_number, EpochReport(0, 0, {"val_loss": 0.1}, 0.0), 0.1)
    assert reads.epoch_reports(store, one.id) == []


def test_a_study_on_a_disk_that_is_full_says_so_and_goes_on_later(store, study, worker, take):
    """The worker's own write: the disk is full for every page more."""
    lease = take(store, study, worker)
    store.close()

    def fill(raw, _):
        raw.execute(f"PRAGMA max_page_count = {pages}")

    with store.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    store.close()
    sa.event.listen(store._engine, "connect", fill)
    big = EpochReport(0, 0, {f"metric{n}": 0.5 for n in range(5000)}, 1.0)
    with pytest.raises(StoreError, match="disk is full"):
        writes.report(store, lease, big, 0.5)
    sa.event.remove(store._engine, "connect", fill)
    store.close()
    assert reads.epoch_reports(store, study.id) == []
    writes.report(store, lease, big, 0.5)
    assert len(reads.epoch_reports(store, study.id)) == 1
