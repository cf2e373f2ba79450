"""Looks at the test set, which a study remembers.

The test set says how good the chosen model is only as long as nothing is chosen by it. So the first look is free, and
each further one has to be asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.store import reads, writes
from sweeper.store.connection import Store
from sweeper.words.numbers import iso
from sweeper.words.records import StudyRecord

KIND = "test"
"""Of the event that stays in the study."""


@dataclass(frozen=True)
class Look:
    """One time that the test set was looked at: when, by whom, what was seen."""

    time: str
    user: str | None
    message: str


def before(store: Store, study: StudyRecord) -> list[Look]:
    """The looks so far, the first one first."""
    rows = [row for row in reads.event_rows(store, study.id) if row["kind"] == KIND]
    return [Look(str(iso(row["time"])), row["user"], row["message"]) for row in rows]


def warning(earlier: list[Look], *, looked: bool) -> str | None:
    """What a person ought to know of a further look, whether it was taken or not."""
    if not earlier:
        return None
    first = earlier[0]
    times = "once" if len(earlier) == 1 else f"{len(earlier)} times"
    told = f"The test set was looked at {times} before, first on {first.time[:10]} ({first.message})"
    law = "whoever chooses by what it says has no test set any more"
    return f"{told}: {law}." if looked else f"{told}, so it was left alone: {law}. --test looks again."


def note(store: Store, study: StudyRecord, what: str, scores: Mapping[str, float], number: int | None = None) -> None:
    """Remember this look."""
    told = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
    writes.add_event(store, study.id, KIND, f"{what}: {told}", number)
