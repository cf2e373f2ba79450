"""How a study stands at this moment: plain numbers from a few indexed queries, cheap enough to ask twice a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweeper.analysis.timeleft import Running, TimeLeft, time_left
from sweeper.search.completion import is_complete
from sweeper.search.plan import Plan
from sweeper.store import reads, totals
from sweeper.store.attempts import lives
from sweeper.store.breaker import device_name
from sweeper.store.connection import Store
from sweeper.words.numbers import about, between, counted
from sweeper.words.records import FINISHED, Direction, Failure, StudyRecord, StudyState, TrialRecord, TrialState

if TYPE_CHECKING:
    from sweeper.search.verdict import Verdict

TRIALS, TRAININGS = "trials", "full trainings"
LATEST = 8
ENDED = FINISHED | {TrialState.PAUSED}
RECENT = 50
"""The newest finished trials, from whose time that left is reckoned: later trials resemble what is to come."""


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
    curve: Mapping[int, float | None] = field(default_factory=dict)
    """The study's metric by epochs done; only where a `Lookout` has looked."""


@dataclass(frozen=True, slots=True)
class StageStand:
    """A stage of the plan: the trials that are there, by state. `opens`: new trials begin there now."""

    name: str
    epochs: int | None
    counts: Mapping[TrialState, int]
    opens: bool = False


@dataclass(frozen=True, slots=True)
class RangeStand:
    """The range of a number, as it is searched now and as it began."""

    parameter: str
    low: float
    high: float
    began: tuple[float, float]


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
    slot: str | None = None
    driver_pid: int | None = None
    load: float | None = None
    """Its GPU's, or of a CPU the share of its cores that its process uses, 0..1, at its last beat; None: not told."""
    memory_bytes: int | None = None
    """In use: on its GPU, or by its process."""
    memory_total_bytes: int | None = None

    @property
    def place(self) -> str:
        """Its device as people know it: `gpu 1 of node3`."""
        return device_name(self.host, self.slot, self.device)


@dataclass(frozen=True, slots=True)
class PausedDevice:
    """A device on which trials failed one after another, while another device was well."""

    device: str
    failures: int
    message: str
    """What the last one said."""
    seconds_left: float
    """Until it tries again."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` and `budget` in `unit`s; a failed trial is done too. `seconds_left` is None while it is unknown.

    The unit is `trials` where each trains to the end, else `full trainings`: what was spent in epochs, over the epochs
    of a full one. `ended` trials have been trained as far as they were granted.
    """

    study: str
    search: str
    metric: str
    direction: Direction
    state: StudyState
    message: str | None
    done: float
    budget: float
    unit: str
    ended: int
    complete: bool
    counts: Mapping[TrialState, int]
    failures: Mapping[Failure, int]
    running: tuple[RunningTrial, ...] = ()
    latest: tuple[TrialRecord, ...] = ()
    """The trials that finished last, the newest first."""
    best: TrialRecord | None = None
    workers: tuple[WorkerStand, ...] = field(default=())
    workers_asked: int | None = None
    """How many a person wants of each driver since the last start; None: as many as it began with."""
    paused: tuple[PausedDevice, ...] = ()
    seconds_left: float | None = None
    seconds_left_range: tuple[float, float] | None = None
    """Where it ends in about four of five cases (`timeleft`); None: too few trials have ended to say."""
    stages: tuple[StageStand, ...] = ()
    """Of the plan, from coarse to fine; only where a `Lookout` has looked."""
    ranges: tuple[RangeStand, ...] = ()
    """Of the numbers; likewise."""
    borders: tuple[Verdict, ...] = ()
    """The verdicts on the ranges as they are; only where a `Lookout` has looked, as while a sweep runs."""
    moves: tuple[str, ...] = ()
    """The moves of the ranges so far, in words; likewise."""

    @property
    def standing(self) -> str:
        """One word: complete, stopped, paused, running, interrupted or empty."""
        if self.complete:
            return "complete"
        if self.state is not StudyState.OPEN:
            return self.state.lower()
        if self.workers:
            return "running"
        return "interrupted" if self.counts else "empty"

    @property
    def amount(self) -> str:
        """How much is done of how much, as `7/40` or `12.3/40`."""
        return f"{self.done:g}/{self.budget:g}" if self.unit == TRIALS else f"{self.done:.1f}/{self.budget:g}"

    @property
    def left(self) -> str:
        """`about 12–20 min left`, or without the range where it is not known; '' where nothing is."""
        if not self.seconds_left:
            return ""
        span = between(*self.seconds_left_range) if self.seconds_left_range else about(self.seconds_left)
        return f"about {span} left"

    @property
    def drivers(self) -> int:
        """The processes that started local workers."""
        return len({(worker.host, worker.driver_pid) for worker in self.workers if worker.engine == "local"})

    @property
    def crew(self) -> str:
        """`3 workers`, or `2 workers (3 asked for)`."""
        asked = (self.workers_asked or 0) * self.drivers
        there = sum(worker.engine == "local" for worker in self.workers)
        wish = f" ({asked} asked for)" if asked and asked != there else ""
        return counted(len(self.workers), "worker") + wish


