"""A small disk that fills up for real: one clear message, a sound store; with room again the same call goes on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import checker
import pytest

PROGRAM = Path(__file__).parent / "full_disk.py"
TRIALS, EPOCHS, STUDY = 2, 4, "disk"
DISK = "8m"


@pytest.fixture
def disk(tmp_path):
    """A file system of a few megabytes."""
    point = tmp_path / "disk"
    point.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs root, to mount a small file system")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(point)], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.decode().strip()}")
    yield point
    subprocess.run(["umount", str(point)], check=True)


def fill(disk: Path, leave_bytes: int) -> Path:
    """Take all the space but so much."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(b"\0" * max(0, shutil.disk_usage(disk).free - leave_bytes))
    return filler


def sweep(store: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), str(store), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def integrity(store: Path) -> str:
    with closing(sqlite3.connect(store / "sweeper.db")) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert sweep(folder, folder).returncode == 0
    return checker.read_store(folder / "sweeper.db", STUDY)


CASES = [("checkpoint", 800_000), ("store", 250_000)]
if os.environ.get("SWEEPER_FAULTS") == "long":
    CASES += [("store", 320_000), ("both", 1_300_000), ("both", 500_000)]


@pytest.mark.slow
@pytest.mark.parametrize(("what", "leave_bytes"), CASES)
def test_a_full_disk_stops_with_one_line_and_loses_nothing(tmp_path, disk, expected, what, leave_bytes):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store = elsewhere if what == "checkpoint" else disk
    folder = elsewhere if what == "store" else disk
    filler = fill(disk, leave_bytes)
    stopped = sweep(store, folder)
    assert stopped.returncode == 1, f"it was not full: {stopped}"
    lines = [line for line in stopped.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, stopped.stderr
    assert "Traceback" not in stopped.stderr, stopped.stderr
    assert "disk is full" in lines[0]
    assert "room" in lines[0] or "Free some space" in lines[0]
    if what == "checkpoint":
        assert "bytes" in lines[0], "how much is needed"
    filler.unlink()
    if (store / "sweeper.db").exists():
        assert integrity(store) == "ok"
    again = sweep(store, folder)
    assert again.returncode == 0, again.stderr
    left = checker.read_store(store / "sweeper.db", STUDY)
    verdict = checker.compare(checker.check(left, trials=TRIALS, epochs=EPOCHS), left, expected)
    assert verdict, str(verdict)
