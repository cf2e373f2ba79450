"""Every fsync, rename, link, unlink, mkdir and commit of a study: killed there, killed again, asleep past the lease."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import forks

PROGRAM = Path(__file__).parent / "crash_points.py"
LONG = os.environ.get("SWEEPER_FAULTS") == "long"


def enumerated(folder: Path, *arguments: str) -> dict:
    """What the program found: `points` met, `missed`, `by_kind`, and `wrong` by point."""
    done = forks.script(PROGRAM, str(folder), *arguments, folder=folder, patience=7000)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("deeds", ["kill", "twice", "sleep"] if LONG else ["kill/17,twice/60,sleep/31"])
def test_no_instant_is_a_bad_one(tmp_path, capsys, deeds):
    found = enumerated(tmp_path, "--deeds", deeds)
    with capsys.disabled():
        print(f"\n{deeds}: {found['points']} points {found['by_kind']}, {len(found['wrong'])} wrong")
    assert not found["wrong"]
    assert found["missed"] == []
    assert found["points"] >= (120 if LONG else 12)
    for deed in deeds.split(","):
        assert found["by_kind"][f"{deed.partition('/')[0]} commit"] > 0
