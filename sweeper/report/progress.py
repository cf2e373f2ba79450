"""How a study stands at this moment: plain numbers from a few indexed queries, cheap enough to ask twice a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper import process
from sweeper.store import reads, writes
from sweeper.store.connection import Store
from sweeper.trial import FINISHED, Direction, Failure, StudyRecord, StudyState, TrialRecord, TrialState

LATEST = 8
RECENT = 50
"""The newest finished trials whose mean time the time left is reckoned from: later trials resemble what is to come."""


@dataclass(frozen=True, slots=True)
class RunningTrial:
    """A trial that a worker holds. `epochs_done` of `target_epochs` (None: not known), `seconds` since it started."""

    number: int
    epochs_done: int
    target_epochs: int | None
    value: float | None
    metrics: Mapping[str, float | None]
    params: Mapping[str, Any]
    seconds: float
    host: str | None
    device: str | None


@dataclass(frozen=True, slots=True)
class WorkerStand:
    """A worker that is alive."""

    host: str
    pid: int
    device: str
    engine: str
    seconds: float
    """Since it started."""
    trial: int | None
    """The trial that it holds."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` and `budget` in trials; a failed trial is done too. `seconds_left` is None while it is unknown."""

    study: str
    search: str
    metric: str
    direction: Direction
    state: StudyState
    message: str | None
    done: int
    budget: int
    counts: Mapping[TrialState, int]
    failures: Mapping[Failure, int]
    running: tuple[RunningTrial, ...] = ()
    latest: tuple[TrialRecord, ...] = ()
    """The trials that finished last, the newest first."""
    best: TrialRecord | None = None
    workers: tuple[WorkerStand, ...] = field(default=())
    seconds_left: float | None = None

    @property
    def standing(self) -> str:
        """One word: complete, stopped, paused, running, interrupted or empty."""
        open_trials = sum(count for state, count in self.counts.items() if state not in FINISHED)
        if self.done >= self.budget and not open_trials:
            return "complete"
        if self.state is not StudyState.OPEN:
            return self.state.lower()
        if self.workers:
            return "running"
        return "interrupted" if self.counts else "empty"


def snapshot(store: Store, study: StudyRecord) -> Progress:
    """The study's progress; pass a fresh `study`, whose budget and state are taken as they stand there."""
    counts = reads.counts(store, study.id)
    recent = reads.latest_finished(store, study.id, RECENT)
    running = reads.running_trials(store, study.id)
    workers = _alive(store, study, {row["worker_id"]: row["number"] for row in running})
    done = sum(count for state, count in counts.items() if state in FINISHED)
    budget = study.budget_epochs // (study.full_epochs or 1)
    in_hand = tuple(map(_running, running))
    return Progress(
        study=study.name,
        search=str(study.plan.get("search", "")),
        metric=study.metric,
        direction=study.direction,
        state=StudyState(study.state),
        message=study.message,
        done=done,
        budget=budget,
        counts=counts,
        failures=reads.failure_counts(store, study.id) if counts.get(TrialState.FAIL) else {},
        running=in_hand,
        latest=tuple(recent[:LATEST]),
        best=next(iter(reads.best(store, study, 1)), None),
        workers=workers,
        seconds_left=_seconds_left(budget - done, recent, in_hand, len(workers)),
    )


def _seconds_left(
    trials: int, recent: Sequence[TrialRecord], running: Sequence[RunningTrial], workers: int
) -> float | None:
    """Mean seconds of a finished trial, times the trials left (less what the running have done), over the workers."""
    if trials <= 0:
        return 0.0
    if not recent or not workers:
        return None
    begun = sum(min(1.0, each.epochs_done / each.target_epochs) for each in running if each.target_epochs)
    mean = sum(record.seconds for record in recent) / len(recent)
    return mean * max(0.0, trials - begun) / min(workers, trials)


def _running(row: Mapping[str, Any]) -> RunningTrial:
    """After an interruption the trial's own start lies far back: its worker's start bounds the time of this attempt."""
    started = max(row["started"] or row["now"], row["worker_started"] or 0.0)
    return RunningTrial(
        number=row["number"],
        epochs_done=row["epochs_done"],
        target_epochs=row["target_epochs"],
        value=row["value"],
        metrics=row["metrics"] or {},
        params=row["params"] or {},
        seconds=row["seconds"] + max(0.0, row["now"] - started),
        host=row["host"],
        device=row["device"],
    )


def _alive(store: Store, study: StudyRecord, trials: Mapping[int, int]) -> tuple[WorkerStand, ...]:
    """Workers that have not ended and still live."""
    return tuple(
        WorkerStand(
            host=row["host"],
            pid=row["pid"],
            device=row["device"],
            engine=row["engine"],
            seconds=row["beat"] - row["started"] + row["beat_seconds_ago"],
            trial=trials.get(row["id"]),
        )
        for row in reads.worker_rows(store, study.id, alive=True)
        if lives(row)
    )


def lives(row: Mapping[str, Any]) -> bool:
    """Whether a worker that has not ended is alive: on this host by its process, elsewhere by its beat."""
    if row["host"] == process.host():
        return process.is_alive(row["pid"], row["process_started"])
    return row["beat_seconds_ago"] < 2 * writes.LEASE_SECONDS
