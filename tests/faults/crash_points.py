"""Every instant at which a sweep touches the disk, one by one: die there, or sleep there past the lease; then go on.

A program of its own: it imports torch and Optuna once, starts no thread, and forks a child for every run.

    python crash_points.py FOLDER [--deed kill|sleep] [--kinds fsync,commit] [--every 7] [--mutant NAME] …

For each kind of call (fsync, replace, link, unlink, mkdir, commit, write) the n-th call is met before and after the
real one, n = 1, 2, … until a run ends without having met it. `kill`: the process dies there by SIGKILL, and a new one
runs the same call. `sleep`: it stops there, its lease runs out, another one finishes the study, then it wakes. Prints
one line of JSON: the points met by kind, and what the checker found wrong.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import json
import logging
import os
import random
import shutil
import signal
import sqlite3
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # no pool of threads that a fork would leave behind

import checker
import mutants
import numpy
import optuna  # noqa: F401
import torch
from sqlalchemy.engine.default import DefaultDialect

import sweeper
import sweeper.sampling
from sweeper import checkpoint, worker
from sweeper.store import claims

TRIALS, EPOCHS = 2, 3
STUDY = "points"
KINDS = ("fsync", "replace", "link", "unlink", "mkdir", "commit", "write")
SIDES = ("before", "after")
MANY = 2000
"""More calls of a kind than a run makes."""


def train(trial: sweeper.Trial) -> None:
    """Dropout and a shuffle draw random numbers in every epoch, Adam carries state: all of it must be resumed."""
    for seed in (random.seed, numpy.random.seed, torch.manual_seed):
        seed(trial.seed)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=trial.params["lr"])
    x = torch.linspace(-1, 1, 96).reshape(16, 6)
    for _ in trial.epochs(EPOCHS, state={"model": model, "optimizer": optimizer}):
        for rows in torch.randperm(16).split(4):
            optimizer.zero_grad()
            loss = (model(x[rows]) - x[rows].sum(1, keepdim=True)).square().mean()
            loss.backward()
            optimizer.step()
        trial.report(val_loss=loss)


def run(folder: Path) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    sweeper.run(
        train,
        study=STUDY,
        space={"lr": "tag(log, interval(1e-3, 1e-1))"},
        epochs=EPOCHS,
        budget=TRIALS,
        metric="val_loss",
        folder=folder,
    )


def hurry() -> None:
    """A lease that was made to run out is believed at once: the waiting is not what is tried here."""
    claims.Patience.is_over = lambda self, lease: True
    worker.POLL_SECONDS = 0.05


# ---- children --------------------------------------------------------------------------------------------------------


def start(work: Callable[[], Any], errors: Path) -> int:
    """Run `work` in a forked child; returns its process number. What it raises is written to `errors`."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        errors.write_text(traceback.format_exc())
    finally:
        os._exit(code)


def run_child(work: Callable[[], Any], errors: Path) -> int:
    return os.waitpid(start(work, errors), 0)[1]


@dataclass
class Point:
    """One instant: before or after the n-th call of a kind."""

    kind: str
    side: str
    n: int

    def __str__(self) -> str:
        return f"{self.side} {self.kind} {self.n}"


@dataclass
class Tripwire:
    """Counts the calls of the main thread, and sends this process `number` at its point."""

    point: Point
    number: int
    calls: int = 0

    def __call__(self, real: Callable[..., Any], before: Callable[..., Any] = lambda *_: None) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return real(*args, **kwargs)
            self.calls += 1
            if (self.calls, self.point.side) == (self.point.n, "before"):
                before(*args)
                os.kill(os.getpid(), self.number)
            result = real(*args, **kwargs)
            if (self.calls, self.point.side) == (self.point.n, "after"):
                os.kill(os.getpid(), self.number)
            return result

        return counted


def lay(point: Point, number: int) -> None:
    """Put the tripwire into this process."""
    wire = Tripwire(point, number)
    if point.kind == "commit":
        DefaultDialect.do_commit = wire(DefaultDialect.do_commit)
    elif point.kind == "write":
        if mutants.active == "plain":  # its bytes take another way
            mutants.on_write = wire(mutants.on_write, mutants.tear)
        else:
            checkpoint._HashingWriter.write = wire(checkpoint._HashingWriter.write, tear)
    else:
        setattr(os, point.kind, wire(getattr(os, point.kind)))


