"""A store that may not be written to: it answers, refuses changes in one line, and nothing is left beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import filling
import sweeper
from sweeper.cli import app
from sweeper.store import connection, reads, schema, writes
from sweeper.store.connection import Store
from sweeper.words.errors import StoreError

NOT_ROOT = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
"""Root may write what is read-only: so it lays that right down first."""
CLI = "from sweeper.cli import main; main()"
KILLED = """
import os, signal, sys
from sweeper.store import writes
from sweeper.store.connection import Store
writes.add_event(Store(sys.argv[1]), 1, "note", "the last word")
os.kill(os.getpid(), signal.SIGKILL)
"""

needs_modes = pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write anything")


@pytest.fixture
def archived(tmp_path):
    """`archived(file=0o444, folder=0o555)`: the URL of a store of one study, with these rights."""
    place = tmp_path / "archive #1"
    place.mkdir()
    url = f"sqlite:///{place / 'sweeper.db'}"
    filling.running_study(url)[0].close()

    def lock(file=0o444, folder=0o555):
        for each in place.iterdir():
            each.chmod(file)
        place.chmod(folder)
        return url

    yield lock
    place.chmod(0o755)


def ask(url, *words, code=0):
    limited = NOT_ROOT if os.geteuid() == 0 else []
    asked = [*limited, sys.executable, "-c", CLI, *words, "--store", url]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def on_disk(url):
    return {each.name: each.stat().st_size for each in Path(url.removeprefix("sqlite:///")).parent.iterdir()}


RIGHTS = [(0o444, 0o555), (0o444, 0o755), (0o644, 0o555)]


@needs_modes
@pytest.mark.parametrize(("file", "folder"), RIGHTS, ids=["both", "file", "folder"])
def test_questions_are_answered_and_leave_no_trace(archived, file, folder):
    url = archived(file, folder)
    before = on_disk(url)
    assert json.loads(ask(url, "best", "--format", "json").stdout)[0]["number"] == 1
    assert on_disk(url) == before


@needs_modes
def test_a_change_is_refused_in_one_line(archived):
    said = ask(archived(), "pause", code=1).stderr
    assert "is read-only" in said
    assert said.count("\n") == 1


@needs_modes
def test_a_journal_is_read_where_it_can_be(archived):
    """After a kill the newest words are in the journal alone: they are told, or it is said why not."""
    url = archived(0o644, 0o755)
    subprocess.run([sys.executable, "-c", KILLED, url], check=False)
    archived()
    assert "the last word" in ask(url, "events", "--format", "csv").stdout
    archived(0o644, 0o755)
    Path(url.removeprefix("sqlite:///") + "-shm").unlink()
    archived()
    assert "copy both files" in ask(url, "events", code=1).stderr


# ---- without the rights of the disk, in this process -----------------------------------------------------------------


@pytest.fixture
def sealed(archived, monkeypatch):
    """A store whose file system says that it is read-only."""
    url = archived(0o644, 0o755)
    monkeypatch.setattr(connection.os, "access", lambda path, mode, **more: mode != os.W_OK)
    return url


def test_python_reads_a_sealed_study(sealed):
    study = sweeper.load_study("digits", sealed)
    assert study.best()["number"].tolist() == [1]
    assert len(study.trials()) == 5
    assert len(on_disk(sealed)) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [("best", "0.123"), ("status", "4/8 trials"), ("show 1", "trial 1 of digits"), ("studies", "4/8")],
)
def test_the_command_answers(sealed, words, said):
    result = CliRunner().invoke(app, [*words.split(), "--store", sealed])
    assert said in result.stdout
    assert len(on_disk(sealed)) == 1


@pytest.mark.parametrize("words", ["retry 2", "pause", "set budget=9", "hide 1 --why x"])
def test_the_command_refuses_changes(sealed, words):
    result = CliRunner().invoke(app, [*words.split(), "--store", sealed])
    assert result.exit_code == 1
    assert "error: The store" in result.stderr
    assert "is read-only" in result.stderr


def test_the_doctor_says_so_and_repairs_nothing(sealed):
    result = CliRunner().invoke(app, ["doctor", "--format", "json", "--store", sealed])
    rows = {row["check"]: row for row in json.loads(result.stdout)}
    assert rows["store"]["verdict"] == "wrong"
    assert not any(row["repairs"] for row in rows.values())


def test_a_sweep_is_refused_at_its_start(sealed, tmp_path):
    with pytest.raises(StoreError, match=r"answers questions alone, for its file .* is read-only"):
        sweeper.run(lambda trial: 1.0, study="s", space={"x": "interval(0, 1)"}, store=sealed, folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_nothing_is_written(sealed):
    store = Store(sealed)
    assert "read-only" in store.read_only
    with pytest.raises(StoreError, match="make file and folder writable"):
        writes.add_event(store, 1, "note", "a word")
    assert [event["kind"] for event in reads.event_rows(store, 1)] == ["created", "failed"]


def test_what_is_written_meanwhile_by_its_owner_is_seen(sealed, monkeypatch):
    reader = Store(sealed)
    monkeypatch.undo()
    writer = Store(sealed)
    writes.add_event(writer, 1, "note", "a word")
    assert len(reads.event_rows(reader, 1)) == 3
    writer.close()
    assert len(reads.event_rows(reader, 1)) == 3


def test_an_older_one_must_be_copied(sealed, monkeypatch):
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    with pytest.raises(StoreError, match="copy it to a folder of yours"):
        Store(sealed)
