"""The audience: a worker's loggers, each told of every trial, and each on its own when it breaks."""

from __future__ import annotations

import contextlib
import logging
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sweeper.engine.loggers import made
from sweeper.engine.loggers.logger import LoggedTrial, Logger
from sweeper.words.errors import ConfigError
from sweeper.words.records import EpochReport, Failure, TrialState

log = logging.getLogger("sweeper.worker")

PATIENCE = 3
"""Trials in a row that a logger may break at before it is left out for good: a server that is gone costs time."""


@dataclass
class Seat:
    """A logger, whether it listens to the trial in hand, and in how many trials in a row it has broken."""

    logger: Logger
    listens: bool = False
    broken: int = 0
    warned: bool = False

    def __str__(self) -> str:
        named = type(self.logger).__repr__ is not object.__repr__
        return repr(self.logger) if named else type(self.logger).__name__


class Audience:
    """Tells loggers of one trial after the other; of an epoch once, when it is over."""

    def __init__(self, loggers: Sequence[Logger] = ()) -> None:
        self._seats = [Seat(logger) for logger in loggers]
        self._trial: LoggedTrial | None = None
        self._pending: EpochReport | None = None
        self._told: EpochReport | None = None

    @classmethod
    def of(cls, specs: Sequence[Any]) -> Audience:
        """Of a worker; what its host does not have it does without."""
        loggers = []
        for spec in specs:
            try:
                loggers.append(made(spec))
            except ConfigError as error:
                log.warning("no logger: %s", error)
        return cls(loggers)

    def __bool__(self) -> bool:
        return bool(self._seats)

    def begin(self, trial: LoggedTrial) -> None:
        # a kill may have come between the store's report of an epoch and the loggers': it is told (once more)
        self._trial, self._pending, self._told = trial, trial.last, None
        for seat in self._seats:
            seat.listens = seat.broken < PATIENCE
        self._tell("begin", trial)

    def report(self, report: EpochReport) -> None:
        """Keep what the epoch has reported so far: several reports in one epoch add up."""
        if self._pending is not None and self._pending.epoch < report.epoch:
            self.settle()
        self._pending = report if self._seats else None

    def settle(self) -> None:
        """The epoch is over: tell of it, or of what was added since."""
        report, told, self._pending = self._pending, self._told, None
        if report is None:
            return
        before = told.metrics if told is not None and told.epoch == report.epoch else {}
        new = {name: value for name, value in report.metrics.items() if name not in before}
        self._told = report
        if new:
            self._tell("epoch", replace(report, metrics=new))

    def end(self, state: TrialState, value: float | None, failure: Failure | None) -> None:
        self.settle()
        self._tell("end", state, value, failure)
        for seat in self._seats:
            seat.broken = 0 if seat.listens else seat.broken
            seat.listens = False
        self._trial = None

    def _tell(self, what: str, *about: Any) -> None:
        for seat in [seat for seat in self._seats if seat.listens]:
            try:
                with same_random_numbers():
                    getattr(seat.logger, what)(*about)
            except (Exception, SystemExit) as error:
                self._excuse(seat, error)

    def _excuse(self, seat: Seat, error: BaseException) -> None:
        """The logger hears no more of this trial; said once, and once more where it is for good."""
        seat.listens = False
        seat.broken += 1
        number = None if self._trial is None else self._trial.number
        level = logging.DEBUG if seat.warned else logging.WARNING
        seat.warned = True
        log.log(level, "%s broke, and hears no more of trial %s; its training goes on: %r", seat, number, error)
        if seat.broken == PATIENCE:
            log.warning("%s broke at %d trials in a row: this worker goes on without it", seat, PATIENCE)


@contextlib.contextmanager
def same_random_numbers() -> Iterator[None]:
    """Whatever is drawn inside, the training draws after it what it would have drawn: logging changes no result."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    python = random.getstate()
    of_numpy = None if numpy is None else numpy.random.get_state()
    of_torch = None if torch is None else torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        if numpy is not None:
            numpy.random.set_state(of_numpy)
        if torch is not None:
            torch.set_rng_state(of_torch)
