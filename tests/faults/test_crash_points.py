"""Every fsync, rename, link, unlink and commit of a study, one by one: killed there, or asleep there past the lease."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "crash_points.py"
LONG = os.environ.get("SWEEPER_FAULTS") == "long"


def enumerated(folder: Path, *arguments: str) -> dict:
    """What the program found: `points` met, `by_kind`, and `wrong` by point."""
    command = [sys.executable, str(PROGRAM), str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def told(found: dict, capsys, deed: str) -> None:
    with capsys.disabled():
        print(f"\n{deed} at {found['points']} points {found['by_kind']}: {len(found['wrong'])} wrong")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kinds", "every"),
    [("fsync,replace,link,unlink,mkdir,commit", 1), ("write", 9)] if LONG else [("fsync,replace,unlink,commit", 7)],
)
def test_a_kill_at_any_instant_changes_no_bit(tmp_path, capsys, kinds, every):
    found = enumerated(tmp_path, "--kinds", kinds, "--every", str(every), "--tolerate", "half-made")
    told(found, capsys, "killed")
    assert not found["wrong"]
    assert found["points"] >= (1 if kinds == "write" else 60 // every)
    assert set(found["by_kind"]) == set(kinds.split(",")), "every kind was met"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sleeper_that_wakes_late_changes_no_bit(tmp_path, capsys):
    every = 1 if LONG else 9
    found = enumerated(tmp_path, "--deed", "sleep", "--kinds", "replace,fsync,unlink", "--every", str(every))
    told(found, capsys, "asleep")
    assert not found["wrong"]
    assert found["points"] >= 40 // every


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.xfail(strict=True, reason="asleep between report and checkpoint: it wakes and replaces its heir's file")
def test_a_sleeper_between_report_and_checkpoint_changes_no_bit(tmp_path, capsys):
    which = ["--kinds", "mkdir,commit"] if LONG else ["--kinds", "mkdir", "--every", "4", "--first", "1"]
    found = enumerated(tmp_path, "--deed", "sleep", *which)
    told(found, capsys, "asleep")
    assert not found["wrong"]


@pytest.mark.slow
@pytest.mark.xfail(strict=True, reason="a kill while the store is made leaves a file beside it that nobody sweeps")
def test_a_kill_while_the_store_is_made_leaves_nothing_beside_it(tmp_path):
    assert not enumerated(tmp_path, "--kinds", "link")["wrong"]