def tear(writer: Any, data: Any) -> None:
    """Half of the bytes reach the disk."""
    if writer.file is not None:
        writer.file.write(bytes(data)[: len(bytes(data)) // 2])
        writer.file.flush()


# ---- one point -------------------------------------------------------------------------------------------------------


def expire_leases(folder: Path) -> None:
    """As if a lease's time had passed, without waiting for it."""
    if not (folder / "sweeper.db").exists():
        return
    with closing(sqlite3.connect(folder / "sweeper.db", timeout=5)) as connection, connection:
        connection.execute("UPDATE trials SET lease_expires = 0 WHERE state = 'RUNNING'")


def kill_at(point: Point, folder: Path, errors: Path) -> tuple[bool, list[str]]:
    """Die at the point, go on in a new process; whether the point was met, and what went wrong."""
    status = run_child(lambda: (lay(point, signal.SIGKILL), run(folder)), errors)
    if not os.WIFSIGNALED(status):
        return False, _error(status, errors)
    wrong = [f"torn under its final name: {name}" for name in checker.torn(folder)]
    return True, wrong + _error(run_child(lambda: run(folder), errors), errors)


def sleep_at(point: Point, folder: Path, errors: Path) -> tuple[bool, list[str]]:
    """Stop at the point until another process has finished the study; then wake and end in peace."""
    pid = start(lambda: (lay(point, signal.SIGSTOP), run(folder)), errors)
    _, status = os.waitpid(pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        return False, _error(status, errors)
    try:
        expire_leases(folder)
        wrong = _error(run_child(lambda: run(folder), errors), errors)
        wrong += [f"while it slept: {breach}" for breach in judge(folder, orphans=False).breaches]
    finally:
        os.kill(pid, signal.SIGCONT)
        _, status = os.waitpid(pid, 0)
    return True, wrong + [f"the sleeper: {line}" for line in _error(status, errors)]


def _error(status: int, errors: Path) -> list[str]:
    if status == 0:
        return []
    said = errors.read_text().splitlines()[-1] if errors.exists() else "nothing said"
    return [f"a run ended with status {status}: {said}"]


reference: checker.Left


def judge(folder: Path, orphans: bool = True) -> checker.Verdict:
    left = checker.read_store(folder / "sweeper.db", STUDY)
    verdict = checker.check(left, trials=TRIALS, epochs=EPOCHS)
    if not orphans:  # the sleeper's own temporary files are still his
        verdict.breaches = [
            breach for breach in verdict.breaches if "orphans" not in breach and "half-made" not in breach
        ]
    return checker.compare(verdict, left, reference)


def points(kinds: list[str], every: int, first: int) -> Iterator[tuple[Point, Callable[[], None]]]:
    """The points to meet, every so-maniest; the caller says `end()` where a kind has no more."""
    index = 0
    for kind, side in itertools.product(kinds, SIDES):
        ended = False

        def end() -> None:
            nonlocal ended
            ended = True

        for n in itertools.count(1):
            if index % every == first:
                yield Point(kind, side, n), end
            index += 1
            if ended:
                break
            assert n < MANY, f"{kind} has no end"


def main() -> None:
    global reference
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--deed", choices=("kill", "sleep"), default="kill")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--mutant", choices=mutants.NAMES)
    parser.add_argument("--until-wrong", action="store_true")
    parser.add_argument("--tolerate", default="\0", help="a word of breaches that another test is for")
    asked = parser.parse_args()
    errors = asked.folder / "error"
    imported = asked.folder / "imported"
    first = lambda: (run(asked.folder / "undisturbed"), imported.write_text(" ".join(sys.modules)))  # noqa: E731
    assert run_child(first, errors) == 0, errors.read_text()
    for name in imported.read_text().split():  # once here, not once in each child
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would lose a thread"
    reference = checker.read_store(asked.folder / "undisturbed" / "sweeper.db", STUDY)
    if asked.mutant:
        mutants.apply(asked.mutant)
    if asked.deed == "sleep":
        hurry()
    met: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    for point, end in points(asked.kinds.split(","), asked.every, asked.first):
        if asked.deed == "sleep" and str(point).startswith("before commit"):
            end()  # it would hold the database's lock: nobody can go on, and nobody does
            continue
        folder = asked.folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        errors.unlink(missing_ok=True)
        try:
            reached, breaches = {"kill": kill_at, "sleep": sleep_at}[asked.deed](point, folder, errors)
            breaches = breaches + judge(folder).breaches
        except Exception as error:  # a store that cannot even be judged
            reached, breaches = point.n < MANY // 10, [f"{type(error).__name__}: {error}"]
        breaches = [breach for breach in breaches if asked.tolerate not in breach]
        if breaches:
            wrong[str(point)] = breaches
            if asked.until_wrong:
                break
        if not reached:
            end()
        else:
            met[point.kind] += 1
    json.dump({"points": sum(met.values()), "by_kind": met, "wrong": wrong}, sys.stdout)


if __name__ == "__main__":
    main()
