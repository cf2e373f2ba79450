"""What `sweeper doctor` asks of a store, and its repairs: each a short transaction that looks again first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from sweeper.store.claims import put_back
from sweeper.store.connection import Store
from sweeper.store.reads import mappings
from sweeper.store.schema import checkpoints, epochs, events, now, studies, trials, workers
from sweeper.store.statements import note_event
from sweeper.words.records import StudyRecord, TrialState

MAX_DAMAGE = 20
"""Lines that SQLite may say of a damaged file."""

# ---- the database ----------------------------------------------------------------------------------------------------


def damage(store: Store, *, deep: bool = False) -> list[str]:
    """What SQLite finds wrong with its file; `deep` compares every index too. A server looks after its own."""
    if store.path is None:
        return []
    with store.read() as connection:
        check = "integrity_check" if deep else "quick_check"
        said = connection.exec_driver_sql(f"PRAGMA {check}({MAX_DAMAGE})").scalars().all()
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    lines = [line for text in said if text != "ok" for line in str(text).splitlines() if not line.startswith("***")]
    return [*lines, *([f"{len(broken)} rows point to rows that are not there"] if broken else [])]


def journal_mode(store: Store) -> str:
    with store.read() as connection:
        return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())


def clock(store: Store) -> tuple[float, float]:
    """The database's time, and the newest moment that is written in it (0 without any)."""
    newest = [sa.select(sa.func.max(column)).scalar_subquery() for column in (workers.c.beat, events.c.time)]
    with store.read() as connection:
        time, *moments = connection.execute(sa.select(now(), *newest)).one()
    return time, max((moment for moment in moments if moment is not None), default=0.0)


# ---- studies and trials ----------------------------------------------------------------------------------------------


def ledger(store: Store, study: StudyRecord) -> dict[str, Any]:
    """The trials that there are, the highest number, the epochs granted to them all, and what the study says of it."""
    each = sa.case((trials.c.number.is_not(None), sa.func.coalesce(trials.c.target_epochs, 1)), else_=0)
    granted = sa.func.sum(each).label("granted_to_trials")
    query = (
        sa.select(studies.c.granted_epochs, studies.c.budget_epochs, studies.c.next_number, granted)
        .add_columns(sa.func.count(trials.c.number).label("trials"), sa.func.max(trials.c.number).label("highest"))
        .join_from(studies, trials, trials.c.study_id == studies.c.id, isouter=True)
        .where(studies.c.id == study.id)
        .group_by(studies.c.id)
    )
    return mappings(store, query)[0]


def gaps(store: Store, study: StudyRecord) -> list[dict[str, Any]]:
    """The COMPLETE trials whose epochs are not all there: number, `epochs_done` and how many are `reported`."""
    here = (epochs.c.study_id == trials.c.study_id) & (epochs.c.number == trials.c.number)
    reported = sa.func.count(epochs.c.epoch)
    query = (
        sa.select(trials.c.number, trials.c.epochs_done, reported.label("reported"))
        .join_from(trials, epochs, here, isouter=True)
        .where(trials.c.study_id == study.id, trials.c.state == TrialState.COMPLETE)
        .group_by(trials.c.number, trials.c.epochs_done)
        .having(reported != trials.c.epochs_done)
        .order_by(trials.c.number)
    )
    return mappings(store, query)


def held(store: Store, study: StudyRecord) -> list[dict[str, Any]]:
    """The RUNNING trials: attempt, lease, and their worker (`worker_id`, host, pid, …); `lease_seconds_left`."""
    query = (
        sa.select(trials.c.number, trials.c.attempt, trials.c.lease_expires, trials.c.worker_id)
        .add_columns((trials.c.lease_expires - now()).label("lease_seconds_left"))
        .add_columns(workers.c.host, workers.c.pid, workers.c.process_started, workers.c.ended)
        .add_columns((now() - workers.c.beat).label("beat_seconds_ago"))
        .join_from(trials, workers, workers.c.id == trials.c.worker_id, isouter=True)
        .where(trials.c.study_id == study.id, trials.c.state == TrialState.RUNNING)
    )
    return sorted(mappings(store, query), key=lambda row: row["number"])  # ORDER BY would walk through all trials