def snapshot(store: Store, study: StudyRecord) -> Progress:
    """The study's progress; pass a fresh `study`, whose budget and state are taken as they stand there."""
    counts = totals.counts(store, study.id)
    recent = reads.latest_finished(store, study.id, RECENT)
    running = reads.running_trials(store, study.id)
    workers = _alive(store, study, {row["worker_id"]: row["number"] for row in running})
    plan = Plan.from_json(study.plan)
    ended = sum(count for state, count in counts.items() if state in ENDED)
    in_hand = tuple(map(_running, running))
    staged = len(plan.stages) > 1 and study.full_epochs is not None
    done, budget, unit = _spent(store, study, in_hand) if staged else (ended, _trials(study), TRIALS)
    left = _time_left(budget - done, study.full_epochs if staged else None, recent, in_hand, len(workers))
    return Progress(
        study=study.name,
        search=str(study.plan.get("search", "")),
        metric=study.metric,
        direction=study.direction,
        state=StudyState(study.state),
        message=study.message,
        done=done,
        budget=budget,
        unit=unit,
        ended=ended,
        complete=is_complete(store, study, plan, counts),
        counts=counts,
        failures=totals.failure_counts(store, study.id) if counts.get(TrialState.FAIL) else {},
        running=in_hand,
        latest=tuple(recent[:LATEST]),
        best=next(iter(reads.best(store, study, 1)), None),
        workers=workers,
        workers_asked=study.workers,
        paused=tuple(PausedDevice(**row) for row in reads.paused_devices(store, study.id)),
        seconds_left=None if left is None else left.seconds,
        seconds_left_range=None if left is None else left.between,
    )


def _trials(study: StudyRecord) -> int:
    return study.budget_epochs // (study.full_epochs or 1)


def _spent(store: Store, study: StudyRecord, running: Sequence[RunningTrial]) -> tuple[float, float, str]:
    """What the trials have trained of the budget, in full trainings: what was granted, less what is to be done yet."""
    full = study.full_epochs or 1
    to_do = sum(max(0, (each.target_epochs or 0) - each.epochs_done) for each in running)
    to_do += totals.waiting_epochs(store, study.id)
    return max(0.0, study.granted_epochs - to_do) / full, study.budget_epochs / full, TRAININGS


def _time_left(
    left: float,
    full_epochs: int | None,
    recent: Sequence[TrialRecord],
    running: Sequence[RunningTrial],
    workers: int,
) -> TimeLeft | None:
    """`left` is in trials, of which the running ones have done a part; with `full_epochs` in full trainings.

    In epochs a trial costs what it was granted: the rest of one that failed early is not trained either.
    """
    if full_epochs is None:
        in_hand = [_in_hand(each, 1.0) for each in running]
        return time_left(left - len(running), in_hand, [(1.0, record.seconds) for record in recent], workers)
    in_hand = [_in_hand(each, float(each.target_epochs)) for each in running if each.target_epochs]
    queued = left * full_epochs - sum(each.left for each in in_hand)
    ended = [(float(record.target_epochs or record.epochs_done), record.seconds) for record in recent]
    return time_left(queued, in_hand, ended, workers)


def _in_hand(each: RunningTrial, units: float) -> Running:
    """Without known epochs it is not known how far it is."""
    if not each.target_epochs:
        return Running(0.0, units, each.seconds)
    step = units / each.target_epochs
    done = min(units, each.epochs_done * step)
    return Running(done, units - done, each.seconds, step)


def _running(row: Mapping[str, Any]) -> RunningTrial:
    """Taken up again, after an interruption or a promotion, the trial's own start lies far back.

    Then the begin of this attempt's first epoch counts, and nothing before that has ended.
    """
    first = row["started"] if row["attempt"] <= 1 else None
    started = row["attempt_started"] or max(first or row["now"], row["worker_started"] or 0.0)
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
            slot=row["slot"],
            driver_pid=row["driver_pid"],
            load=row["load"],
            memory_bytes=row["memory_bytes"],
            memory_total_bytes=row["memory_total_bytes"],
        )
        for row in reads.worker_rows(store, study.id, alive=True)
        if lives(row)
    )
