"""Many worker processes on one SQLite file: no error, every number once, the budget spent to the epoch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import checker
import pytest

PROGRAM = Path(__file__).parent / "many_workers.py"
WORKERS, TRIALS, REPORTS = (32, 640, 10) if os.environ.get("SWEEPER_FAULTS") == "long" else (8, 64, 10)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_workers_share_one_file(tmp_path, capsys):
    command = [sys.executable, str(PROGRAM), str(tmp_path), str(WORKERS), str(TRIALS), str(REPORTS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    left = checker.read_store(tmp_path / "sweeper.db", "many")
    verdict = checker.check(left, trials=TRIALS, epochs=REPORTS, checkpoints=False)
    at_work = {row["worker_id"] for row in left.trials}
    with capsys.disabled():
        print(
            f"\n{WORKERS} workers ({len(at_work)} of them got a trial), {TRIALS} trials of {REPORTS} reports: "
            f"{said['seconds']:.1f} s, lost {len(verdict.lost)}, doubled {len(verdict.doubled)}"
        )
    assert said["endings"] == ["finished"] * WORKERS, {text[-500:] for text in said["endings"]}
    assert verdict, str(verdict)
    assert {row["attempt"] for row in left.trials} == {1}
    assert len(at_work) > WORKERS // 2
