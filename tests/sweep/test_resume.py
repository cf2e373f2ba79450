"""Training for real: workers and drivers are killed in the middle of it, and the numbers are the undisturbed run's."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

import forks
from sweeper.retraining.outcome import MEASURED
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.trial.checkpoint import read
from sweeper.words.errors import StoreError
from sweeper.words.records import TrialState

DIGITS = Path(__file__).parents[2] / "experiments" / "digits.py"
SETTINGS = ["check=false", "search=random", "budget=4", "epochs=12", "data.batch_size=16", "model.width=200"]
"""Small batches on a wide network: epochs of a few hundred milliseconds, so that kills meet every phase."""


def start(folder: Path) -> forks.Popen:
    with (folder / "log").open("ab") as log:
        return forks.Popen([sys.executable, str(DIGITS), "--multirun", *SETTINGS], cwd=folder, stdout=log, stderr=log)


def everything(folder: Path):
    """Per trial: state, parameters, metrics of every epoch, and the final weights."""
    store = Store(f"sqlite:///{folder}/runs/sweeper.db")
    study = reads.study(store)
    found = {}
    for record in reads.all_trials(store, study.id):
        newest = reads.checkpoint_rows(store, study.id, record.number)[-1]
        weights = read(Path(study.folder) / f"{record.number:04d}" / newest["path"])["state"]["model"]
        reports = reads.epoch_reports(store, study.id, record.number)
        metrics = [{name: told[name] for name in told if name not in MEASURED} for told in (r.metrics for r in reports)]
        found[record.number] = (record.state, record.params, metrics, weights)
    store.close()
    return found


def kill_now_and_then(folder: Path, seed: int, kills: int) -> int:
    """Kill a worker, or the driver, at random moments of a running sweep, starting it again; returns the kills."""
    draw = random.Random(seed)
    done = 0
    while True:
        driver = start(folder)
        while done < kills and driver.poll() is None:
            time.sleep(draw.uniform(0.2, 1.2))
            workers = training(folder)
            if not workers:
                continue
            victim = driver.pid if done % 2 else draw.choice(workers)
            os.kill(victim, signal.SIGKILL)
            done += 1
        if driver.wait(120) == 0:
            return done


def training(folder: Path) -> list[int]:
    """The workers that hold a trial which has reported an epoch already."""
    try:
        store = Store(f"sqlite:///{folder}/runs/sweeper.db")
        study = reads.study(store)
    except StoreError:
        return []
    busy = {
        record.worker_id
        for record in reads.all_trials(store, study.id, [TrialState.RUNNING])
        if 0 < record.epochs_done < 11
    }
    pids = [row["pid"] for row in reads.worker_rows(store, study.id, alive=True) if row["id"] in busy]
    store.close()
    return pids


@pytest.mark.slow
def test_kills_in_the_middle_change_no_number(tmp_path):
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    for folder in (undisturbed, disturbed):
        folder.mkdir()
    assert start(undisturbed).wait(200) == 0
    assert kill_now_and_then(disturbed, seed=0, kills=4) == 4
    expected, found = everything(undisturbed), everything(disturbed)
    assert list(found) == list(expected) == [0, 1, 2, 3]
    for number, (state, params, metrics, weights) in found.items():
        assert (state, params, metrics) == expected[number][:3]
        assert state is TrialState.COMPLETE
        assert weights.keys() == expected[number][3].keys()
        assert all(torch.equal(weights[name], expected[number][3][name]) for name in weights)
    folders = sorted(path.name for path in (disturbed / "runs" / "digits").glob("[0-9]*"))
    assert folders == ["0000", "0001", "0002", "0003"]
