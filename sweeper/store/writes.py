"""What changes studies and trials: a study's settings, and the fenced writes of the worker that holds a trial.

Each function is one short transaction. Whoever writes for a trial passes its lease, and every such write is fenced:
it names the trial's attempt and says `state = 'RUNNING'`; where no row answers, the lease is lost (`LeaseLost`) and
nothing is written. Nothing samples, trains or composes in here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from sweeper.store import breaker, process
from sweeper.store.claims import LEASE_SECONDS
from sweeper.store.connection import Store
from sweeper.store.reads import nothing_rests_on
from sweeper.store.schema import checkpoints, epochs, moves, now, stages, studies, trials
from sweeper.store.statements import inserted, next_revision, note_event, upsert
from sweeper.words.errors import LeaseLost, StoreError, StudyTaken
from sweeper.words.records import EpochReport, Failure, Lease, StudyState, TrialState

# ---- studies ---------------------------------------------------------------------------------------------------------


def create_study(store: Store, definition: Mapping[str, Any], stage_rows: Iterable[Mapping[str, Any]]) -> int:
    """Add a study with its stages; raises StudyTaken when the name is (another process was first)."""
    with store.write() as connection:
        study_id = insert_study(connection, definition, stage_rows)
        note_event(connection, study_id, "created", f"study {definition['name']} created")
    return study_id


def insert_study(
    connection: sa.Connection, definition: Mapping[str, Any], stage_rows: Iterable[Mapping[str, Any]]
) -> int:
    """Inside the caller's transaction. Raises StudyTaken."""
    if connection.scalar(sa.select(studies.c.id).where(studies.c.name == definition["name"])) is not None:
        raise StudyTaken(f"A study's name must be new in its store, but {definition['name']!r} is taken.")
    study_id = inserted(connection, studies.insert().values(**definition))
    for row in stage_rows:
        connection.execute(stages.insert().values(study_id=study_id, **row))
    return study_id


def redefine_study(
    store: Store, study_id: int, definition: Mapping[str, Any], stage_rows: Sequence[Mapping[str, Any]]
) -> None:
    """Give a study that nothing rests on another definition; raises StudyTaken once a trial of it is worth something.

    Trials that failed, or were handed back before their first epoch, begin anew under their numbers: they will be
    proposed from the new space, and what they reported is forgotten.
    """
    target = stage_rows[0]["epochs"]
    with store.write() as connection:
        if not nothing_rests_on(connection, study_id):
            raise StudyTaken(f"The study {definition['name']!r} has trials by now: start the same command again.")
        here = studies.c.id == study_id
        granted = studies.c.next_number * (target or 1)
        values = {**definition, "state": StudyState.OPEN, "message": None, "failures_in_a_row": 0, "confirmed": None}
        connection.execute(studies.update().where(here).values(**values, workers=None, granted_epochs=granted))
        breaker.forget(connection, study_id)
        for table in (checkpoints, epochs, moves):
            connection.execute(table.delete().where(table.c.study_id == study_id))
        connection.execute(trials.update().where(trials.c.study_id == study_id).values(**_AFRESH, target_epochs=target))
        connection.execute(stages.delete().where(stages.c.study_id == study_id))
        for row in stage_rows:
            connection.execute(stages.insert().values(study_id=study_id, **row))
        note_event(connection, study_id, "created", f"study {definition['name']} defined anew")


_AFRESH = {
    "state": TrialState.WAITING,
    "params": sa.null(),
    "value": None,
    "metrics": sa.null(),
    "epochs_done": 0,
    "stage": 0,
    "kills": 0,
    "alone": False,
    "failed_on": None,
    "failure": None,
    "message": None,
    "traceback": None,
    "finished": None,
}
"""A trial as before its proposal; its attempt number stays, so that the fence holds."""


def set_budget(store: Store, study_id: int, budget: float, budget_epochs: int) -> None:
    """Change what the study may spend; what is granted already stays granted."""
    with store.write() as connection:
        connection.execute(
            studies.update().where(studies.c.id == study_id).values(budget=budget, budget_epochs=budget_epochs)
        )
        note_event(connection, study_id, "budget", f"budget set to {budget:g} full trainings")


def set_plan(store: Store, study_id: int, plan: Mapping[str, Any], why: str) -> None:
    """Change what of a plan may change, and what is to be confirmed by it with it."""
    with store.write() as connection:
        values = {"plan": dict(plan), "confirmed": None}
        connection.execute(studies.update().where(studies.c.id == study_id).values(**values))
        note_event(connection, study_id, "plan", why)


def set_state(store: Store, study_id: int, state: StudyState, message: str | None = None) -> None:
    """Open, pause or stop a study; opening it forgets the failures in a row, and paused devices try again."""
    values: dict[str, Any] = {"state": state, "message": message}
    if state is StudyState.OPEN:
        values["failures_in_a_row"] = 0
    with store.write() as connection:
        connection.execute(studies.update().where(studies.c.id == study_id).values(**values))
        note_event(connection, study_id, state.lower(), message or f"study is {state}")
        if state is StudyState.OPEN:
            breaker.forget(connection, study_id)


def set_workers(store: Store, study_id: int, workers: int) -> None:
    """Tell the local drivers that run this study how many workers each of them shall have."""
    with store.write() as connection:
        connection.execute(studies.update().where(studies.c.id == study_id).values(workers=workers))
        note_event(connection, study_id, "workers", f"workers set to {workers}")


