"""Opening a store: pragmas, creation that no kill or crowd can spoil, a refusal in one line, versions."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from sweeper.errors import StoreError
from sweeper.store import connection as opening
from sweeper.store import reads, schema
from sweeper.store.connection import Store, default_url, file_system


def url_of(path):
    return f"sqlite:///{path}"


def on_disk(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def refusal(url, **more):
    """The line that a person reads when the store cannot be opened."""
    with pytest.raises(StoreError) as caught:
        Store(url, **more)
    KEPT.append(caught.value)
    line = str(caught.value)
    assert "\n" not in line
    return line


KEPT = []
"""Holds each refusal, and so the store that it came from: nobody waits for the garbage collector to close a file."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweeper.db"


@pytest.fixture
def made(path):
    """A sound store, closed."""
    Store(url_of(path), create=True).close()
    return path


# ---- connections -----------------------------------------------------------------------------------------------------

PRAGMAS = {"journal_mode": "wal", "synchronous": 1, "busy_timeout": 60_000, "foreign_keys": 1}


def pragmas(store):
    with store.read() as connection:
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in PRAGMAS}


def test_every_connection_has_its_pragmas(store):
    with store.read(), store.read(), ThreadPoolExecutor(4) as pool:  # two are busy, so each thread gets another
        assert list(pool.map(lambda _: pragmas(store), range(8))) == [PRAGMAS] * 8
    store.close()
    assert pragmas(store) == PRAGMAS


def test_a_transaction_that_breaks_leaves_nothing(store, begin):
    study = begin(store)

    def write():
        with store.write() as connection:
            connection.execute(schema.studies.update().values(message="half"))
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        write()
    assert reads.study(store, study.name).message is None


