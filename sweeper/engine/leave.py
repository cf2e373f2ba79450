"""How a worker is asked to leave, by a signal or by its engine."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from sweeper.engine.beat import Beat
from sweeper.words.errors import TrialInterrupted

log = logging.getLogger("sweeper.worker")

GRACE_SECONDS = 25.0
"""How long an epoch may go on after SIGTERM: less than the 30 s that Slurm and most others wait before they kill."""


class Leave:
    """Whether the worker was asked to leave: once, after the epoch; twice, at once.

    Who asks by SIGTERM (a preemption, a shutdown, a driver that is gone) will kill soon: after `grace_seconds` the
    epoch is cut, and the trial handed back as its last checkpoint has it.
    """

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self.asked = threading.Event()
        self._grace_seconds = grace_seconds

    def ask(self) -> None:
        """Leave after this epoch; asked a second time from a signal, leave now."""
        self.asked.set()

    @contextlib.contextmanager
    def on_signals(self, beat: Beat) -> Iterator[None]:
        """SIGINT and SIGTERM ask to leave; a second one interrupts the epoch. Only the main thread hears signals.

        SIGUSR1 is the beat's word that a trial is overdue; from elsewhere it warns of the end, as Slurm's does.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def heard(number: int, frame: Any) -> None:
            if number == signal.SIGUSR1 and beat.raise_if_overdue():
                return
            if self.asked.is_set():
                raise TrialInterrupted("asked twice to leave")
            self.ask()
            if number != signal.SIGINT:
                cut = threading.Timer(self._grace_seconds, os.kill, (os.getpid(), signal.SIGTERM))
                timers.append(cut)
                cut.daemon = True
                cut.start()
            log.warning("asked to leave: finishing the epoch, then handing the trial back (once more: at once)")

        timers: list[threading.Timer] = []
        before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
            for number, handler in before.items():
                signal.signal(number, handler)
