"""The claim, and the workers that claim: who may write for a trial.

A claim is one short transaction; it gives the lease and raises the trial's attempt number, so that an earlier holder
can write nothing any more. The budget is granted in it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from sweeper.store import breaker
from sweeper.store.attempts import PROMOTED, TAKEN_UP, lost_seconds
from sweeper.store.connection import Store
from sweeper.store.reads import last_revision, trial_record
from sweeper.store.schema import now, studies, trials, workers
from sweeper.store.statements import inserted, next_revision, note_event
from sweeper.words.errors import LeaseLost
from sweeper.words.records import Failure, Idle, Lease, StudyState, TrialRecord, TrialState
from sweeper.words.seeds import trial_seed

if TYPE_CHECKING:
    from sweeper.words.records import Load

LEASE_SECONDS = 60.0
MAX_ATTEMPTS = 3
"""A trial whose worker died this often is FAIL `killed`: it is the trial that kills."""


@dataclass
class Patience:
    """Believes that a lease ran out only when it stayed so for `seconds` of this process's own clock.

    The database's clock may jump; a living worker then renews its lease within its next beat, and nobody has taken its
    trial away by mistake.
    """

    seconds: float
    clock: Callable[[], float] = time.monotonic
    _first_seen: dict[tuple[Any, ...], float] = field(default_factory=dict)

    def is_over(self, lease: tuple[Any, ...]) -> bool:
        """`lease`: number, attempt and end of the lease; a renewed one is another one."""
        return self.clock() - self._first_seen.setdefault(lease, self.clock()) >= self.seconds


def claim(
    store: Store,
    study_id: int,
    worker_id: int,
    *,
    stage: int = 0,
    grant_epochs: int | None = None,
    promote: int | None = None,
    reserve: int = 0,
    kept: int = 0,
    lease_seconds: float = LEASE_SECONDS,
    patience: Patience | None = None,
) -> TrialRecord | Idle:
    """Take a trial: first one that was handed back or whose lease ran out, then what the plan wants, if it is paid for.

    The plan wants a new number, trained to `grant_epochs` of its `stage`, or the PAUSED trial `promote` trained on to
    them. `reserve`: a new number is given only while so many epochs of the budget are left. `kept`: so many of them
    are not for new or promoted trials.

    `patience`: how long a lease that ran out must stay so before it is believed; None believes at once. A trial that
    ran out of memory has its device to itself: it waits until the others there are done, and they wait for it.

    The budget is granted here, in the same transaction as the number, so that no race can overspend it. A new trial
    has no parameters yet: its worker proposes them outside this transaction (`set_params`).
    """
    with store.write() as connection:
        standing = _look(connection, study_id, lease_seconds)
        if standing.state != StudyState.OPEN:
            return Idle.PAUSED if standing.state == StudyState.PAUSED else Idle.STOPPED
        if standing.expired is not None and _give_back_expired(connection, study_id, lease_seconds, patience):
            standing = _look(connection, study_id, lease_seconds)
        if breaker.is_paused(connection, study_id, worker_id):
            is_open = any(each is not None for each in (standing.waiting, standing.running, standing.alone, promote))
            left = max(grant_epochs or 1, reserve) + kept
            return Idle.PAUSED if is_open or _has_room(connection, study_id, left) else Idle.DONE
        lease = {"worker_id": worker_id, "_lease_seconds": lease_seconds}
        if standing.alone is not None:
            waiting, busy = _alone(connection, study_id, worker_id)
            if busy:
                return Idle.WAIT
            if waiting is not None:
                return _take_up(connection, study_id, waiting, lease)
        if standing.waiting is not None:
            return _take_up(connection, study_id, standing.waiting, lease)
        if promote is not None and grant_epochs is not None:
            taken = _promote(connection, study_id, promote, stage, grant_epochs, lease, kept)
            return taken if taken is not None else Idle.AGAIN
        new = _new_trial(connection, study_id, stage, grant_epochs, lease, reserve, kept)
        if new is not None:
            return new
        return Idle.DONE if standing.running is None else Idle.WAIT


def go_on(store: Store, lease: Lease, stage: int, epochs: int, kept: int = 0) -> bool:
    """Let the trial in hand train on to `epochs`; returns whether the budget, less what is `kept`, pays for it.

    Raises LeaseLost.
    """
    held = (
        trials.c.study_id == lease.study_id,
        trials.c.number == lease.number,
        trials.c.attempt == lease.attempt,
        trials.c.state == TrialState.RUNNING,
    )
    with store.write() as connection:
        target = connection.scalar(sa.select(trials.c.target_epochs).where(*held))
        if target is None:
            raise LeaseLost(f"trial {lease.number}, attempt {lease.attempt}: another worker holds it")
        revision = _spend(connection, lease.study_id, epochs - target, kept)
        if revision is None:
            return False
        values = {"stage": stage, "target_epochs": epochs, "revision": revision}
        connection.execute(trials.update().where(*held).values(**values))
        note_event(
            connection, lease.study_id, PROMOTED, f"trial {lease.number} goes on to {epochs} epochs", lease.number
        )
        return True


def _promote(
    connection: sa.Connection,
    study_id: int,
    number: int,
    stage: int,
    epochs: int,
    lease: Mapping[str, Any],
    kept: int,
) -> TrialRecord | None:
    """Take a paused trial to go on to `epochs`; None where it is not paused any more, or the budget does not pay."""
    paused = (trials.c.study_id == study_id, trials.c.number == number, trials.c.state == TrialState.PAUSED)
    asked = sa.select(trials.c.target_epochs, trials.c.worker_id).where(*paused, trials.c.target_epochs < epochs)
    row = connection.execute(asked).one_or_none()
    if row is None or _spend(connection, study_id, epochs - row.target_epochs, kept) is None:
        return None
    connection.execute(trials.update().where(*paused).values(stage=stage, target_epochs=epochs, finished=None))
    note_event(connection, study_id, PROMOTED, f"trial {number} goes on to {epochs} epochs", number, row.worker_id)
    return _take(connection, study_id, number, lease)


def _spend(connection: sa.Connection, study_id: int, epochs: int, kept: int) -> int | None:
    """Grant so many more epochs to a trial that there is; returns the new revision, None past the budget."""
    within = (studies.c.id == study_id, studies.c.granted_epochs + epochs + kept <= studies.c.budget_epochs)
    values = {"granted_epochs": studies.c.granted_epochs + epochs, "revision": studies.c.revision + 1}
    granting = studies.update().where(*within).values(**values).returning(studies.c.revision)
    revision: int | None = connection.scalar(granting)
    return revision


def confirm(
    store: Store, study_id: int, numbers: Sequence[int], *, seeds: int, stage: int, epochs: int | None, seen: int
) -> bool:
    """Have the trials `numbers` trained again to `epochs`, until each has `seeds` repeats; they wait for workers.

    A repeat is a trial of its own, with its own number and seed and the same params; the budget is granted here to as
    many as it pays for. `seen`: the newest revision of the search's trials that whoever chose has seen. False, and
    nothing is written, where one has changed since, or somebody else was first.
    """
    with store.write() as connection:
        revision = next_revision(connection, study_id)  # first, for it locks the study's row
        study = connection.execute(sa.select(studies).where(studies.c.id == study_id)).one()
        newest = connection.scalar(last_revision(study_id)) or 0
        if newest != seen or (study.confirmed is not None and study.confirmed >= newest):
            return False
        wanted = _missing_repeats(connection, study_id, numbers, seeds)
        paid = wanted[: max(0, study.budget_epochs - study.granted_epochs) // (epochs or 1)]
        shared = {"study_id": study_id, "stage": stage, "target_epochs": epochs, "revision": revision}
        for number, original in enumerate(paid, study.next_number):
            seed, params = trial_seed(study.seed, number), _params(connection, study_id, original)
            row = {**shared, "number": number, "seed": seed, "params": params, "repeats": original}
            connection.execute(trials.insert().values(**row, state=TrialState.WAITING))
        granted, last = study.granted_epochs + len(paid) * (epochs or 1), study.next_number + len(paid)
        values = {"granted_epochs": granted, "next_number": last, "confirmed": revision}
        connection.execute(studies.update().where(studies.c.id == study_id).values(**values))
        these = ", ".join(map(str, numbers)) or "none, for none is complete"
        text = f"the best trials, {these}, are trained again: {len(paid)} times in all"
        note_event(connection, study_id, "confirming", text)
    return True


def _missing_repeats(connection: sa.Connection, study_id: int, numbers: Sequence[int], seeds: int) -> list[int]:
    """Each trial as often as it is to be repeated yet; the first repeat of each before the second of any."""
    counted = sa.select(trials.c.repeats, sa.func.count()).where(trials.c.study_id == study_id)
    rows = connection.execute(counted.where(trials.c.repeats.in_(numbers)).group_by(trials.c.repeats)).all()
    there = {row[0]: row[1] for row in rows}
    return [number for nth in range(seeds) for number in numbers if there.get(number, 0) <= nth]


def _params(connection: sa.Connection, study_id: int, number: int) -> Any:
    here = (trials.c.study_id == study_id, trials.c.number == number)
    return connection.scalar(sa.select(trials.c.params).where(*here))


def _look(connection: sa.Connection, study_id: int, lease_seconds: float) -> Any:
    if connection.dialect.name != "sqlite":
        # a lock in a statement of its own: what is read after it is what the claim before has left
        connection.execute(sa.select(studies.c.id).where(studies.c.id == study_id).with_for_update())
    return connection.execute(_standing(), {"_study": study_id, "_lease_seconds": lease_seconds}).one()


@functools.cache
def _standing() -> sa.Select[Any]:
    """One row: the study's state, and the lowest number that waits, runs, is to be alone, or lost its lease."""

    def lowest(*conditions: Any) -> Any:
        query = sa.select(sa.func.min(trials.c.number))
        return query.where(
            trials.c.study_id == studies.c.id, trials.c.finished.is_(None), *conditions
        ).scalar_subquery()

    return sa.select(
        studies.c.state,
        lowest(trials.c.state == TrialState.WAITING, trials.c.alone.is_(False)).label("waiting"),
        lowest(trials.c.state == TrialState.RUNNING).label("running"),
        lowest(trials.c.alone.is_(True)).label("alone"),
        lowest(*_lease_is_void()).label("expired"),
    ).where(studies.c.id == sa.bindparam("_study"))


