"""Who held which trial when, and what of its training is there still: what the time of a study is accounted by.

A trial that one worker took and finished stands in its row. Of one that was left and taken up again the row knows the
last worker alone; the events `promoted` and `taken up` keep who held it until then, one for each attempt but the last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import sqlalchemy as sa

from sweeper import process
from sweeper.store.connection import Store
from sweeper.store.schema import epochs, events, trials, workers
from sweeper.trial import Failure, TrialState

BEAT_SECONDS = 5.0
"""How often a worker says that it lives, and how busy its device is."""
LATE_SECONDS = 60.0
"""An end that was written so long after the last beat was written by somebody who came later."""

MAX_TRIALS = 5_000
"""Of more trials that were trained at one go, so many tell how much of their time was no epoch."""

PROMOTED, TAKEN_UP = "promoted", "taken up"
LEFT = ("handed back", "out of memory", "put back", "killed", "failed")
"""The events with which an attempt ends; one that the plan paused ends without."""


class Attempt(NamedTuple):
    """One worker's turn at a trial, in the database's time. `worker`: None where it was trained elsewhere.

    `end` is None while it lasts; `epochs` and `epoch_seconds`: what it trained and nobody trained again.
    """

    number: int
    worker: int | None
    begin: float
    end: float | None
    epochs: int = 0
    epoch_seconds: float = 0.0
    last_report: float | None = None
    was_paused: bool = False
    """It ended because its stage did."""


@dataclass(frozen=True, slots=True)
class Turns:
    """A trial that was taken up again, or is not over: its attempts in order, and what had to be trained once more."""

    number: int
    state: TrialState
    failure: Failure | None
    repeated_epochs: int
    repeated_seconds: float
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """The trials of one worker that were trained at one go and came to the same end."""

    worker: int
    state: TrialState
    failure: Failure | None
    trials: int
    seconds: float
    begin: float
    end: float
    epochs: int = 0
    epoch_seconds: float = 0.0


def lives(worker: Mapping[str, Any]) -> bool:
    """Whether a worker that has not ended is alive: on this host by its process, elsewhere by its beat."""
    if worker["host"] == process.host():
        return process.is_alive(worker["pid"], worker["process_started"])
    return bool(worker["beat_seconds_ago"] < 2 * LATE_SECONDS)


def last_sign(worker: Mapping[str, Any]) -> float:
    """When a worker was last known to live: its end, unless that was found out long after its last beat."""
    late = BEAT_SECONDS if worker["ending"] == "died" else LATE_SECONDS
    return float(worker["beat"] if worker["ended"] is None else min(worker["ended"], worker["beat"] + late))


# ---- trials at one go ------------------------------------------------------------------------------------------------


def _at_one_go(study_id: int) -> tuple[Any, ...]:
    over = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.PAUSED, TrialState.FAIL)
    alive = sa.or_(trials.c.failure.is_(None), trials.c.failure != Failure.KILLED)
    return (trials.c.study_id == study_id, trials.c.attempt == 1, trials.c.state.in_(over), alive)


def sums(store: Store, study_id: int) -> list[Sum]:
    """All trials that one worker took and finished, by worker, state and failure; none that were imported.

    Of a study of more than `MAX_TRIALS` the epochs' seconds are those of some of its trials, scaled up.
    """
    by = (trials.c.worker_id, trials.c.state, trials.c.failure)
    here = (*_at_one_go(study_id), trials.c.worker_id.is_not(None))
    end = sa.func.max(sa.func.coalesce(trials.c.finished, trials.c.started + trials.c.seconds))
    seconds, done = sa.func.sum(trials.c.seconds), sa.func.sum(trials.c.epochs_done)
    columns = (sa.func.count(), seconds, sa.func.min(trials.c.started), end, done)
    with store.read() as connection:
        rows = connection.execute(sa.select(*by, *columns).where(*here).group_by(*by)).all()
        many = sum(row[3] for row in rows)
        share = _share_of_epochs(connection, by, (*here, _drawn(MAX_TRIALS / many)) if many > MAX_TRIALS else here)
    found = []
    for worker, state, why, count, seconds, begin, last, trained in rows:
        reason = Failure(why) if why else None
        epoch_seconds = seconds * share.get((worker, state, why), share[None])
        found.append(Sum(worker, TrialState(state), reason, count, seconds, begin, last, trained, epoch_seconds))
    return found


def _drawn(share: float) -> Any:
    """About so many of the trials, whatever the order in which workers take turns: every k-th might be one worker's."""
    return (trials.c.number * 1009) % 10007 < share * 10007


