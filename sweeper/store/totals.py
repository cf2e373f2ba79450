"""Counts and sums over a study's trials."""

from __future__ import annotations

import sqlalchemy as sa

from sweeper.store.connection import Store
from sweeper.store.schema import trials
from sweeper.words.records import Failure, TrialState


def counts(store: Store, study_id: int) -> dict[TrialState, int]:
    query = sa.select(trials.c.state, sa.func.count()).where(trials.c.study_id == study_id).group_by(trials.c.state)
    with store.read() as connection:
        return {TrialState(state): count for state, count in connection.execute(query)}


def seconds_per_trial(store: Store, study_id: int) -> list[float]:
    """Training time of each finished trial: what the time left is reckoned from."""
    query = sa.select(trials.c.seconds).where(trials.c.study_id == study_id, trials.c.finished.is_not(None))
    with store.read() as connection:
        return list(connection.scalars(query))


def stage_counts(store: Store, study_id: int) -> dict[tuple[int | None, TrialState], int]:
    """How many trials are at each stage, by state; those that repeat others are at the stage None."""
    stage = sa.case((trials.c.repeats.is_(None), trials.c.stage))
    query = sa.select(stage, trials.c.state, sa.func.count()).where(trials.c.study_id == study_id)
    with store.read() as connection:
        found = connection.execute(query.group_by(stage, trials.c.state)).all()
    return {(stage, TrialState(state)): count for stage, state, count in found}


def furthest_paused(store: Store, study_id: int) -> int | None:
    """The most epochs that a paused trial was granted which is not hidden; None: there is none."""
    paused = (trials.c.study_id == study_id, trials.c.state == TrialState.PAUSED, trials.c.hidden.is_(None))
    with store.read() as connection:
        most: int | None = connection.scalar(sa.select(sa.func.max(trials.c.target_epochs)).where(*paused))
    return most


def waiting_epochs(store: Store, study_id: int) -> int:
    """What was granted to trials that wait and is still to be trained."""
    waiting = (trials.c.study_id == study_id, trials.c.state == TrialState.WAITING)
    left = sa.func.sum(sa.func.coalesce(trials.c.target_epochs, 1) - trials.c.epochs_done)
    with store.read() as connection:
        return connection.scalar(sa.select(left).where(*waiting)) or 0


def failure_counts(store: Store, study_id: int) -> dict[Failure, int]:
    query = (
        sa.select(trials.c.failure, sa.func.count())
        .where(trials.c.study_id == study_id, trials.c.state == TrialState.FAIL)
        .group_by(trials.c.failure)
    )
    with store.read() as connection:
        return {Failure(reason or Failure.ERROR): count for reason, count in connection.execute(query)}


def total_seconds(store: Store, study_id: int) -> float:
    """Training time of all trials together."""
    with store.read() as connection:
        return connection.scalar(sa.select(sa.func.sum(trials.c.seconds)).where(trials.c.study_id == study_id)) or 0.0
