"""A person's own SELECT, through a connection that cannot write: `sweeper sql`.

On SQLite the file is opened read-only and every statement but a query is refused before it runs; on PostgreSQL it is
one prepared statement in a read-only transaction.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from sweeper.store import schema
from sweeper.store.connection import Store, look_only
from sweeper.words.errors import StoreError

ALLOWED = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
STEPS_BETWEEN_SIGNALS = 100_000
"""SQLite's steps after which Ctrl-C is heard."""
QUERY = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(select|with|values|explain)\b", re.IGNORECASE | re.DOTALL)
JSON_COLUMNS = frozenset({"params", "metrics"})


def select(store: Store, text: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns and rows that the query gives, as JSON-plain values. Raises StoreError with the views there are."""
    if not QUERY.match(text):
        begins = " ".join(text.split())[:40]
        raise StoreError(
            f"`sweeper sql` only asks: a query begins with select, with, values or explain, but got {begins!r}. To "
            "change a study: sweeper set, hide, retry, …"
        )
    with store.read() as connection, _in_words(store):
        if store.path is None:
            return _of_postgres(connection, text)
        with contextlib.closing(look_only(store.path)) as raw:  # while `store.read` keeps the journal where it is
            return _of_sqlite(raw, text)


def views(store: Store) -> list[dict[str, str]]:
    """The documented views and their columns: what a query may count on."""
    with store.read() as connection:
        known = sa.inspect(connection)
        return [
            {"view": view, "columns": ", ".join(column["name"] for column in known.get_columns(view))}
            for view in schema.VIEWS
        ]


def _of_sqlite(raw: sqlite3.Connection, text: str) -> tuple[list[str], list[dict[str, Any]]]:
    raw.execute("PRAGMA query_only=ON")
    raw.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in ALLOWED else sqlite3.SQLITE_DENY)
    raw.set_progress_handler(lambda: 0, STEPS_BETWEEN_SIGNALS)
    cursor = raw.execute(text)
    return _plain([column[0] for column in cursor.description or ()], cursor.fetchall())


def _of_postgres(connection: sa.Connection, text: str) -> tuple[list[str], list[dict[str, Any]]]:
    """A prepared statement is one statement: none can end the transaction and write in another."""
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    raw: Any = connection.connection.dbapi_connection
    with raw.cursor() as cursor:
        cursor.execute(text, None, prepare=True)
        return _plain([column.name for column in cursor.description or ()], cursor.fetchall())


def _plain(names: Sequence[str], table: Sequence[Sequence[Any]]) -> tuple[list[str], list[dict[str, Any]]]:
    columns = _told_apart(names)
    return columns, [{name: _value(name, value) for name, value in zip(columns, row, strict=True)} for row in table]


def _told_apart(names: Sequence[str]) -> list[str]:
    """`number, number` as `number, number_2`."""
    made: list[str] = []
    for name in names:
        count, given = 1, name
        while given in made:
            count, given = count + 1, f"{name}_{count + 1}"
        made.append(given)
    return made


def _value(name: str, value: Any) -> Any:
    """The backends' own types as JSON's: SQLite gives JSON as text, PostgreSQL times and exact numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str) and name in JSON_COLUMNS and value.startswith("{"):
        return json.loads(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)


@contextlib.contextmanager
def _in_words(store: Store) -> Iterator[None]:
    """What the database says of a query that it cannot run, with the views there are."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, sqlite3.Error | sa.exc.DBAPIError) and not type(error).__module__.startswith(
            "psycopg"
        ):
            raise
        text = " ".join(str(getattr(error, "orig", None) or error).split())
        said = text.partition(" LINE 1:")[0].rstrip(".")
        signs = ("not authorized", "read-only", "readonly", "one statement", "multiple commands")
        cure = " (`sweeper sql` asks one question, and changes nothing)" if any(sign in said for sign in signs) else ""
        there = "; ".join(f"{row['view']} ({row['columns']})" for row in views(store))
        raise StoreError(f"The query cannot be run: {said}{cure}. Views: {there}.") from None