def test_a_write_begins_at_once_and_a_read_does_not_wait_for_it(store, monkeypatch):
    with store.write() as writing:
        writing.execute(schema.meta.insert().values(key="note", value="1"))
        with store.read() as reading:
            assert reading.scalar(sa.select(sa.func.count()).select_from(schema.meta)) == 1
        other = sqlite3.connect(store.path, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_a_read_is_one_snapshot(store):
    with store.read() as reading:
        count = sa.select(sa.func.count()).select_from(schema.meta)
        assert reading.scalar(count) == 1
        with store.write() as writing:
            writing.execute(schema.meta.insert().values(key="note", value="1"))
        assert reading.scalar(count) == 1


def test_addresses(made):
    store = Store(url_of(made))
    assert store.path == made
    assert store.address == url_of(made)
    assert default_url("runs") == "sqlite:///runs/sweeper.db"


def test_a_relative_url_stays_the_same_file_when_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store("sqlite:///here.db", create=True)
    monkeypatch.chdir("/")
    assert store.path == tmp_path / "here.db"
    assert reads.study_names(store) == []


# ---- creation --------------------------------------------------------------------------------------------------------


def test_creating_makes_the_folder_and_nothing_but_the_store(tmp_path):
    path = tmp_path / "deep" / "er" / "sweeper.db"
    Store(url_of(path), create=True).close()
    assert [each.name for each in path.parent.iterdir()] == ["sweeper.db"]


def test_the_views_are_there_from_the_start(store):
    with store.read() as connection:
        for view in schema.VIEWS:
            assert connection.execute(sa.text(f"SELECT * FROM {view}")).all() == []


CROWD = """
import sys, time
from sweeper.store.connection import Store
from sweeper.store import reads, writes
url, name, begin = sys.argv[1], sys.argv[2], float(sys.argv[3])
time.sleep(max(0, begin - time.time()))
store = Store(url, create=True)
writes.create_study(store, {
    "name": name, "metric": "m", "direction": "minimize", "seed": 0, "folder": ".", "space": [], "plan": {},
    "config": {}, "budget": 1, "budget_epochs": 1}, [])
"""


def test_many_processes_that_create_at_once_get_one_sound_store(path):
    import time

    begin = time.time() + 2.5  # when all of them have loaded
    crowd = [
        subprocess.Popen([sys.executable, "-c", CROWD, url_of(path), f"s{n}", str(begin)], stderr=subprocess.PIPE)
        for n in range(8)
    ]
    said = [each.communicate()[1].decode() for each in crowd]
    assert [each.returncode for each in crowd] == [0] * 8, said
    store = Store(url_of(path))
    assert sorted(reads.study_names(store)) == [f"s{n}" for n in range(8)]
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    store.close()
    assert [each.name for each in path.parent.iterdir()] == ["sweeper.db"]


@pytest.mark.parametrize("moment", ["sweeper.store.schema.create_views", "os.link"])
def test_a_kill_during_the_creation_leaves_no_half_made_store(path, moment):
    module, _, name = moment.rpartition(".")
    code = f"""
        import os, signal, sys, {module}
        from sweeper.store.connection import Store
        {module}.{name} = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
        Store(sys.argv[1], create=True)
    """
    died = subprocess.run([sys.executable, "-c", textwrap.dedent(code), url_of(path)])
    assert died.returncode == -signal.SIGKILL
    assert not path.exists()
    assert list(path.parent.iterdir()), "what it was making is left"
    store = Store(url_of(path), create=True)
    assert reads.study_names(store) == []
    store.close()
    assert list(path.parent.iterdir()) == [path]


def test_only_what_dead_processes_were_making_is_swept(path):
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        dead_pid = child.pid
    stay = [f".{path.name}.{os.getpid()}-00000000", f".{path.name}.bak", ".other.db.1-00000000", "notes"]
    gone = [f".{path.name}.{dead_pid}-0123abcd", f".{path.name}.{dead_pid}-0123abcd-journal"]
    for name in stay + gone:
        (path.parent / name).touch()
    Store(url_of(path), create=True).close()
    Store(url_of(path), create=True).close()
    assert {each.name for each in path.parent.iterdir()} == {path.name, *stay}


GROWING = """
import sys
from sweeper.store import schema, writes
from sweeper.store.connection import Store
store = Store(sys.argv[1])
print("ready", flush=True)
while True:
    with store.write() as connection:
        rows = [{"study_id": 1, "kind": "note", "message": "m" * 900} for _ in range(200)]
        connection.execute(schema.events.insert(), rows)
"""


def test_a_store_that_others_write_to_can_always_be_opened(made, begin):
    begin(Store(url_of(made)))
    writer = subprocess.Popen([sys.executable, "-c", GROWING, url_of(made)], stdout=subprocess.PIPE)
    try:
        writer.stdout.readline()
        for _ in range(300):
            Store(url_of(made)).close()
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.communicate()


# ---- refusals: the law, the values, the cure; nothing is changed -----------------------------------------------------


def foreign(path):
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE notes (text)")
    raw.commit()
    raw.close()


def newer(path, version=99):
    Store(url_of(path), create=True).close()
    raw = sqlite3.connect(path)
    raw.execute("UPDATE sweeper_meta SET value = ?", (str(version),))
    raw.execute(f"PRAGMA user_version = {version}")
    raw.commit()
    raw.close()


def older(path):
    newer(path, version=schema.FIRST_VERSION - 1)


def torn(path):
    Store(url_of(path), create=True).close()
    path.write_bytes(path.read_bytes()[:100] + b"\7" * 8092)


REFUSED = {
    "missing": (lambda path: None, ["no store at {path}", "start a sweep first"]),
    "empty": (lambda path: path.touch(), ["{path} is empty (0 bytes)", "delete it"]),
    "text": (lambda path: path.write_text("lr: 0.1\n" * 200), ["must be an SQLite database", "{path}"]),
    "short": (lambda path: path.write_bytes(b"SQLite"), ["must be an SQLite database", "{path}"]),
    "foreign": (foreign, ["must hold sweeper's tables", "{path}", "store="]),
    "newer": (newer, [f"up to version {schema.SCHEMA_VERSION}", "{path}", "version 99", "upgrade"]),
    "older": (older, [f"from version {schema.FIRST_VERSION} on", "{path}", "store="]),
    "folder": (lambda path: path.mkdir(), ["{path}", "folder"]),
    "header": (lambda path: path.write_bytes(opening.SQLITE_HEADER + b"\7" * 4096), ["{path}", "sweeper's tables"]),
    "torn": (torn, ["{path}", "damaged"]),
}


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_sound_store_is_refused_and_not_touched(path, kind, create, monkeypatch):
    if kind == "missing" and create:
        return
    make, words = REFUSED[kind]
    make(path)
    monkeypatch.setattr(opening, "_looked_at", set())  # as in a process that has not met the file before
    before = on_disk(path.parent)
    line = refusal(url_of(path), create=create)
    assert [word for word in words if word.format(path=path) not in line] == []
    assert on_disk(path.parent) == before


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("runs/sweeper.db", ["sqlite:///runs/sweeper.db", "'runs/sweeper.db'"]),
        ("", ["URL"]),
        ("mysql://localhost/name", ["SQLite or PostgreSQL", "mysql"]),
        ("sqlite://", ["in memory", "sqlite:///FILE.db"]),
        ("sqlite:///:memory:", ["in memory", "sqlite:///FILE.db"]),
        ("sqlite:///file::memory:?cache=shared&uri=true", ["in memory"]),
        ("sqlite:///file:x?mode=memory&uri=true", ["in memory"]),
    ],
)
def test_a_url_that_is_no_store_is_refused(tmp_path, monkeypatch, url, words):
    monkeypatch.chdir(tmp_path)
    line = refusal(url, create=True)
    assert [word for word in words if word not in line] == []
    assert on_disk(tmp_path) == {}


