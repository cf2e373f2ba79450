"""Opening a store: SQLite's pragmas, short transactions, and a refusal in one line of what is not a sound store."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import sqlite3
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sweeper import process
from sweeper.errors import StoreError
from sweeper.store import schema

BUSY_TIMEOUT_SECONDS = 60
SQLITE_HEADER = b"SQLite format 3\0"
NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb smb2 smb3 smbfs 9p afs ceph lustre gpfs beegfs glusterfs fuse.sshfs fuse.glusterfs "
    "fuse.s3fs fuse.gcsfuse fuse.rclone".split()
)


class Store:
    """A study store by its SQLAlchemy URL (`sqlite:///runs/sweeper.db`, `postgresql+psycopg://…`).

    `create=True` makes a missing SQLite file; otherwise a missing one is an error, so that a question never leaves an
    empty store behind. A file or folder that may not be written to answers questions, and leaves no trace; `write`
    refuses.
    """

    def __init__(self, url: str, *, create: bool = False) -> None:
        self.url = _with_driver(url)
        self._sqlite = self.url.get_backend_name() == "sqlite"
        if self._sqlite:
            _prepare_file(Path(str(self.url.database)), create)
        self.read_only = _why_read_only(self.path)
        """Why nothing can be written; None where it can."""
        if create:
            self._refuse_read_only()
        self._engine = self._connect()
        self._writing = self._engine.execution_options(sweeper_write=True)
        self._check_version(create)

    @property
    def path(self) -> Path | None:
        """The database's file; None where the store is a server."""
        return Path(str(self.url.database)) if self._sqlite else None

    @property
    def address(self) -> str:
        """The URL as a person may pass it on: without a password."""
        return self.url.render_as_string(hide_password=True)

    @contextlib.contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One short write transaction, begun with BEGIN IMMEDIATE on SQLite: commits at the end, or rolls back."""
        self._refuse_read_only()
        with _in_words(self), self._writing.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One consistent snapshot."""
        with _in_words(self), self._engine.connect() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _connect(self) -> sa.Engine:
        if not self._sqlite:
            try:
                return sa.create_engine(self.url, pool_pre_ping=True)
            except ModuleNotFoundError:
                raise StoreError("A PostgreSQL store needs psycopg: pip install 'sweeper[postgres]'.") from None
        if self.read_only:
            engine = sa.create_engine("sqlite://", creator=lambda: look_only(self.path), poolclass=sa.NullPool)
            sa.event.listen(engine, "begin", _begin)
            return engine
        engine = sa.create_engine(self.url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
        sa.event.listen(engine, "connect", lambda raw, _: _set_pragmas(raw))
        sa.event.listen(engine, "begin", _begin)
        return engine

    def _check_version(self, create: bool) -> None:
        with self.read() as connection:
            known = sa.inspect(connection).has_table(schema.meta.name)
            version = _version(connection) if known else None
        if version is None and create and not self._sqlite:
            with self.write() as connection:
                schema.create(connection)
            return
        _refuse_version(version, self.address)
        if version != schema.SCHEMA_VERSION and self.read_only:
            raise StoreError(
                f"A store of version {version} must be written to once to be read by this sweeper (version "
                f"{schema.SCHEMA_VERSION}), but {self.read_only}: copy it to a folder of yours and name the copy."
            )
        if version != schema.SCHEMA_VERSION:
            with self.write() as connection:
                schema.migrate(connection, _version(connection))

    def _refuse_read_only(self) -> None:
        if self.read_only:
            raise StoreError(
                f"The store {self.address} answers questions alone, for {self.read_only}: make file and folder "
                "writable, or copy the store elsewhere and name the copy (--store URL)."
            )


def default_url(folder: Path | str = "runs") -> str:
    return f"sqlite:///{Path(folder) / 'sweeper.db'}"


def sqlite_path(url: str) -> Path | None:
    """The file that a store's URL names; None for a server. Raises StoreError for what is no URL of a store."""
    parsed = _with_driver(url)
    return Path(str(parsed.database)) if parsed.get_backend_name() == "sqlite" else None


def _with_driver(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except sa.exc.ArgumentError:
        raise StoreError(
            f"A store is a URL like sqlite:///runs/sweeper.db or postgresql://user@host/name, but got {text!r}."
        ) from None
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() != "sqlite":
        raise StoreError(f"A store is SQLite or PostgreSQL, but got {shown}.")
    if not url.database or ":memory:" in url.database or url.query.get("mode") == "memory":
        raise StoreError(
            f"A SQLite store is a file, shared by processes, but {shown} is one in memory: use sqlite:///FILE.db"
        )
    return sa.URL.create("sqlite", database=str(Path(url.database).expanduser().absolute()))


_looking = threading.Lock()
_looked_at: set[tuple[int, int]] = set()
"""Device and inode of every store that this process has looked into."""


def _prepare_file(path: Path, create: bool) -> None:
    """Make a missing store where that is wished; refuse what is none, without touching it. Raises StoreError.

    A file is looked into once, before this process has SQLite open it: closing it takes away every lock that the
    process holds on the file (POSIX's rule), SQLite's too, and a store without its locks is soon a damaged one.
    See sqlite.org/howtocorrupt.html, 2.2.
    """
    try:
        _refuse_network(path)
        if create:
            for left in unfinished(path):
                left.unlink(missing_ok=True)
            if not path.exists():
                _refuse_journal(path)
                path.parent.mkdir(parents=True, exist_ok=True)
                _create_file(path)
        with _looking:
            identity = (path.stat().st_dev, path.stat().st_ino)
            if identity not in _looked_at:
                _refuse_foreign(path)
                _looked_at.add(identity)
    except FileNotFoundError:
        raise StoreError(
            f"There is no store at {path}: start a sweep first, or name another one (--store URL)."
        ) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "make room" if full else "check that file and folder are yours and writable, or name another store"
        raise StoreError(f"The store {path} cannot be opened: {error.strerror}; {cure}.") from None


def _create_file(path: Path) -> None:
    """Build the store under another name and link it into place: a kill in between leaves no half-made store."""
    building = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    engine = sa.create_engine(f"sqlite:///{building}")
    try:
        with engine.begin() as connection:
            schema.create(connection)
        engine.dispose()
        _put_in_place(building, path)
    except sa.exc.DatabaseError as error:
        raise StoreError(f"The store {path} cannot be made: {error.orig}; is the disk full or read-only?") from None
    finally:
        engine.dispose()
        building.unlink(missing_ok=True)


def unfinished(path: Path) -> list[Path]:
    """What processes that are dead now left beside a store that they were making."""

    def builder(left: Path) -> int | None:
        match = re.match(r"(\d+)-[0-9a-f]{8}(-journal)?$", left.name.removeprefix(f".{path.name}."))
        return int(match[1]) if match else None

    beside = {left: builder(left) for left in path.parent.glob(f".{glob.escape(path.name)}.*")}
    return [left for left, pid in sorted(beside.items()) if pid is not None and not process.is_alive(pid, None)]


def _put_in_place(building: Path, path: Path) -> None:
    """Never over another one: what another process was first with is as good."""
    try:
        os.link(building, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        if not path.exists():  # a file system without hard links
            os.rename(building, path)


def _refuse_journal(path: Path) -> None:
    """SQLite would take the journal of a store that was deleted into the new one of its name, page by page."""
    journals = [f"{path}{ending}" for ending in ("-wal", "-journal") if os.path.exists(f"{path}{ending}")]
    if journals and not path.exists():  # else another process has made the store in between
        raise StoreError(
            f"A new store must have no journal yet, but {' and '.join(journals)} is left of one that is gone: put that "
            "store back, or delete its journal too."
        )


def _refuse_foreign(path: Path) -> None:
    """By the file's header alone, without a lock or a journal: what is refused must not be written to."""
    with path.open("rb") as file:
        header = file.read(100)
    if not header:
        raise StoreError(
            f"A store must be a database, but {path} is empty (0 bytes): put a copy back, or delete it to start anew."
        )
    if not header.startswith(SQLITE_HEADER):
        raise StoreError(f"A store must be an SQLite database, but {path} is another kind of file.")
    user_version, application_id = (int.from_bytes(header[at : at + 4], "big") for at in (60, 68))
    ours = application_id == schema.APPLICATION_ID
    _refuse_version(user_version if ours else None, str(path))


def _refuse_version(version: int | None, address: str) -> None:
    if version is None:
        raise StoreError(f"A store must hold sweeper's tables, but {address} has none: name another store=…")
    if version > schema.SCHEMA_VERSION:
        raise StoreError(
            f"This sweeper reads stores up to version {schema.SCHEMA_VERSION}, but {address} has version {version}: a "
            "newer sweeper wrote it; upgrade (pip install -U sweeper) or name another store=…"
        )
    if version < schema.FIRST_VERSION:
        raise StoreError(
            f"This sweeper reads stores from version {schema.FIRST_VERSION} on, but {address} has version {version}: "
            "name another store=…"
        )


def _why_read_only(path: Path | None) -> str | None:
    """In words; None where file and folder may be written to (SQLite keeps its journal beside the file)."""
    if path is None:
        return None
    effective = os.access in os.supports_effective_ids
    for kind, place in (("file", path.resolve()), ("folder", path.resolve().parent)):
        if not os.access(place, os.W_OK, effective_ids=effective):
            return f"its {kind} {place} is read-only"
    return None


def look_only(path: Path | None) -> sqlite3.Connection:
    """A connection that leaves no file behind.

    Without a journal (-wal) nobody has the store open: then it is read as it lies there (`immutable`), since SQLite
    would put a journal beside it, where it can, that the store's owner may not be allowed to write to. This is asked
    anew for every transaction; a sweep that begins in that instant writes to its journal first.
    """
    assert path is not None
    file = str(path.resolve())
    alone = "" if os.path.exists(f"{file}-wal") else "&immutable=1"
    uri = f"file:{urllib.parse.quote(file)}?mode=ro{alone}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)


def _refuse_network(path: Path) -> None:
    kind = file_system(path)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"SQLite's locks do not hold on a network file system, but {path.parent} is {kind}: put the store on a "
            "local disk (store=sqlite:////local/sweeper.db) or on a server (store=postgresql://…)."
        )


def file_system(path: Path) -> str:
    """The kind of file system that holds `path` (`ext4`, `nfs4`, …); `unknown` where /proc/mounts is missing."""
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return "unknown"
    there = path.resolve()
    found = ("", "unknown")
    for line in mounts:
        _, point, kind, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if there.is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, kind)
    return found[1]


def _version(connection: sa.Connection) -> int:
    value = connection.scalar(sa.select(schema.meta.c.value).where(schema.meta.c.key == "schema_version"))
    return int(value or 0)


def _set_pragmas(raw: Any) -> None:
    raw.isolation_level = None  # transactions are begun by `_begin`, not by the driver's guess
    cursor = raw.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}")
    _patiently(lambda: cursor.execute("PRAGMA journal_mode=WAL"))
    cursor.execute("PRAGMA synchronous=NORMAL")  # safe against kills; FULL would be against a power cut too
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("sweeper_write")
    raw: Any = connection.connection.dbapi_connection
    _patiently(lambda: raw.execute("BEGIN IMMEDIATE" if write else "BEGIN"))


