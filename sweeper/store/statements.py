"""Small writes that every transaction shares: events, revisions, upserts. Called inside the caller's transaction."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from sweeper.store import process
from sweeper.store.schema import events, now, studies


def note_event(
    connection: sa.Connection,
    study_id: int,
    kind: str,
    message: str,
    number: int | None = None,
    worker_id: int | None = None,
) -> None:
    row = {"study_id": study_id, "kind": kind, "message": message, "number": number, "worker_id": worker_id}
    connection.execute(events.insert().values(**row, user=process.user()))


def inserted(connection: sa.Connection, insert: sa.Insert) -> int:
    key = connection.execute(insert).inserted_primary_key
    assert key is not None
    return int(key[0])


def next_revision(connection: sa.Connection, study_id: int) -> int:
    return int(connection.scalar(_raise_revision(), {"_study": study_id}) or 0)


@functools.cache
def _raise_revision() -> Any:
    update = studies.update().where(studies.c.id == sa.bindparam("_study"))
    return update.values(revision=studies.c.revision + 1).returning(studies.c.revision)


def upsert(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any], stamp: str) -> None:
    """Insert the row, or write over the one of the same key; column `stamp` gets the database's time."""
    connection.execute(_upsert_statement(connection.dialect.name, table, tuple(row), stamp), dict(row))


@functools.cache
def _upsert_statement(dialect: str, table: sa.Table, names: tuple[str, ...], stamp: str) -> Any:
    insert_into = importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert  # the other one costs 50 ms
    values = {name: sa.bindparam(name, type_=table.c[name].type) for name in names}
    insert = insert_into(table).values(**values, **{stamp: now()})
    keys = [column.name for column in table.primary_key]
    changed = {name: insert.excluded[name] for name in (*names, stamp) if name not in keys}
    return insert.on_conflict_do_update(index_elements=keys, set_=changed)
