"""Bad luck for a sweep: kills processes that hold a trial, puts them to sleep past their lease, kills their driver.

A process is frozen before it is looked at, so that what it holds is known when it dies.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lesson

import forks

APP = Path(__file__).parent / "app" / "torch_app.py"
SURVIVABLE_KILLS = 1
"""A trial with more of them is spared: with the third it would be FAIL `killed`, as the design wants it."""
SLEEP_SECONDS = 30.0
"""Who is not missed for so long sleeps with the database's lock in its hands: it is woken, and another one picked."""


def kill(database: Path, pid: int) -> bool:
    """By SIGKILL, if it holds a trial that survives it."""
    with forks.asleep(pid) as lives:
        if not lives or not any(trial["kills"] <= SURVIVABLE_KILLS for trial in lesson.in_hand(database, pid)):
            return False
        os.kill(pid, signal.SIGKILL)
        return True


def stop(database: Path, pid: int) -> bool:
    """By SIGSTOP, until its lease has run out and its trial been given back; then it wakes."""
    with forks.asleep(pid) as lives:
        for trial in lesson.in_hand(database, pid) if lives else []:
            if trial["kills"] <= SURVIVABLE_KILLS:
                return _is_missed(database, trial)
    return False


def _is_missed(database: Path, trial: Any) -> bool:
    given_back = "SELECT count(*) FROM events WHERE number = ? AND message LIKE '%its lease ran out%'"
    before = lesson.ask(database, given_back, trial["number"])[0][0]
    end = time.monotonic() + SLEEP_SECONDS
    while time.monotonic() < end:
        if lesson.ask(database, given_back, trial["number"])[0][0] > before:
            return True
        time.sleep(0.1)
    return False


def at_work(database: Path, among: Iterable[int] | None = None) -> list[int]:
    """The processes that hold a trial; only those `among` these, or else only the supervisor's workers."""
    query = """SELECT w.pid FROM trials t JOIN workers w ON w.id = t.worker_id
               WHERE t.state = 'RUNNING' AND w.ended IS NULL ORDER BY w.id"""
    found = [row["pid"] for row in lesson.ask(database, query)]
    return [pid for pid in found if (_is_worker(pid) if among is None else pid in among)]


def _is_worker(pid: int) -> bool:
    """Not a stranger that got the number of a worker that is gone."""
    try:
        return b"sweeper.machine.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@dataclass
class Killer:
    """Runs a sweep of the script and is its bad luck: `run()` until every deed is done and the sweep has ended well.

    `deeds`, in order: kill a `worker`, the `driver`, `all`; `stop` a worker past its lease.
    """

    folder: Path
    overrides: list[str]
    deeds: list[str]
    draw: random.Random
    lease_seconds: float
    done: Counter[str] = field(default_factory=Counter)
    killed: list[int] = field(default_factory=list)
    """The process numbers that died by SIGKILL."""
    starts: int = 0

    @property
    def database(self) -> Path:
        return self.folder / "runs" / "sweeper.db"

    def run(self) -> None:
        while True:
            driver = self._start()
            before = sum(self.done.values())
            began = time.monotonic()
            while self.deeds and driver.poll() is None:
                time.sleep(self.draw.uniform(0.1, 0.8))
                if self._do(self.deeds[0], driver):
                    self.done[self.deeds.pop(0)] += 1
                    began = time.monotonic()
                assert time.monotonic() - began < forks.PATIENCE_SECONDS, f"nothing to kill for too long\n{self.log()}"
            code = driver.wait(1000)
            if code == 0:
                return
            assert sum(self.done.values()) > before, f"it ended with {code} on its own: {self.log()}"

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        environment = {**os.environ, "FAULTS_LEASE": str(self.lease_seconds), "OMP_NUM_THREADS": "1"}
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, str(APP), "--multirun", *self.overrides]
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)

    def _do(self, deed: str, driver: subprocess.Popen[bytes]) -> bool:
        """Whether it could be done."""
        pids = at_work(self.database)
        if not pids:
            return False
        if deed == "stop":
            return stop(self.database, self.draw.choice(pids))
        if deed == "worker":
            return self._kill_worker(self.draw.choice(pids))
        if driver.poll() is not None:
            return False
        driver.kill()
        driver.wait()
        self.killed.append(driver.pid)
        for pid in pids if deed == "all" else []:
            self._kill_worker(pid)
        return True

    def _kill_worker(self, pid: int) -> bool:
        died = kill(self.database, pid)
        if died:
            self.killed.append(pid)
        return died
