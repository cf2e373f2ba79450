"""A clock for workers whose trainings take no time: it tells each when its epoch would have ended.

What four workers find by when depends on the order in which their epochs end. Here that order is the one of simulated
durations, and nobody sleeps: a worker that has "trained" an epoch waits for its turn, and only when all of them wait
does the clock move on, to the end of the epoch that ends first. So the workers are real ones, each in its process,
claiming and proposing through the store, and the order is the same on a busy machine. Proposals take no simulated time.
"""

from __future__ import annotations

import contextlib
import heapq
import select
import socket
import struct
import tempfile
import threading
from itertools import count
from pathlib import Path

START_SECONDS = 60.0
"""How long all workers may take until their first epochs."""
PATIENCE_SECONDS = 5.0
"""One that is not heard of for so long has no trial: at the end of a study there may be none left for it."""
TIME = struct.Struct("d")


class Clock:
    """Serves `workers` processes until all have gone. Each has a connection, on which it says how long its epoch takes
    and hears, once that is over, what time it is."""

    def __init__(self, workers: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="clock-")
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(Path(self._folder.name) / "door"))
        self._door.listen()
        self._absent = workers
        self.now = 0.0
        self._order = count()
        self._waiting: list[tuple[float, int, socket.socket]] = []
        self._known: set[socket.socket] = set()
        self._busy: set[socket.socket] = set()
        """Those whose epoch is over: they report it, claim, propose."""
        threading.Thread(target=self._serve, daemon=True).start()

    def hand(self) -> Hand:
        return Hand(self._door.getsockname())

    def _serve(self) -> None:
        while self._absent > 0 or self._known:
            heard = self._hear(START_SECONDS if self._absent > 0 else PATIENCE_SECONDS)
            if not heard:
                self._absent, self._busy = 0, set()
            if self._waiting and not self._busy and self._absent <= 0:
                self._move_on()
        self._door.close()
        self._folder.cleanup()

    def _hear(self, patience: float) -> bool:
        ready, _, _ = select.select([self._door, *self._known], [], [], patience if self._waiting else None)
        for each in ready:
            if each is self._door:
                self._welcome()
            else:
                self._listen(each)
        return bool(ready)

    def _listen(self, worker: socket.socket) -> None:
        try:
            [seconds] = TIME.unpack(worker.recv(TIME.size, socket.MSG_WAITALL))
        except (ConnectionError, struct.error):  # it has ended, or was killed
            self._forget(worker)
        else:
            self._busy.discard(worker)
            heapq.heappush(self._waiting, (self.now + seconds, next(self._order), worker))

    def _welcome(self) -> None:
        new, _ = self._door.accept()
        self._absent -= 1
        self._known.add(new)
        self._busy.add(new)

    def _forget(self, gone: socket.socket) -> None:
        self._known.discard(gone)
        self._busy.discard(gone)
        self._waiting = [each for each in self._waiting if each[2] is not gone]
        heapq.heapify(self._waiting)
        gone.close()

    def _move_on(self) -> None:
        self.now, _, first = heapq.heappop(self._waiting)
        self._busy.add(first)
        with contextlib.suppress(ConnectionError):  # killed while it waited: it will be heard
            first.sendall(TIME.pack(self.now))


class Hand:
    """A process's connection to the clock, made when it is first used; before that it can be sent to another."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: socket.socket | None = None

    def after(self, seconds: float) -> float:
        """Waits until so much time has passed on the clock; returns what it shows then."""
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.connect(self._address)
        self._connection.sendall(TIME.pack(seconds))
        return float(TIME.unpack(self._connection.recv(TIME.size, socket.MSG_WAITALL))[0])
