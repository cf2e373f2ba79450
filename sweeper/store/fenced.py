"""Writes of the worker that holds a trial: each is one short transaction, fenced by the trial's lease.

It names the trial's attempt and says `state = 'RUNNING'`; where no row answers, the lease is lost (`LeaseLost`) and
nothing is written.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from sweeper.store import breaker
from sweeper.store.claims import LEASE_SECONDS
from sweeper.store.connection import Store
from sweeper.store.schema import checkpoints, epochs, now, trials
from sweeper.store.statements import next_revision, note_event, upsert
from sweeper.words.errors import LeaseLost
from sweeper.words.records import EpochReport, Failure, Lease, TrialState


def set_params(store: Store, lease: Lease, params: Mapping[str, Any]) -> None:
    with store.write() as connection:
        revision = next_revision(connection, lease.study_id)
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
        if lease.attempt > 1:
            connection.execute(_repeat_epoch(), {f"_{name}": row[name] for name in _REPEATED})
        _fenced(
            connection,
            lease,
            epochs_done=report.epoch + 1,
            metrics=dict(report.metrics),
            value=value,
            renew_seconds=lease_seconds,
        )
        upsert(connection, epochs, row, "reported")


_REPEATED = ("study_id", "number", "epoch", "attempt", "seconds")


@functools.cache
def _repeat_epoch() -> sa.Update:
    """Where an earlier attempt trained this epoch already: that was in vain. With its very seconds it is told anew."""
    earlier = (
        epochs.c.study_id == sa.bindparam("_study_id"),
        epochs.c.number == sa.bindparam("_number"),
        epochs.c.epoch == sa.bindparam("_epoch"),
        epochs.c.attempt < sa.bindparam("_attempt"),
        epochs.c.seconds != sa.bindparam("_seconds"),
    )
    held = (
        trials.c.study_id == sa.bindparam("_study_id"),
        trials.c.number == sa.bindparam("_number"),
        trials.c.attempt == sa.bindparam("_attempt"),
    )
    seconds = sa.select(epochs.c.seconds).where(*earlier).scalar_subquery()
    values = {"repeated_epochs": trials.c.repeated_epochs + 1, "repeated_seconds": trials.c.repeated_seconds + seconds}
    return trials.update().where(*held, sa.exists().where(*earlier)).values(**values)


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
        upsert(connection, checkpoints, {**key, **row}, "created")
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
        revision, in_a_row = breaker.count(connection, lease.study_id, broken=broken)
        done = _fenced(
            connection,
            lease,
            state=state,
            value=value,
            failure=failure,
            message=message,
            traceback=traceback,
            more_seconds=seconds,
            revision=revision,
        )
        # an earlier attempt may have reported epochs that this one did not reach again
        connection.execute(_delete_epochs(), {"_study": lease.study_id, "_number": lease.number, "_done": done})
        if failure is None:
            breaker.ended_well(connection, lease.study_id, lease.worker_id)
            return
        note_event(connection, lease.study_id, "failed", f"trial {lease.number}: {failure}: {message}", lease.number)
        if broken:
            fault = breaker.Fault(lease.study_id, lease.number, lease.worker_id, failure, str(message), seconds)
            breaker.judge(connection, fault, in_a_row, max_failures)


@functools.cache
def _delete_epochs() -> sa.Delete:
    return epochs.delete().where(
        epochs.c.study_id == sa.bindparam("_study"),
        epochs.c.number == sa.bindparam("_number"),
        epochs.c.epoch >= sa.bindparam("_done"),
    )


def release(store: Store, lease: Lease, seconds: float = 0.0) -> None:
    """Hand a trial back unfinished, as on Ctrl-C: the next worker goes on from its checkpoint."""
    with store.write() as connection:
        revision = next_revision(connection, lease.study_id)
        _fenced(
            connection,
            lease,
            state=TrialState.WAITING,
            more_seconds=seconds,
            revision=revision,
        )
        note_event(connection, lease.study_id, "handed back", f"trial {lease.number} handed back", lease.number)


def retry_alone(store: Store, lease: Lease, message: str, seconds: float = 0.0) -> None:
    """Put a trial that ran out of memory back, to be tried once more with its device to itself."""
    with store.write() as connection:
        revision = next_revision(connection, lease.study_id)
        _fenced(connection, lease, state=TrialState.WAITING, alone=True, more_seconds=seconds, revision=revision)
        text = f"trial {lease.number} ran out of memory and is tried again alone: {message}"
        note_event(connection, lease.study_id, "out of memory", text, lease.number)


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
