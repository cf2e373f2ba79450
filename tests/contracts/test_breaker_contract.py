"""The circuit breaker: one device that fails is paused and its trials go elsewhere; where all fail, the study stops."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from sweeper.store import breaker, claims, fenced, reads, schema, writes
from sweeper.words.records import Failure, Idle, Lease, StudyState, TrialRecord, TrialState

CUDA = "RuntimeError: CUDA error: unspecified launch failure"
QUICK, SLOW = 1.0, 600.0


@pytest.fixture
def study(store, begin):
    return begin(store, budget=20)


@pytest.fixture
def gpu(store, study, hire):
    """`gpu(1)`: a worker there."""
    return lambda index, **more: hire(store, study, host="node", slot=f"gpu {index}", **more)


@pytest.fixture
def fail(store, study):
    """`fail(worker)`: it takes a trial, which fails; its number."""

    def fail_one(worker, message=CUDA, seconds=QUICK, failure=Failure.ERROR, **more):
        lease = claimed(store, study, worker)
        fenced.finish(
            store, lease, TrialState.FAIL, failure=failure, message=message, traceback="…", seconds=seconds, **more
        )
        return lease.number

    return fail_one


def claimed(store, study, worker):
    record = claims.claim(store, study.id, worker)
    assert isinstance(record, TrialRecord), record
    return Lease(record.study_id, record.number, record.attempt, worker)


def complete(store, study, worker):
    lease = claimed(store, study, worker)
    fenced.finish(store, lease, TrialState.COMPLETE, value=0.5)
    return lease.number


def paused(store, study):
    return [row["device"] for row in reads.paused_devices(store, study.id)]


def states(store, study):
    return "".join(record.state[0] for record in reads.all_trials(store, study.id))


def events(store, study, kind):
    return [row["message"] for row in reads.event_rows(store, study.id) if row["kind"] == kind]


def end_pause(store):
    with store.write() as connection:
        connection.execute(sa.update(schema.failing_devices).values(paused_until=0.0))


# ---- one device ------------------------------------------------------------------------------------------------------


def test_a_device_on_which_three_trials_fail_in_a_row_is_paused_and_they_are_tried_elsewhere(store, study, gpu, fail):
    good, broken = gpu(0), gpu(1)
    complete(store, study, good)
    numbers = [fail(broken) for _ in range(3)]
    assert claims.claim(store, study.id, broken) is Idle.PAUSED
    assert paused(store, study) == ["gpu 1 of node"]
    (row,) = reads.paused_devices(store, study.id)
    assert (row["failures"], row["message"]) == (3, CUDA)
    assert 0 < row["seconds_left"] <= breaker.PAUSE_SECONDS
    told = f"gpu 1 of node paused for 5 min: 3 trials in a row failed on it, the last with: {CUDA}"
    assert events(store, study, "device paused") == [told]
    assert events(store, study, "put back")[0] == "trial 1 put back: it failed on gpu 1 of node alone"
    assert [complete(store, study, good) for _ in numbers] == numbers
    assert states(store, study) == "CCCC"
    assert reads.study(store, study.name).state == StudyState.OPEN


def test_a_trial_that_runs_long_elsewhere_is_sign_enough_that_another_device_is_well(store, study, gpu, fail):
    claimed(store, study, gpu(0))
    broken = gpu(1)
    for _ in range(3):
        fail(broken, max_failures=5)
    assert paused(store, study) == ["gpu 1 of node"]
    assert reads.study(store, study.name).state == StudyState.OPEN


def test_all_workers_of_the_device_are_paused_and_no_others(store, study, gpu, fail):
    gpu(0)
    one, two = gpu(1), gpu(1)
    for worker in (one, two, one):
        fail(worker)
    assert claims.claim(store, study.id, two) is Idle.PAUSED
    assert isinstance(claims.claim(store, study.id, gpu(0)), TrialRecord)


def test_a_trial_that_ends_well_in_between_clears_the_device(store, study, gpu, fail):
    gpu(0)
    worker = gpu(1)
    for _ in range(2):
        fail(worker)
        fail(worker)
        complete(store, study, worker)
    assert paused(store, study) == []


@pytest.mark.parametrize(
    ("messages", "seconds", "pauses"),
    [
        (["one", "other", "third"], QUICK, True),
        (["one", "other", "third"], SLOW, False),
        (["Tried to allocate 2.00 GiB", "Tried to allocate 3.5 GiB", "Tried to allocate 1 GiB"], SLOW, True),
    ],
    ids=["within seconds", "slow and of different causes", "of one cause"],
)
def test_failures_count_together_within_seconds_or_for_one_cause(store, study, gpu, fail, messages, seconds, pauses):
    gpu(0)
    worker = gpu(1)
    for message in messages:
        fail(worker, message=message, seconds=seconds)
    assert bool(paused(store, study)) is pauses


@pytest.mark.parametrize("failure", [Failure.DIVERGED, Failure.TIMEOUT])
def test_a_diverged_or_a_slow_trial_says_nothing_of_its_device(store, study, gpu, fail, failure):
    gpu(0)
    worker = gpu(1)
    for _ in range(4):
        fail(worker, failure=failure)
    assert paused(store, study) == []


def test_workers_that_die_on_a_device_pause_it(store, study, gpu):
    good = gpu(0)
    for number in range(3):
        worker = gpu(1)
        assert claims.claim(store, study.id, worker).number == number
        claims.end_worker(store, worker, "died")
        if number < 2:
            assert complete(store, study, good) == number  # else the next worker had the same trial
    assert paused(store, study) == ["gpu 1 of node"]
    assert reads.paused_devices(store, study.id)[0]["message"].endswith("its worker died while it ran")
    assert states(store, study) == "CCW"


def test_one_trial_that_kills_its_worker_again_and_again_is_not_the_devices_fault(store, study, gpu):
    gpu(0)
    for _ in range(claims.MAX_ATTEMPTS):
        worker = gpu(1)
        assert claims.claim(store, study.id, worker).number == 0
        claims.end_worker(store, worker, "died")
    assert paused(store, study) == []
    assert states(store, study) == "F"


# ---- who is to blame -------------------------------------------------------------------------------------------------


def test_a_trial_that_fails_elsewhere_too_clears_the_device_and_stays_failed(store, study, gpu, fail):
    good, suspect = gpu(0), gpu(1)
    numbers = [fail(suspect) for _ in range(3)]
    assert fail(good) == numbers[0]
    assert paused(store, study) == []
    assert states(store, study) == "FWW"
    assert events(store, study, "device works") == ["gpu 1 of node goes on: trial 0 fails on gpu 0 of node too"]
    assert claimed(store, study, suspect).number == 1


def test_after_its_pause_a_device_tries_one_trial_and_is_paused_for_longer(store, study, gpu, fail):
    gpu(0)
    broken = gpu(1)
    for _ in range(3):
        fail(broken)
    end_pause(store)
    assert fail(broken) == 0
    assert paused(store, study) == ["gpu 1 of node"]
    assert reads.paused_devices(store, study.id)[0]["seconds_left"] > breaker.PAUSE_SECONDS
    assert states(store, study) == "WWW"


def test_after_its_pause_a_device_that_works_is_as_good_as_any(store, study, gpu, fail):
    gpu(0)
    worker = gpu(1)
    for _ in range(3):
        fail(worker)
    end_pause(store)
    complete(store, study, worker)
    assert events(store, study, "device works") == ["gpu 1 of node goes on: a trial ended well there"]
    fail(worker)
    fail(worker)
    assert paused(store, study) == []


@pytest.mark.parametrize("how", ["resumed", "started"])
def test_a_person_who_resumes_or_starts_the_study_ends_every_pause(store, study, gpu, fail, how):
    gpu(0)
    worker = gpu(1)
    for _ in range(3):
        fail(worker)
    if how == "resumed":
        writes.set_state(store, study.id, StudyState.OPEN)
    else:
        writes.begin_run(store, study.id)
    assert paused(store, study) == []
    assert isinstance(claims.claim(store, study.id, worker), TrialRecord)


def test_a_trial_that_still_runs_on_a_paused_device_is_put_back_too(store, study, gpu, fail):
    gpu(0)
    one, two = gpu(1), gpu(1)
    late = claimed(store, study, two)
    for _ in range(3):
        fail(one)
    fenced.finish(store, late, TrialState.FAIL, failure=Failure.ERROR, message=CUDA, seconds=SLOW)
    assert states(store, study) == "WWWW"
    assert len(events(store, study, "device paused")) == 1


def test_a_worker_of_a_paused_device_leaves_when_the_study_is_done(store, begin, hire):
    study = begin(store, name="short", budget=3)
    good, broken = (hire(store, study, host="node", slot=slot) for slot in ("gpu 0", "gpu 1"))
    for _ in range(3):
        fenced.finish(
            store, claimed(store, study, broken), TrialState.FAIL, failure=Failure.ERROR, message=CUDA, seconds=QUICK
        )
    for _ in range(3):
        assert claims.claim(store, study.id, broken) is Idle.PAUSED
        complete(store, study, good)
    assert claims.claim(store, study.id, broken) is Idle.DONE


# ---- the study -------------------------------------------------------------------------------------------------------


def test_where_every_device_fails_the_study_stops_with_one_message(store, study, gpu, fail):
    workers = [gpu(0), gpu(1)]
    numbers = [fail(workers[turn % 2], max_failures=5) for turn in range(5)]
    stopped = reads.study(store, study.name)
    assert stopped.state == StudyState.STOPPED
    assert stopped.message == f"5 trials in a row failed, the last with: {CUDA}"
    assert paused(store, study) == []
    assert numbers == [0, 1, 2, 3, 4]


def test_after_one_device_was_paused_the_failures_of_the_other_stop_the_study(store, study, gpu, fail):
    slow, quick = gpu(0), gpu(1)
    for _ in range(3):
        fail(quick, max_failures=5)
    assert paused(store, study) == ["gpu 1 of node"]
    for _ in range(3):
        fenced.finish(
            store, claimed(store, study, slow), TrialState.FAIL, failure=Failure.ERROR, message="other", seconds=SLOW
        )
    while reads.study(store, study.name).state == StudyState.OPEN:
        fail(slow, message="other", max_failures=5)
    assert "5 trials in a row failed" in reads.study(store, study.name).message


def test_the_only_device_is_never_paused(store, study, gpu, fail):
    one, two = gpu(0), gpu(0)
    for worker in (one, two, one, two):
        fail(worker)
    assert paused(store, study) == []
    assert states(store, study) == "FFFF"


def test_a_device_whose_workers_have_left_is_no_sign_of_health(store, study, gpu, fail):
    claims.end_worker(store, gpu(0), "left")
    worker = gpu(1)
    for _ in range(3):
        fail(worker)
    assert paused(store, study) == []


def test_killed_trials_count_towards_the_failures_that_stop_a_study(store, study, gpu):
    for _ in range(2 * claims.MAX_ATTEMPTS):
        worker = gpu(0, max_failures=2)
        claims.claim(store, study.id, worker)
        claims.end_worker(store, worker, "died")
    stopped = reads.study(store, study.name)
    assert stopped.state == StudyState.STOPPED
    assert stopped.message == "2 trials in a row failed, the last with: its worker died 3 times while it ran"
