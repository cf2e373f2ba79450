"""What a logger is, and what it is told of a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sweeper.words.records import EpochReport, Failure, TrialState


@dataclass(frozen=True, slots=True)
class LoggedTrial:
    """A trial whose training begins, or goes on.

    Attributes:
        id: of the trial for ever: the same at every attempt, another for every other trial, also for one of the same
            number in a study that was begun anew.
        folder: the trial's own; a logger may keep there what it must remember until the next attempt.
        metric: the one that the study improves.
        space: the study's parameters, each with its `name`, `type` and `choices`, also those that this trial lacks.
        repeats: the trial that this one confirms, with another seed.
        reports: of every epoch that earlier attempts came to, as the store has them.
    """

    id: str
    study: str
    number: int
    params: Mapping[str, Any]
    folder: Path
    seed: int
    attempt: int
    metric: str
    space: Sequence[Mapping[str, Any]] = ()
    repeats: int | None = None
    reports: Sequence[EpochReport] = ()

    @property
    def last(self) -> EpochReport | None:
        return self.reports[-1] if self.reports else None

    @property
    def name(self) -> str:
        return f"{self.study}-{self.number:04d}"


class Logger(Protocol):
    """Told of a worker's trials, one after the other: begin, epochs, end; always after the store.

    A trial that is taken up again, after a kill or a pause, is begun again, in another process perhaps. Its epochs go
    on where its checkpoint was: the last ones before a kill may come a second time.
    """

    def begin(self, trial: LoggedTrial) -> None: ...

    def epoch(self, report: EpochReport) -> None:
        """An epoch is over. What its script adds to it later comes alone, under the same epoch."""

    def end(self, state: TrialState, value: float | None, failure: Failure | None) -> None:
        """The worker is done with it: COMPLETE, FAIL, PAUSED, handed back (WAITING) or taken by another (RUNNING)."""


class Backlog:
    """The epochs before those that an attempt tells: for a tool that may have missed some of them in a kill."""

    def __init__(self, reports: Sequence[EpochReport]) -> None:
        self._reports = reports

    def before(self, report: EpochReport) -> list[EpochReport]:
        """Asked first: all the epochs before this one; later none."""
        reports, self._reports = self._reports, ()
        return [earlier for earlier in reports if earlier.epoch < report.epoch]


class EveryEpoch:
    """A function of a trial and one of its reports, as a logger."""

    def __init__(self, function: Callable[[LoggedTrial, EpochReport], object]) -> None:
        self._function = function
        self._trial: LoggedTrial | None = None

    def __repr__(self) -> str:
        return str(getattr(self._function, "__qualname__", self._function))

    def begin(self, trial: LoggedTrial) -> None:
        self._trial = trial

    def epoch(self, report: EpochReport) -> None:
        assert self._trial is not None
        self._function(self._trial, report)

    def end(self, state: TrialState, value: float | None, failure: Failure | None) -> None:
        """A function hears of epochs alone."""
