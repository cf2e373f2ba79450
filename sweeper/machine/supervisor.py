"""The local engine: one process per device slot, its environment set before torch loads, its output in its own log.

A call (a picklable function without arguments) runs in each process. A process that dies is told of and, where the call
wishes it, started again. Each process holds the reading end of a pipe whose writing end is this one's: when it closes,
the driver is gone, and the process asks itself to leave (SIGTERM). So nothing is left behind on a GPU.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sweeper.machine.devices import Slot
from sweeper.words.errors import SweeperError

log = logging.getLogger("sweeper.supervisor")

MAX_RESTARTS_IN_A_ROW = 7
"""A worker that dies this often within `QUICK_SECONDS` of its start is not started again: more often than two trials
may kill their workers, so that such trials are given up before the slot is."""
QUICK_SECONDS = 10.0
GRACE_SECONDS = 30.0
"""When the driver is gone: how long a process may go on with its epoch before it is cut, and then has to hand back."""

CHILD = "from sweeper.machine.supervisor import child; child()"


class ProcessDied(SweeperError):
    """A process of the local engine ended without a result."""


@dataclass(frozen=True)
class Call:
    """What one process shall run, and where its output goes. `died(pid)` is told when the process is gone early."""

    function: Callable[[], Any]
    log: Path
    restart: bool = False
    died: Callable[[int], None] | None = None


@dataclass
class Post:
    """A slot at which calls are run, one after another; the process of the one that runs now."""

    slot: Slot
    first: tuple[int, Call]
    """The call that belongs to the slot, with its place among the results."""
    leaving: int | None = None
    """The signal by which it was asked to leave: nothing more is started here."""
    dismissed: bool = False
    """Asked so because there are fewer slots now: how it died of it is nobody's result."""
    child: subprocess.Popen[bytes] | None = None
    thread: threading.Thread = field(default_factory=threading.Thread)

    def leave(self, number: int) -> None:
        self.leaving = number
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(number)


