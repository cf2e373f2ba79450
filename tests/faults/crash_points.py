"""Every instant at which a sweep touches the disk, one by one: die there, or sleep there past the lease; then go on.

A program of its own: it imports torch and Optuna once, starts no thread, and forks a child for every run.

    python crash_points.py FOLDER [--deeds kill/7,twice,sleep] [--kinds fsync,commit] [--mutant NAME] …

The calls of an undisturbed run are counted by kind (fsync, replace, link, unlink, mkdir, commit, write), and each (with
kill/7: every seventh) is met before and after the real one. `kill`: the process dies there by SIGKILL, and a new one
runs the same call. `twice`: the new one dies too, at one of its own first points, and a third one goes on. `sleep`: it
stops there, its lease runs out, another one finishes the study, then it wakes. Prints one line of JSON: the points met
by deed and kind, those missed, and what the checker found wrong.
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
import shutil
import signal
import sqlite3
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # no pool of threads that a fork would leave behind

import checker
import lesson
import mutants
from sqlalchemy.engine.default import DefaultDialect

from sweeper.engine import worker
from sweeper.store import claims
from sweeper.trial import checkpoint

TRIALS, EPOCHS = 2, 3
KINDS = ("fsync", "replace", "link", "unlink", "mkdir", "commit", "write")
SIDES = ("before", "after")
WRITES_APART = 31
"""Of the hundreds of pieces that a checkpoint is written in, so many lie between those that are met."""


def run(folder: Path) -> None:
    logging.disable(logging.CRITICAL)
    lesson.run(folder, trials=TRIALS, epochs=EPOCHS)


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
            call = self.calls
            try:
                return real(*args, **kwargs)
            finally:  # a file that is gone already is an error, and an instant too
                if (call, self.point.side) == (self.point.n, "after"):
                    os.kill(os.getpid(), self.number)

        return counted


def lay(point: Point, number: int = 0) -> Tripwire:
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
    return wire


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


def kill_twice_at(point: Point, folder: Path, errors: Path) -> tuple[bool, list[str]]:
    """Die at the point, and once more while what the first death left is taken up."""
    status = run_child(lambda: (lay(point, signal.SIGKILL), run(folder)), errors)
    if not os.WIFSIGNALED(status):
        return False, _error(status, errors)
    second = Point(SECOND[point.n % len(SECOND)], point.side, 1 + point.n // len(SECOND) % 3)
    status = run_child(lambda: (lay(second, signal.SIGKILL), run(folder)), errors)
    wrong = [f"torn under its final name: {name}" for name in checker.torn(folder)]
    if not os.WIFSIGNALED(status):  # so little was left to do
        return True, wrong + _error(status, errors)
    return True, wrong + _error(run_child(lambda: run(folder), errors), errors)


SECOND = ("commit", "fsync", "replace", "unlink")
"""What the second death of a study may meet."""


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
    left = checker.read_store(folder / "sweeper.db", lesson.STUDY)
    verdict = checker.check(left, trials=TRIALS, epochs=EPOCHS)
    if not orphans:  # the sleeper's own temporary files are still his
        verdict.breaches = [
            breach for breach in verdict.breaches if "orphans" not in breach and "half-made" not in breach
        ]
    return checker.compare(verdict, left, reference)


def run_and_count(folder: Path, says: Path) -> None:
    """Undisturbed: how many calls of each kind there are, and which modules are imported on the way."""
    wires = {kind: lay(Point(kind, "never", 0)) for kind in KINDS}
    run(folder)
    says.write_text(
        json.dumps({"calls": {kind: wire.calls for kind, wire in wires.items()}, "modules": [*sys.modules]})
    )


def points(kinds: list[str], calls: Mapping[str, int], every: int, first: int) -> Iterator[Point]:
    """The points to meet, every so-maniest."""
    everything = (
        Point(kind, side, n)
        for kind in kinds
        for side in SIDES
        for n in range(1, calls[kind] + 1, WRITES_APART if kind == "write" else 1)
    )
    return itertools.islice(everything, first, None, every)


def main() -> None:
    global reference
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--deeds", default="kill")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--mutant", choices=mutants.NAMES)
    parser.add_argument("--until-wrong", action="store_true")
    asked = parser.parse_args()
    errors, says = asked.folder / "error", asked.folder / "counted"
    for folder in ("first", "undisturbed"):  # an import makes calls of its own
        assert run_child(lambda to=folder: run_and_count(asked.folder / to, says), errors) == 0, errors.read_text()
        counted = json.loads(says.read_text())
        for name in counted["modules"]:  # once here, not once in each child
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would lose a thread"
    reference = checker.read_store(asked.folder / "undisturbed" / "sweeper.db", lesson.STUDY)
    if asked.mutant:
        mutants.apply(asked.mutant)
    met: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}
    missed: list[str] = []
    for said in asked.deeds.split(","):
        deed, every = said.partition("/")[0], int(said.partition("/")[2] or 1)
        if deed == "sleep":
            hurry()
        for point in points(asked.kinds.split(","), counted["calls"], every, every // 2):
            if deed == "sleep" and (point.kind, point.side) == ("commit", "before"):
                continue  # it would hold the database's lock: nobody can go on, and nobody does
            reached, breaches = meet(DEEDS[deed], point, asked.folder, errors)
            met[f"{deed} {point.kind}"] += reached
            missed += [] if reached else [str(point)]
            if breaches:
                wrong[f"{deed} {point}"] = breaches
            if breaches and asked.until_wrong:
                break
    json.dump({"points": sum(met.values()), "missed": missed, "by_kind": met, "wrong": wrong}, sys.stdout)


DEEDS = {"kill": kill_at, "twice": kill_twice_at, "sleep": sleep_at}


def meet(deed: Callable[..., Any], point: Point, folder: Path, errors: Path) -> tuple[bool, list[str]]:
    """One point in a new folder: whether a run met it, and what was wrong after it."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    errors.unlink(missing_ok=True)
    try:
        reached, breaches = deed(point, folder / "run", errors)
        return reached, breaches + judge(folder / "run").breaches
    except Exception as error:  # a store that cannot even be judged
        return True, [f"{type(error).__name__}: {error}"]


if __name__ == "__main__":
    main()
