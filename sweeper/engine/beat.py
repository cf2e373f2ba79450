"""The beat: a thread beside the training that renews the lease, however long an epoch is, and ends what hangs.

A trial past its timeout is told so by an exception in the middle of its training. What does not hear it (a deadlock in
C, a loader that waits for ever) is ended with its process; the trial's failure is written first, and the engine starts
a new worker.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sweeper.machine.meters import Meter
from sweeper.store import claims, fenced
from sweeper.store.attempts import BEAT_SECONDS
from sweeper.store.connection import Store
from sweeper.trial.handle import Trial
from sweeper.words.errors import LeaseLost, StoreError, TrialTimeout
from sweeper.words.records import Failure, Lease, TrialState

log = logging.getLogger("sweeper.worker")

TICK_SECONDS = 1.0
DEAF_SECONDS = 10.0
"""How long a trial that was told of its timeout may go on before its process is ended."""
TIMEOUT_EXIT_CODE = 70


@dataclass(frozen=True)
class Timeouts:
    """How many seconds a trial (all its attempts together) and one epoch may take; None: as long as they like."""

    trial: float | None = None
    epoch: float | None = None

    def overdue(self, trial: Trial, seconds: float) -> str | None:
        """What is past its time, in words; `seconds`: what the trial has trained in all."""
        if self.trial is not None and seconds > self.trial:
            return f"the trial took longer than its timeout of {self.trial:g} s"
        if self.epoch is not None and trial.epoch_seconds > self.epoch:
            return f"an epoch took longer than its timeout of {self.epoch:g} s"
        return None


@dataclass
class InHand:
    """The trial that the worker trains now, and the time that earlier attempts took."""

    trial: Trial
    lease: Lease
    earlier_seconds: float
    started: float
    told: float | None = None
    why: str | None = None

    @property
    def seconds(self) -> float:
        return self.earlier_seconds + time.monotonic() - self.started


class Beat:
    """Renews the worker's beat and the lease in hand; `training()` marks where a timeout may interrupt."""

    def __init__(
        self,
        store: Store,
        worker_id: int,
        lease_seconds: float,
        timeouts: Timeouts,
        end_process: Callable[[], None],
        meter: Meter | None = None,
    ) -> None:
        self.lease: Lease | None = None
        self._hand: InHand | None = None
        self._rang = False
        self._store, self._worker_id, self._lease_seconds = store, worker_id, lease_seconds
        self._timeouts, self._end_process, self._meter = timeouts, end_process, meter
        self._ended = threading.Event()
        self._main = threading.get_ident()
        self._beat_seconds = min(BEAT_SECONDS, lease_seconds / 4)
        self._next_beat = time.monotonic() + self._beat_seconds
        self._next_renewal = time.monotonic() + lease_seconds / 4
        self._thread = threading.Thread(target=self._run, name="sweeper-beat", daemon=True)

    def __enter__(self) -> Beat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=5)

    def take(self, trial: Trial, lease: Lease, earlier_seconds: float) -> None:
        """From here on the trial may time out."""
        self._hand = InHand(trial, lease, earlier_seconds, time.monotonic())

    def let_go(self) -> None:
        self._hand = None

    def raise_if_overdue(self) -> bool:
        """In the main thread, on a signal: interrupt the training. False: the signal was not the beat's.

        True: it was, but the trial had ended by the time it was heard, so there is nothing to interrupt.
        """
        if not self._rang:
            return False
        self._rang = False
        hand = self._hand
        if hand is not None and hand.why is not None:
            raise TrialTimeout(hand.why)
        return True

    def _run(self) -> None:
        tick = min(TICK_SECONDS, self._lease_seconds / 8)
        while not self._ended.wait(tick):
            if time.monotonic() >= self._next_beat:
                self._next_beat = time.monotonic() + self._beat_seconds
                self._beat()
            if (hand := self._hand) is not None:
                self._check(hand)

    def _beat(self) -> None:
        lease = self.lease
        load = self._meter.read() if self._meter is not None else None
        try:
            claims.beat(self._store, self._worker_id, load)
            if lease is not None and time.monotonic() >= self._next_renewal:
                self._next_renewal = time.monotonic() + self._lease_seconds / 4
                fenced.renew(self._store, lease, self._lease_seconds)
        except LeaseLost:
            if lease is self.lease:  # else the trial ended in between
                log.warning("trial %s: the lease is lost; its next report will stop it", lease and lease.number)
        except StoreError as error:
            log.warning("no beat this time: %s", error)

    def _check(self, hand: InHand) -> None:
        if hand.told is None:
            hand.why = self._timeouts.overdue(hand.trial, hand.seconds)
            if hand.why is not None:
                hand.told = time.monotonic()
                log.error("trial %d: %s", hand.lease.number, hand.why)
                self._rang = True
                signal.pthread_kill(self._main, signal.SIGUSR1)
        elif time.monotonic() - hand.told > DEAF_SECONDS:
            self._give_up(hand)

    def _give_up(self, hand: InHand) -> None:
        """It hears nothing: write its failure from here, and end the process with it."""
        self._hand = None
        try:
            fenced.finish(
                self._store,
                hand.lease,
                TrialState.FAIL,
                value=hand.trial.value,
                failure=Failure.TIMEOUT,
                message=hand.why,
                seconds=time.monotonic() - hand.started,
            )
        except (LeaseLost, StoreError) as error:
            log.warning("trial %d hangs, and that could not be written: %s", hand.lease.number, error)
        self._end_process()


def end_process() -> None:
    """At once: a process that hangs would hang in its own ending too."""
    os._exit(TIMEOUT_EXIT_CODE)