def _lease_is_void() -> tuple[Any, ...]:
    """It ran out; or it lies so far ahead that the clock must have been set back since."""
    lease = sa.bindparam("_lease_seconds", type_=sa.Double)
    too_far = trials.c.lease_expires > now() + 2 * lease
    return (trials.c.state == TrialState.RUNNING, sa.or_(trials.c.lease_expires < now(), too_far))


def _give_back_expired(
    connection: sa.Connection, study_id: int, lease_seconds: float, patience: Patience | None
) -> bool:
    """Put back the trials whose lease is void; returns whether there was one that patience had run out for."""
    query = sa.select(trials.c.number, trials.c.attempt, trials.c.lease_expires).where(
        trials.c.study_id == study_id, trials.c.finished.is_(None), *_lease_is_void()
    )
    rows = connection.execute(query, {"_lease_seconds": lease_seconds}).all()
    believed = [row for row in rows if patience is None or patience.is_over(tuple(row))]
    for row in believed:
        put_back(connection, study_id, row.number, "its lease ran out", killed=True)
    return bool(believed)


def _alone(connection: sa.Connection, study_id: int, worker_id: int) -> tuple[int | None, bool]:
    """A trial that wants a device to itself, and whether this worker must wait for the others on its device."""
    me = sa.select(workers.c.host, workers.c.slot).where(workers.c.id == worker_id).subquery()
    mine = sa.and_(workers.c.host == me.c.host, workers.c.slot.is_not_distinct_from(me.c.slot))
    here = sa.select(sa.func.count()).select_from(
        trials.join(workers, workers.c.id == trials.c.worker_id).join(me, mine)
    )
    others_here = connection.scalar(
        here.where(trials.c.study_id == study_id, trials.c.state == TrialState.RUNNING, trials.c.worker_id != worker_id)
    )
    alone_here = connection.scalar(
        here.where(trials.c.study_id == study_id, trials.c.state == TrialState.RUNNING, trials.c.alone.is_(True))
    )
    waiting = connection.scalar(
        sa.select(sa.func.min(trials.c.number)).where(
            trials.c.study_id == study_id, trials.c.state == TrialState.WAITING, trials.c.alone.is_(True)
        )
    )
    return waiting, bool(alone_here or (waiting is not None and others_here))


