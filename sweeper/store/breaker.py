"""The circuit breaker: failures in a row, on one device and in the whole study.

A device on which `IN_A_ROW` trials fail one after another, each within seconds or all for one cause, is paused while
another device is well: a broken GPU must not eat the night. Its failed trials are put back, to be tried elsewhere; one
that fails there too was to blame itself, and clears the device. A paused device tries again after a pause that grows,
or when a person resumes or starts the study. Where no other device is well the fault lies elsewhere: then the failures
in a row of the whole study count, and `max_failures` of them stop it. A diverged trial is no failure of this kind.

Called inside the caller's transaction, after a write to the study's row, which serialises it.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from sweeper.store.schema import failing_devices, now, studies, trials, workers
from sweeper.store.statements import next_revision, note_event
from sweeper.words.records import Failure, StudyState, TrialState

IN_A_ROW = 3
QUICK_SECONDS = 30.0
"""A trial that fails sooner has hardly begun: so many of them in a row need no common cause."""
PAUSE_SECONDS = 300.0
LONGEST_PAUSE_SECONDS = 3600.0
SILENT_SECONDS = 120.0
"""A worker that has not beaten for so long, two leases, is no sign that its device is well."""
VARYING = re.compile(r"0x[0-9a-f]+|\d+(\.\d+)?(e[+-]?\d+)?")
"""Numbers do not tell causes apart: every trial runs out of memory at another byte."""


@dataclass(frozen=True)
class Fault:
    """A trial that failed, or whose worker died, after `seconds` of this attempt (a death: not known)."""

    study_id: int
    number: int
    worker_id: int | None
    failure: Failure
    message: str
    seconds: float = math.inf

    @property
    def cause(self) -> str:
        return str(Failure.KILLED) if self.failure is Failure.KILLED else cause_of(self.message)


def cause_of(message: str) -> str:
    """
    >>> cause_of("Tried to allocate 2.00 GiB") == cause_of("Tried to allocate 512.00 GiB")
    True
    """
    return VARYING.sub("#", message)


def device_name(host: str, slot: str | None, device: str) -> str:
    """A worker's device as people know it.

    >>> device_name("node3", "gpu 1", "cuda:0"), device_name("node3", None, "cpu")
    ('gpu 1 of node3', 'cpu of node3')
    """
    return f"{slot or device} of {host}"


# ---- in the study ----------------------------------------------------------------------------------------------------


def count(connection: sa.Connection, study_id: int, *, broken: bool) -> tuple[int, int]:
    """A trial ended, as it should or broken: the study's new revision, and its failures in a row."""
    revision, in_a_row = connection.execute(_count(broken), {"_study": study_id}).one()
    return revision, in_a_row


@functools.cache
def _count(broken: bool) -> sa.Update:
    return (
        studies.update()
        .where(studies.c.id == sa.bindparam("_study"))
        .values(failures_in_a_row=studies.c.failures_in_a_row + 1 if broken else 0, revision=studies.c.revision + 1)
        .returning(studies.c.revision, studies.c.failures_in_a_row)
    )


def judge(connection: sa.Connection, fault: Fault, in_a_row: int, max_failures: int | None = None) -> None:
    """Pause the device if it is to blame, else stop the study if that was one failure too many.

    `max_failures`: by default as the trial's worker was told.
    """
    if blame_device(connection, fault):
        return
    if max_failures is None:
        told = sa.select(workers.c.max_failures).where(workers.c.id == fault.worker_id)
        max_failures = connection.scalar(told)
    if max_failures is not None and in_a_row >= max_failures:
        why = f"{in_a_row} trials in a row failed, the last with: {fault.message}"
        runs = (studies.c.id == fault.study_id, studies.c.state != StudyState.STOPPED)
        if connection.execute(studies.update().where(*runs).values(state=StudyState.STOPPED, message=why)).rowcount:
            note_event(connection, fault.study_id, "stopped", why)


# ---- on a device -----------------------------------------------------------------------------------------------------


def blame_device(connection: sa.Connection, fault: Fault) -> bool:
    """Count a fault against its device; returns whether the device is paused for it, and the trial spared."""
    device = _device_of(connection, fault.worker_id)
    if device is None or fault.failure in (Failure.DIVERGED, Failure.TIMEOUT):  # they say nothing of the device
        return False
    elsewhere = connection.scalar(sa.select(trials.c.failed_on).where(*_trial(fault.study_id, fault.number)))
    if elsewhere not in (None, device):
        _clear(connection, fault.study_id, elsewhere, f"trial {fault.number} fails on {device} too")
        return False
    before = connection.execute(sa.select(failing_devices).where(*_here(fault.study_id, device))).one_or_none()
    row = _counted(before, fault)
    _write(connection, fault.study_id, device, row, new=before is None)
    if device not in set(connection.scalars(_paused(), {"_study": fault.study_id})):
        due = row["failures"] >= IN_A_ROW or row["pauses"]
        if not (due and _another_is_well(connection, fault.study_id, device)):
            return False
        _pause(connection, fault, device, row)
    _spare(connection, fault.study_id, device, row["numbers"])
    _write(connection, fault.study_id, device, {"numbers": []})
    return True


