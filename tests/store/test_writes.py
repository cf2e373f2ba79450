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

from sweeper.store import claims, corrections, fenced, reads, schema, totals, writes
from sweeper.words.errors import LeaseLost, StoreError
from sweeper.words.records import EpochReport, Failure, Idle, StudyState, TrialState

EXPIRED = -1.0


def start(code, store, study, *arguments):
    """Run `code` in another process; it finds `store`, `study_id`, `worker` and `arguments`."""
    head = """
        import json, os, signal, sys, time
        from sweeper.store import claims, fenced, reads
        from sweeper.store.connection import Store
        from sweeper.words.records import EpochReport, Idle, Lease, TrialRecord, TrialState
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
        fenced.set_params(store, lease, {"x": 0.5})
        for epoch in range(2):
            fenced.report(store, lease, EpochReport(record.number, epoch, {"val_loss": 0.5}, 0.0), 0.5)
        fenced.finish(store, lease, TrialState.COMPLETE, value=0.5)
        taken.append(record.number)
    print(json.dumps(taken))
"""


def test_many_processes_train_every_trial_once_and_spend_exactly_the_budget(store, begin):
    study = begin(store, name="crowd", epochs=2, budget=40)
    crowd = [start(TAKE_ALL, store, study) for _ in range(6)]
    taken = [number for each in crowd for number in json.loads(each.communicate(timeout=120)[0])]
    assert sorted(taken) == list(range(40))
    assert totals.counts(store, study.id) == {TrialState.COMPLETE: 40}
    assert reads.study(store, "crowd").granted_epochs == 80
    assert len(reads.epoch_reports(store, study.id)) == 80


