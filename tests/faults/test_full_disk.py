"""A small disk that fills up for real: one clear message, a sound store; with room again the same call goes on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import checker
import full_disk
import lesson
import pytest

import forks

TRIALS, EPOCHS = full_disk.TRIALS, full_disk.EPOCHS
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


def stops_with_one_line(said: Path) -> str:
    lines = [line for line in said.read_text().splitlines() if line.startswith("error:")]
    assert len(lines) == 1, said.read_text()
    assert "Traceback" not in said.read_text(), said.read_text()
    assert "disk is full" in lines[0]
    return lines[0]


def integrity(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert forks.run(full_disk.run, folder, folder) == 0
    return checker.read_store(folder / "sweeper.db", full_disk.STUDY)


CASES = [("checkpoint", 1_500_000), ("store", 250_000)]
if os.environ.get("SWEEPER_FAULTS") == "long":
    CASES += [("store", 200_000), ("store", 320_000), ("both", 2_300_000), ("both", 500_000)]


@pytest.mark.slow
@pytest.mark.parametrize(("what", "leave_bytes"), CASES)
def test_a_full_disk_stops_with_one_line_and_loses_nothing(tmp_path, disk, expected, what, leave_bytes):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store = elsewhere if what == "checkpoint" else disk
    folder = elsewhere if what == "store" else disk
    said = tmp_path / "said"
    filler = fill(disk, leave_bytes)
    assert forks.run(full_disk.run, store, folder, said=said) == 1, "it was not full"
    line = stops_with_one_line(said)
    assert "room" in line or "Free some space" in line
    if what == "checkpoint":
        assert "bytes" in line, "how much is needed"
    filler.unlink()
    if (store / "sweeper.db").exists():
        assert integrity(store / "sweeper.db") == "ok"
    assert forks.run(full_disk.run, store, folder, said=said) == 0, said.read_text()
    left = checker.read_store(store / "sweeper.db", full_disk.STUDY)
    verdict = checker.compare(checker.check(left, trials=TRIALS, epochs=EPOCHS), left, expected)
    assert verdict, str(verdict)


@pytest.mark.slow
def test_a_disk_that_stays_full_fails_no_trial(tmp_path, disk, expected):
    said = tmp_path / "said"
    filler = fill(disk, 250_000)
    for _ in range(4):
        assert forks.run(full_disk.run, disk, tmp_path, said=said) == 1, "it was not full"
    filler.unlink()
    assert forks.run(full_disk.run, disk, tmp_path, said=said) == 0, said.read_text()
    left = checker.read_store(disk / "sweeper.db", full_disk.STUDY)
    verdict = checker.compare(checker.check(left, trials=TRIALS, epochs=EPOCHS), left, expected)
    assert verdict, str(verdict)


@pytest.mark.slow
def test_a_disk_that_a_log_fills_stops_the_sweep(tmp_path, disk):
    app = Path(__file__).parent / "app" / "log_app.py"
    database = tmp_path / "sweeper.db"
    trials = 4
    command = [
        "--multirun",
        f"budget={trials}",
        "workers=1",
        "hydra/launcher=basic",
        f"hydra.sweeper.store=sqlite:///{database}",
    ]
    said = tmp_path / "said"
    filler = fill(disk, 3_500_000)
    assert forks.run(forks.main, app, command, disk, said=said) == 1, f"it was not full: {said.read_text()}"
    assert "bytes are free at" in stops_with_one_line(said)
    assert integrity(database) == "ok"
    filler.unlink()
    assert forks.run(forks.main, app, command, disk, said=said) == 0, said.read_text()
    verdict = checker.check(checker.read_store(database, lesson.STUDY), trials=trials, epochs=5, checkpoints=False)
    assert verdict, str(verdict)
