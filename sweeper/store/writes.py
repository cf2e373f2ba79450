"""What changes a study: begun, its budget, plan, state, workers and ranges. Each function is one short transaction.

What a worker writes for a trial stands in `fenced`, what a person changes of trials in `corrections`. Nothing samples,
trains or composes in here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from sweeper.store import breaker, process
from sweeper.store.connection import Store
from sweeper.store.reads import nothing_rests_on
from sweeper.store.schema import checkpoints, epochs, moves, stages, studies, trials
from sweeper.store.statements import inserted, next_revision, note_event
from sweeper.words.errors import StudyTaken
from sweeper.words.records import StudyState, TrialState


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


def add_event(store: Store, study_id: int, kind: str, message: str, number: int | None = None) -> None:
    with store.write() as connection:
        note_event(connection, study_id, kind, message, number)
