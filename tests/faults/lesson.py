"""The training that the faults happen to: a tiny network with dropout and Adam, and a study of it.

Dropout and a shuffle draw random numbers in every epoch, Adam carries state: all of it must be resumed.
"""

from __future__ import annotations

import functools
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy
import torch

import sweeper
from sweeper.sweep import run as api

STUDY = "lesson"
Hook = Callable[[sweeper.Trial, int], None]
"""Called with the trial and the epoch, after it is trained and before it is reported."""


def learn(trial: sweeper.Trial, lr: float, epochs: int, seconds: float = 0.0, hook: Hook = lambda *_: None) -> None:
    """`seconds`: how long an epoch takes at least."""
    torch.set_num_threads(1)
    for seed in (random.seed, numpy.random.seed, torch.manual_seed):
        seed(trial.seed)
    model = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.Dropout(0.3), torch.nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    x = torch.linspace(-1, 1, 96).reshape(16, 6)
    for epoch in trial.epochs(epochs, state={"model": model, "optimizer": optimizer}):
        until = time.monotonic() + seconds
        for rows in torch.randperm(16).split(4):
            optimizer.zero_grad()
            loss = (model(x[rows]) - x[rows].sum(1, keepdim=True)).square().mean()
            loss.backward()
            optimizer.step()
        hook(trial, epoch)
        trial.report(val_loss=loss)
        time.sleep(max(0.0, until - time.monotonic()))


def run(
    folder: Path,
    *,
    trials: int,
    epochs: int,
    seed: int = 0,
    search: str = "random",
    lease_seconds: float | None = None,
    clock: Path | None = None,
    **how: Any,
) -> None:
    """Run the study, or go on with it, in this process; `how`: `learn`'s own arguments.

    A random search's numbers depend on nothing but the seed, whoever trains what, and when.
    `clock`: a file that says by how many seconds the store's clock goes wrong.
    """
    if lease_seconds is not None:
        api.worker_settings = functools.partial(api.worker_settings, lease_seconds=lease_seconds)
    if clock is not None:
        go_wrong(clock)
    sweeper.run(
        functools.partial(_train, epochs=epochs, **how),
        study=STUDY,
        space={"lr": "tag(log, interval(1e-4, 1e-1))"},
        search=search,
        epochs=epochs,
        budget=trials,
        metric="val_loss",
        folder=folder,
        seed=seed,
    )


def _train(trial: sweeper.Trial, **how: Any) -> None:
    learn(trial, trial.params["lr"], **how)


# ---- hooks -----------------------------------------------------------------------------------------------------------


def hook(function: Callable[..., None]) -> Callable[..., Hook]:
    """Give it its own arguments now, the trial and the epoch later; it can be sent to another process."""
    return functools.partial(functools.partial, function)


def _die(number: int, at: int, trial: sweeper.Trial, epoch: int) -> None:
    if (trial.number, epoch) == (number, at):
        os.kill(os.getpid(), signal.SIGKILL)


die = hook(_die)
"""`die(number, epoch)`: by SIGKILL, there."""


def _hang(at: int, trial: sweeper.Trial, epoch: int) -> None:
    while epoch == at:
        time.sleep(0.1)


hang = hook(_hang)
"""`hang(epoch)`: of any trial, for ever."""


def _wait_for(database: Path, workers: int, trial: sweeper.Trial, epoch: int) -> None:
    while ask(database, "SELECT count(*) FROM workers")[0][0] < workers:
        time.sleep(0.05)


wait_for = hook(_wait_for)
"""`wait_for(database, workers)`: nobody goes on before so many workers are there."""


def _wait_behind(gate: Path, first: int, trial: sweeper.Trial, epoch: int) -> None:
    while trial.number >= first and epoch and not gate.exists():
        time.sleep(0.05)


wait_behind = hook(_wait_behind)
"""`wait_behind(gate, number)`: trials from that number on stay in their second epoch until the file `gate` is there."""


def _jump(clock: Path, jumps: Sequence[float], trial: sweeper.Trial, epoch: int) -> None:
    set_clock(clock, jumps[(trial.number + epoch) % len(jumps)])


jump = hook(_jump)
"""`jump(clock, jumps)`: in each epoch the store's clock is wrong by another one."""


# ---- the store, and its clock ----------------------------------------------------------------------------------------


def ask(database: Path, query: str, *values: Any) -> list[Any]:
    """A question by SQL of its own; nothing where there is no store yet."""
    if not database.exists():
        return []
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(query, values).fetchall()


def in_hand(database: Path, pid: int) -> list[Any]:
    """The trial that a process trains, if there is one."""
    query = """SELECT t.number, t.epochs_done, t.attempt, t.kills, w.id AS worker FROM trials t
               JOIN workers w ON w.id = t.worker_id WHERE t.state = 'RUNNING' AND w.ended IS NULL AND w.pid = ?"""
    return ask(database, query, pid)


def go_wrong(clock: Path) -> None:
    """From now on this process's stores read a clock that is wrong by what `clock` says."""
    import sqlalchemy as sa
    from sqlalchemy.ext.compiler import compiles

    from sweeper.store import schema

    @sa.event.listens_for(sa.Engine, "connect")
    def teach(raw: Any, _: Any) -> None:
        raw.create_function("wrong_by", 0, lambda: float(clock.read_text()))

    @compiles(schema.now, "sqlite")
    def now(element: Any, compiler: Any, **kw: Any) -> str:
        return f"({schema._now_sqlite(element, compiler, **kw)} + wrong_by())"


def set_clock(clock: Path, seconds: float) -> None:
    new = clock.with_name(f"{clock.name}.{os.getpid()}")
    new.write_text(str(seconds))
    os.replace(new, clock)