def begin_run(store: Store, study_id: int) -> None:
    """A start: as many workers as its command says, and paused devices try again."""
    with store.write() as connection:
        connection.execute(studies.update().where(studies.c.id == study_id).values(workers=None))
        breaker.forget(connection, study_id)


def move_ranges(
    store: Store,
    study_id: int,
    after: int,
    *,
    kind: str,
    stage: int,
    space: Sequence[Mapping[str, Any]],
    trials_told: int,
    reason: str,
    begun: Sequence[Mapping[str, Any]] | None = None,
) -> bool:
    """Move the study's ranges, after the move numbered `after`; False where somebody else has moved them since.

    `begun`: the space that the study counts as begun with from now on, where a person has changed it.
    """
    row = {"kind": kind, "stage": stage, "space": list(space), "trials": trials_told, "reason": reason}
    with store.write() as connection:
        next_revision(connection, study_id)  # locks the study's row, where a database has row locks
        last = connection.scalar(sa.select(sa.func.max(moves.c.move)).where(moves.c.study_id == study_id)) or 0
        if last != after:
            return False
        connection.execute(moves.insert().values(study_id=study_id, move=last + 1, user=process.user(), **row))
        if begun is not None:
            connection.execute(studies.update().where(studies.c.id == study_id).values(space=list(begun)))
        note_event(connection, study_id, kind, reason)
    return True


# ---- fenced writes of the worker that holds the lease ----------------------------------------------------------------


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


def add_event(store: Store, study_id: int, kind: str, message: str, number: int | None = None) -> None:
    with store.write() as connection:
        note_event(connection, study_id, kind, message, number)


# ---- what a person changes of trials ---------------------------------------------------------------------------------


def retry(store: Store, study_id: int, numbers: Iterable[int]) -> None:
    """Put FAIL trials back to WAITING: they go on from their checkpoints; what was granted is not granted again.

    The attempt stays, so that whoever failed them is still fenced off, and a study that was stopped is opened. Raises
    StoreError, and changes nothing, where one of them is not FAIL.
    """
    cleared = dict.fromkeys(("finished", "failure", "message", "traceback"))
    with store.write() as connection:
        revision = next_revision(connection, study_id)  # first, for it locks the study's row
        found = _these(connection, study_id, numbers)
        if others := [f"trial {row.number} is {row.state}" for row in found if row.state != TrialState.FAIL]:
            raise StoreError(f"A trial must be FAIL to be retried, but {', '.join(others)}: leave that out.")
        for row in found:
            values = {"state": TrialState.WAITING, "kills": 0, "revision": revision, **cleared}
            _change(connection, study_id, row.number, values)
            text = f"trial {row.number} put back after FAIL {row.failure}: {row.message}"
            note_event(connection, study_id, "retried", text, row.number)
        if found:
            _open_stopped(connection, study_id)


def _open_stopped(connection: sa.Connection, study_id: int) -> None:
    stopped = (studies.c.id == study_id) & (studies.c.state == StudyState.STOPPED)
    values = {"state": StudyState.OPEN, "message": None, "failures_in_a_row": 0}
    if connection.execute(studies.update().where(stopped).values(**values)).rowcount:
        note_event(connection, study_id, "open", "opened, for failed trials were put back")


def hide(store: Store, study_id: int, numbers: Iterable[int], why: str) -> None:
    """From now on these trials are no best ones, and samplers are told nothing of them. Raises StoreError."""
    with store.write() as connection:
        revision = next_revision(connection, study_id)
        for row in _these(connection, study_id, numbers):
            _change(connection, study_id, row.number, {"hidden": why, "revision": revision})
            note_event(connection, study_id, "hidden", f"trial {row.number} hidden: {why}", row.number)


def unhide(store: Store, study_id: int, numbers: Iterable[int]) -> None:
    """Take `hide` back. Raises StoreError, and changes nothing, where one of them is not hidden."""
    with store.write() as connection:
        revision = next_revision(connection, study_id)
        found = _these(connection, study_id, numbers)
        if others := [str(row.number) for row in found if row.hidden is None]:
            raise StoreError(f"A trial must be hidden to be shown again, but these are not: {', '.join(others)}.")
        for row in found:
            _change(connection, study_id, row.number, {"hidden": None, "revision": revision})
            note_event(connection, study_id, "unhidden", f"trial {row.number} counts again: {row.hidden}", row.number)


def _these(connection: sa.Connection, study_id: int, numbers: Iterable[int]) -> Sequence[Any]:
    """The trials of these numbers, each once; raises StoreError for a number that there is not."""
    asked = sorted(set(numbers))
    names = "number state failure message hidden".split()
    query = sa.select(*(trials.c[name] for name in names)).where(trials.c.study_id == study_id)
    found = connection.execute(query.where(trials.c.number.in_(asked)).order_by(trials.c.number)).all()
    if missing := sorted(set(asked) - {row.number for row in found}):
        last = connection.scalar(sa.select(studies.c.next_number).where(studies.c.id == study_id))
        there = f"is in 0..{last - 1}" if last else "is none yet, for the study has no trial"
        raise StoreError(f"A trial's number {there}, but got {', '.join(map(str, missing))}.")
    return found


def _change(connection: sa.Connection, study_id: int, number: int, values: Mapping[str, Any]) -> None:
    here = (trials.c.study_id == study_id, trials.c.number == number)
    connection.execute(trials.update().where(*here).values(**values))
