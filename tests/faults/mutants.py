"""Deliberate errors, one rule of the design broken by each: the fault tests must notice every one of them."""

from __future__ import annotations

import functools
import hashlib
import os
from typing import Any

import sqlalchemy as sa

NAMES = ("fence", "order", "plain", "budget")
active: str | None = None


def apply(name: str) -> None:
    global active
    active = name
    {"fence": no_fence, "order": checkpoint_before_report, "plain": plain_save, "budget": budget_afterwards}[name]()


def no_fence() -> None:
    """Writes that ask neither for the attempt nor for the state: a sleeper who wakes writes over the next one."""
    from sweeper.store import fenced

    real = fenced._fenced_statement

    def unfenced(*args: Any) -> Any:
        statement = real(*args)
        study, number, *_ = statement._where_criteria
        open_update = statement._generate()
        open_update._where_criteria = (study, number)
        return open_update

    fenced._fenced_statement = functools.cache(unfenced)


def checkpoint_before_report() -> None:
    """A kill between the two loses the epoch's report, for the resume goes on behind it."""
    from sweeper.engine.journal import StoreJournal

    report, point_to = StoreJournal.report, StoreJournal.point_to

    def report_later(self: Any, *args: Any) -> None:
        self.waiting = args

    def point_and_report(self: Any, *args: Any) -> None:
        point_to(self, *args)
        report(self, *self.waiting)

    StoreJournal.report, StoreJournal.point_to = report_later, point_and_report


def on_write(file: Any, data: bytes) -> None:
    """One piece of a plain save."""
    file.write(data)


def tear(file: Any, data: bytes) -> None:
    file.write(data[: len(data) // 2])
    file.flush()


def plain_save() -> None:
    """No temporary name, no rename: a kill while it writes leaves a torn file under the final name."""
    import io

    import torch

    from sweeper.trial import checkpoint

    def write(content: Any, temporary: Any, path: Any) -> tuple[str, int]:
        memory = io.BytesIO()
        torch.save(content, memory)
        data = memory.getvalue()
        with open(path, "wb") as file:
            for start in range(0, len(data), 1024):
                on_write(file, data[start : start + 1024])
        return hashlib.sha256(data).hexdigest(), os.stat(path).st_size

    checkpoint._write_and_replace = write


def budget_afterwards() -> None:
    """Epochs counted when a trial ends and not when it is claimed: a kill in between, and one more is granted."""
    from sweeper.store import claims, fenced
    from sweeper.store.schema import studies

    finish, real = fenced.finish, claims._grant

    @functools.cache
    def grant() -> sa.Update:
        statement = real()
        free = statement._generate()
        free._values = {name: value for name, value in statement._values.items() if str(name) != "granted_epochs"}
        return free

    def finish_and_count(store: Any, lease: Any, *args: Any, **kwargs: Any) -> None:
        finish(store, lease, *args, **kwargs)
        with store.write() as connection:
            where = studies.c.id == lease.study_id
            spent = sa.text("(SELECT target_epochs FROM trials WHERE study_id = :study AND number = :number)")
            spent = spent.bindparams(study=lease.study_id, number=lease.number)
            connection.execute(
                studies.update().where(where).values(granted_epochs=studies.c.granted_epochs + sa.literal_column(
                    str(connection.scalar(sa.select(spent)))
                ))
            )  # fmt: skip

    claims._grant, fenced.finish = grant, finish_and_count
