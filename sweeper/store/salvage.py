"""Saving what can be read of a damaged store into a new one: each table from its beginning, then from its end.

What lies between two damaged places is lost. SQLite's own `.recover` finds more, where the `sqlite3` program has it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from sweeper.store import schema
from sweeper.words.errors import StoreError


@dataclass(frozen=True)
class Saved:
    table: str
    rows: int
    whole: bool
    """Whether the table was read to its end."""


def salvage(damaged: Path, target: Path) -> list[Saved]:
    """Make the store `target` of what can be read. Pass a copy: SQLite may write to it. Raises StoreError."""
    if target.exists():
        raise StoreError(f"What is saved goes into a new file, but {target} is there: move it away.")
    engine = sa.create_engine(f"sqlite:///{target}")
    try:
        with closing(sqlite3.connect(damaged)) as source, engine.begin() as connection:
            schema.create(connection)
            tables = [table for table in schema.metadata.sorted_tables if table is not schema.meta]
            read_to_end = {table.name: _copy(source, connection, table) for table in tables}
            for table in tables:
                _cut_loose(connection, table)
            saved = [Saved(table.name, _count(connection, table), read_to_end[table.name]) for table in tables]
            if not any(each.rows for each in saved):
                raise sqlite3.DatabaseError("no row can be read")
    except (sqlite3.Error, sa.exc.DatabaseError) as error:
        target.unlink(missing_ok=True)
        more = "put a copy of the store back, or try `sqlite3 FILE .recover`"
        raise StoreError(f"Nothing could be saved of {damaged} ({error}): {more}.") from None
    finally:
        engine.dispose()
    return saved


def _copy(source: sqlite3.Connection, connection: sa.Connection, table: sa.Table) -> bool:
    """Returns whether the table was read to its end."""
    there = {row[1] for row in source.execute(f"PRAGMA table_info({table.name})")}  # an older one may have fewer
    names = [column.name for column in table.columns if column.name in there]
    if not names:
        return False
    columns = ", ".join(f'"{name}"' for name in names)
    rowid = table.dialect_options["sqlite"]["with_rowid"]
    key = ["rowid"] if rowid else [column.name for column in table.primary_key]
    insert = f"INSERT OR IGNORE INTO {table.name} ({columns}) VALUES ({', '.join('?' * len(names))})"
    for order in ("ASC", "DESC"):
        by = ", ".join(f"{name} {order}" for name in key)
        try:
            for row in source.execute(f"SELECT {columns} FROM {table.name} NOT INDEXED ORDER BY {by}"):
                connection.exec_driver_sql(insert, row)
            return order == "ASC"
        except sqlite3.DatabaseError:  # go on from the other end
            continue
    return False


def _cut_loose(connection: sa.Connection, table: sa.Table) -> None:
    """Of rows that point to lost ones: forget the pointer where it may be missing, else the row."""
    for key in table.foreign_key_constraints:
        parent = key.referred_table
        same = sa.and_(*(element.parent == element.column for element in key.elements))
        lost = sa.and_(*(column.is_not(None) for column in key.columns), ~sa.exists().select_from(parent).where(same))
        if all(column.nullable for column in key.columns):
            connection.execute(table.update().where(lost).values({column.name: None for column in key.columns}))
        else:
            connection.execute(table.delete().where(lost))


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
