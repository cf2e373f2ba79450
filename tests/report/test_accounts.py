from __future__ import annotations

import json
from pathlib import Path

import pytest

import filling
from sweeper.analysis import accounts, standing
from sweeper.analysis.progress import snapshot
from sweeper.report import accounts as words
from sweeper.store import claims
from sweeper.words.records import Failure, Load

SECONDS = accounts.Account(
    useful=71.0, failed={Failure.ERROR: 2.0, Failure.DIVERGED: 3.0}, repeated=0.2, overhead=15.8, idle=8.0
)
EPOCHS = accounts.Account(useful=700, failed={Failure.DIVERGED: 30}, repeated=2)
FOUND = accounts.Ledger(SECONDS, EPOCHS, (accounts.WorkerAccount(7, "cpu of node", 12, SECONDS, EPOCHS),))


def test_a_line_says_how_busy_the_workers_were_and_with_what() -> None:
    assert words.line(FOUND) == "92% busy: 71% useful, 5% failed, 16% overhead"


def test_where_no_worker_lived_there_is_no_line() -> None:
    nothing = accounts.Ledger(accounts.Account(), accounts.Account(), ())
    assert words.line(nothing) == ""
    assert accounts.flat(nothing)["utilisation"] is None


def test_columns_hold_every_kind_and_the_failed_ones_by_reason() -> None:
    row = accounts.flat(FOUND)
    assert (row["seconds.useful"], row["seconds.failed"], row["seconds.failed.diverged"]) == (71.0, 5.0, 3.0)
    assert (row["epochs.useful"], row["epochs.repeated"], row["utilisation"]) == (700, 2, pytest.approx(0.92))
    assert not {"epochs.idle", "epochs.overhead"} & set(row)
    assert set(words.MEANINGS) == set(accounts.KINDS)


def test_json_adds_up() -> None:
    told = json.loads(json.dumps(accounts.nested(FOUND)))
    assert told["seconds"]["failed"] == {"error": 2.0, "diverged": 3.0}
    assert told["epochs"]["failed"] == {"diverged": 30}
    assert accounts.of_workers(FOUND)[7]["seconds"] == pytest.approx(100.0)


def test_status_says_where_the_time_went(tmp_path: Path) -> None:
    store, _ = filling.running_study(f"sqlite:///{tmp_path / 'sweeper.db'}")
    study = filling.record(store)
    found, progress = accounts.collect(store, study), snapshot(store, study)
    assert standing.nested(progress, found)["time"]["epochs"]["useful"] == 12
    assert standing.flat(progress, found)["time.epochs.failed.error"] == 1
    assert found.epochs.running == 2


def test_a_worker_stands_with_the_load_of_its_last_beat(tmp_path: Path) -> None:
    store, study_id = filling.study(f"sqlite:///{tmp_path / 'sweeper.db'}")
    hand = filling.worker(store, study_id)
    claims.beat(store, hand, Load(0.5, 10, 100))
    (worker,) = snapshot(store, filling.record(store)).workers
    assert (worker.load, worker.memory_bytes, worker.memory_total_bytes) == (0.5, 10, 100)
    claims.beat(store, hand)
    assert snapshot(store, filling.record(store)).workers[0].load == 0.5
    claims.beat(store, hand, Load())
    assert snapshot(store, filling.record(store)).workers[0].load is None
