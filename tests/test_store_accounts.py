"""Where the time went: the accounts of made-up histories, written by the store's own writes on a clock of the test."""

from __future__ import annotations

from collections import defaultdict

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from sweeper.report import accounts
from sweeper.store import claims, ledger, reads, schema, writes
from sweeper.store.connection import Store
from sweeper.trial import EpochReport, Failure, Lease, TrialRecord, TrialState

BEGUN = 1_700_000_000.0


class World:
    """A study whose database has a clock that the test moves; it keeps what truly happened."""

    def __init__(self, url: str) -> None:
        self.clock = BEGUN
        self.store = Store(url, create=True)
        sa.event.listen(self.store._engine, "connect", self._on_connect)
        self.store._engine.dispose()
        definition = {
            "name": "made up", "metric": "loss", "direction": "minimize", "seed": 0, "folder": "runs", "space": [],
            "plan": {}, "config": {}, "budget": 1000, "full_epochs": 1, "budget_epochs": 1000,
        }  # fmt: skip
        self.study_id = writes.create_study(self.store, definition, [])
        self.study = reads.study(self.store)
        self.hands: dict[int, Hand] = {}
        self.truth = defaultdict(lambda: {"held": 0.0, "repeated": 0.0, "again": 0, "epochs": {}, "state": None})

    def _on_connect(self, connection, record):
        connection.create_function("julianday", 1, lambda _: self.clock / 86400 + 2440587.5)

    def hire(self) -> Hand:
        row = {"host": "elsewhere", "pid": 1, "device": "cpu", "engine": "test"}
        worker = claims.add_worker(self.store, self.study_id, **row)
        self.hands[worker] = Hand(self, worker)
        return self.hands[worker]

    def wait(self, seconds: float) -> None:
        """Everybody who lives says so on the way."""
        self.clock += seconds
        for hand in self.hands.values():
            if hand.lives:
                claims.beat(self.store, hand.worker)

    def collect(self) -> accounts.Ledger:
        return accounts.collect(self.store, self.study)


class Hand:
    """A worker, and the trial in its hand."""

    def __init__(self, world: World, worker: int) -> None:
        self.world, self.worker, self.lives = world, worker, True
        self.born = self.since = self.taken = world.clock
        self.held = 0.0
        self.lease: Lease | None = None
        self.epoch = 0

    def claim(self, promote: int | None = None, back: int = 0) -> TrialRecord:
        """A trial, to be trained on from `back` epochs before its last."""
        grant, here = (1 if promote is None else 99), (self.world.store, self.world.study_id, self.worker)
        found = claims.claim(*here, grant_epochs=grant, promote=promote)
        assert isinstance(found, TrialRecord)
        self.lease = Lease(self.world.study_id, found.number, found.attempt, self.worker)
        self.epoch = max(0, found.epochs_done - back)
        self.since = self.taken = self.world.clock
        self.world.truth[found.number]["state"] = TrialState.RUNNING
        return found

    @property
    def told(self):
        assert self.lease is not None
        return self.world.truth[self.lease.number]

    def report(self) -> None:
        """Told in two pieces, as a script may."""
        seconds = self.world.clock - self.since
        for share in (0.5, 1.0):
            told = EpochReport(self.lease.number, self.epoch, {"loss": 1.0}, share * seconds)
            writes.report(self.world.store, self.lease, told, 1.0)
        if self.epoch in self.told["epochs"]:
            self.told["repeated"] += self.told["epochs"][self.epoch]
            self.told["again"] += 1
        self.told["epochs"][self.epoch] = seconds
        self.epoch += 1
        self.since = self.world.clock

    def finish(self, state: TrialState, failure: Failure | None = None) -> None:
        seconds = self.world.clock - self.taken
        writes.finish(self.world.store, self.lease, state, value=1.0, failure=failure, seconds=seconds)
        done = reads.trial(self.world.store, self.world.study_id, self.lease.number)["epochs_done"]
        self.told["epochs"] = {epoch: known for epoch, known in self.told["epochs"].items() if epoch < done}
        self._leave(state)

    def release(self) -> None:
        writes.release(self.world.store, self.lease, self.world.clock - self.taken)
        self._leave(TrialState.WAITING)

    def die(self) -> None:
        if self.lease is not None:
            self.told["repeated"] += self.world.clock - self.since
            number = self.lease.number
        claims.end_worker(self.world.store, self.worker, "died")
        if self.lease is not None:
            state = TrialState(reads.trial(self.world.store, self.world.study_id, number)["state"])
            self._leave(state)
        self.lives = False

    def _leave(self, state: TrialState) -> None:
        self.told["state"] = state
        self.told["held"] += self.world.clock - self.taken
        self.held += self.world.clock - self.taken
        self.lease = None

    def stop_watch(self) -> None:
        """So far, of what is in hand."""
        if self.lease is not None:
            self.told["held"] += self.world.clock - self.taken
            self.held += self.world.clock - self.taken