def _new_trial(
    connection: sa.Connection,
    study_id: int,
    stage: int,
    grant_epochs: int | None,
    lease: Mapping[str, Any],
    reserve: int,
    kept: int,
) -> TrialRecord | None:
    """The next number, if the budget has room for its epochs; it is RUNNING from the start."""
    cost = grant_epochs or 1
    left = max(cost, reserve) + kept
    study = connection.execute(_grant(), {"_study": study_id, "_cost": cost, "_left": left}).one_or_none()
    if study is None:
        return None
    number = study.next_number - 1
    row = {
        "study_id": study_id,
        "number": number,
        "stage": stage,
        "state": TrialState.RUNNING,
        "seed": trial_seed(study.seed, number),
        "target_epochs": grant_epochs,
        "attempt": 1,
        "revision": study.revision,
    }
    connection.execute(_insert_trial(), {**row, **lease})
    return TrialRecord(
        **{name: value for name, value in row.items() if name != "revision"}, worker_id=lease["worker_id"]
    )


def _has_room(connection: sa.Connection, study_id: int, epochs: int) -> bool:
    within = (studies.c.id == study_id, studies.c.granted_epochs + epochs <= studies.c.budget_epochs)
    return connection.scalar(sa.select(studies.c.id).where(*within)) is not None


@functools.cache
def _grant() -> sa.Update:
    cost, left = sa.bindparam("_cost", type_=sa.Integer), sa.bindparam("_left", type_=sa.Integer)
    return (
        studies.update()
        .where(studies.c.id == sa.bindparam("_study"), studies.c.granted_epochs + left <= studies.c.budget_epochs)
        .values(
            granted_epochs=studies.c.granted_epochs + cost,
            next_number=studies.c.next_number + 1,
            revision=studies.c.revision + 1,
        )
        .returning(studies.c.next_number, studies.c.seed, studies.c.revision)
    )


