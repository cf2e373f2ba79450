"""Runs a sweep and is its bad luck: kills workers and drivers, stops workers past their lease, starts it again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

APP = Path(__file__).parent / "app" / "torch_app.py"
STUDY = "kills"
SURVIVABLE_KILLS = 1
"""A trial with more of them is spared: with the third it would be FAIL `killed`, as the design wants it."""
LEASE_SECONDS = 4.0
STOP_SECONDS = 7.0
START_SECONDS = 90.0


@dataclass
class Killer:
    """`deeds`: what to do, in order: kill a `worker`, the `driver`, `all`; `stop` a worker past its lease.

    Every worker is frozen before it is looked at, so that what it holds is known when it dies.
    """

    folder: Path
    overrides: list[str]
    deeds: list[str]
    draw: random.Random
    done: Counter[str] = field(default_factory=Counter)
    killed: list[int] = field(default_factory=list)
    """The process numbers that died by SIGKILL."""
    starts: int = 0

    def run(self) -> None:
        """Until every deed is done and the sweep has ended well."""
        while True:
            driver = self._start()
            before = sum(self.done.values())
            began = time.monotonic()
            while self.deeds and driver.poll() is None:
                time.sleep(self.draw.uniform(0.1, 0.8))
                if self._do(self.deeds[0], driver):
                    self.done[self.deeds.pop(0)] += 1
                    began = time.monotonic()
                assert time.monotonic() - began < START_SECONDS, "nothing to kill for too long"
            code = driver.wait(300)
            if code == 0:
                return
            assert sum(self.done.values()) > before, f"it ended with {code} on its own: {self.log()[-2000:]}"

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _start(self) -> subprocess.Popen[bytes]:
        self.starts += 1
        environment = {**os.environ, "FAULTS_LEASE": str(LEASE_SECONDS), "OMP_NUM_THREADS": "1"}
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, str(APP), "--multirun", *self.overrides]
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)

    def _do(self, deed: str, driver: subprocess.Popen[bytes]) -> bool:
        """Whether it could be done."""
        at_work = self._at_work()
        if not at_work:
            return False
        if deed == "driver":
            return self._kill(driver.pid)
        if deed == "all":
            self._kill(driver.pid)
            for pid, worker in at_work.items():
                with self._frozen(pid) as frozen:
                    _ = frozen and self._may_die(worker) and self._kill(pid)
            return True
        pid, worker = self.draw.choice(sorted(at_work.items()))
        with self._frozen(pid) as frozen:
            if not frozen or not self._may_die(worker):
                return False
            if deed == "worker":
                return self._kill(pid)
            time.sleep(STOP_SECONDS)
        return True

    def _kill(self, pid: int) -> bool:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        self.killed.append(pid)
        return True

    @contextlib.contextmanager
    def _frozen(self, pid: int) -> Iterator[bool]:
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            yield False
            return
        time.sleep(0.02)
        try:
            yield True
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _at_work(self) -> dict[int, int]:
        """The processes that hold a trial, with their workers' numbers."""
        query = """SELECT w.pid, w.id FROM trials t JOIN workers w ON w.id = t.worker_id
                   WHERE t.state = 'RUNNING' AND w.ended IS NULL"""
        return {row["pid"]: row["id"] for row in self._ask(query) if _is_worker(row["pid"])}

    def _may_die(self, worker: int) -> bool:
        """Whether the trial in its hands, if there is one, survives one more death."""
        rows = self._ask("SELECT kills FROM trials WHERE state = 'RUNNING' AND worker_id = ?", worker)
        return bool(rows) and all(row["kills"] <= SURVIVABLE_KILLS for row in rows)

    def _ask(self, query: str, *values: Any) -> list[sqlite3.Row]:
        database = self.folder / "runs" / "sweeper.db"
        if not database.exists():
            return []
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(query, values).fetchall()


def _is_worker(pid: int) -> bool:
    """Not a stranger that got the number of a worker that is gone."""
    try:
        return b"sweeper.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