def _patiently(statement: Callable[[], Any]) -> None:
    """SQLite waits at a lock by itself, but not at the short ones under which a log is opened, recovered or cleaned up
    by the last to leave: there it gives up at once, though a moment later all is well (sqlite.org/wal.html, 9).
    """
    end = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            statement()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)


@contextlib.contextmanager
def _in_words(store: Store) -> Iterator[None]:
    """Turn what a database says of a full disk, a lock or a torn file into a line that a person can act on."""
    try:
        yield
    except (sa.exc.DatabaseError, sqlite3.Error) as error:
        text = " ".join(str(getattr(error, "orig", None) or error).split())
        cures = {
            "disk is full": "the disk is full: make room (a few MiB are enough) and start the same command again",
            "locked": f"another process held the database for more than {BUSY_TIMEOUT_SECONDS} s",
            "readonly": "the file is read-only: make it and its folder writable",
            "malformed": "the file is damaged: put a copy back, or save what is left with `sqlite3 FILE .recover`",
            "not a database": "the file is damaged or no database",
            "unable to open": "the file or its folder cannot be opened: check the permissions",
        }
        if store.read_only:
            journal = "it has a journal (-wal) that cannot be taken in where nothing can be written: copy both files"
            cures["readonly"] = cures["unable to open"] = f"{journal} to a folder of yours, and name the copy"
        for sign, cure in cures.items():
            if sign in text:
                raise StoreError(f"The store {store.address} cannot be used: {cure} ({text}).") from error
        if isinstance(error, sa.exc.OperationalError | sqlite3.OperationalError):
            raise StoreError(f"The store {store.address} cannot be used: {text}") from error
        raise
