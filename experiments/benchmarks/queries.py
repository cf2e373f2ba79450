"""How long the questions to a large store take: whole commands, in seconds of CPU time.

python -m experiments.benchmarks.queries --trials 100000

The store is made up: losses that fall over a few epochs, one trial in ten failed, one in five paused, two workers. Its
numbers mean nothing; its size does.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sweeper.store import claims, process, schema, writes
from sweeper.store.connection import Store
from sweeper.words.records import TrialState

FULL_EPOCHS = 4
BEGUN = 1.75e9
"""Seconds since 1970."""
SPACE = [
    {"type": "float", "name": "optimizer.lr", "low": 1e-5, "high": 0.1, "log": True, "limits": [1e-7, 10]},
    {"type": "float", "name": "model.dropout", "low": 0.0, "high": 0.7},
    {"type": "int", "name": "model.depth", "low": 1, "high": 5},
    {"type": "int", "name": "model.width", "low": 16, "high": 512, "log": True},
    {"type": "categorical", "name": "data.batch_size", "choices": [16, 32, 64, 128]},
    {"type": "categorical", "name": "optimizer", "choices": ["sgd", "adam", "nadam"]},
]
COMMANDS = (
    "--help",
    "best",
    "best --top 5",
    "best --format json",
    "status",
    "show 7",
    "curves 7 12",
    "compare 7 12",
    "workers",
    "failures",
    "trials",
    "trials --where 'lr < 1e-3' --sort val_loss --top 10",
    "sql 'select * from v_best limit 5'",
    "borders",
)
FRAMES = ("trials()", "epochs()", "best(5)")
OPENED = "import sweeper; study = sweeper.load_study(store={url!r})"


def fill(url: str, trials: int, seed: int = 0) -> None:
    """A store with one study of so many trials."""
    store = Store(url, create=True)
    plan = {"search": "random", "stages": [{"name": "search", "sampler": "random", "epochs": FULL_EPOCHS}]}
    definition = {"name": "large", "metric": "val_loss", "direction": "minimize", "seed": seed, "folder": "runs/large"}
    study_id = writes.create_study(
        store,
        {
            **definition,
            "space": SPACE,
            "plan": plan,
            "config": {},
            "budget": trials,
            "full_epochs": FULL_EPOCHS,
            "budget_epochs": trials * FULL_EPOCHS,
            "granted_epochs": trials * FULL_EPOCHS,
            "next_number": trials,
            "revision": trials,
        },
        [],
    )
    started = process.start_time(1) or 0.0
    for slot in ("gpu 0", "gpu 1"):
        claims.add_worker(
            store, study_id, host="node", pid=1, process_started=started, device="cuda:0", slot=slot, engine="local"
        )
    random = np.random.default_rng(seed)
    with store.write() as connection:
        over = BEGUN + trials * 10 + 10
        connection.execute(schema.workers.update().values(started=BEGUN, beat=over, ended=over, ending="done"))
        for begin in range(0, trials, 5_000):
            made = [_trial(study_id, number, random) for number in range(begin, min(trials, begin + 5_000))]
            connection.execute(schema.trials.insert(), made)
            connection.execute(schema.epochs.insert(), [row for trial in made for row in _epochs(trial)])
    store.close()


def _trial(study_id: int, number: int, random: np.random.Generator) -> dict[str, Any]:
    lr, state = float(10 ** random.uniform(-5, -1)), _state(number)
    loss = 0.05 + 0.02 * (np.log10(lr) + 3) ** 2 + float(random.exponential(0.05))
    is_failed, done = state is TrialState.FAIL, FULL_EPOCHS if state is TrialState.COMPLETE else 1
    params = {
        "optimizer.lr": lr,
        "model.dropout": float(random.uniform(0, 0.7)),
        "model.depth": int(random.integers(1, 6)),
        "model.width": int(random.integers(16, 513)),
        "data.batch_size": int(random.choice([16, 32, 64, 128])),
        "optimizer": str(random.choice(["sgd", "adam", "nadam"])),
    }
    return {
        "study_id": study_id,
        "number": number,
        "state": str(state),
        "failure": "diverged" if is_failed else None,
        "message": "val_loss is nan at epoch 0" if is_failed else None,
        "seed": number,
        "params": params,
        "value": None if is_failed else float(loss),
        "metrics": {"train_loss": loss / 2, "val_loss": None if is_failed else loss, "val_accuracy": 1 / (1 + loss)},
        "epochs_done": done,
        "target_epochs": FULL_EPOCHS,
        "attempt": 1,
        "worker_id": 1 + number % 2,
        "created": BEGUN + number * 10,
        "started": BEGUN + number * 10,
        "finished": BEGUN + number * 10 + 19,
        "seconds": 19.0,
        "revision": number,
    }


def _state(number: int) -> TrialState:
    return {3: TrialState.FAIL, 5: TrialState.PAUSED, 8: TrialState.PAUSED}.get(number % 10, TrialState.COMPLETE)


def _epochs(trial: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for epoch in range(trial["epochs_done"]):
        told = {name: trial[name] for name in ("study_id", "number", "attempt", "metrics", "value")}
        yield {**told, "epoch": epoch, "seconds": 4.5, "reported": trial["started"] + 4.5 * (epoch + 1)}


def cpu_seconds(command: Sequence[str], cwd: Path) -> float:
    """User and system time of a whole process and of those that it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5, help="of each; the median is told")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "runs").mkdir()
        url = f"sqlite:///{folder / 'runs' / 'sweeper.db'}"
        fill(url, asked.trials)
        sweeper, opened = str(Path(sys.executable).with_name("sweeper")), OPENED.format(url=url)
        asks = {f"sweeper {command}": ["sh", "-c", f"{sweeper} {command}"] for command in COMMANDS}
        asks["import sweeper, pandas"] = [sys.executable, "-c", "import sweeper, pandas"]
        asks.update({f"study.{frame}": [sys.executable, "-c", f"{opened}; study.{frame}"] for frame in FRAMES})
        asks["sweeper report"] = [sweeper, "report", "-o", str(folder / "report.html")]
        print(f"{asked.trials} trials, {(folder / 'runs' / 'sweeper.db').stat().st_size / 2**20:.0f} MiB")
        print("| command | CPU s |\n|---|---|")
        for name, command in asks.items():
            spent = median(cpu_seconds(command, folder) for _ in range(asked.repeats))
            print(f"| `{name}` | {spent:.2f} |", flush=True)
        print(f"\nThe page has {(folder / 'report.html').stat().st_size / 2**20:.1f} MiB.")


if __name__ == "__main__":
    main()