def test_a_kill_in_the_middle_of_a_write_leaves_the_store_as_before(store, study):
    code = """
        record = claims.claim(store, study_id, worker)
        fenced._fenced = lambda *args, **more: os.kill(os.getpid(), signal.SIGKILL)
        fenced.set_params(store, Lease(study_id, 0, 1, worker), {"x": 0.5})
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
            fenced.set_params(store, lease, {"x": 0.5})

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
    fenced.report(store, new, EpochReport(0, 0, {"val_loss": 0.25}, 1.0), 0.25)
    with pytest.raises(LeaseLost):
        fenced.report(store, old, EpochReport(0, 0, {"val_loss": 9.0}, 1.0), 9.0)
    fenced.finish(store, new, TrialState.COMPLETE, value=0.25)
    with pytest.raises(LeaseLost):
        fenced.finish(store, old, TrialState.FAIL, failure=Failure.ERROR, message="late")
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
    fenced.set_params(store, take(store, study, worker), params)
    (record,) = reads.all_trials(store, study.id)
    assert record.params == params
    assert list(record.params) == list(params)


def test_two_studies_of_one_store_do_not_touch_each_other(store, begin, hire, take):
    one, other = begin(store, name="one"), begin(store, name="other", seed=1)
    lease, same_number = take(store, one, hire(store, one)), take(store, other, hire(store, other))
    fenced.finish(store, lease, TrialState.COMPLETE, value=0.5)
    writes.set_state(store, one.id, StudyState.STOPPED)
    assert [record.state for record in reads.all_trials(store, other.id)] == [TrialState.RUNNING]
    fenced.report(store, same_number, EpochReport(0, 0, {"val_loss": 0.1}, 0.0), 0.1)
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
        fenced.report(store, lease, big, 0.5)
    sa.event.remove(store._engine, "connect", fill)
    store.close()
    assert reads.epoch_reports(store, study.id) == []
    fenced.report(store, lease, big, 0.5)
    assert len(reads.epoch_reports(store, study.id)) == 1


# ---- what a person changes -------------------------------------------------------------------------------------------


def fail(store, lease, message="ValueError: no"):
    reason = {"failure": Failure.ERROR, "message": message, "traceback": f"Traceback\n{message}"}
    fenced.finish(store, lease, TrialState.FAIL, **reason, seconds=2.0)


def kinds(store, study):
    return [(each["kind"], each["number"]) for each in reads.event_rows(store, study.id)]


def test_a_retried_trial_is_taken_again_under_its_own_number(store, begin, hire, take):
    study = begin(store, name="short", budget=1, epochs=3)
    worker = hire(store, study)
    lease = take(store, study, worker)
    fenced.set_params(store, lease, {"x": 0.5})
    fenced.report(store, lease, EpochReport(0, 0, {"val_loss": 0.5}, 1.0), 0.5)
    fail(store, lease)
    assert claims.claim(store, study.id, worker, grant_epochs=3) is Idle.DONE
    corrections.retry(store, study.id, [0])
    trial = reads.trial(store, study.id, 0)
    assert [trial[name] for name in ("finished", "failure", "message", "traceback", "kills")] == [None] * 4 + [0]
    assert (trial["state"], trial["attempt"], trial["seconds"], trial["epochs_done"]) == ("WAITING", 1, 2.0, 1)
    again = claims.claim(store, study.id, worker, grant_epochs=3)
    assert (again.number, again.attempt, again.params, again.epochs_done) == (0, 2, {"x": 0.5}, 1)
    assert reads.study(store, "short").granted_epochs == 3
    assert ("retried", 0) in kinds(store, study)


def test_whoever_failed_a_retried_trial_stays_fenced_off(store, study, hire, take):
    old = take(store, study, hire(store, study))
    fail(store, old)
    corrections.retry(store, study.id, [0])
    late = EpochReport(0, 7, {"val_loss": 0.1}, 0.0)
    for _ in range(2):  # while it waits, and while another worker holds it
        with pytest.raises(LeaseLost):
            fenced.report(store, old, late, 0.1)
        with pytest.raises(LeaseLost):
            fail(store, old)
        new = take(store, study, hire(store, study))
    assert (new.number, new.attempt) == (1, 1)
    assert reads.trial(store, study.id, 0)["attempt"] == 2
    assert reads.epoch_reports(store, study.id, 0) == []


def test_a_trial_that_killed_its_workers_may_do_so_as_often_again(store, study, worker):
    for _ in range(claims.MAX_ATTEMPTS):
        claims.claim(store, study.id, worker, lease_seconds=EXPIRED)
    claims.claim(store, study.id, worker)
    assert reads.trial(store, study.id, 0)["failure"] == Failure.KILLED
    corrections.retry(store, study.id, [0])
    claims.claim(store, study.id, worker, lease_seconds=EXPIRED)
    claims.claim(store, study.id, worker)
    trial = reads.trial(store, study.id, 0)
    assert (trial["state"], trial["kills"]) == (TrialState.RUNNING, 1)


def test_retrying_is_all_or_nothing(store, study, worker, take):
    fail(store, take(store, study, worker))
    take(store, study, worker)
    with pytest.raises(StoreError, match="must be FAIL to be retried, but trial 1 is RUNNING"):
        corrections.retry(store, study.id, [0, 1])
    with pytest.raises(StoreError, match=r"is in 0\.\.1, but got 7, 9"):
        corrections.retry(store, study.id, [9, 0, 7])
    assert reads.trial(store, study.id, 0)["state"] == TrialState.FAIL
    assert not [each for each in kinds(store, study) if each[0] == "retried"]


def test_retrying_opens_a_study_that_failures_stopped(store, study, worker, take):
    fenced.finish(store, take(store, study, worker), TrialState.FAIL, failure=Failure.ERROR, max_failures=1)
    assert reads.study(store).state == StudyState.STOPPED
    corrections.retry(store, study.id, [0, 0])
    assert (reads.study(store).state, reads.study(store).message) == (StudyState.OPEN, None)
    assert kinds(store, study)[-2:] == [("retried", 0), ("open", None)]
    fenced.finish(store, take(store, study, worker), TrialState.FAIL, failure=Failure.ERROR, max_failures=2)
    assert reads.study(store).state == StudyState.OPEN


def test_retrying_leaves_a_paused_study_paused(store, study, worker, take):
    fail(store, take(store, study, worker))
    writes.set_state(store, study.id, StudyState.PAUSED)
    corrections.retry(store, study.id, [0])
    assert claims.claim(store, study.id, worker) is Idle.PAUSED


def complete(store, study, worker, take, *losses):
    for loss in losses:
        lease = take(store, study, worker)
        fenced.set_params(store, lease, {"x": loss})
        fenced.finish(store, lease, TrialState.COMPLETE, value=loss)


def test_a_hidden_trial_is_no_best_one(store, study, worker, take):
    complete(store, study, worker, take, 0.3, 0.1, 0.2)
    corrections.hide(store, study.id, [1], "wrong data")
    assert [record.number for record in reads.best(store, study, 3)] == [2, 0]
    assert [record.number for record in reads.latest_finished(store, study.id, 3)] == [2, 0]
    assert reads.hidden(store, study.id, [0, 1, 2]) == {1: "wrong data"}
    assert reads.hidden(store, study.id, [2]) == {}
    with store.read() as connection:
        best = connection.execute(sa.text("SELECT number FROM v_best ORDER BY rank")).scalars().all()
        mark = connection.execute(sa.text("SELECT hidden FROM v_trials ORDER BY number")).scalars().all()
    assert (best, mark) == ([2, 0], [None, "wrong data", None])
    corrections.unhide(store, study.id, [1])
    assert [record.number for record in reads.best(store, study, 3)] == [1, 2, 0]
    assert kinds(store, study)[-2:] == [("hidden", 1), ("unhidden", 1)]
    assert reads.event_rows(store, study.id)[-1]["user"]


def test_a_sampler_is_told_nothing_of_a_hidden_trial(store, study, worker, take):
    from sweeper.search.proposer import Proposer
    from sweeper.search.space import SearchSpace

    complete(store, study, worker, take, 0.3, 0.1)
    proposer = Proposer(SearchSpace.from_json(study.space), study.direction, "tpe", 0)

    def values():
        changed, _ = reads.changed_trials(store, study.id, 0)
        proposer.update(changed)
        return [trial.value for trial in proposer._mirror.get_all_trials(0, deepcopy=False)]

    _, revision = reads.changed_trials(store, study.id, 0)
    assert values() == [0.3, 0.1]
    corrections.hide(store, study.id, [1], "wrong data")
    (news,), _ = reads.changed_trials(store, study.id, revision)
    assert (news.state, news.failure, news.message) == (TrialState.FAIL, Failure.ERROR, "hidden: wrong data")
    assert values() == [0.3, None]
    corrections.unhide(store, study.id, [1])
    assert values() == [0.3, 0.1]


def test_a_trial_may_be_hidden_while_it_runs(store, study, worker, take):
    lease = take(store, study, worker)
    corrections.hide(store, study.id, [0], "wrong data")
    fenced.finish(store, lease, TrialState.COMPLETE, value=0.1)
    assert reads.best(store, study) == []
    assert totals.counts(store, study.id) == {TrialState.COMPLETE: 1}


def test_unhiding_is_all_or_nothing(store, study, worker, take):
    complete(store, study, worker, take, 0.3, 0.1)
    corrections.hide(store, study.id, [0], "wrong data")
    with pytest.raises(StoreError, match="these are not: 1"):
        corrections.unhide(store, study.id, [0, 1])
    with pytest.raises(StoreError, match="but got 5"):
        corrections.hide(store, study.id, [1, 5], "wrong data")
    assert reads.hidden(store, study.id, [0, 1]) == {0: "wrong data"}