@pytest.fixture
def world(tmp_path):
    made = World(f"sqlite:///{tmp_path / 'sweeper.db'}")
    yield made
    made.store.close()


def parts(account: accounts.Account) -> dict[str, float]:
    return {kind: pytest.approx(amount, abs=0.01) for kind, amount in account.parts.items() if abs(amount) > 0.01}


def test_a_complete_trial_is_useful_and_what_was_no_epoch_is_overhead(world):
    hand = world.hire()
    world.wait(5)
    hand.claim()
    for seconds in (10, 10):
        world.wait(seconds)
        hand.report()
    world.wait(2)
    hand.finish(TrialState.COMPLETE)
    world.wait(3)
    found = world.collect()
    assert parts(found.seconds) == {"useful": 20, "overhead": 2, "idle": 8}
    assert found.utilisation == pytest.approx(22 / 30, abs=1e-3)
    assert (found.epochs.useful, found.epochs.total) == (2, 2)
    assert [(each.trials, each.seconds) for each in found.workers] == [(1, found.seconds)]


def test_what_a_trial_that_runs_has_taken_is_in_hand(world):
    hand = world.hire()
    hand.claim()
    world.wait(10)
    hand.report()
    world.wait(4)
    assert parts(world.collect().seconds) == {"running": 14}


def test_a_kill_costs_the_epoch_in_hand_and_the_epochs_that_are_trained_again(world):
    first, second = world.hire(), world.hire()
    first.claim()
    for _ in range(3):
        world.wait(10)
        first.report()
    world.wait(4)
    first.die()
    row = reads.trial(world.store, world.study_id, 0)
    assert (row["repeated_epochs"], row["repeated_seconds"]) == (0, pytest.approx(4, abs=0.01))
    waiting = world.collect()
    assert parts(waiting.seconds) == {"waiting": 30, "repeated": 4, "idle": 34}
    second.claim(back=1)  # the last checkpoint was lost with it
    for _ in range(2):
        world.wait(11)
        second.report()
    second.finish(TrialState.COMPLETE)
    found = world.collect()
    assert parts(found.seconds) == {"useful": 42, "repeated": 14, "idle": 34}
    assert (found.epochs.useful, found.epochs.repeated) == (4, 1)
    one, two = found.workers
    assert parts(one.seconds) == {"useful": 20, "repeated": 14}
    assert parts(two.seconds) == {"useful": 22, "idle": 34}


def test_what_is_told_again_of_an_epoch_that_was_trained_before_is_not_repeated(world):
    hand = world.hire()
    hand.claim()
    world.wait(10)
    hand.report()
    hand.release()
    record = hand.claim()
    writes.report(world.store, hand.lease, EpochReport(0, 0, {"loss": 1.0, "test": 2.0}, world.clock - BEGUN), 1.0)
    assert record.attempt == 2
    world.wait(1)
    hand.finish(TrialState.COMPLETE)
    found = world.collect()
    assert parts(found.seconds) == {"useful": 10, "overhead": 1}
    assert found.epochs.repeated == 0


