"""The records that cross every seam: a trial's state, its lease, its row in the store, one epoch's report.

Frozen and plain (numbers, strings, mappings): store, worker, sampler and command line share them and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class TrialState(StrEnum):
    WAITING = "WAITING"
    """Handed back, or asked for: the next free worker takes it."""
    RUNNING = "RUNNING"
    """A worker holds its lease."""
    PAUSED = "PAUSED"
    """Finished a stage's epochs; may be promoted."""
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def is_finished(self) -> bool:
        return self in FINISHED


FINISHED = frozenset({TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL})


class Failure(StrEnum):
    """Why a trial is FAIL."""

    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    KILLED = "killed"
    ERROR = "error"

    @property
    def is_bad(self) -> bool:
        """Whether it is the parameters' doing, so that a sampler is told that they are bad."""
        return self in (Failure.DIVERGED, Failure.OUT_OF_MEMORY, Failure.TIMEOUT)


class Direction(StrEnum):
    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    @property
    def sign(self) -> int:
        """+1 when smaller is better, -1 when larger is: `sign * value` is always minimised."""
        return 1 if self is Direction.MINIMIZE else -1


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's right to write for one trial; void as soon as the trial's attempt number has moved on."""

    study_id: int
    number: int
    attempt: int
    worker_id: int


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One trial as the store knows it.

    `params` is None between the claim of a new number and its proposal. `target_epochs` is what the plan has granted
    so far (None: the script decides). `alone`: it ran out of memory and has its device to itself now.
    `value` is the study's metric at the last reported epoch; `curve` holds it by epochs done (from 1), where it was
    asked for. `repeats`: the number of the trial that this one confirms, with another seed.
    """

    study_id: int
    number: int
    state: TrialState
    seed: int
    params: Mapping[str, Any] | None = None
    value: float | None = None
    epochs_done: int = 0
    target_epochs: int | None = None
    stage: int = 0
    attempt: int = 0
    alone: bool = False
    failure: Failure | None = None
    message: str | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float = 0.0
    worker_id: int | None = None
    curve: Mapping[int, float | None] = field(default_factory=dict)
    repeats: int | None = None


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch of one trial reported. `epoch` counts from 0, `seconds` is its training time.

    A metric that was NaN or infinite is None: JSON has no word for it.
    """

    number: int
    epoch: int
    metrics: Mapping[str, float | None]
    seconds: float


def folder_name(number: int) -> str:
    """Of a trial's folder, below its study's."""
    return f"{number:04d}"


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """One study as the store knows it.

    `definition` parts (`space`, `plan`, `config`) are JSON-plain and frozen at the start. `budget` is in full
    trainings, `budget_epochs` and `granted_epochs` in epochs (one a trial where `full_epochs` is None).
    """

    id: int
    name: str
    state: str
    metric: str
    direction: Direction
    seed: int
    folder: str
    space: list[dict[str, Any]]
    plan: dict[str, Any]
    config: dict[str, Any]
    budget: float
    full_epochs: int | None
    budget_epochs: int
    granted_epochs: int
    next_number: int
    created: float
    message: str | None = None
    workers: int | None = None
    """So many were asked for since the last start; None: as many as its command said."""
    confirmed: int | None = None
    """The revision after which its best trials were chosen to be confirmed; None: they are not yet."""

    def trial_folder(self, number: int) -> Path:
        """Named by the trial's number, and never used again."""
        return Path(self.folder) / folder_name(number)

    def key(self, setting: str) -> str:
        """How a person writes a setting: `budget` in Python or by a shorthand, else `hydra.sweeper.budget`."""
        if "variants" not in self.config:
            return setting
        return str(self.config.get("shorthands", {}).get(setting, f"hydra.sweeper.{setting}"))


class StudyState(StrEnum):
    OPEN = "OPEN"
    PAUSED = "PAUSED"
    """Workers finish what they hold and wait."""
    STOPPED = "STOPPED"
    """Workers finish nothing more; the same command opens the study again."""


class Idle(StrEnum):
    """Why a claim gave no trial."""

    DONE = "done"
    """The budget is granted and every trial is finished."""
    WAIT = "wait"
    """The budget is granted, but another worker's trial may still be handed back."""
    AGAIN = "again"
    """Another worker took the trial that was to be promoted."""
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Load:
    """`share`: 0..1, of a GPU's last moments or of the cores that a CPU worker may use; memory that is in use, and all.

    A CPU worker's own process is meant, with all its threads, but not other processes that it started.
    """

    share: float | None = None
    memory_bytes: int | None = None
    memory_total_bytes: int | None = None
