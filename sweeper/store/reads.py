"""Everything that asks the store: records for the workers, rows for people. No pandas, no torch, no Optuna in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from sweeper.store.breaker import lasting
from sweeper.store.connection import Store
from sweeper.store.schema import (
    checkpoints,
    epochs,
    events,
    failing_devices,
    moves,
    now,
    stages,
    studies,
    trials,
    workers,
)
from sweeper.words.errors import StoreError
from sweeper.words.records import Direction, EpochReport, Failure, StudyRecord, TrialRecord, TrialState

_RECORD = [
    trials.c[name]
    for name in (
        "study_id number state seed params value epochs_done target_epochs stage attempt alone failure message metrics "
        "seconds worker_id repeats"
    ).split()
]


def trial_record(row: Any) -> TrialRecord:
    return TrialRecord(
        study_id=row.study_id,
        number=row.number,
        state=TrialState(row.state),
        seed=row.seed,
        params=row.params,
        value=row.value,
        epochs_done=row.epochs_done,
        target_epochs=row.target_epochs,
        stage=row.stage,
        attempt=row.attempt,
        alone=row.alone,
        failure=Failure(row.failure) if row.failure else None,
        message=row.message,
        metrics=row.metrics or {},
        seconds=row.seconds,
        worker_id=row.worker_id,
        repeats=row.repeats,
    )


# ---- studies ---------------------------------------------------------------------------------------------------------


def find_study(store: Store, name: str) -> StudyRecord | None:
    with store.read() as connection:
        row = connection.execute(sa.select(studies).where(studies.c.name == name)).one_or_none()
    return None if row is None else _study_record(row)


def study(store: Store, name: str | None = None) -> StudyRecord:
    """The study of that name; without one, the newest. Raises StoreError with the names that there are."""
    with store.read() as connection:
        query = sa.select(studies).order_by(studies.c.created.desc(), studies.c.id.desc()).limit(1)
        row = connection.execute(query.where(studies.c.name == name) if name else query).one_or_none()
        names = connection.scalars(sa.select(studies.c.name).order_by(studies.c.created.desc())).all()
    if row is None:
        there = ", ".join(names[:10]) if names else "no study yet"
        raise StoreError(f"There is no study{f' {name}' if name else ''} in {store.address}; it holds: {there}.")
    return _study_record(row)


def refreshed(store: Store, study: StudyRecord) -> StudyRecord:
    """The study as it stands now; its frozen definition, which may be long, is not read again."""
    names = "state budget budget_epochs granted_epochs next_number message workers confirmed".split()
    with store.read() as connection:
        row = connection.execute(sa.select(*(studies.c[name] for name in names)).where(studies.c.id == study.id)).one()
    return replace(study, **row._mapping)


def has_good_trials(store: Store, study_id: int) -> bool:
    """Whether something would be lost with its trials: all but those that failed for an error or never began."""
    with store.read() as connection:
        return not nothing_rests_on(connection, study_id)


def nothing_rests_on(connection: sa.Connection, study_id: int) -> bool:
    """Whether every trial failed for an error or waits before its first epoch: nothing would be lost with them."""
    failed = sa.and_(trials.c.state == TrialState.FAIL, trials.c.failure == Failure.ERROR)
    unbegun = sa.and_(trials.c.state == TrialState.WAITING, trials.c.epochs_done == 0)
    kept = sa.select(trials.c.number).where(trials.c.study_id == study_id, sa.not_(sa.or_(failed, unbegun)))
    return connection.scalar(kept.limit(1)) is None


def all_studies(store: Store) -> list[StudyRecord]:
    """The newest first."""
    with store.read() as connection:
        rows = connection.execute(sa.select(studies).order_by(studies.c.created.desc(), studies.c.id.desc())).all()
    return [_study_record(row) for row in rows]


def study_names(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.scalars(sa.select(studies.c.name).order_by(studies.c.created.desc())))


def _study_record(row: Any) -> StudyRecord:
    values = {name: getattr(row, name) for name in StudyRecord.__slots__}
    return StudyRecord(**{**values, "direction": Direction(row.direction)})


# ---- trials ----------------------------------------------------------------------------------------------------------


def changed_trials(
    store: Store, study_id: int, since_revision: int, *, curves: bool = False
) -> tuple[list[TrialRecord], int]:
    """The trials that changed after a revision, in that order, and the newest revision.

    This is what samplers are told: a hidden trial is FAIL `error` here, which says nothing about its params, and the
    repeats of a trial are left out.
    `curves`: with the metric at each of their epochs.
    """
    query = (
        sa.select(*_RECORD, trials.c.revision, trials.c.hidden)
        .where(trials.c.study_id == study_id, trials.c.revision > since_revision, trials.c.repeats.is_(None))
        .order_by(trials.c.revision)
    )
    with store.read() as connection:
        rows = connection.execute(query).all()
        found = curves_where(connection, study_id, trials.c.revision > since_revision) if curves and rows else {}
    told = [_as_told(row, found.get(row.number, {})) for row in rows]
    return told, (rows[-1].revision if rows else since_revision)


def curve(store: Store, study_id: int, number: int) -> dict[int, float | None]:
    """One trial's metric by epochs done."""
    with store.read() as connection:
        return curves_where(connection, study_id, trials.c.number == number).get(number, {})