def test_a_paused_trial_that_another_worker_takes_on_stays_in_both_accounts(world):
    first, second = world.hire(), world.hire()
    first.claim()
    world.wait(10)
    first.report()
    world.wait(2)  # its checkpoint
    first.finish(TrialState.PAUSED)
    assert parts(world.collect().seconds) == {"paused": 10, "overhead": 2, "idle": 12}
    world.wait(5)
    second.claim(promote=0)
    world.wait(20)
    second.report()
    second.finish(TrialState.COMPLETE)
    one, two = world.collect().workers
    assert parts(one.seconds) == {"useful": 10, "overhead": 2, "idle": 25}
    assert parts(two.seconds) == {"useful": 20, "idle": 17}
    assert (one.trials, two.trials) == (1, 1)


def test_failures_are_told_by_reason(world):
    hand = world.hire()
    for failure in (Failure.DIVERGED, Failure.ERROR, Failure.DIVERGED):
        hand.claim()
        world.wait(3)
        hand.finish(TrialState.FAIL, failure)
    found = world.collect().seconds
    assert found.failed == {Failure.DIVERGED: pytest.approx(6, abs=0.01), Failure.ERROR: pytest.approx(3, abs=0.01)}
    assert parts(found) == {"failed": 9}


def test_a_worker_that_died_long_before_anybody_noticed_was_not_idle_since(world):
    hand = world.hire()
    hand.claim()
    world.wait(10)
    hand.report()
    world.wait(3)
    world.clock += 100_000  # the machine was off
    assert parts(world.collect().seconds) == {"running": 13}
    hand.die()
    found = world.collect()
    assert found.seconds.total == pytest.approx(13 + ledger.BEAT_SECONDS, abs=0.01)
    assert found.seconds.waiting == pytest.approx(10, abs=0.01)
    assert found.seconds.idle == pytest.approx(0, abs=0.01)


def test_time_between_two_runs_belongs_to_nobody(world):
    first = world.hire()
    first.claim()
    world.wait(10)
    first.report()
    first.release()
    claims.end_worker(world.store, first.worker, "left")
    first.lives = False
    world.wait(5_000)
    second = world.hire()
    second.claim()
    world.wait(10)
    second.report()
    second.finish(TrialState.COMPLETE)
    assert parts(world.collect().seconds) == {"useful": 20}


def test_trials_that_were_imported_are_in_no_account(world):
    row = {"study_id": world.study_id, "number": 0, "state": TrialState.COMPLETE, "attempt": 1, "seed": 0}
    with world.store.write() as connection:
        connection.execute(schema.trials.insert().values(**row, revision=1, seconds=50.0, started=BEGUN, value=1.0))
    found = world.collect()
    assert (found.seconds.total, found.utilisation, found.workers) == (0, None, ())


def test_shares_are_of_the_whole_and_missing_where_there_is_nothing():
    account = accounts.Account(useful=3.0, failed={Failure.ERROR: 1.0}, idle=4.0)
    assert account.shares["failed"] == 1 / 8
    assert sum(account.shares.values()) == 1.0
    assert accounts.Account().shares == {}


ACTS = ("claim", "report", "complete", "pause", "fail", "release", "die", "promote", "hire")
STEPS = st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 9), st.floats(0.1, 9)), max_size=40)


