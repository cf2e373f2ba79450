"""Children of one server that has imported torch and Optuna once: a process costs milliseconds, not seconds.

Functions (`start`), scripts (`script`), and, as `subprocess` has it, whatever `Popen` of a Python is asked for.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, spawn
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from sweeper.machine import supervisor

PATIENCE_SECONDS = 240.0
"""What is waited for comes much sooner, but on a machine that is busy with other things."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    "torch torch._dynamo optuna numpy sklearn.datasets pytest hydra rich.live "
    "sweeper.search.search sweeper.sweep.multirun sweeper.sweep.run".split()
)

prepare = spawn.get_preparation_data
spawn.get_preparation_data = lambda name: {  # no child runs the script of who starts it once more, as its `__mp_main__`
    key: value for key, value in prepare(name).items() if not key.startswith("init_main")
}


def start(work: Callable[..., Any], *args: Any, said: Path | None = None, **kwargs: Any) -> BaseProcess:
    """Run `work` in a forked child; what it prints goes to the file `said`."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # no pool of threads that a fork would leave behind
    try:
        forkserver._forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    child = context.Process(target=_work, args=(work, said, args, kwargs), daemon=True)
    child.start()
    return child


def _work(work: Callable[..., Any], said: Path | None, args: Any, kwargs: Any) -> None:
    forkserver._forkserver.ensure_running = lambda: None  # its own children come from there
    multiprocessing.current_process()._config["daemon"] = False  # so it may have some
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


# ---- Pythons ---------------------------------------------------------------------------------------------------------

PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL


class Popen:
    """`subprocess.Popen([sys.executable, …])`, forked: the same program in a process of its own."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: IO[bytes] | int | None = None,
        stderr: IO[bytes] | int | None = None,
        start_new_session: bool = False,
    ) -> None:
        python, *words = command
        assert python == sys.executable
        reading, writing = os.pipe()
        out = _number(stdout, 1)
        streams = {0: _end(reading), 1: _end(out), 2: _end(out if stderr == STDOUT else _number(stderr, 2))}
        how = {"cwd": cwd or Path.cwd(), "env": dict(os.environ if env is None else env), "session": start_new_session}
        with _one_at_a_time:
            self._child = start(_python, words, streams, **how)
        for end in streams.values():
            end.close()
        os.close(reading)
        self.stdin = os.fdopen(writing, "wb")
        if stdin != PIPE:
            self.stdin.close()
        assert self._child.pid is not None
        self.pid = self._child.pid

    def poll(self) -> int | None:
        with _one_at_a_time:
            return self._child.exitcode

    def wait(self, timeout: float = math.inf) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def check_call(command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    if code := Popen(command, env=env, stdin=DEVNULL).wait(PATIENCE_SECONDS):
        raise subprocess.CalledProcessError(code, command)


def script(
    path: Path, *arguments: str, folder: Path, patience: float = PATIENCE_SECONDS
) -> subprocess.CompletedProcess[str]:
    """`python path arguments…` in `folder`, and what it printed; the workers that it starts are forked, too."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        command = [sys.executable, str(path), *arguments]
        code = Popen(command, cwd=folder, stdin=DEVNULL, stdout=out, stderr=err).wait(patience)
        texts = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
        return subprocess.CompletedProcess(command, code, *texts)


_one_at_a_time = threading.RLock()
"""A process of multiprocessing may be asked for its exit code by one thread alone, and whoever starts one asks all."""


def _number(stream: IO[bytes] | int | None, default: int) -> int:
    return default if stream is None else stream if isinstance(stream, int) else stream.fileno()


def _end(file: int) -> Connection:
    """What can travel to a child."""
    return Connection(os.dup(file))


def _python(words: Sequence[str], streams: Mapping[int, Connection], *, cwd: Path, env: Any, session: bool) -> None:
    for number, end in streams.items():
        os.dup2(end.fileno(), number)
        end.close()
    if session:
        os.setsid()
    os.environ.clear()
    os.environ.update(env)
    program, *arguments = words
    if program == "-c":
        sys.argv, sys.modules["__main__"] = ["-c", *arguments[1:]], ModuleType("__main__")
        sys.path.insert(0, "")
        os.chdir(cwd)
        exec(arguments[0], vars(sys.modules["__main__"]))
    else:
        main(Path(program), arguments, cwd)


def main(path: Path, arguments: Sequence[str], folder: Path) -> None:
    """In a child: run a script as if it had been started in `folder`; the workers that it starts are forked, too."""
    supervisor.subprocess = sys.modules[__name__]
    os.chdir(folder)
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name="__main__")


# ---- waiting ---------------------------------------------------------------------------------------------------------


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
