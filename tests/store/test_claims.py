"""The claim's finer rules: leases under a clock that jumps, and trials that need a device to themselves."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from sweeper.store import claims, fenced, reads, schema
from sweeper.words.records import Idle, TrialRecord, TrialState


def move_lease(store, seconds):
    """As if the database's clock had jumped by `-seconds`."""
    with store.write() as connection:
        connection.execute(
            schema.trials.update()
            .where(schema.trials.c.lease_expires.is_not(None))
            .values(lease_expires=schema.trials.c.lease_expires + seconds)
        )


def number_of(claimed):
    return claimed.number if isinstance(claimed, TrialRecord) else claimed


@pytest.fixture
def study(store, begin):
    return begin(store, budget=6)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


# ---- patience --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-3600.0, 3600.0], ids=["forward", "back"])
def test_a_living_worker_keeps_its_trial_when_the_clock_jumps(store, study, hire, take, jump):
    lease = take(store, study, hire(store, study))
    clock = Clock()
    patience, other = claims.Patience(20.0, clock), hire(store, study)
    move_lease(store, jump)
    assert number_of(claims.claim(store, study.id, other, patience=patience)) == 1
    clock.now += 19.0
    fenced.renew(store, lease)
    clock.now += 2.0
    assert number_of(claims.claim(store, study.id, other, patience=patience)) == 2
    fenced.renew(store, lease)


@pytest.mark.parametrize("jump", [-3600.0, 3600.0], ids=["ran out", "lies too far ahead"])
def test_a_lease_that_stays_void_is_taken_away(store, study, hire, take, jump):
    take(store, study, hire(store, study))
    clock = Clock()
    patience, other = claims.Patience(20.0, clock), hire(store, study)
    move_lease(store, jump)
    assert number_of(claims.claim(store, study.id, other, patience=patience)) == 1
    clock.now += 20.0
    again = claims.claim(store, study.id, other, patience=patience)
    assert (again.number, again.attempt) == (0, 2)


def test_without_patience_it_is_believed_at_once(store, study, hire, take):
    take(store, study, hire(store, study))
    move_lease(store, -3600.0)
    assert number_of(claims.claim(store, study.id, hire(store, study))) == 0


# ---- alone on a device -----------------------------------------------------------------------------------------------


@pytest.fixture
def slot(store, study, hire):
    """`slot("gpu 0")`: a worker there."""

    def make(name):
        worker = hire(store, study)
        with store.write() as connection:
            connection.execute(sa.update(schema.workers).where(schema.workers.c.id == worker).values(slot=name))
        return worker

    return make


def test_a_trial_that_ran_out_of_memory_waits_for_its_device_and_the_others_wait_for_it(store, study, slot, take):
    one, two = slot("gpu 0"), slot("gpu 0")
    hungry, other = take(store, study, one), take(store, study, two)
    fenced.retry_alone(store, hungry, "CUDA out of memory")
    assert claims.claim(store, study.id, one) is Idle.WAIT
    fenced.finish(store, other, TrialState.COMPLETE, value=0.5)
    again = claims.claim(store, study.id, one)
    assert (again.number, again.attempt, again.alone) == (0, 2, True)
    assert claims.claim(store, study.id, two) is Idle.WAIT


def test_another_device_takes_it_at_once_and_is_not_held_up(store, study, slot, take):
    one, two, elsewhere = slot("gpu 0"), slot("gpu 0"), slot("gpu 1")
    hungry = take(store, study, one)
    take(store, study, two)
    fenced.retry_alone(store, hungry, "CUDA out of memory")
    assert number_of(claims.claim(store, study.id, elsewhere)) == 0
    assert number_of(claims.claim(store, study.id, one)) == 2


def test_running_out_of_memory_is_an_event(store, study, slot, take):
    fenced.retry_alone(store, take(store, study, slot("gpu 0")), "CUDA out of memory")
    assert "tried again alone: CUDA out of memory" in reads.event_rows(store, study.id)[-1]["message"]
