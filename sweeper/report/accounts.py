"""Where a study's time went: what its workers trained for good, in vain, or not at all, in seconds and epochs.

Every second of a worker's life stands in one column, so the columns add up to its life; what is left of it when the
trials that it held are taken away is `idle`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sweeper.store import ledger, reads
from sweeper.store.breaker import device_name
from sweeper.store.connection import Store
from sweeper.store.ledger import Attempt, Turns, last_sign, lives
from sweeper.trial import Failure, StudyRecord, TrialState

KINDS = ("useful", "paused", "pruned", "failed", "repeated", "running", "waiting", "overhead", "idle")
Row = Mapping[str, Any]
Span = tuple[float, float]
Key = tuple[str, Failure | None]
Amounts = defaultdict[Key, float]
OF_STATE = {
    TrialState.COMPLETE: "useful",
    TrialState.PAUSED: "paused",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


@dataclass(frozen=True, slots=True)
class Account:
    """Amounts by what they were spent on ; of the failed ones by reason."""

    useful: float = 0
    paused: float = 0
    pruned: float = 0
    failed: Mapping[Failure, float] = field(default_factory=dict)
    repeated: float = 0
    running: float = 0
    waiting: float = 0
    overhead: float = 0
    idle: float = 0

    @property
    def parts(self) -> dict[str, float]:
        """Every amount under its name, the failed ones as one."""
        own = {name: getattr(self, name) for name in KINDS if name != "failed"}
        return {name: own.get(name, sum(self.failed.values())) for name in KINDS}

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    @property
    def shares(self) -> dict[str, float]:
        """Of the total; empty where that is nothing."""
        total = self.total
        return {name: amount / total for name, amount in self.parts.items()} if total > 0 else {}


@dataclass(frozen=True, slots=True)
class WorkerAccount:
    """What one worker did; `trials`: how many it held."""

    id: int
    place: str
    trials: int
    seconds: Account
    epochs: Account

    @property
    def utilisation(self) -> float | None:
        return _utilisation(self.seconds)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The study's accounts are the sums of its workers'."""

    seconds: Account
    epochs: Account
    workers: tuple[WorkerAccount, ...]

    @property
    def utilisation(self) -> float | None:
        """The share of the workers' time in which they held a trial; None where none lived."""
        return _utilisation(self.seconds)


def _utilisation(seconds: Account) -> float | None:
    return 1.0 - seconds.idle / seconds.total if seconds.total > 0 else None


# ---- the accounts ----------------------------------------------------------------------------------------------------


def collect(store: Store, study: StudyRecord, known: Held | None = None) -> Ledger:
    """What was trained elsewhere, as in a study that was imported, is in no account; `known`: who held what."""
    known = known or held(store, study)
    rows, lifetimes = known.workers, lifetimes_of(known.workers)
    seconds: dict[int, Amounts] = {worker: defaultdict(int) for worker in lifetimes}
    epochs: dict[int, Amounts] = {worker: defaultdict(int) for worker in lifetimes}
    trials: Counter[int] = Counter()
    spans: list[tuple[int, float, float]] = []
    for each in ledger.sums(store, study.id):
        key = (OF_STATE[each.state], each.failure)
        for kind, amount in _split(key, each.seconds, each.epoch_seconds):
            seconds[each.worker][kind] += amount
        epochs[each.worker][key] += each.epochs
        trials[each.worker] += each.trials
        spans.append((each.worker, each.begin, each.end))
    for turns in known.turns:
        _book(turns, seconds, epochs)
        trials.update({attempt.worker for attempt in turns.attempts if attempt.worker is not None})
        spans += [(each.worker, each.begin, each.end or each.begin) for each in turns.attempts if each.worker]
    for worker, (begin, end) in widened(lifetimes, spans).items():
        seconds[worker]["idle", None] = max(0.0, end - begin - sum(seconds[worker].values()))
    told = tuple(
        WorkerAccount(
            row["id"],
            device_name(row["host"], row["slot"], row["device"]),
            trials[row["id"]],
            _account(seconds[row["id"]]),
            _account(epochs[row["id"]]),
        )
        for row in rows
    )
    return Ledger(_account(_summed(seconds.values())), _account(_summed(epochs.values())), told)


def _split(key: Key, seconds: float, trained: float) -> list[tuple[Key, float]]:
    """The time that a trial was held: its epochs, and what was none. Where it failed, or is not over, all is one."""
    if key[0] in ("failed", "running", "waiting"):
        return [(key, seconds)]
    trained = min(seconds, trained)
    return [(key, trained), (("overhead", None), seconds - trained)]


