"""Trials and epochs column by column: a hundred thousand of them in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from sweeper.store.connection import Store
from sweeper.store.schema import (
    epochs,
    trials,
    workers,
)
from sweeper.words.records import TrialState


def trial_table(
    store: Store,
    study_id: int,
    names: Sequence[str],
    *,
    numbers: Sequence[int] | None = None,
    states: Sequence[TrialState] = (),
    last: int | None = None,
) -> Sequence[Sequence[Any]]:
    """The columns `names` (of the trial, or its worker's `host` and `device`), then params and metrics as JSON text."""
    columns = [workers.c[name] if name in ("host", "device") else trials.c[name] for name in names]
    texts = [sa.cast(column, sa.Text) for column in (trials.c.params, trials.c.metrics)]
    query = (
        sa.select(*columns, *texts, trials.c.number)
        .join_from(trials, workers, workers.c.id == trials.c.worker_id, isouter=True)
        .where(trials.c.study_id == study_id)
        .order_by(trials.c.number.desc() if last else trials.c.number)
        .limit(last)
    )
    if numbers is not None:
        query = query.where(trials.c.number.in_(numbers))
    if states:
        query = query.where(trials.c.state.in_(states))
    with store.read() as connection:
        rows = connection.execute(query).all()
    if numbers is not None:
        by_number = {row[-1]: row for row in rows}
        rows = [by_number[number] for number in numbers if number in by_number]
    return [row[:-1] for row in (reversed(rows) if last else rows)]


def epoch_table(
    store: Store, study_id: int, names: Sequence[str], number: int | None = None
) -> Sequence[Sequence[Any]]:
    """The columns `names` of every reported epoch, then its metrics as JSON text, by trial and epoch."""
    query = (
        sa.select(*(epochs.c[name] for name in names), sa.cast(epochs.c.metrics, sa.Text))
        .where(epochs.c.study_id == study_id)
        .order_by(epochs.c.number, epochs.c.epoch)
    )
    if number is not None:
        query = query.where(epochs.c.number == number)
    with store.read() as connection:
        return connection.execute(query).all()
