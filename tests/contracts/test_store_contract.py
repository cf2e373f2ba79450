"""What every store keeps, whatever its backend: the claim, the budget, the lease, the fence, idempotent reports."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from sweeper.store import claims, fenced, reads, schema, writes
from sweeper.store.connection import Store
from sweeper.words.errors import LeaseLost, StoreError
from sweeper.words.records import EpochReport, Failure, Idle, StudyState, TrialRecord, TrialState
from sweeper.words.seeds import trial_seed

EXPIRED = -1.0
"""A lease that ran out before it was given: no test waits for a clock."""

TABLES = (schema.studies, schema.trials, schema.epochs, schema.checkpoints, schema.events)


def everything(store):
    with store.read() as connection:
        return {table.name: connection.execute(sa.select(table)).all() for table in TABLES}


def row(store, study, number=0):
    return reads.trial(store, study.id, number)


def report(store, lease, epoch, loss=0.5):
    fenced.report(store, lease, EpochReport(lease.number, epoch, {"val_loss": loss}, 1.0), loss)


def checkpoint_row(epoch, path=None):
    return {
        "epoch": epoch,
        "path": path or f"checkpoints/epoch={epoch:04d}.pt",
        "sha256": "0" * 64,
        "size_bytes": 1,
        "value": 0.5,
    }


# ---- the claim -------------------------------------------------------------------------------------------------------


def test_new_trials_come_in_the_order_of_their_numbers(store, study, worker):
    claimed = [claims.claim(store, study.id, worker, grant_epochs=None) for _ in range(3)]
    assert [record.number for record in claimed] == [0, 1, 2]
    assert {(r.state, r.attempt, r.params, r.worker_id) for r in claimed} == {(TrialState.RUNNING, 1, None, worker)}
    assert [record.seed for record in claimed] == [trial_seed(study.seed, number) for number in range(3)]


def test_a_trial_that_was_handed_back_is_claimed_before_a_new_number_and_the_lowest_first(store, study, worker, take):
    leases = [take(store, study, worker) for _ in range(3)]
    for lease in (leases[2], leases[1]):
        fenced.release(store, lease)
    again = [claims.claim(store, study.id, worker) for _ in range(3)]
    assert [(record.number, record.attempt) for record in again] == [(1, 2), (2, 2), (3, 1)]


def test_a_trial_that_goes_on_keeps_its_parameters_and_its_epochs(store, study, worker, take):
    lease = take(store, study, worker)
    fenced.set_params(store, lease, {"x": 0.25})
    report(store, lease, 0)
    report(store, lease, 1)
    fenced.release(store, lease, seconds=2.0)
    again = claims.claim(store, study.id, worker)
    assert (again.params, again.epochs_done, again.value, again.seconds) == ({"x": 0.25}, 2, 0.5, 2.0)


def test_a_lease_that_ran_out_is_given_to_the_next_one_who_asks(store, study, worker, take):
    take(store, study, worker, lease_seconds=EXPIRED)
    again = claims.claim(store, study.id, worker)
    assert (again.number, again.attempt) == (0, 2)


@pytest.mark.parametrize("keep_alive", ["renew", "report", "add_checkpoint"])
def test_a_lease_that_is_renewed_does_not_run_out(store, study, worker, take, keep_alive):
    lease = take(store, study, worker, lease_seconds=EXPIRED)
    {
        "renew": lambda: fenced.renew(store, lease),
        "report": lambda: report(store, lease, 0),
        "add_checkpoint": lambda: fenced.add_checkpoint(store, lease, checkpoint_row(0)),
    }[keep_alive]()
    assert claims.claim(store, study.id, worker).number == 1


def test_a_study_that_is_paused_or_stopped_gives_nothing(store, study, worker):
    writes.set_state(store, study.id, StudyState.PAUSED)
    assert claims.claim(store, study.id, worker) is Idle.PAUSED
    writes.set_state(store, study.id, StudyState.STOPPED, "enough")
    assert claims.claim(store, study.id, worker) is Idle.STOPPED
    writes.set_state(store, study.id, StudyState.OPEN)
    assert isinstance(claims.claim(store, study.id, worker), TrialRecord)


def test_a_spent_budget_is_wait_while_a_trial_runs_and_done_afterwards(store, study, worker, take):
    leases = [take(store, study, worker) for _ in range(4)]
    assert claims.claim(store, study.id, worker) is Idle.WAIT
    for lease in leases:
        fenced.finish(store, lease, TrialState.COMPLETE, value=0.5)
    assert claims.claim(store, study.id, worker) is Idle.DONE


def test_a_larger_budget_gives_exactly_the_rest(store, study, worker, take):
    for _ in range(4):
        fenced.finish(store, take(store, study, worker), TrialState.COMPLETE, value=0.5)
    writes.set_budget(store, study.id, 6, 6)
    assert [take(store, study, worker).number for _ in range(2)] == [4, 5]
    assert claims.claim(store, study.id, worker) is Idle.WAIT


def test_a_smaller_budget_takes_nothing_back(store, study, worker, take):
    lease, *_ = [take(store, study, worker) for _ in range(3)]
    writes.set_budget(store, study.id, 1, 1)
    fenced.release(store, lease)
    assert take(store, study, worker).number == 0
    assert claims.claim(store, study.id, worker) is Idle.WAIT
    assert reads.study(store, study.name).granted_epochs == 3


def test_epochs_are_granted_whole_and_never_above_the_budget(store, begin, hire, take):
    study = begin(store, name="deep", epochs=10, budget=2.5)
    worker = hire(store, study)
    records = [take(store, study, worker).number for _ in range(2)]
    assert records == [0, 1]
    assert claims.claim(store, study.id, worker, grant_epochs=10) is Idle.WAIT
    assert reads.study(store, "deep").granted_epochs == 20
    assert row(store, study, 1)["target_epochs"] == 10


def test_many_at_once_get_every_number_once_and_never_overspend(store, begin, hire):
    study = begin(store, name="crowd", budget=24)
    url = store.url.render_as_string(hide_password=False)

    def work(_):
        own, numbers = Store(url), []
        worker = hire(own, study)
        while isinstance(record := claims.claim(own, study.id, worker), TrialRecord):
            numbers.append(record.number)
        own.close()
        return numbers

    with ThreadPoolExecutor(8) as pool:
        numbers = [number for taken in pool.map(work, range(8)) for number in taken]
    assert sorted(numbers) == list(range(24))
    assert reads.study(store, "crowd").granted_epochs == 24


def test_many_at_once_get_a_trial_that_was_handed_back_only_once(store, begin, hire, take):
    study = begin(store, name="crowd", budget=6)
    first = hire(store, study)
    for lease in [take(store, study, first) for _ in range(6)]:
        fenced.release(store, lease)
    url = store.url.render_as_string(hide_password=False)

    def work(_):
        own, taken = Store(url), []
        worker = hire(own, study)
        while isinstance(record := claims.claim(own, study.id, worker), TrialRecord):
            taken.append((record.number, record.attempt))
        own.close()
        return taken

    with ThreadPoolExecutor(4) as pool:
        taken = [each for trials in pool.map(work, range(4)) for each in trials]
    assert sorted(taken) == [(number, 2) for number in range(6)]


# ---- the fence -------------------------------------------------------------------------------------------------------

WRITES = {
    "set_params": lambda store, lease: fenced.set_params(store, lease, {"x": 0.75}),
    "report": lambda store, lease: report(store, lease, 7),
    "report again": lambda store, lease: report(store, lease, 0, loss=9.0),
    "add_checkpoint": lambda store, lease: fenced.add_checkpoint(store, lease, checkpoint_row(7), [0]),
    "finish": lambda store, lease: fenced.finish(store, lease, TrialState.COMPLETE, value=9.0, seconds=9.0),
    "fail": lambda store, lease: fenced.finish(
        store, lease, TrialState.FAIL, failure=Failure.ERROR, message="late", max_failures=1
    ),
    "release": lambda store, lease: fenced.release(store, lease, 9.0),
    "renew": lambda store, lease: fenced.renew(store, lease),
}

ENDINGS = {
    "another attempt runs": lambda store, study, lease, other: claims.claim(store, study.id, other),
    "it was handed back": lambda store, study, lease, other: fenced.release(store, lease),
    "its worker was declared dead": lambda store, study, lease, other: claims.end_worker(
        store, lease.worker_id, "died"
    ),
    "it is finished": lambda store, study, lease, other: fenced.finish(store, lease, TrialState.COMPLETE, value=0.5),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("write", WRITES)
def test_a_worker_whose_lease_is_lost_writes_nothing(store, study, worker, hire, take, write, ending):
    lease = take(store, study, worker, lease_seconds=EXPIRED)
    fenced.report(store, lease, EpochReport(0, 0, {"val_loss": 0.5}, 1.0), 0.5, lease_seconds=EXPIRED)
    if ending != "another attempt runs":
        fenced.add_checkpoint(store, lease, checkpoint_row(0))
    ENDINGS[ending](store, study, lease, hire(store, study))
    before = everything(store)
    with pytest.raises(LeaseLost, match=r"trial 0, attempt 1"):
        WRITES[write](store, lease)
    assert everything(store) == before


def test_a_late_worker_that_nobody_replaced_may_go_on(store, study, worker, take):
    lease = take(store, study, worker, lease_seconds=EXPIRED)
    report(store, lease, 0)
    fenced.finish(store, lease, TrialState.COMPLETE, value=0.5)
    assert row(store, study)["state"] == TrialState.COMPLETE


# ---- kills -----------------------------------------------------------------------------------------------------------


def test_a_trial_that_killed_its_workers_too_often_fails(store, study, worker):
    for attempt in range(1, claims.MAX_ATTEMPTS + 1):
        record = claims.claim(store, study.id, worker, lease_seconds=EXPIRED)
        assert (record.number, record.attempt) == (0, attempt)
    assert claims.claim(store, study.id, worker).number == 1
    failed = row(store, study)
    assert (failed["state"], failed["failure"]) == (TrialState.FAIL, Failure.KILLED)
    assert str(claims.MAX_ATTEMPTS) in failed["message"]
    assert failed["finished"] is not None
    assert [e["kind"] for e in reads.event_rows(store, study.id) if e["number"] == 0].count("killed") == 1


def test_handing_back_is_no_kill(store, study, worker, take):
    for attempt in range(1, 2 * claims.MAX_ATTEMPTS):
        lease = take(store, study, worker)
        assert (lease.number, lease.attempt) == (0, attempt)
        fenced.release(store, lease)
    assert row(store, study)["kills"] == 0


def test_a_worker_that_ends_gives_back_what_it_held_and_nothing_else(store, study, worker, hire, take):
    other = hire(store, study)
    take(store, study, worker)
    take(store, study, other)
    finished = take(store, study, worker)
    fenced.finish(store, finished, TrialState.COMPLETE, value=0.5)
    for _ in range(2):  # told twice, as by the supervisor and by a new driver
        claims.end_worker(store, worker, "died")
    states = [record.state for record in reads.all_trials(store, study.id)]
    assert states == [TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE]
    assert row(store, study)["kills"] == 1
    (gone,) = [each for each in reads.worker_rows(store, study.id) if each["ended"] is not None]
    assert (gone["id"], gone["ending"]) == (worker, "died")


# ---- reports, checkpoints, results -----------------------------------------------------------------------------------


def test_an_epoch_that_is_reported_twice_counts_once(store, study, worker, take):
    lease = take(store, study, worker)
    report(store, lease, 0, loss=0.9)
    report(store, lease, 0, loss=0.8)
    report(store, lease, 1, loss=0.7)
    found = reads.epoch_reports(store, study.id)
    assert [(each.epoch, each.metrics) for each in found] == [(0, {"val_loss": 0.8}), (1, {"val_loss": 0.7})]
    assert (row(store, study)["epochs_done"], row(store, study)["value"]) == (2, 0.7)


def test_a_metric_without_a_number_is_kept_as_none(store, study, worker, take):
    lease = take(store, study, worker)
    fenced.report(store, lease, EpochReport(0, 0, {"val_loss": None, "accuracy": 0.5}, 1.0), None)
    (found,) = reads.epoch_reports(store, study.id)
    assert found.metrics == {"val_loss": None, "accuracy": 0.5}


def test_a_later_attempt_writes_over_the_epochs_of_an_earlier_one(store, study, worker, take):
    first = take(store, study, worker)
    for epoch in range(3):
        report(store, first, epoch, loss=1.0 + epoch)
    fenced.release(store, first)
    second = take(store, study, worker)
    report(store, second, 1, loss=0.1)
    fenced.finish(store, second, TrialState.COMPLETE, value=0.1)
    found = reads.epoch_reports(store, study.id)
    assert [(each.epoch, each.metrics["val_loss"]) for each in found] == [(0, 1.0), (1, 0.1)]
    assert row(store, study)["epochs_done"] == 2


def test_a_checkpoint_of_an_epoch_replaces_the_one_before_and_old_ones_are_forgotten(store, study, worker, take):
    lease = take(store, study, worker)
    for epoch in range(3):
        fenced.add_checkpoint(store, lease, checkpoint_row(epoch), forget_epochs=[epoch - 2])
    fenced.add_checkpoint(store, lease, checkpoint_row(2, path="again.pt"))
    rows = reads.checkpoint_rows(store, study.id, 0)
    assert [(each["epoch"], each["path"]) for each in rows] == [(1, "checkpoints/epoch=0001.pt"), (2, "again.pt")]


def test_the_seconds_of_all_attempts_add_up(store, study, worker, take):
    fenced.release(store, take(store, study, worker), seconds=2.0)
    fenced.finish(store, take(store, study, worker), TrialState.COMPLETE, value=0.5, seconds=3.0)
    assert row(store, study)["seconds"] == 5.0


def test_a_result_is_kept_with_everything_that_was_said(store, study, worker, take):
    fenced.finish(
        store,
        take(store, study, worker),
        TrialState.FAIL,
        failure=Failure.ERROR,
        message="ValueError: no",
        traceback="Traceback …",
    )
    found = row(store, study)
    assert (found["failure"], found["message"], found["traceback"]) == ("error", "ValueError: no", "Traceback …")
    assert found["lease_expires"] is None
    assert found["finished"] >= found["started"]


# ---- failures in a row -----------------------------------------------------------------------------------------------


def end_all(store, study, worker, take, endings, max_failures=2):
    for ending in endings:
        lease = take(store, study, worker)
        if ending == "complete":
            fenced.finish(store, lease, TrialState.COMPLETE, value=0.5)
        else:
            fenced.finish(
                store,
                lease,
                TrialState.FAIL,
                failure=Failure(ending),
                message=f"it {ending}",
                max_failures=max_failures,
            )


@pytest.mark.parametrize("failures", [("error", "error"), ("error", "out_of_memory"), ("complete", "error", "timeout")])
def test_failures_in_a_row_stop_the_study(store, study, worker, take, failures):
    end_all(store, study, worker, take, failures)
    stopped = reads.study(store, study.name)
    assert stopped.state == StudyState.STOPPED
    assert stopped.message == f"2 trials in a row failed, the last with: it {failures[-1]}"
    assert claims.claim(store, study.id, worker) is Idle.STOPPED


@pytest.mark.parametrize("endings", [("error", "complete", "error"), ("diverged", "diverged", "diverged", "error")])
def test_failures_between_results_and_diverged_trials_do_not_stop_it(store, study, worker, take, endings):
    end_all(store, study, worker, take, endings)
    assert reads.study(store, study.name).state == StudyState.OPEN


def test_a_study_that_is_opened_again_has_forgotten_its_failures(store, study, worker, take):
    end_all(store, study, worker, take, ["error", "error"])
    writes.set_state(store, study.id, StudyState.OPEN)
    end_all(store, study, worker, take, ["error"])
    assert reads.study(store, study.name).state == StudyState.OPEN


# ---- studies, events, views ------------------------------------------------------------------------------------------


def test_a_name_is_taken_once(store, study):
    with pytest.raises(StoreError, match="'demo' is taken"):
        writes.create_study(store, {"name": "demo"}, [])


def test_what_happens_is_written_down_as_events(store, study, worker, take):
    fenced.release(store, take(store, study, worker))
    fenced.finish(store, take(store, study, worker), TrialState.FAIL, failure=Failure.ERROR, message="no")
    take(store, study, worker)
    claims.end_worker(store, worker, "died")
    writes.set_budget(store, study.id, 9, 9)
    writes.set_state(store, study.id, StudyState.PAUSED)
    writes.add_event(store, study.id, "note", "a word", 1)
    found = reads.event_rows(store, study.id)
    kinds = ["created", "handed back", "taken up", "failed", "put back", "budget", "paused", "note"]
    assert [(each["kind"], each["number"]) for each in found] == list(
        zip(kinds, [None, 0, 0, 0, 1, None, None, 1], strict=True)
    )
    assert all(each["message"] for each in found)


def test_the_views_answer_in_sql(store, study, worker, take):
    for number, loss in enumerate([0.3, 0.1, 0.2]):
        lease = take(store, study, worker)
        fenced.set_params(store, lease, {"x": number / 10})
        report(store, lease, 0, loss)
        fenced.finish(store, lease, TrialState.COMPLETE, value=loss, seconds=1.0)
    take(store, study, worker)
    with store.read() as connection:
        best = connection.execute(sa.text("SELECT study, rank, number, metric, value FROM v_best ORDER BY rank")).all()
        trials = connection.execute(sa.text("SELECT number, state, device FROM v_trials ORDER BY number")).all()
        epochs = connection.execute(sa.text("SELECT number, epoch, value FROM v_epochs ORDER BY number")).all()
    assert [tuple(each) for each in best] == [
        ("demo", 1, 1, "val_loss", 0.1),
        ("demo", 2, 2, "val_loss", 0.2),
        ("demo", 3, 0, "val_loss", 0.3),
    ]
    assert [tuple(each) for each in trials] == [(n, "COMPLETE", "cpu") for n in range(3)] + [(3, "RUNNING", "cpu")]
    assert [tuple(each) for each in epochs] == [(0, 0, 0.3), (1, 0, 0.1), (2, 0, 0.2)]


def test_every_change_of_a_trial_that_matters_to_a_sampler_is_news(store, study, worker, take):
    revision = 0

    def news():
        nonlocal revision
        changed, revision = reads.changed_trials(store, study.id, revision)
        return [(record.number, record.state) for record in changed]

    lease = take(store, study, worker)
    assert news() == [(0, TrialState.RUNNING)]
    fenced.set_params(store, lease, {"x": 0.5})
    assert news() == [(0, TrialState.RUNNING)]
    report(store, lease, 0)
    assert news() == []
    fenced.release(store, lease)
    assert news() == [(0, TrialState.WAITING)]
    fenced.finish(store, take(store, study, worker), TrialState.COMPLETE, value=0.5)
    take(store, study, worker)
    assert news() == [(0, TrialState.COMPLETE), (1, TrialState.RUNNING)]
    assert news() == []