def _share_of_epochs(connection: sa.Connection, by: Sequence[Any], which: Sequence[Any]) -> dict[Any, float]:
    """How much of the time that trials were held was their epochs'; under None: of all of them together."""
    mine = (epochs.c.study_id == trials.c.study_id, epochs.c.number == trials.c.number)
    trained = sa.select(sa.func.sum(epochs.c.seconds)).where(*mine).scalar_subquery()
    query = sa.select(*by, sa.func.sum(trained), sa.func.sum(trials.c.seconds)).where(*which).group_by(*by)
    found = [(tuple(row[:3]), row[3] or 0.0, row[4]) for row in connection.execute(query) if row[4]]
    held = sum(seconds for _, _, seconds in found)
    overall = sum(epoch_seconds for _, epoch_seconds, _ in found) / held if held else 0.0
    return {None: overall, **{key: epoch_seconds / seconds for key, epoch_seconds, seconds in found}}


def _same_trial() -> Any:
    return (epochs.c.study_id == trials.c.study_id) & (epochs.c.number == trials.c.number)


# ---- trials that were taken up again, or are not over ----------------------------------------------------------------


def turns(store: Store, study_id: int) -> list[Turns]:
    """All other trials that a worker has held, by number."""
    names = "number state failure attempt worker_id started finished seconds repeated_epochs repeated_seconds"
    here = (trials.c.study_id == study_id, trials.c.attempt > 0, trials.c.worker_id.is_not(None))
    others = (*here, sa.not_(sa.and_(*_at_one_go(study_id)[1:])))
    query = sa.select(*(trials.c[name] for name in names.split())).where(*others).order_by(trials.c.number)
    with store.read() as connection:
        rows = connection.execute(query).all()
        trained = _trained(connection, others) if rows else {}
        told = _told(connection, study_id) if rows else {}
    return [
        Turns(
            row.number,
            TrialState(row.state),
            Failure(row.failure) if row.failure else None,
            row.repeated_epochs,
            row.repeated_seconds,
            tuple(_attempts(row, trained.get(row.number, {}), told.get(row.number, []))),
        )
        for row in rows
    ]


def _trained(connection: sa.Connection, which: Sequence[Any]) -> dict[int, dict[int, tuple[Any, ...]]]:
    """By number and attempt: epochs, their seconds, begin and end."""
    spans = (sa.func.min(epochs.c.reported - epochs.c.seconds), sa.func.max(epochs.c.reported))
    by = (epochs.c.number, epochs.c.attempt)
    query = sa.select(*by, sa.func.count(), sa.func.sum(epochs.c.seconds), *spans)
    found: dict[int, dict[int, tuple[Any, ...]]] = {}
    for row in connection.execute(query.join_from(trials, epochs, _same_trial()).where(*which).group_by(*by)):
        found.setdefault(row[0], {})[row[1]] = tuple(row[2:])
    return found


def _told(connection: sa.Connection, study_id: int) -> dict[int, list[Any]]:
    """The events that begin or end an attempt, in order, by number."""
    kinds = events.c.kind.in_((PROMOTED, TAKEN_UP, *LEFT))
    query = sa.select(events.c.number, events.c.kind, events.c.time, events.c.worker_id)
    found: dict[int, list[Any]] = {}
    for row in connection.execute(query.where(events.c.study_id == study_id, kinds).order_by(events.c.id)):
        found.setdefault(row.number, []).append(row)
    return found