def curves(store: Store, study_id: int, numbers: Sequence[int]) -> dict[int, dict[int, float | None]]:
    """By number, the metric by epochs done."""
    with store.read() as connection:
        return curves_where(connection, study_id, trials.c.number.in_(numbers))


def curves_where(connection: sa.Connection, study_id: int, which: Any) -> dict[int, dict[int, float | None]]:
    """By number, the metric by epochs done, of the trials for which the clause `which` holds."""
    query = (
        sa.select(epochs.c.number, epochs.c.epoch, epochs.c.value)
        .join_from(trials, epochs, (epochs.c.study_id == trials.c.study_id) & (epochs.c.number == trials.c.number))
        .where(trials.c.study_id == study_id, which)
        .order_by(epochs.c.number, epochs.c.epoch)
    )
    found: dict[int, dict[int, float | None]] = {}
    for number, epoch, value in connection.execute(query):
        found.setdefault(number, {})[epoch + 1] = value
    return found


def _as_told(row: Any, curve: Mapping[int, float | None]) -> TrialRecord:
    record = replace(trial_record(row), curve=curve)
    if row.hidden is None:
        return record
    return replace(record, state=TrialState.FAIL, failure=Failure.ERROR, message=f"hidden: {row.hidden}")


def all_trials(store: Store, study_id: int, states: Sequence[TrialState] = ()) -> list[TrialRecord]:
    query = sa.select(*_RECORD).where(trials.c.study_id == study_id).order_by(trials.c.number)
    if states:
        query = query.where(trials.c.state.in_(states))
    with store.read() as connection:
        return [trial_record(row) for row in connection.execute(query)]


def trial(store: Store, study_id: int, number: int) -> dict[str, Any]:
    """Everything of one trial; of its worker the host, device, slot, threads, environment and log."""
    query = (
        sa.select(trials, *(workers.c[name] for name in ("host", "device", "slot", "threads", "environment", "log")))
        .join_from(trials, workers, workers.c.id == trials.c.worker_id, isouter=True)
        .where(trials.c.study_id == study_id, trials.c.number == number)
    )
    with store.read() as connection:
        row = connection.execute(query).mappings().one_or_none()
        last = connection.scalar(sa.select(studies.c.next_number).where(studies.c.id == study_id))
    if row is None:
        there = f"is in 0..{last - 1}" if last else "is none yet, for the study has no trial"
        raise StoreError(f"A trial's number {there}, but got {number}.")
    return dict(row)