def test_a_refusal_hides_the_password():
    assert "secret" not in refusal("mysql://me:secret@localhost/name")


def test_another_driver_of_sqlite_is_not_asked_for(path):
    Store(f"sqlite+aiosqlite:///{path}", create=True).close()
    assert path.exists()


def test_a_server_without_its_driver_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    line = refusal("postgresql://nobody:secret@127.0.0.1:1/none")
    assert "secret" not in line
    assert "sweeper[postgres]" in line


def test_a_server_out_of_reach_is_a_store_error():
    pytest.importorskip("psycopg")
    assert "secret" not in refusal("postgresql://nobody:secret@127.0.0.1:1/none")


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refusal(url_of(tmp_path / "file" / "sweeper.db"), create=True)


def test_a_link_that_leads_nowhere_is_a_store_error(tmp_path):
    (tmp_path / "link.db").symlink_to(tmp_path / "gone" / "sweeper.db")
    assert "link.db" in refusal(url_of(tmp_path / "link.db"), create=True)


def test_a_link_to_a_store_is_the_store(tmp_path, made):
    (tmp_path / "link.db").symlink_to(made)
    assert reads.study_names(Store(url_of(tmp_path / "link.db"))) == []


NOT_ROOT = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
"""Root may write what is read-only: so it lays that right down first."""


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write anything")
@pytest.mark.parametrize("mode", [0o444, 0o000], ids=["read-only", "unreadable"])
def test_a_file_without_the_right_to_it_is_refused_in_words(tmp_path, made, mode):
    code = """
        import sys
        from sweeper.errors import StoreError
        from sweeper.store.connection import Store
        from sweeper.store import writes
        try:
            store = Store(sys.argv[1], create=True)
            writes.add_event(store, 1, "note", "a word")
        except StoreError as error:
            print(error)
    """
    before = on_disk(tmp_path)
    made.chmod(mode)
    tmp_path.chmod(0o555)
    ask = [sys.executable, "-c", textwrap.dedent(code), url_of(made)]
    try:
        answer = subprocess.run(
            [*(NOT_ROOT if os.geteuid() == 0 else []), *ask], capture_output=True, text=True, check=False
        )
    finally:
        tmp_path.chmod(0o755)
        made.chmod(0o644)
    assert answer.stderr == ""
    assert str(made) in answer.stdout
    assert re.search("read-only|writable|permission", answer.stdout, re.IGNORECASE)
    assert on_disk(tmp_path) == before


@pytest.mark.parametrize("create", [False, True])
def test_a_network_file_system_is_refused(path, monkeypatch, create):
    if not create:
        Store(url_of(path), create=True).close()
    before = on_disk(path.parent)
    monkeypatch.setattr(opening, "file_system", lambda path: "nfs4")
    line = refusal(url_of(path), create=create)
    assert "network file system" in line
    assert "nfs4" in line
    assert "postgresql://" in line
    assert on_disk(path.parent) == before


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path, monkeypatch):
    mounts = "\n".join(
        [
            "overlay / overlay rw 0 0",
            f"server:/home {tmp_path} nfs4 rw 0 0",
            f"tmpfs {tmp_path}/a\\040b tmpfs rw 0 0",
            f"/dev/sda1 {tmp_path}x ext4 rw 0 0",
        ]
    )
    real = opening.Path.read_text
    monkeypatch.setattr(
        opening.Path, "read_text", lambda self, *a, **k: mounts if str(self) == "/proc/mounts" else real(self, *a, **k)
    )
    assert file_system(tmp_path / "runs" / "sweeper.db") == "nfs4"
    assert file_system(tmp_path / "a b" / "sweeper.db") == "tmpfs"
    assert file_system(opening.Path("/nowhere")) == "overlay"


