"""Studies, workers and leases: what is granted and done, whose process is gone, which trials nobody holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.check.doctor.repair import Repair
from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.store import claims, health, process, reads
from sweeper.store.connection import Store
from sweeper.words.numbers import counted, duration, plain
from sweeper.words.records import StudyRecord

PATIENCE_SECONDS = claims.LEASE_SECONDS / 3
"""How long a lease that ran out is watched before it is believed: a living worker renews it meanwhile."""
SILENT_SECONDS = 2 * claims.LEASE_SECONDS


@dataclass
class _Found:
    """What the checks of all studies have found; the verdict is that of the worst."""

    wrong: list[str]
    unknown: list[str]
    repairs: list[Repair]

    def finding(self, name: str, good: str, bad: str, cure: str) -> Finding:
        if not self.wrong and not self.unknown:
            return passes(name, good)
        judged = fails if self.wrong else unknown
        return judged(name, bad, cure, *self.wrong, *self.unknown).offering(self.repairs)


# ---- budget ----------------------------------------------------------------------------------------------------------


def budget(store: Store, studies: Sequence[StudyRecord]) -> Finding:
    """Whether every number has its trial, what is granted adds up, and finished trials have all their epochs."""
    found = _Found([], [], [])
    spent = room = 0
    for study in studies:
        row = health.ledger(store, study)
        spent += row["granted_epochs"]
        room += max(0, row["budget_epochs"] - row["granted_epochs"])
        found.wrong += [f"{study.name}: {problem}" for problem in _unbalanced(row)]
        found.wrong += [
            f"{study.name}: trial {gap['number']} is COMPLETE with {gap['epochs_done']} epochs, but {gap['reported']} "
            "are there"
            for gap in health.gaps(store, study)
        ]
    states = Counter(study.state for study in studies)
    kinds = ", ".join(f"{count} {state}" for state, count in states.items()) or "no study"
    cure = "a hand or an error wrote that: compare with a copy; sweeper set budget=NUMBER makes room for more trials"
    return found.finding(
        "budget", f"{kinds}; {counted(spent, 'epoch')} granted, room for {room} more", "the books do not balance", cure
    )


def _unbalanced(row: Mapping[str, Any]) -> list[str]:
    highest = -1 if row["highest"] is None else row["highest"]
    problems = []
    if not row["next_number"] == row["trials"] == highest + 1:
        problems.append(
            f"the next number is {row['next_number']}, but there are {row['trials']} trials up to number {highest}"
        )
    if row["granted_epochs"] != row["granted_to_trials"]:
        problems.append(
            f"{row['granted_epochs']} epochs are granted, but those of the trials are {row['granted_to_trials']}"
        )
    return problems


# ---- workers ---------------------------------------------------------------------------------------------------------


def workers(store: Store, studies: Sequence[StudyRecord]) -> Finding:
    """Workers that never said that they ended: alive, dead, silent, or on a host that cannot be looked at from here."""
    found = _Found([], [], [])
    alive = 0
    for study in studies:
        for row in reads.worker_rows(store, study.id, alive=True):
            who = f"{study.name}: {_named(row)}"
            silent = row["beat_seconds_ago"] > SILENT_SECONDS
            if row["host"] != process.host():
                alive += not silent
                found.unknown += [f"{who} is of another host: ask there"] if silent else []
            elif not process.is_alive(row["pid"], row["process_started"]):
                found.wrong.append(f"{who} is dead")
                found.repairs.append(Repair(f"end {who}, and give its trial back", _ending(store, row)))
            else:
                alive += 1
                found.wrong += [f"{who} lives, but is stopped or hangs: {_cures(row['pid'])}"] if silent else []
                found.unknown += [f"{who} {why}" for why in _driverless(row)]
    living = f"{alive} alive"
    cure = "sweeper doctor --fix ends those that are dead, and so does the next start"
    return found.finding("workers", living, f"{living}, {len(found.wrong + found.unknown)} in doubt", cure)


def _named(row: Mapping[str, Any]) -> str:
    beat = duration(max(0.0, row["beat_seconds_ago"]))
    return f"worker {row['id']} (process {row['pid']} of {plain(row['host'])}, last beat {beat} ago)"


def _cures(pid: int) -> str:
    return f"kill -CONT {pid} wakes it, kill -9 {pid} ends it"


def _driverless(row: Mapping[str, Any]) -> list[str]:
    """Of the local engine alone: another one's driver may be on another host."""
    if row["engine"] != "local" or not row["driver_pid"]:
        return []
    if process.is_alive(row["driver_pid"], row["driver_started"]):
        return []
    return [f"has lost its driver and leaves by itself within a minute, else kill -9 {row['pid']}"]


def _ending(store: Store, row: Mapping[str, Any]) -> Callable[[], str]:
    def do() -> str:
        if process.is_alive(row["pid"], row["process_started"]):
            return f"worker {row['id']} lives: left alone"
        claims.end_worker(store, row["id"], "died")
        return f"ended worker {row['id']}"

    return do


# ---- leases ----------------------------------------------------------------------------------------------------------


def leases(store: Store, studies: Sequence[StudyRecord]) -> Finding:
    """RUNNING trials whose lease ran out or lies too far ahead, or that nobody holds. Dead workers: see `workers`."""
    found = _Found([], [], [])
    count = 0
    for study in studies:
        for row in health.held(store, study):
            count += 1
            why = _void(row)
            if why is None or _is_dead_here(row):
                continue
            text = f"{study.name}: trial {row['number']} is RUNNING, but {why}"
            if _may_live(row):
                found.unknown.append(f"{text}; worker {row['worker_id']} may live: left to it")
            else:
                found.wrong.append(text)
                again = f"give trial {row['number']} of {study.name} back, for {why}"
                found.repairs.append(Repair(again, _giving_back(store, study, row, why)))
    cure = "sweeper doctor --fix gives them back; so does any worker of the study within a minute"
    running = counted(count, "running trial")
    return found.finding("leases", running, f"{running}, {len(found.wrong + found.unknown)} in doubt", cure)


def _void(row: Mapping[str, Any]) -> str | None:
    left = row["lease_seconds_left"]
    if row["worker_id"] is None or row["ended"] is not None:
        return "its worker has ended"
    if left is None:
        return "it has no lease"
    if left < 0:
        return f"its lease ran out {duration(-left)} ago"
    if left > 2 * claims.LEASE_SECONDS:
        return f"its lease lies {duration(left)} ahead, as after a clock that was set back"
    return None


def _is_dead_here(row: Mapping[str, Any]) -> bool:
    """A finding of `workers`."""
    unended = row["worker_id"] is not None and row["ended"] is None
    here = bool(row["host"] == process.host())
    return unended and here and not process.is_alive(row["pid"], row["process_started"])


def _may_live(row: Mapping[str, Any]) -> bool:
    """Here by its process; elsewhere by its beat."""
    if row["worker_id"] is None or row["ended"] is not None:
        return False
    return bool(row["host"] == process.host() or row["beat_seconds_ago"] < SILENT_SECONDS)


def _giving_back(store: Store, study: StudyRecord, row: Mapping[str, Any], why: str) -> Callable[[], str]:
    """What another host's worker still renews is not given back."""
    seen = time.monotonic()

    def do() -> str:
        if row["ended"] is None and row["worker_id"] is not None:
            time.sleep(max(0.0, PATIENCE_SECONDS - (time.monotonic() - seen)))
        back = health.give_back(store, study, row, why)
        return f"trial {row['number']} {'waits for a worker' if back else 'has moved on: left alone'}"

    return do
