"""Everything that changes the store: the claim, the fenced writes of a trial, workers and events.

Each function is one short transaction. Whoever writes for a trial passes its lease, and every such write is fenced:
it names the trial's attempt and says `state = 'RUNNING'`; where no row answers, the lease is lost (`LeaseLost`) and
nothing is written. Nothing samples, trains or composes in here.
"""

from __future__ import annotations

import functools
import traceback as traceback_module
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from sweeper import process
from sweeper.errors import LeaseLost, StudyTaken
from sweeper.seeds import derive
from sweeper.store.connection import Store
from sweeper.store.reads import trial_record
from sweeper.store.schema import checkpoints, epochs, events, now, stages, studies, trials, workers
from sweeper.trial import EpochReport, Failure, Idle, Lease, StudyState, TrialRecord, TrialState

LEASE_SECONDS = 60.0
MAX_ATTEMPTS = 3
"""A trial whose worker died this often is FAIL `killed`: it is the trial that kills."""


# ---- studies ---------------------------------------------------------------------------------------------------------


def create_study(store: Store, definition: Mapping[str, Any], stage_rows: Iterable[Mapping[str, Any]]) -> int:
    """Add a study with its stages; raises StudyTaken when the name is (another process was first)."""
    with store.write() as connection:
        if connection.scalar(sa.select(studies.c.id).where(studies.c.name == definition["name"])) is not None:
            raise StudyTaken(f"A study's name must be new in its store, but {definition['name']!r} is taken.")
        study_id = _inserted(connection, studies.insert().values(**definition))
        for row in stage_rows:
            connection.execute(stages.insert().values(study_id=study_id, **row))
        _event(connection, study_id, "created", f"study {definition['name']} created")
    return study_id


def redefine_study(
    store: Store, study_id: int, definition: Mapping[str, Any], stage_rows: Iterable[Mapping[str, Any]]
) -> None:
    """Give a study that has no trial yet another definition; raises StudyTaken once it has one."""
    with store.write() as connection:
        empty = (studies.c.id == study_id) & (studies.c.next_number == 0)
        values = {**definition, "state": StudyState.OPEN, "message": None}
        if not connection.execute(studies.update().where(empty).values(**values)).rowcount:
            raise StudyTaken(f"The study {definition['name']!r} has trials by now: start the same command again.")
        connection.execute(stages.delete().where(stages.c.study_id == study_id))
        for row in stage_rows:
            connection.execute(stages.insert().values(study_id=study_id, **row))
        _event(connection, study_id, "created", f"study {definition['name']} defined anew")


def set_budget(store: Store, study_id: int, budget: float, budget_epochs: int) -> None:
    """Change what the study may spend; what is granted already stays granted."""
    with store.write() as connection:
        connection.execute(
            studies.update().where(studies.c.id == study_id).values(budget=budget, budget_epochs=budget_epochs)
        )
        _event(connection, study_id, "budget", f"budget set to {budget:g} full trainings")


def set_state(store: Store, study_id: int, state: StudyState, message: str | None = None) -> None:
    """Open, pause or stop a study; opening it forgets the failures in a row."""
    values: dict[str, Any] = {"state": state, "message": message}
    if state is StudyState.OPEN:
        values["failures_in_a_row"] = 0
    with store.write() as connection:
        connection.execute(studies.update().where(studies.c.id == study_id).values(**values))
        _event(connection, study_id, state.lower(), message or f"study is {state}")


# ---- the claim -------------------------------------------------------------------------------------------------------