@functools.cache
def _insert_trial() -> sa.Insert:
    names = "study_id number stage state seed target_epochs attempt revision worker_id".split()
    values: dict[str, Any] = {name: sa.bindparam(name, type_=trials.c[name].type) for name in names}
    expires = now() + sa.bindparam("_lease_seconds", type_=sa.Double)
    return trials.insert().values(**values, created=now(), started=now(), lease_expires=expires)


def _take_up(connection: sa.Connection, study_id: int, number: int, lease: Mapping[str, Any]) -> TrialRecord:
    """Take a trial that waits; an event keeps who held it before."""
    held = sa.select(trials.c.worker_id).where(trials.c.study_id == study_id, trials.c.number == number)
    before = connection.scalar(held)
    if before is not None:
        note_event(connection, study_id, TAKEN_UP, f"trial {number} goes on after worker {before}", number, before)
    return _take(connection, study_id, number, lease)


def _take(connection: sa.Connection, study_id: int, number: int, lease: Mapping[str, Any]) -> TrialRecord:
    """Give the lease: the attempt number rises, so that an earlier holder can write nothing any more."""
    row = connection.execute(
        trials.update()
        .where(trials.c.study_id == study_id, trials.c.number == number)
        .values(
            state=TrialState.RUNNING,
            attempt=trials.c.attempt + 1,
            worker_id=lease["worker_id"],
            lease_expires=now() + lease["_lease_seconds"],
            started=sa.func.coalesce(trials.c.started, now()),
            revision=next_revision(connection, study_id),
        )
        .returning(*trials.c)
    ).one()
    return trial_record(row)


def put_back(connection: sa.Connection, study_id: int, number: int, why: str, *, killed: bool) -> None:
    """Give a worker's trial back; one that killed its worker too often is FAIL `killed`."""
    held = (trials.c.study_id == study_id, trials.c.number == number)
    kills, worker_id = connection.execute(sa.select(trials.c.kills, trials.c.worker_id).where(*held)).one()
    lost = lost_seconds(connection, study_id, number)
    failed = killed and kills + 1 >= MAX_ATTEMPTS
    values: dict[str, Any] = {"state": TrialState.WAITING}
    message = "its worker died while it ran"
    if failed:
        message = f"its worker died {MAX_ATTEMPTS} times while it ran"
        values = {"state": TrialState.FAIL, "failure": Failure.KILLED, "message": message, "finished": now()}
    if failed:
        revision, in_a_row = breaker.count(connection, study_id, broken=True)
    else:
        revision, in_a_row = next_revision(connection, study_id), 0
    values |= {"kills": trials.c.kills + int(killed), "lease_expires": None, "revision": revision}
    values |= {"repeated_seconds": trials.c.repeated_seconds + lost}
    connection.execute(trials.update().where(*held).values(**values))
    note_event(connection, study_id, "killed" if failed else "put back", f"trial {number}: {why}", number)
    if killed:
        breaker.judge(connection, breaker.Fault(study_id, number, worker_id, Failure.KILLED, message), in_a_row)


# ---- workers ---------------------------------------------------------------------------------------------------------


def add_worker(store: Store, study_id: int, **row: Any) -> int:
    with store.write() as connection:
        return inserted(connection, workers.insert().values(study_id=study_id, **row))


def beat(store: Store, worker_id: int, load: Load | None = None) -> None:
    """Say that a worker lives, and how busy its device is."""
    told = (load.share, load.memory_bytes, load.memory_total_bytes) if load is not None else ()
    values = dict(zip(("load", "memory_bytes", "memory_total_bytes"), told, strict=False))
    with store.write() as connection:
        connection.execute(workers.update().where(workers.c.id == worker_id).values(beat=now(), **values))


def end_worker(store: Store, worker_id: int, ending: str) -> None:
    """Write that a worker is gone (`finished`, `left`, `died`) and give back what it still held."""
    with store.write() as connection:
        first = connection.execute(
            workers.update()
            .where(workers.c.id == worker_id, workers.c.ended.is_(None))
            .values(ended=now(), ending=ending)
            .returning(workers.c.study_id, workers.c.pid)
        ).one_or_none()
        if first is None:
            return
        held = sa.select(trials.c.number).where(
            trials.c.study_id == first.study_id,
            trials.c.worker_id == worker_id,
            trials.c.state == TrialState.RUNNING,
        )
        for number in connection.scalars(held).all():
            why = f"its worker (process {first.pid}) {ending}"
            put_back(connection, first.study_id, number, why, killed=ending == "died")
