"""Children of one server that has imported torch and Optuna once: a process costs milliseconds, not seconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 240.0
"""What is waited for comes much sooner, but on a machine that is busy with other things."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    "torch torch._dynamo optuna numpy pytest hydra rich.live sweeper.search sweeper.multirun sweeper.api".split()
)


def start(work: Callable[..., Any], *args: Any, said: Path | None = None, **kwargs: Any) -> BaseProcess:
    """Run `work` in a forked child; what it prints goes to the file `said`."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # no pool of threads that a fork would leave behind
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    child = context.Process(target=_work, args=(work, said, args, kwargs), daemon=True)
    child.start()
    return child


def _work(work: Callable[..., Any], said: Path | None, args: Any, kwargs: Any) -> None:
    if said is not None:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file, stream.fileno())
    work(*args, **kwargs)


def ended(child: BaseProcess) -> int:
    """Its exit code, below 0 for a signal's number."""
    child.join(PATIENCE_SECONDS)
    if child.exitcode is None:
        child.kill()
        raise AssertionError(f"process {child.pid} did not end")
    return child.exitcode


def run(work: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    return ended(start(work, *args, **kwargs))


def until(holds: Callable[[], Any], what: str, child: BaseProcess | None = None) -> Any:
    """Wait for it while `child` lives; returns what `holds` did."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := holds()):
        assert time.monotonic() < end, f"never happened: {what}"
        assert child is None or child.is_alive(), f"process {child.pid} ended with {child.exitcode} before: {what}"
        time.sleep(0.02)
    return found


@contextmanager
def asleep(pid: int) -> Iterator[bool]:
    """The process is stopped in here; False: it is gone already."""
    try:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        yield until(lambda: state(pid) in "TZX", f"{pid} stops") and state(pid) == "T"
    finally:
        if state(pid) == "T":
            os.kill(pid, signal.SIGCONT)


def state(pid: int) -> str:
    """One letter, as in `ps`; X: there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