def claim(
    store: Store,
    study_id: int,
    worker_id: int,
    *,
    stage: int = 0,
    grant_epochs: int | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> TrialRecord | Idle:
    """Take a trial: first one that was handed back or whose lease ran out, then a new number within the budget.

    The budget is granted here, in the same transaction as the number, so that no race can overspend it. A new trial
    has no parameters yet: its worker proposes them outside this transaction (`set_params`).
    """
    with store.write() as connection:
        standing = connection.execute(_standing(), {"_study": study_id}).one()
        if standing.state != StudyState.OPEN:
            return Idle.PAUSED if standing.state == StudyState.PAUSED else Idle.STOPPED
        for number in _expired(connection, study_id) if standing.expired is not None else ():
            _put_back(connection, study_id, number, "its lease ran out", killed=True)
        if standing.expired is not None:
            standing = connection.execute(_standing(), {"_study": study_id}).one()
        lease = {"worker_id": worker_id, "_lease_seconds": lease_seconds}
        if standing.waiting is not None:
            return _take(connection, study_id, standing.waiting, lease)
        new = _new_trial(connection, study_id, stage, grant_epochs, lease)
        if new is not None:
            return new
        return Idle.DONE if standing.running is None else Idle.WAIT


@functools.cache
def _standing() -> sa.Select[Any]:
    """One row: the study's state, and the lowest number that waits, runs, or whose lease ran out."""

    def lowest(state: TrialState, *more: Any) -> Any:
        query = sa.select(sa.func.min(trials.c.number))
        here = (trials.c.study_id == studies.c.id, trials.c.finished.is_(None), trials.c.state == state)
        return query.where(*here, *more).scalar_subquery()

    standing = sa.select(
        studies.c.state,
        lowest(TrialState.WAITING).label("waiting"),
        lowest(TrialState.RUNNING).label("running"),
        lowest(TrialState.RUNNING, trials.c.lease_expires < now()).label("expired"),
    ).where(studies.c.id == sa.bindparam("_study"))
    return standing.with_for_update(of=studies)  # SQLite has its BEGIN IMMEDIATE instead


def _expired(connection: sa.Connection, study_id: int) -> Sequence[int]:
    query = sa.select(trials.c.number).where(
        trials.c.study_id == study_id,
        trials.c.finished.is_(None),
        trials.c.state == TrialState.RUNNING,
        trials.c.lease_expires < now(),
    )
    return connection.scalars(query).all()


def _new_trial(
    connection: sa.Connection, study_id: int, stage: int, grant_epochs: int | None, lease: Mapping[str, Any]
) -> TrialRecord | None:
    """The next number, if the budget has room for its epochs; it is RUNNING from the start."""
    study = connection.execute(_grant(), {"_study": study_id, "_cost": grant_epochs or 1}).one_or_none()
    if study is None:
        return None
    number = study.next_number - 1
    row = {
        "study_id": study_id,
        "number": number,
        "stage": stage,
        "state": TrialState.RUNNING,
        "seed": derive(study.seed, "trial", number),
        "target_epochs": grant_epochs,
        "attempt": 1,
        "revision": study.revision,
    }
    connection.execute(_insert_trial(), {**row, **lease})
    return TrialRecord(
        **{name: value for name, value in row.items() if name != "revision"}, worker_id=lease["worker_id"]
    )


@functools.cache
def _grant() -> sa.Update:
    cost = sa.bindparam("_cost", type_=sa.Integer)
    return (
        studies.update()
        .where(studies.c.id == sa.bindparam("_study"), studies.c.granted_epochs + cost <= studies.c.budget_epochs)
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
            revision=_next_revision(connection, study_id),
        )
        .returning(*trials.c)
    ).one()
    return trial_record(row)


def _put_back(connection: sa.Connection, study_id: int, number: int, why: str, *, killed: bool) -> None:
    """Give a worker's trial back; one that killed its worker too often is FAIL `killed`."""
    kills = connection.scalar(sa.select(trials.c.kills).where(trials.c.study_id == study_id, trials.c.number == number))
    failed = killed and (kills or 0) + 1 >= MAX_ATTEMPTS
    values: dict[str, Any] = {"state": TrialState.WAITING}
    if failed:
        message = f"its worker died {MAX_ATTEMPTS} times while it ran"
        values = {"state": TrialState.FAIL, "failure": Failure.KILLED, "message": message, "finished": now()}
    connection.execute(
        trials.update()
        .where(trials.c.study_id == study_id, trials.c.number == number)
        .values(
            kills=trials.c.kills + int(killed),
            lease_expires=None,
            revision=_next_revision(connection, study_id),
            **values,
        )
    )
    _event(connection, study_id, "killed" if failed else "put back", f"trial {number}: {why}", number)


# ---- fenced writes of the worker that holds the lease ----------------------------------------------------------------


def set_params(store: Store, lease: Lease, params: Mapping[str, Any]) -> None:
    with store.write() as connection:
        revision = _next_revision(connection, lease.study_id)
        _fenced(connection, lease, params=dict(params), revision=revision)


