"""Everything that changes the store: the claim, the fenced writes of a trial, workers and events.

Each function is one short transaction. Whoever writes for a trial passes its lease, and every such write is fenced:
it names the trial's attempt and says `state = 'RUNNING'`; where no row answers, the lease is lost (`LeaseLost`) and
nothing is written. Nothing samples, trains or composes in here.
"""

from __future__ import annotations

import functools
import traceback as traceback_module
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from sweeper.errors import LeaseLost, StoreError
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
    """Add a study with its stages; raises StoreError when the name is taken (another process was first)."""
    with store.write() as connection:
        if connection.scalar(sa.select(studies.c.id).where(studies.c.name == definition["name"])) is not None:
            raise StoreError(f"A study's name must be new in its store, but {definition['name']!r} is taken.")
        study_id = _inserted(connection, studies.insert().values(**definition))
        for row in stage_rows:
            connection.execute(stages.insert().values(study_id=study_id, **row))
        _event(connection, study_id, "created", f"study {definition['name']} created")
    return study_id


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
        state = connection.scalar(sa.select(studies.c.state).where(studies.c.id == study_id))
        if state != StudyState.OPEN:
            return Idle.PAUSED if state == StudyState.PAUSED else Idle.STOPPED
        number = _interrupted(connection, study_id)
        if number is None:
            number = _new_trial(connection, study_id, stage, grant_epochs)
        if number is None:
            waiting = sa.select(trials.c.number).where(
                trials.c.study_id == study_id, trials.c.state == TrialState.RUNNING
            )
            return Idle.DONE if connection.scalar(waiting.limit(1)) is None else Idle.WAIT
        return _take(connection, study_id, number, worker_id, lease_seconds)


def _interrupted(connection: sa.Connection, study_id: int) -> int | None:
    """The lowest number that waits; trials whose lease ran out are put back first."""
    expired = sa.select(trials.c.number).where(
        trials.c.study_id == study_id, trials.c.state == TrialState.RUNNING, trials.c.lease_expires < now()
    )
    for number in connection.scalars(expired).all():
        _put_back(connection, study_id, number, "its lease ran out")
    waiting = sa.select(sa.func.min(trials.c.number)).where(
        trials.c.study_id == study_id, trials.c.state == TrialState.WAITING
    )
    return connection.scalar(waiting)


def _new_trial(connection: sa.Connection, study_id: int, stage: int, grant_epochs: int | None) -> int | None:
    cost = grant_epochs or 1
    grant = (
        studies.update()
        .where(studies.c.id == study_id, studies.c.granted_epochs + cost <= studies.c.budget_epochs)
        .values(granted_epochs=studies.c.granted_epochs + cost, next_number=studies.c.next_number + 1)
        .returning(studies.c.next_number, studies.c.seed)
    )
    row = connection.execute(grant).one_or_none()
    if row is None:
        return None
    number = row.next_number - 1
    connection.execute(
        trials.insert().values(
            study_id=study_id,
            number=number,
            stage=stage,
            state=TrialState.WAITING,
            seed=derive(row.seed, "trial", number),
            target_epochs=grant_epochs,
            revision=0,
        )
    )
    return number


def _take(connection: sa.Connection, study_id: int, number: int, worker_id: int, lease_seconds: float) -> TrialRecord:
    """Give the lease: the attempt number rises, so that an earlier holder can write nothing any more."""
    row = connection.execute(
        trials.update()
        .where(trials.c.study_id == study_id, trials.c.number == number)
        .values(
            state=TrialState.RUNNING,
            attempt=trials.c.attempt + 1,
            worker_id=worker_id,
            lease_expires=now() + lease_seconds,
            started=sa.func.coalesce(trials.c.started, now()),
            revision=_next_revision(connection, study_id),
        )
        .returning(*trials.c)
    ).one()
    return trial_record(row)


def _put_back(connection: sa.Connection, study_id: int, number: int, why: str) -> None:
    """Give a dead worker's trial back; one that killed its worker too often is FAIL `killed`."""
    kills = connection.scalar(sa.select(trials.c.kills).where(trials.c.study_id == study_id, trials.c.number == number))
    failed = (kills or 0) + 1 >= MAX_ATTEMPTS
    values: dict[str, Any] = {"state": TrialState.WAITING}
    if failed:
        message = f"its worker died {MAX_ATTEMPTS} times while it ran"
        values = {"state": TrialState.FAIL, "failure": Failure.KILLED, "message": message, "finished": now()}
    connection.execute(
        trials.update()
        .where(trials.c.study_id == study_id, trials.c.number == number)
        .values(kills=trials.c.kills + 1, lease_expires=None, revision=_next_revision(connection, study_id), **values)
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


def add_checkpoint(store: Store, lease: Lease, row: Mapping[str, Any], forget_epochs: Iterable[int] = ()) -> None:
    """Point to a checkpoint that lies on the disk, and forget those that will be deleted after this commit."""
    with store.write() as connection:
        _fenced(connection, lease, renew_seconds=LEASE_SECONDS)
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
    with store.write() as connection:
        done = _fenced(
            connection,
            lease,
            state=state,
            value=value,
            failure=failure,
            message=message,
            traceback=traceback,
            more_seconds=seconds,
            revision=_next_revision(connection, lease.study_id),
        )
        # an earlier attempt may have reported epochs that this one did not reach again
        connection.execute(
            epochs.delete().where(
                epochs.c.study_id == lease.study_id, epochs.c.number == lease.number, epochs.c.epoch >= done
            )
        )
        if failure is not None:
            _event(connection, lease.study_id, "failed", f"trial {lease.number}: {failure}: {message}", lease.number)
        broken = failure is not None and failure is not Failure.DIVERGED
        _count_failures(connection, lease.study_id, broken, message, max_failures)


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


def _count_failures(
    connection: sa.Connection, study_id: int, broken: bool, message: str | None, max_failures: int | None
) -> None:
    value = studies.c.failures_in_a_row + 1 if broken else 0
    update = studies.update().where(studies.c.id == study_id).values(failures_in_a_row=value)
    in_a_row = connection.scalar(update.returning(studies.c.failures_in_a_row)) or 0
    if max_failures and in_a_row >= max_failures:
        text = f"{in_a_row} trials in a row failed, the last with: {message}"
        connection.execute(
            studies.update().where(studies.c.id == study_id).values(state=StudyState.STOPPED, message=text)
        )
        _event(connection, study_id, "stopped", text)


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
            _put_back(connection, first.study_id, number, f"its worker (process {first.pid}) {ending}")


def add_event(store: Store, study_id: int, kind: str, message: str, number: int | None = None) -> None:
    with store.write() as connection:
        _event(connection, study_id, kind, message, number)


def _event(connection: sa.Connection, study_id: int, kind: str, message: str, number: int | None = None) -> None:
    connection.execute(events.insert().values(study_id=study_id, kind=kind, message=message, number=number))


def describe(error: BaseException) -> tuple[str, str]:
    """An exception as one line and as its traceback."""
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return line[:500], "".join(traceback_module.format_exception(error))[-20_000:]


def _inserted(connection: sa.Connection, insert: sa.Insert) -> int:
    key = connection.execute(insert).inserted_primary_key
    assert key is not None
    return int(key[0])


def _next_revision(connection: sa.Connection, study_id: int) -> int:
    update = studies.update().where(studies.c.id == study_id).values(revision=studies.c.revision + 1)
    return int(connection.scalar(update.returning(studies.c.revision)) or 0)


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