def _attempts(row: Any, trained: Mapping[int, tuple[Any, ...]], told: Sequence[Any]) -> list[Attempt]:
    """A trial's attempts in order; of a store that was damaged those of which worker and begin are known."""
    taken = [each for each in told if each.kind in (PROMOTED, TAKEN_UP) and each.worker_id is not None]
    taken = taken[-(row.attempt - 1) :] if row.attempt > 1 else []
    before = row.attempt - len(taken)
    begins: dict[int, float | None] = {attempt: trained[attempt][2] for attempt in trained if attempt <= before}
    begins |= {1: row.started} if before >= 1 else {}
    begins |= {before + 1 + nth: each.time for nth, each in enumerate(taken)}
    holders = {before + nth: each.worker_id for nth, each in enumerate(taken)} | {row.attempt: row.worker_id}
    known = [(attempt, begin) for attempt, begin in sorted(begins.items()) if begin is not None]
    found = []
    for index, (attempt, begin) in enumerate(known):
        count, seconds, _, last = trained.get(attempt, (0, 0.0, None, None))
        is_last = index == len(known) - 1
        limit = math.inf if is_last else known[index + 1][1]
        end, was_paused = _end(row, told, begin, last) if is_last else _left(told, begin, last, limit)
        if attempt in holders:
            found.append(Attempt(row.number, holders[attempt], begin, end, count, seconds, last, was_paused))
    return _with_rest(found, row)


def _end(row: Any, told: Sequence[Any], begin: float, last_report: float | None) -> tuple[float | None, bool]:
    """Of the last attempt: it lasts, or is over as its trial is."""
    if row.state == TrialState.RUNNING:
        return None, False
    if row.finished is not None:
        return max(begin, row.finished), False
    return _left(told, begin, last_report, math.inf)


def _left(told: Sequence[Any], begin: float, last_report: float | None, limit: float) -> tuple[float, bool]:
    """When an attempt ended before its trial did: as the event says, else with its last report, for a stage ended."""
    for each in told:
        if each.kind in LEFT and begin <= each.time <= limit:
            return each.time, False
    return min(max(begin, last_report or begin), limit), True


def _with_rest(attempts: list[Attempt], row: Any) -> list[Attempt]:
    """After its last report an attempt that the plan paused wrote a checkpoint: of that the trial's seconds tell."""
    paused = sum(attempt.was_paused for attempt in attempts)
    if not paused or not all(each.was_paused for each in attempts[:-1]):
        return attempts
    known = sum(attempt.end - attempt.begin for attempt in attempts if attempt.end is not None)
    rest = (row.seconds - known) / paused
    if rest <= 0:
        return attempts
    limits = [*(later.begin for later in attempts[1:]), math.inf]
    return [
        each._replace(end=min(each.end + rest, limit)) if each.was_paused and each.end is not None else each
        for each, limit in zip(attempts, limits, strict=True)
    ]


# ---- what a kill costs -----------------------------------------------------------------------------------------------


def lost_seconds(connection: sa.Connection, study_id: int, number: int) -> float:
    """What a worker that is gone trained of a trial since its last report; call it before the trial is given back."""
    names = ("attempt", "started", "worker_id")
    held = sa.select(*(trials.c[name] for name in names)).where(
        trials.c.study_id == study_id, trials.c.number == number
    )
    trial = connection.execute(held).one()
    query = sa.select(workers.c.beat, workers.c.ended, workers.c.ending).where(workers.c.id == trial.worker_id)
    worker = connection.execute(query).mappings().one_or_none()
    if worker is None:
        return 0.0
    reported = sa.select(sa.func.max(epochs.c.reported)).where(
        epochs.c.study_id == study_id, epochs.c.number == number, epochs.c.attempt == trial.attempt
    )
    taken = sa.select(sa.func.max(events.c.time)).where(
        events.c.study_id == study_id, events.c.number == number, events.c.kind.in_((PROMOTED, TAKEN_UP))
    )
    since = connection.scalar(reported) or (connection.scalar(taken) if trial.attempt > 1 else None) or trial.started
    return max(0.0, last_sign(dict(worker)) - since) if since is not None else 0.0