def report(
    store: Store, lease: Lease, report: EpochReport, value: float | None, lease_seconds: float = LEASE_SECONDS
) -> None:
    """Store one epoch's metrics (an upsert on trial and epoch) and renew the lease."""
    row = {
        "study_id": lease.study_id,
        "number": lease.number,
        "epoch": report.epoch,
        "attempt": lease.attempt,
        "metrics": dict(report.metrics),
        "value": value,
        "seconds": report.seconds,
    }
    with store.write() as connection:
        _fenced(
            connection,
            lease,
            epochs_done=report.epoch + 1,
            metrics=dict(report.metrics),
            value=value,
            renew_seconds=lease_seconds,
        )
        _upsert(connection, epochs, row, "reported")


def add_checkpoint(
    store: Store,
    lease: Lease,
    row: Mapping[str, Any],
    forget_epochs: Iterable[int] = (),
    lease_seconds: float = LEASE_SECONDS,
) -> None:
    """Point to a checkpoint that lies on the disk, and forget those that will be deleted after this commit."""
    with store.write() as connection:
        _fenced(connection, lease, renew_seconds=lease_seconds)
        key = {"study_id": lease.study_id, "number": lease.number, "attempt": lease.attempt}
        _upsert(connection, checkpoints, {**key, **row}, "created")
        for epoch in forget_epochs:
            connection.execute(
                checkpoints.delete().where(
                    checkpoints.c.study_id == lease.study_id,
                    checkpoints.c.number == lease.number,
                    checkpoints.c.epoch == epoch,
                )
            )


def finish(
    store: Store,
    lease: Lease,
    state: TrialState,
    *,
    value: float | None = None,
    failure: Failure | None = None,
    message: str | None = None,
    traceback: str | None = None,
    seconds: float = 0.0,
    max_failures: int | None = None,
) -> None:
    """Write a trial's result. `max_failures` errors in a row stop the study; a diverged trial is not an error."""
    broken = failure is not None and failure is not Failure.DIVERGED
    with store.write() as connection:
        study = connection.execute(_count_failure(broken), {"_study": lease.study_id}).one()
        done = _fenced(
            connection,
            lease,
            state=state,
            value=value,
            failure=failure,
            message=message,
            traceback=traceback,
            more_seconds=seconds,
            revision=study.revision,
        )
        # an earlier attempt may have reported epochs that this one did not reach again
        connection.execute(_delete_epochs(), {"_study": lease.study_id, "_number": lease.number, "_done": done})
        if failure is not None:
            _event(connection, lease.study_id, "failed", f"trial {lease.number}: {failure}: {message}", lease.number)
        if max_failures is not None and study.failures_in_a_row >= max_failures:
            _stop(
                connection,
                lease.study_id,
                f"{study.failures_in_a_row} trials in a row failed, the last with: {message}",
            )


@functools.cache
def _count_failure(broken: bool) -> sa.Update:
    return (
        studies.update()
        .where(studies.c.id == sa.bindparam("_study"))
        .values(failures_in_a_row=studies.c.failures_in_a_row + 1 if broken else 0, revision=studies.c.revision + 1)
        .returning(studies.c.revision, studies.c.failures_in_a_row)
    )


@functools.cache
def _delete_epochs() -> sa.Delete:
    return epochs.delete().where(
        epochs.c.study_id == sa.bindparam("_study"),
        epochs.c.number == sa.bindparam("_number"),
        epochs.c.epoch >= sa.bindparam("_done"),
    )


def _stop(connection: sa.Connection, study_id: int, why: str) -> None:
    connection.execute(studies.update().where(studies.c.id == study_id).values(state=StudyState.STOPPED, message=why))
    _event(connection, study_id, "stopped", why)


def release(store: Store, lease: Lease, seconds: float = 0.0) -> None:
    """Hand a trial back unfinished, as on Ctrl-C: the next worker goes on from its checkpoint."""
    with store.write() as connection:
        revision = _next_revision(connection, lease.study_id)
        _fenced(
            connection,
            lease,
            state=TrialState.WAITING,
            more_seconds=seconds,
            revision=revision,
        )
        _event(connection, lease.study_id, "handed back", f"trial {lease.number} handed back", lease.number)


def renew(store: Store, lease: Lease, lease_seconds: float = LEASE_SECONDS) -> None:
    """Keep the lease while an epoch is long; raises LeaseLost."""
    with store.write() as connection:
        _fenced(connection, lease, renew_seconds=lease_seconds)