def best(store: Store, study: StudyRecord, top: int = 1) -> list[TrialRecord]:
    """The `top` best COMPLETE trials that are neither hidden nor repeats, the best first; by an index."""
    by_value = trials.c.value.asc() if study.direction is Direction.MINIMIZE else trials.c.value.desc()
    query = (
        sa.select(*_RECORD)
        .where(trials.c.study_id == study.id, trials.c.state == TrialState.COMPLETE, trials.c.value.is_not(None))
        .where(trials.c.hidden.is_(None), trials.c.repeats.is_(None))
        .order_by(by_value, trials.c.number)
        .limit(top)
    )
    with store.read() as connection:
        return [trial_record(row) for row in connection.execute(query)]


def failures(store: Store, study_id: int) -> list[dict[str, Any]]:
    """The failed trials: number, reason, message, their worker's log, in the order of their ends."""
    names = "number failure message epochs_done traceback hidden".split()
    query = (
        sa.select(*(trials.c[name] for name in names), workers.c.log)
        .join_from(trials, workers, workers.c.id == trials.c.worker_id, isouter=True)
        .where(trials.c.study_id == study_id, trials.c.state == TrialState.FAIL)
        .order_by(trials.c.revision)
    )
    return mappings(store, query)


def hidden(store: Store, study_id: int, numbers: Sequence[int]) -> dict[int, str]:
    """Why a trial is hidden, for those of `numbers` that are."""
    if not numbers:
        return {}
    between = trials.c.number.between(min(numbers), max(numbers))  # whatever their number, two bound values
    query = sa.select(trials.c.number, trials.c.hidden).where(trials.c.study_id == study_id, between)
    with store.read() as connection:
        return {row.number: row.hidden for row in connection.execute(query.where(trials.c.hidden.is_not(None)))}


def epoch_reports(store: Store, study_id: int, number: int | None = None) -> list[EpochReport]:
    query = sa.select(epochs).where(epochs.c.study_id == study_id).order_by(epochs.c.number, epochs.c.epoch)
    if number is not None:
        query = query.where(epochs.c.number == number)
    with store.read() as connection:
        return [EpochReport(row.number, row.epoch, row.metrics, row.seconds) for row in connection.execute(query)]


def checkpoint_rows(store: Store, study_id: int, number: int) -> list[dict[str, Any]]:
    query = (
        sa.select(checkpoints)
        .where(checkpoints.c.study_id == study_id, checkpoints.c.number == number)
        .order_by(checkpoints.c.epoch)
    )
    return mappings(store, query)


# ---- stages, workers, events -----------------------------------------------------------------------------------------


def stage_rows(store: Store, study_id: int) -> list[dict[str, Any]]:
    return mappings(store, sa.select(stages).where(stages.c.study_id == study_id).order_by(stages.c.stage))


def move_rows(store: Store, study_id: int) -> list[dict[str, Any]]:
    """The moves of the study's ranges in order: kind, stage, the whole space after it, why, when."""
    return mappings(store, sa.select(moves).where(moves.c.study_id == study_id).order_by(moves.c.move))


def current_space(store: Store, study: StudyRecord) -> tuple[list[dict[str, Any]], int]:
    """The space as the last move has left it, JSON-plain, and that move's number (0: it is as it began)."""
    last = sa.select(moves.c.space, moves.c.move).where(moves.c.study_id == study.id)
    with store.read() as connection:
        row = connection.execute(last.order_by(moves.c.move.desc()).limit(1)).one_or_none()
    return (study.space, 0) if row is None else (row.space, row.move)


def newest_revision(store: Store, study_id: int) -> int:
    """Of the trials of the search: those that repeat others do not count."""
    with store.read() as connection:
        return connection.scalar(last_revision(study_id)) or 0


def last_revision(study_id: int) -> sa.Select[Any]:
    query = sa.select(trials.c.revision).where(trials.c.study_id == study_id, trials.c.repeats.is_(None))
    return query.order_by(trials.c.revision.desc()).limit(1)


