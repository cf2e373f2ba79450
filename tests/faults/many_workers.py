"""Many workers on one store, each a process: `python many_workers.py URL FOLDER WORKERS TRIALS REPORTS`.

A program of its own: it imports what a worker needs once, starts no thread, and forks them all. Prints one line of
JSON: how each ended, and the seconds that they took.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path

import optuna  # noqa: F401

import sweeper
import sweeper.search.search
from sweeper.engine.opening import StudySettings, open_study
from sweeper.engine.worker import Worker, WorkerSettings
from sweeper.search.space import Float, SearchSpace
from sweeper.store.connection import Store
from sweeper.words.settings import Settings

STUDY = "many"


def settings(folder: Path, trials: int, reports: int) -> StudySettings:
    asked = Settings(
        study=STUDY,
        space={},
        search="random",
        epochs=reports,
        budget=trials,
        metric="val_loss",
        folder=folder / "runs",
        max_failures=None,
    )
    return StudySettings.of(asked, SearchSpace((Float("x", 0.0, 1.0),)), {})


def train(trial: sweeper.Trial) -> None:
    for epoch in trial.epochs(1_000_000, state={}):
        trial.report(val_loss=trial.params["x"] / (epoch + 1))


def work(told: WorkerSettings, says: Path) -> None:
    """In the child: never returns."""
    try:
        says.write_text(Worker(told, train).work())
    except BaseException:
        says.write_text(traceback.format_exc())
    finally:
        os._exit(0)


def main() -> None:
    url, folder, (workers, trials, reports) = sys.argv[1], Path(sys.argv[2]), map(int, sys.argv[3:])
    asked = settings(folder, trials, reports)
    store = Store(url, create=True)
    open_study(store, asked)
    store.close()
    told = WorkerSettings(asked.asked, asked.plan, url, engine="test")
    started = time.monotonic()
    says = [folder / f"worker-{index}" for index in range(workers)]
    children = []
    for path in says:
        if (pid := os.fork()) == 0:
            work(told, path)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    endings = [path.read_text() if path.exists() else "nothing" for path in says]
    json.dump({"endings": endings, "seconds": time.monotonic() - started}, sys.stdout)


if __name__ == "__main__":
    main()