def _fenced(
    connection: sa.Connection,
    lease: Lease,
    *,
    renew_seconds: float | None = None,
    more_seconds: float | None = None,
    **values: Any,
) -> int:
    """Write `values` if, and only if, the lease still holds; returns the trial's `epochs_done`.

    `renew_seconds` renews the lease, None ends it where the state changes; `more_seconds` adds to the training time.
    """
    statement = _fenced_statement(tuple(values), renew_seconds is not None, more_seconds is not None)
    fence = {"_study": lease.study_id, "_number": lease.number, "_attempt": lease.attempt}
    done = connection.execute(
        statement, {**values, **fence, "_renew": renew_seconds, "_more": more_seconds}
    ).scalar_one_or_none()
    if done is None:
        raise LeaseLost(f"trial {lease.number}, attempt {lease.attempt}: another worker holds it, or it is finished")
    return int(done)


@functools.cache
def _fenced_statement(names: tuple[str, ...], renews: bool, adds: bool) -> sa.Update:
    """Built once for each set of columns: building a statement costs more than running it."""
    values: dict[str, Any] = {name: sa.bindparam(name, type_=trials.c[name].type) for name in names}
    if renews:
        values["lease_expires"] = now() + sa.bindparam("_renew", type_=sa.Double)
    if adds:
        values["seconds"] = trials.c.seconds + sa.bindparam("_more", type_=sa.Double)
    if "state" in names:
        values["lease_expires"] = sa.null()
    if "failure" in names:
        values["finished"] = now()
    fence = (
        trials.c.study_id == sa.bindparam("_study"),
        trials.c.number == sa.bindparam("_number"),
        trials.c.attempt == sa.bindparam("_attempt"),
        trials.c.state == TrialState.RUNNING,
    )
    return trials.update().where(*fence).values(**values).returning(trials.c.epochs_done)


# ---- workers and events ----------------------------------------------------------------------------------------------


def add_worker(store: Store, study_id: int, **row: Any) -> int:
    with store.write() as connection:
        return _inserted(connection, workers.insert().values(study_id=study_id, **row))


def beat(store: Store, worker_id: int) -> None:
    with store.write() as connection:
        connection.execute(workers.update().where(workers.c.id == worker_id).values(beat=now()))


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
            _put_back(connection, first.study_id, number, why, killed=ending == "died")


def add_event(store: Store, study_id: int, kind: str, message: str, number: int | None = None) -> None:
    with store.write() as connection:
        _event(connection, study_id, kind, message, number)


def _event(connection: sa.Connection, study_id: int, kind: str, message: str, number: int | None = None) -> None:
    row = {"study_id": study_id, "kind": kind, "message": message, "number": number, "user": process.user()}
    connection.execute(events.insert().values(**row))


def describe(error: BaseException) -> tuple[str, str]:
    """An exception as one line and as its traceback."""
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return line[:500], "".join(traceback_module.format_exception(error))[-20_000:]


def _inserted(connection: sa.Connection, insert: sa.Insert) -> int:
    key = connection.execute(insert).inserted_primary_key
    assert key is not None
    return int(key[0])


def _next_revision(connection: sa.Connection, study_id: int) -> int:
    return int(connection.scalar(_raise_revision(), {"_study": study_id}) or 0)


@functools.cache
def _raise_revision() -> Any:
    update = studies.update().where(studies.c.id == sa.bindparam("_study"))
    return update.values(revision=studies.c.revision + 1).returning(studies.c.revision)


def _upsert(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any], stamp: str) -> None:
    """Insert the row, or write over the one of the same key; column `stamp` gets the database's time."""
    connection.execute(_upsert_statement(connection.dialect.name, table, tuple(row), stamp), dict(row))


@functools.cache
def _upsert_statement(dialect: str, table: sa.Table, names: tuple[str, ...], stamp: str) -> Any:
    values = {name: sa.bindparam(name, type_=table.c[name].type) for name in names}
    insert = (sqlite if dialect == "sqlite" else postgresql).insert(table).values(**values, **{stamp: now()})
    keys = [column.name for column in table.primary_key]
    changed = {name: insert.excluded[name] for name in (*names, stamp) if name not in keys}
    return insert.on_conflict_do_update(index_elements=keys, set_=changed)