@dataclass
class Supervisor:
    """Runs calls on slots, at most one a slot; `leave()` asks them all to finish, `kill()` ends them."""

    slots: Sequence[Slot]
    _posts: list[Post] = field(default_factory=list)
    _todo: list[tuple[int, Call]] = field(default_factory=list)
    _results: dict[int, Any] = field(default_factory=dict)
    _places: int = 0
    _closed: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Run every call and return their results in order; an exception that a call raised stands in its place.

        The first calls go to the slots in their order, the others to whichever is free. Behind their results come those
        of calls that `resize` has added meanwhile.
        """
        places = list(enumerate(calls))
        self._places, self._todo = len(calls), places[len(self.slots) :]
        for slot, first in zip(self.slots, places, strict=False):
            self._open(slot, first)
        while posts := self._at_work():
            for post in posts:
                post.thread.join()
        return [self._results[index] for index in sorted(self._results)]

    def resize(self, slots: Sequence[Slot], calls: Sequence[Call]) -> None:
        """While `run` runs one call a slot: from now on it is these calls on these slots.

        What runs on one of them goes on. What runs on another slot is asked to leave after its epoch.
        """
        with self._lock:
            if self._closed:
                return
            stay = {slot.index for slot in slots}
            manned = {post.slot.index: post for post in self._at_work() if post.leaving is None}
            for index in manned.keys() - stay:
                manned[index].dismissed = True
                manned[index].leave(signal.SIGINT)
            for slot, call in zip(slots, calls, strict=True):
                if slot.index not in manned:
                    self._open(slot, (self._places, call))
                    self._places += 1

    def leave(self, number: int = signal.SIGTERM) -> None:
        """Ask every process to leave after its epoch; asked again, they leave in the middle of it.

        A worker asked by SIGINT takes the time that its epoch needs; by SIGTERM, as before a reboot, only its grace.
        """
        with self._lock:
            self._closed = True
            for post in self._posts:
                post.leave(number)

    def kill(self) -> None:
        self.leave(signal.SIGKILL)

    def _open(self, slot: Slot, first: tuple[int, Call]) -> None:
        """Begin to run calls on the slot, once what was asked to leave it has left."""
        with self._lock:
            before = [post.thread for post in self._posts if post.slot.index == slot.index]
            post = Post(slot, first, leaving=signal.SIGTERM if self._closed else None)
            post.thread = threading.Thread(target=self._serve, args=(post, before), daemon=True)
            self._posts.append(post)
            post.thread.start()

    def _at_work(self) -> list[Post]:
        """The posts whose calls are not all done; without any, `run` is over."""
        with self._lock:
            alive = [post for post in self._posts if post.thread.is_alive()]
            self._closed = self._closed or not alive
            return alive

    def _serve(self, post: Post, before: Sequence[threading.Thread]) -> None:
        for thread in before:
            thread.join()
        todo: tuple[int, Call] | None = post.first
        while todo is not None:
            place, call = todo
            try:
                result = self._run_call(call, post)
            except Exception as error:  # no call may take the slot from the next one
                result = error
            if not (post.dismissed and isinstance(result, ProcessDied)):
                self._results[place] = result
            with self._lock:
                todo = self._todo.pop(0) if self._todo else None

    def _run_call(self, call: Call, post: Post) -> Any:
        """One call on one slot, started again as long as it dies and wishes to live."""
        quick = 0
        while True:
            started = time.monotonic()
            result = self._run_once(call, post)
            if not (isinstance(result, ProcessDied) and call.restart) or post.leaving is not None:
                return result
            quick = quick + 1 if time.monotonic() - started < QUICK_SECONDS else 0
            if quick >= MAX_RESTARTS_IN_A_ROW:
                log.error("%s: it died %d times soon after its start and is not started again", post.slot.name, quick)
                return result
            log.warning("%s: %s Starting it again.", post.slot.name, result)

    def _run_once(self, call: Call, post: Post) -> Any:
        if post.leaving is not None:
            return ProcessDied("It was asked to leave before it began.")
        with tempfile.TemporaryDirectory(prefix="sweeper-") as folder:
            answer = Path(folder) / "answer"
            child = self._start(call, post.slot, answer)
            with self._lock:
                post.child = child
                if post.leaving is not None:  # asked while the process was being started
                    child.send_signal(post.leaving)
            code = child.wait()
            if child.stdin:
                child.stdin.close()
            if answer.exists():
                return _answer(answer)
        if call.died is not None:
            try:
                call.died(child.pid)
            except Exception:
                log.exception("%s: nobody could be told that process %d died", post.slot.name, child.pid)
        return ProcessDied(f"Process {child.pid} ended with {_ending(code)} before it was done; its log: {call.log}.")

    def _start(self, call: Call, slot: Slot, answer: Path) -> subprocess.Popen[bytes]:
        head = pickle.dumps({"path": sys.path, "main": _main_file()})
        payload = _payload({"function": call.function, "answer": str(answer), "slot": slot})
        call.log.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, **slot.environment, "PYTHONUNBUFFERED": "1"}
        with call.log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C in the terminal is the driver's to hear
            )
        try:
            assert child.stdin is not None
            for part in (head, payload):
                child.stdin.write(struct.pack("<Q", len(part)) + part)
            child.stdin.flush()
        except BrokenPipeError:
            log.error("%s: the process ended while it was given its work; its log: %s", slot.name, call.log)
        return child


def _payload(call: dict[str, Any]) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(call))
    except Exception as error:
        raise SweeperError(
            f"The function must travel to another process, but cannot: {error}. Make what it holds (a lock, an open "
            "file, a connection) inside of it, or run with one worker in this process."
        ) from error


def _answer(path: Path) -> Any:
    """What the child wrote; this program's own file of a moment ago, in a folder that only this user may enter."""
    import cloudpickle

    try:
        return cloudpickle.loads(path.read_bytes())
    except Exception as error:  # an exception class that does not survive its own pickle, say
        return SweeperError(f"The call ended, but its answer cannot be read: {error!r}.")


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _main_file() -> str | None:
    return getattr(sys.modules.get("__main__"), "__file__", None)


# ---- in the process --------------------------------------------------------------------------------------------------


def child() -> None:
    """The life of a process: read the call from the pipe, run it, write its answer."""
    import cloudpickle

    pipe = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # the call must not read from the pipe
    head = pickle.loads(_read(pipe))
    sys.path[:] = head["path"]
    sys.argv = [head["main"] or "sweeper"]
    call = cloudpickle.loads(_read(pipe))
    _leave_with_driver(pipe)
    try:
        answer = call["function"]()
    except Exception as error:
        logging.getLogger("sweeper").exception("the call failed")
        answer = error
    path = Path(call["answer"])
    building = path.with_suffix(".tmp")
    building.write_bytes(_portable(answer))
    os.replace(building, path)


def _portable(answer: Any) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(answer))
    except Exception as error:
        return bytes(cloudpickle.dumps(SweeperError(f"The call ended, but its answer cannot travel: {error!r}.")))


def _read(pipe: BinaryIO) -> bytes:
    (length,) = struct.unpack("<Q", pipe.read(8))
    return pipe.read(length)


def _leave_with_driver(pipe: BinaryIO) -> None:
    """When the driver is gone its end of the pipe closes: ask this process to leave, and make sure that it does."""

    def watch() -> None:
        pipe.read()
        for _ in range(2):  # after its epoch; then in the middle of it
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="sweeper-driver-watch", daemon=True).start()