def _book(turns: Turns, seconds: Mapping[int, Amounts], epochs: Mapping[int, Amounts]) -> None:
    """Each attempt into the account of its worker; what was repeated into those of the attempts that lost it."""
    key = (OF_STATE[turns.state], turns.failure)
    attempts = _trained([each for each in turns.attempts if each.worker is not None and each.end is not None])
    is_cut = turns.state is TrialState.WAITING or turns.failure is Failure.KILLED
    lost = _lost(attempts, turns.repeated_seconds, is_cut)
    for each, repeated in zip(attempts, lost, strict=True):
        assert each.worker is not None
        assert each.end is not None
        seconds[each.worker]["repeated", None] += repeated
        for kind, amount in _split(key, each.end - each.begin - repeated, each.epoch_seconds):
            seconds[each.worker][kind] += amount
        epochs[each.worker][key] += each.epochs
    if turns.repeated_epochs and attempts:
        who = attempts[lost.index(max(lost))].worker
        assert who is not None
        epochs[who]["repeated", None] += turns.repeated_epochs


def _trained(attempts: Sequence[Attempt]) -> list[Attempt]:
    """An epoch that was told anew is its last teller's: what is more than that one's time was trained before it."""
    found: list[Attempt] = []
    excess = 0.0
    for each in reversed(attempts):
        seconds = each.epoch_seconds + excess
        excess = max(0.0, seconds - _seconds(each))
        found.append(each._replace(epoch_seconds=seconds - excess) if excess or seconds != each.epoch_seconds else each)
    return found[::-1]


def _lost(attempts: Sequence[Attempt], repeated: float, is_cut: bool) -> list[float]:
    """What of each attempt was repeated: first of those that were interrupted, by what they trained in vain.

    That is their time less that of the epochs which are left of them. `is_cut`: the last one was interrupted too.
    """
    rooms = [max(0.0, _seconds(each) - each.epoch_seconds) for each in attempts]
    lost = [0.0] * len(attempts)
    cut = [not each.was_paused for each in attempts[:-1]] + [is_cut]
    for first in (True, False):
        chosen = [index for index, is_cut in enumerate(cut) if is_cut is first]
        room = sum(rooms[index] for index in chosen)
        share = min(1.0, max(0.0, repeated - sum(lost)) / room) if room > 0 else 0.0
        for index in chosen:
            lost[index] = rooms[index] * share
    return lost


def _seconds(attempt: Attempt) -> float:
    return 0.0 if attempt.end is None else attempt.end - attempt.begin


def _account(amounts: Mapping[Key, float]) -> Account:
    failed = {why: amount for (kind, why), amount in amounts.items() if kind == "failed" and why is not None}
    return Account(**{kind: amount for (kind, _), amount in amounts.items() if kind != "failed"}, failed=failed)


def _summed(accounts: Iterable[Amounts]) -> Amounts:
    total: Amounts = defaultdict(int)
    for each in accounts:
        for key, amount in each.items():
            total[key] += amount
    return total


# ---- who held what when ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """`workers`: their rows; `turns`: the trials that were taken up again or are not over."""

    workers: Sequence[Row]
    turns: Sequence[Turns]


def lifetimes_of(workers: Sequence[Row]) -> dict[int, Span]:
    """From a worker's start to its end, until now, or to its last sign of life."""
    return {row["id"]: (row["started"], max(row["started"], _end(row))) for row in workers}


def _end(row: Row) -> float:
    if row["ended"] is None and lives(row):
        return float(row["beat"] + row["beat_seconds_ago"])
    return last_sign(row)


def widened(lifetimes: Mapping[int, Span], spans: Iterable[tuple[int, float, float]]) -> dict[int, Span]:
    """Lifetimes that hold everything which these workers did: a report may have come after the last beat."""
    wide = dict(lifetimes)
    for worker, begin, end in spans:
        wide[worker] = (min(begin, wide[worker][0]), max(end, wide[worker][1]))
    return wide


def held(store: Store, study: StudyRecord) -> Held:
    """Each attempt at these trials with its worker and an end; of a store that was damaged, those that are there."""
    workers = reads.worker_rows(store, study.id)
    lifetimes = lifetimes_of(workers)

    def bounded(attempts: Iterable[Attempt]) -> Iterator[Attempt]:
        return (_bounded(each, lifetimes[each.worker][1]) for each in attempts if each.worker in lifetimes)

    found = ledger.turns(store, study.id)
    return Held(workers, [replace(turns, attempts=tuple(bounded(turns.attempts))) for turns in found])


def _bounded(attempt: Attempt, died: float) -> Attempt:
    """No longer than its worker lived, and until now where both go on."""
    end = died if attempt.end is None else min(attempt.end, died)
    return attempt._replace(end=max(attempt.begin, end, attempt.last_report or attempt.begin))


def of_workers(found: Ledger) -> dict[int, dict[str, Any]]:
    """Columns for tables of workers, by a worker's id."""
    return {
        each.id: {
            "trials": each.trials,
            "seconds": each.seconds.total,
            "utilisation": each.utilisation,
            "seconds_idle": each.seconds.idle,
            "seconds_useful": each.seconds.useful,
        }
        for each in found.workers
    }