def is_confirmed(store: Store, study: StudyRecord) -> bool:
    """Whether its best trials were chosen to be confirmed, and no trial of the search has changed since."""
    return study.confirmed is not None and newest_revision(store, study.id) <= study.confirmed


def confirmed_trials(store: Store, study: StudyRecord) -> list[TrialRecord]:
    """The trials that were trained again with other seeds, and their repeats; not those that are hidden."""
    if study.confirmed is None:
        return []
    again = sa.select(trials.c.repeats).where(trials.c.study_id == study.id, trials.c.repeats.is_not(None))
    which = sa.or_(trials.c.repeats.is_not(None), trials.c.number.in_(again))
    query = sa.select(*_RECORD).where(trials.c.study_id == study.id, trials.c.hidden.is_(None), which)
    with store.read() as connection:
        return [trial_record(row) for row in connection.execute(query.order_by(trials.c.number))]


def worker_rows(store: Store, study_id: int, *, alive: bool = False) -> list[dict[str, Any]]:
    """The study's workers with the age of their last beat in seconds; `alive`: only those that have not ended."""
    age = (now() - workers.c.beat).label("beat_seconds_ago")
    query = sa.select(workers, age).where(workers.c.study_id == study_id).order_by(workers.c.id)
    return mappings(store, query.where(workers.c.ended.is_(None)) if alive else query)


def paused_devices(store: Store, study_id: int) -> list[dict[str, Any]]:
    """The devices that are paused: `device`, `failures` in a row, `message` and `seconds_left`."""
    columns = (failing_devices.c[name] for name in ("device", "failures", "message"))
    query = sa.select(*columns, (failing_devices.c.paused_until - now()).label("seconds_left"))
    here = (failing_devices.c.study_id == study_id, *lasting())
    return mappings(store, query.where(*here).order_by(failing_devices.c.device))


def event_rows(store: Store, study_id: int) -> list[dict[str, Any]]:
    query = sa.select(events).where(events.c.study_id == study_id).order_by(events.c.id)
    return mappings(store, query)


def mappings(store: Store, query: sa.Select[Any]) -> list[dict[str, Any]]:
    """The rows of a query by the names of its columns."""
    with store.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


# ---- what a view of a running study asks, twice a second: each by an index -------------------------------------------


def running_trials(store: Store, study_id: int) -> list[dict[str, Any]]:
    """The trials that a worker holds, with its device, host and start, and the database's time `now`.

    `attempt_started`: the begin of the first epoch of this attempt; None before its end.
    """
    own = (epochs.c.study_id == study_id, epochs.c.number == trials.c.number, epochs.c.attempt == trials.c.attempt)
    begun = sa.select(sa.func.min(epochs.c.reported - epochs.c.seconds)).where(*own).correlate(trials)
    query = (
        sa.select(*_RECORD, trials.c.started, begun.scalar_subquery().label("attempt_started"), now().label("now"))
        .add_columns(workers.c.started.label("worker_started"), workers.c.host, workers.c.device)
        .join_from(trials, workers, workers.c.id == trials.c.worker_id, isouter=True)
        .where(trials.c.study_id == study_id, trials.c.state == TrialState.RUNNING)
    )
    # sorted here: told to ORDER BY number, SQLite walks through all trials
    return sorted(mappings(store, query), key=lambda row: row["number"])


def latest_finished(store: Store, study_id: int, limit: int) -> list[TrialRecord]:
    """The trials that ended last, the newest first; not those that are hidden, for hiding one raises its revision."""
    query = (
        sa.select(*_RECORD)
        .where(trials.c.study_id == study_id, trials.c.finished.is_not(None), trials.c.hidden.is_(None))
        .order_by(trials.c.revision.desc())
        .limit(limit)
    )
    with store.read() as connection:
        return [trial_record(row) for row in connection.execute(query)]


# ---- whole tables, for frames and files ------------------------------------------------------------------------------