@given(steps=STEPS)
@effort(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_second_and_every_epoch_stands_in_one_column(tmp_path_factory, steps):
    world = World(f"sqlite:///{tmp_path_factory.mktemp('world') / 'sweeper.db'}")
    world.hire()
    for index, (act, which, seconds) in enumerate(steps):
        world.wait(round(seconds, 2) + index * 1e-3)
        _do(world, act, which)
    for hand in world.hands.values():
        hand.stop_watch()
    _check(world, world.collect())
    world.store.close()


def _do(world: World, act: str, which: int) -> None:
    """What that worker can do of it at this moment, else nothing."""
    living = [hand for hand in world.hands.values() if hand.lives]
    if act == "hire" or not living:
        world.hire()
        return
    hand = living[which % len(living)]
    if act == "die":
        hand.die()
    elif hand.lease is None:
        paused = [number for number, told in world.truth.items() if told["state"] is TrialState.PAUSED]
        waiting = any(told["state"] is TrialState.WAITING for told in world.truth.values())
        if act == "promote" and paused and not waiting:
            row = reads.trial(world.store, world.study_id, paused[which % len(paused)])
            if row["target_epochs"] < 99:
                hand.claim(promote=row["number"])
        elif act == "claim":
            hand.claim(back=which % 2)
    elif act == "report":
        hand.report()
    elif act in ("complete", "pause"):
        hand.report()  # so that nothing is left over at the end of a stage
        hand.finish(TrialState.COMPLETE if act == "complete" else TrialState.PAUSED)
    elif act == "fail":
        hand.finish(TrialState.FAIL, list(Failure)[which % 3])
    elif act == "release":
        hand.release()


def _check(world: World, found: accounts.Ledger) -> None:
    close = {"abs": 0.05}
    lifetimes = accounts.lifetimes_of(reads.worker_rows(world.store, world.study_id))
    for each in found.workers:
        hand, (born, died) = world.hands[each.id], lifetimes[each.id]
        assert all(amount >= -1e-6 for amount in each.seconds.parts.values())
        assert each.seconds.total == pytest.approx(died - born, **close)
        assert each.seconds.idle == pytest.approx(died - born - hand.held, **close)
    wanted, epochs = _truth(world)
    for kind in accounts.KINDS[:-1]:
        assert found.seconds.parts[kind] == pytest.approx(wanted[kind], **close), kind
        assert found.epochs.parts[kind] == epochs[kind], kind


def _truth(world: World):
    seconds, epochs = defaultdict(float), defaultdict(int)
    for told in world.truth.values():
        kind = accounts.OF_STATE[told["state"]]
        rest = told["held"] - told["repeated"]
        trained = sum(told["epochs"].values()) if kind in ("useful", "paused") else rest
        seconds[kind] += trained
        seconds["overhead"] += rest - trained
        seconds["repeated"] += told["repeated"]
        epochs[kind] += len(told["epochs"])
        epochs["repeated"] += told["again"]
    return seconds, epochs


def test_of_many_trials_some_tell_how_much_was_no_epoch(world, monkeypatch):
    hand = world.hire()
    for _ in range(9):
        hand.claim()
        world.wait(3)
        hand.report()
        world.wait(1)
        hand.finish(TrialState.COMPLETE)
    exact = world.collect()
    monkeypatch.setattr(ledger, "MAX_TRIALS", 4)
    assert parts(world.collect().seconds) == parts(exact.seconds) == {"useful": 27, "overhead": 9}
    assert world.collect().epochs == exact.epochs


def test_those_that_tell_are_of_every_worker_though_they_take_turns(world, monkeypatch):
    hands = [world.hire(), world.hire()]
    for number in range(60):
        hand = hands[number % 2]
        hand.claim()
        world.wait(3)
        hand.report()
        world.wait(1)
        hand.finish(TrialState.COMPLETE)
    monkeypatch.setattr(ledger, "MAX_TRIALS", 30)
    for each in world.collect().workers:
        assert parts(each.seconds) == {"useful": 90, "overhead": 30, "idle": 120}


def test_what_a_damaged_store_has_lost_is_nobodys_time(world):
    first, second = world.hire(), world.hire()
    first.claim()
    world.wait(10)
    first.report()
    first.release()
    second.claim()
    world.wait(10)
    second.report()
    second.finish(TrialState.COMPLETE)
    idle_half = {"useful": 10, "idle": 10}
    assert [parts(each.seconds) for each in world.collect().workers] == [idle_half, idle_half]
    with world.store.write() as connection:
        connection.execute(schema.workers.delete().where(schema.workers.c.id == 1))
    assert [parts(each.seconds) for each in world.collect().workers] == [idle_half]
    with world.store.write() as connection:
        connection.execute(schema.events.delete().where(schema.events.c.kind == ledger.TAKEN_UP))
    assert [parts(each.seconds) for each in world.collect().workers] == [idle_half]