# ---- what a database says, in words ----------------------------------------------------------------------------------


def test_a_full_disk_is_told_with_its_cure_and_leaves_the_store_sound(store, begin):
    study = begin(store)

    def write():
        with store.write() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            connection.execute(schema.studies.update().values(message="x" * 1_000_000))

    with pytest.raises(StoreError, match="disk is full: make room"):
        write()
    store.close()
    assert reads.study(store, study.name).message is None


def test_a_lock_that_lasts_is_told(made, monkeypatch):
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_SECONDS", 0)
    store = Store(url_of(made))
    holder = sqlite3.connect(made, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another process held the database"), store.write():
        pass
    holder.execute("ROLLBACK")
    holder.close()
    with store.write():
        pass


def test_a_damaged_page_is_told_with_its_cure(made):
    content = bytearray(made.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    made.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        reads.study_names(Store(url_of(made)))


# ---- versions --------------------------------------------------------------------------------------------------------


def version(path):
    raw = sqlite3.connect(path)
    (value,) = raw.execute("SELECT value FROM sweeper_meta WHERE key = 'schema_version'").fetchone()
    raw.close()
    return int(value)


NOW = schema.SCHEMA_VERSION


def to_version(monkeypatch, number, migrations):
    monkeypatch.setattr(schema, "SCHEMA_VERSION", number)
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)


def test_an_older_store_is_led_through_every_version(made, begin, monkeypatch):
    begin(Store(url_of(made)))
    steps = {
        NOW: ["ALTER TABLE studies ADD COLUMN colour TEXT", "UPDATE studies SET colour = 'red'"],
        NOW + 1: ["ALTER TABLE studies RENAME COLUMN colour TO hue"],
    }
    to_version(monkeypatch, NOW + 2, steps)
    store = Store(url_of(made))
    assert version(made) == NOW + 2
    with store.read() as connection:
        assert connection.execute(sa.text("SELECT name, hue FROM studies")).all() == [("demo", "red")]
        assert connection.execute(sa.text("SELECT count(*) FROM v_best")).scalar() == 0
    Store(url_of(made))  # opened again: nothing is left to do


def test_a_migration_may_drop_what_a_view_shows(made, monkeypatch):
    to_version(monkeypatch, NOW + 1, {NOW: ["ALTER TABLE trials RENAME COLUMN message TO words"]})
    monkeypatch.setitem(schema.VIEWS, "v_trials", "SELECT number, words FROM trials")
    Store(url_of(made))
    assert version(made) == NOW + 1


def test_a_migration_may_drop_a_column_of_a_view(made, monkeypatch):
    to_version(monkeypatch, NOW + 1, {NOW: ["ALTER TABLE trials DROP COLUMN message"]})
    monkeypatch.setitem(schema.VIEWS, "v_trials", "SELECT number FROM trials")
    Store(url_of(made))
    assert version(made) == NOW + 1


def test_a_migration_that_breaks_leaves_the_older_store(made, monkeypatch):
    before = version(made)
    to_version(monkeypatch, NOW + 1, {NOW: ["ALTER TABLE studies ADD COLUMN colour TEXT", "DELETE FROM nowhere"]})
    with pytest.raises(StoreError, match="nowhere"):
        Store(url_of(made))
    assert version(made) == before
    raw = sqlite3.connect(made)
    assert "colour" not in [each[1] for each in raw.execute("PRAGMA table_info(studies)")]
    raw.close()


def test_opening_a_store_again_keeps_the_locks_that_this_process_holds(made):
    """Whoever opens and closes the file beside SQLite drops its locks: the next process then removes the journal."""
    first = Store(url_of(made))
    with first.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM studies").all()
        Store(url_of(made)).close()
        other = "import sys, sqlite3; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM studies'); c.close()"
        subprocess.run([sys.executable, "-c", other, str(made)], check=True)
        assert made.with_name(made.name + "-wal").exists()
    first.close()


def test_a_lock_at_which_sqlite_gives_up_at_once_is_waited_for():
    answers = [sqlite3.OperationalError("database is locked")] * 3

    def statement():
        if answers:
            raise answers.pop()

    opening._patiently(statement)
    assert answers == []
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        opening._patiently(lambda: sqlite3.connect(":memory:").execute("SELECT * FROM absent"))