def trial_states(store: Store, study: StudyRecord) -> dict[int, dict[str, Any]]:
    """Of every trial its `state` and when it `finished`."""
    query = sa.select(trials.c.number, trials.c.state, trials.c.finished).where(trials.c.study_id == study.id)
    return {row["number"]: row for row in mappings(store, query)}


def pointers(store: Store, study: StudyRecord) -> list[dict[str, Any]]:
    """The checkpoints that the store knows."""
    query = sa.select(checkpoints).where(checkpoints.c.study_id == study.id)
    return mappings(store, query.order_by(checkpoints.c.number, checkpoints.c.epoch))


def biggest(store: Store, study: StudyRecord) -> int:
    """The size of the largest checkpoint in bytes; 0 without any."""
    with store.read() as connection:
        here = sa.select(sa.func.max(checkpoints.c.size_bytes)).where(checkpoints.c.study_id == study.id)
        return connection.scalar(here) or 0


# ---- repairs ---------------------------------------------------------------------------------------------------------


def give_back(store: Store, study: StudyRecord, seen: Mapping[str, Any], why: str) -> bool:
    """Put a RUNNING trial back whose lease is still the one that was `seen`; returns whether it was."""
    with store.write() as connection:
        _lock(connection, study.id)
        same = sa.select(trials.c.number).where(
            trials.c.study_id == study.id,
            trials.c.number == seen["number"],
            trials.c.attempt == seen["attempt"],
            trials.c.lease_expires.is_not_distinct_from(seen["lease_expires"]),
            trials.c.state == TrialState.RUNNING,
        )
        if connection.scalar(same) is None:
            return False
        put_back(connection, study.id, seen["number"], why, killed=True)
        return True


def forget(store: Store, study: StudyRecord, rows: Sequence[Mapping[str, Any]]) -> int:
    """Forget these checkpoints, of trials that no worker holds; an event keeps what they said. Returns how many."""
    with store.write() as connection:
        _lock(connection, study.id)
        gone = 0
        for row in rows:
            running = sa.select(trials.c.number).where(
                trials.c.study_id == study.id, trials.c.number == row["number"], trials.c.state == TrialState.RUNNING
            )
            if connection.scalar(running) is not None:
                continue
            this = (checkpoints.c[name] == row[name] for name in ("study_id", "number", "epoch", "sha256"))
            if connection.execute(checkpoints.delete().where(*this)).rowcount:
                gone += 1
                said = f"{row['path']} ({row['size_bytes']} bytes, sha256 {row['sha256']}) is damaged or gone"
                text = f"trial {row['number']}: forgot the checkpoint {said}"
                note_event(connection, study.id, "forgot", text, row["number"])
    return gone


@contextlib.contextmanager
def held_still(store: Store, study: StudyRecord, number: int) -> Iterator[tuple[dict[str, Any], set[str]]]:
    """A trial's state, and the paths that are pointed to; inside, nobody can claim it or point to anything."""
    with store.write() as connection:
        _lock(connection, study.id)
        here = (trials.c.study_id == study.id, trials.c.number == number)
        row = connection.execute(sa.select(trials.c.state, trials.c.finished).where(*here)).mappings().one()
        pointed = (checkpoints.c.study_id == study.id, checkpoints.c.number == number)
        yield dict(row), set(connection.scalars(sa.select(checkpoints.c.path).where(*pointed)))


def _lock(connection: sa.Connection, study_id: int) -> None:
    """SQLite's write transaction is alone anyway; on a server every claim waits for this row."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.select(studies.c.id).where(studies.c.id == study_id).with_for_update())