def _counted(before: Any, fault: Fault) -> dict[str, Any]:
    """The device's faults with this one: alike ones in a row, and a trial that kills its worker again only once."""
    if before is None:
        return {"failures": 1, "numbers": [fault.number], "pauses": 0, "cause": fault.cause}
    again = fault.number in before.numbers
    alike = again or fault.seconds < QUICK_SECONDS or fault.cause == before.cause
    return {
        "failures": before.failures + (not again) if alike else 1,
        "numbers": [*(before.numbers if alike else ()), *(() if again else (fault.number,))],
        "pauses": before.pauses,
        "cause": fault.cause,
    }


def _pause(connection: sa.Connection, fault: Fault, device: str, row: dict[str, Any]) -> None:
    seconds = min(LONGEST_PAUSE_SECONDS, PAUSE_SECONDS * 2 ** row["pauses"])
    values = {"pauses": row["pauses"] + 1, "paused_until": now() + seconds, "message": fault.message}
    _write(connection, fault.study_id, device, values)
    why = f"{row['failures']} trials in a row failed on it, the last with: {fault.message}"
    note_event(connection, fault.study_id, "device paused", f"{device} paused for {seconds / 60:g} min: {why}")


def _spare(connection: sa.Connection, study_id: int, device: str, numbers: Sequence[int]) -> None:
    """Put the device's failed trials back, and take them from the study's failures in a row."""
    again = {"state": TrialState.WAITING, "kills": 0, "failed_on": device}
    cleared = dict.fromkeys(("finished", "failure", "message", "traceback"))
    for number in numbers:
        connection.execute(trials.update().where(*_trial(study_id, number)).values(failed_on=device))
        values = {**again, **cleared, "revision": next_revision(connection, study_id)}
        failed = (*_trial(study_id, number), trials.c.state == TrialState.FAIL)
        if connection.execute(trials.update().where(*failed).values(**values)).rowcount:
            text = f"trial {number} put back: it failed on {device} alone"
            note_event(connection, study_id, "put back", text, number)
    fewer = studies.c.failures_in_a_row - len(numbers)
    spared = sa.case((fewer > 0, fewer), else_=0)
    connection.execute(studies.update().where(studies.c.id == study_id).values(failures_in_a_row=spared))


def _another_is_well(connection: sa.Connection, study_id: int, device: str) -> bool:
    """Whether somebody works on a device of which at most one failure in a row is known."""
    alive = sa.select(workers.c.host, workers.c.slot, workers.c.device).where(
        workers.c.study_id == study_id, workers.c.ended.is_(None), workers.c.beat > now() - SILENT_SECONDS
    )
    others = {device_name(*row) for row in connection.execute(alive.distinct())} - {device}
    ill = sa.select(failing_devices.c.device).where(
        failing_devices.c.study_id == study_id,
        sa.or_(failing_devices.c.failures > 1, failing_devices.c.pauses > 0),
    )
    return bool(others - set(connection.scalars(ill)))


def ended_well(connection: sa.Connection, study_id: int, worker_id: int) -> None:
    """A trial came to a good end: its device works."""
    known = set(connection.scalars(_known(), {"_study": study_id}))
    device = _device_of(connection, worker_id) if known else None
    if device in known:
        _clear(connection, study_id, str(device), "a trial ended well there")


@functools.cache
def _known() -> sa.Select[Any]:
    return sa.select(failing_devices.c.device).where(failing_devices.c.study_id == sa.bindparam("_study"))


def is_paused(connection: sa.Connection, study_id: int, worker_id: int) -> bool:
    """Whether this worker's device is paused."""
    paused = set(connection.scalars(_paused(), {"_study": study_id}))
    return bool(paused) and _device_of(connection, worker_id) in paused


@functools.cache
def _paused() -> sa.Select[Any]:
    return _known().where(*lasting())


def lasting() -> tuple[Any, ...]:
    """A pause that has not run out; one that lies too far ahead is of a clock that was set back since."""
    until = failing_devices.c.paused_until
    return (until > now(), until < now() + 2 * LONGEST_PAUSE_SECONDS)


def forget(connection: sa.Connection, study_id: int) -> None:
    """Every device tries again, as if nothing had failed on it: a person has resumed or started the study."""
    connection.execute(failing_devices.delete().where(failing_devices.c.study_id == study_id))


def _clear(connection: sa.Connection, study_id: int, device: str, why: str) -> None:
    """The device is not to blame, or not any more."""
    gone = failing_devices.delete().where(*_here(study_id, device)).returning(failing_devices.c.pauses)
    if connection.scalar(gone):
        note_event(connection, study_id, "device works", f"{device} goes on: {why}")


def _device_of(connection: sa.Connection, worker_id: int | None) -> str | None:
    query = sa.select(workers.c.host, workers.c.slot, workers.c.device).where(workers.c.id == worker_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else device_name(*row)


def _write(connection: sa.Connection, study_id: int, device: str, values: dict[str, Any], *, new: bool = False) -> None:
    if new:
        connection.execute(failing_devices.insert().values(study_id=study_id, device=device, **values))
    else:
        connection.execute(failing_devices.update().where(*_here(study_id, device)).values(**values))


def _here(study_id: int, device: str) -> tuple[Any, ...]:
    return (failing_devices.c.study_id == study_id, failing_devices.c.device == device)


def _trial(study_id: int, number: int) -> tuple[Any, ...]:
    return (trials.c.study_id == study_id, trials.c.number == number)
