"""Many worker processes on one store: no error, every number once, the budget spent to the epoch."""

from __future__ import annotations

import json
import os
from pathlib import Path

import checker
import pytest

import forks

PROGRAM = Path(__file__).parent / "many_workers.py"
POSTGRES = os.environ.get("SWEEPER_TEST_POSTGRES")
WORKERS, TRIALS, REPORTS = (32, 640, 10) if os.environ.get("SWEEPER_FAULTS") == "long" else (8, 64, 10)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/sweeper.db"
        return
    if not POSTGRES:
        pytest.skip("needs a server: SWEEPER_TEST_POSTGRES=postgresql://user@host/database")
    psycopg = pytest.importorskip("psycopg")
    schema = f"many_{os.getpid()}"
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(f"CREATE SCHEMA {schema}")
    joint = "&" if "?" in POSTGRES else "?"
    yield f"{POSTGRES}{joint}options=-csearch_path%3D{schema}"
    with psycopg.connect(POSTGRES, autocommit=True) as server:
        server.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_workers_share_one_store(tmp_path, url, capsys):
    arguments = [url, str(tmp_path), str(WORKERS), str(TRIALS), str(REPORTS)]
    done = forks.script(PROGRAM, *arguments, folder=tmp_path, patience=3500)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    left = checker.read_store(url, "many")
    verdict = checker.check(left, trials=TRIALS, epochs=REPORTS, checkpoints=False)
    at_work = {row["worker_id"] for row in left.trials}
    with capsys.disabled():
        print(
            f"\n{url.partition(':')[0]}: {WORKERS} workers ({len(at_work)} of them got a trial), {TRIALS} trials of "
            f"{REPORTS} reports: {said['seconds']:.1f} s, lost {len(verdict.lost)}, doubled {len(verdict.doubled)}"
        )
    assert said["endings"] == ["finished"] * WORKERS, {text[-500:] for text in said["endings"]}
    assert verdict, str(verdict)
    assert {row["attempt"] for row in left.trials} == {1}
    assert len(at_work) > 1
