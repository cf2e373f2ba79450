"""Reads what a sweep has left behind, and says what is wrong with it: with sqlite3 (or psycopg), hashlib and
torch alone.

None of the project's own readers is used for the store, so that an error in them cannot hide another one.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

TRIAL_FOLDERS = "[0-9]*"
CHECKPOINT_FILES = "epoch=*.pt"


@dataclass
class Verdict:
    """What is wrong: `lost` and `doubled` numbers, `differing` ones, and every breach as a line."""

    breaches: list[str] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    differing: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not self.breaches

    def __str__(self) -> str:
        return "\n".join(self.breaches) or "sound"

    def must(self, holds: bool, breach: str) -> bool:
        if not holds:
            self.breaches.append(breach)
        return holds


@dataclass
class Left:
    """A study's rows, as they lie in the file; `weights` are the newest checkpoint's, None for trials without."""

    study: dict[str, Any]
    trials: list[dict[str, Any]]
    epochs: list[dict[str, Any]]
    checkpoints: list[dict[str, Any]]
    events: list[dict[str, Any]]
    integrity: str
    database: Path | None
    """None: it lies on a server."""

    @property
    def folder(self) -> Path:
        return Path(self.study["folder"])

    def epochs_of(self, number: int) -> list[dict[str, Any]]:
        return [row for row in self.epochs if row["number"] == number]

    def checkpoints_of(self, number: int) -> list[dict[str, Any]]:
        return [row for row in self.checkpoints if row["number"] == number]

    def given_back(self, number: int) -> list[dict[str, Any]]:
        """The events that ended a lease before the trial was finished."""
        kinds = ("put back", "handed back")
        return [event for event in self.events if event["number"] == number and event["kind"] in kinds]

    def path(self, checkpoint: Mapping[str, Any]) -> Path:
        return self.folder / f"{checkpoint['number']:04d}" / checkpoint["path"]

    def weights(self, number: int) -> dict[str, Any] | None:
        rows = self.checkpoints_of(number)
        if not rows:
            return None
        content = torch.load(self.path(rows[-1]), weights_only=True)
        return {"state": content["state"], "random": content["random"]}


def read_store(store: Path | str, study: str) -> Left:
    """Everything of one study, by SQL of its own; `store` is a file or a URL."""
    url = str(store)
    database = None if url.startswith("postgresql") else Path(url.removeprefix("sqlite:///"))
    with _server(url) if database is None else _file(database) as rows:
        (found,) = [row for row in rows("SELECT * FROM studies") if row["name"] == study]
        tables = {
            table: rows(f"SELECT * FROM {table} WHERE study_id = {int(found['id'])} ORDER BY {order}")
            for table, order in [
                ("trials", "number"),
                ("epochs", "number, epoch"),
                ("checkpoints", "number, epoch"),
                ("events", "id"),
            ]
        }
        broken_keys = [] if database is None else rows("PRAGMA foreign_key_check")
        integrity = "ok" if database is None else rows("PRAGMA integrity_check")[0]["integrity_check"]
    return Left(found, **tables, integrity=f"{len(broken_keys)} broken keys" if broken_keys else integrity,
                database=database)  # fmt: skip


Rows = Callable[[str], list[dict[str, Any]]]


@contextmanager
def _file(database: Path) -> Iterator[Rows]:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.row_factory = sqlite3.Row
        yield lambda query: [dict(row) for row in connection.execute(query)]


@contextmanager
def _server(url: str) -> Iterator[Rows]:
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(url, row_factory=dict_row) as connection:
        yield lambda query: connection.execute(query).fetchall()


def check(left: Left, *, trials: int, epochs: int, checkpoints: bool = True, clock: bool = True) -> Verdict:
    """After a clean end: `trials` complete trials of `epochs` epochs each, none lost, none twice, no leftovers.

    `clock`: whether the store's clock was right all the time, so that times tell an order.
    """
    verdict = Verdict()
    verdict.must(left.integrity == "ok", f"integrity_check: {left.integrity}")
    numbers = [row["number"] for row in left.trials]
    verdict.lost = sorted(set(range(trials)) - set(numbers))
    verdict.doubled = sorted(set(numbers) - set(range(trials)))  # spent above the budget
    verdict.must(numbers == list(range(trials)), f"numbers 0..{trials - 1} each once, but got {numbers}")
    granted = left.study["granted_epochs"]
    verdict.must(granted == trials * epochs, f"{trials * epochs} epochs granted, but got {granted}")
    verdict.must(granted == left.study["budget_epochs"], f"budget of {left.study['budget_epochs']}, granted {granted}")
    for row in left.trials:
        _check_trial(verdict, left, row, epochs)
        if clock:
            _check_leases(verdict, left, row["number"])
    _check_folders(verdict, left, numbers)
    if checkpoints:
        for number in numbers:
            _check_checkpoints(verdict, left, number, epochs)
    return verdict


def _check_trial(verdict: Verdict, left: Left, row: Mapping[str, Any], epochs: int) -> None:
    number = row["number"]
    ended = (row["state"], row["finished"] is not None, row["lease_expires"], row["epochs_done"])
    verdict.must(
        ended == ("COMPLETE", True, None, epochs), f"trial {number}: {ended}, {row['failure']}: {row['message']}"
    )
    reports = left.epochs_of(number)
    found = [report["epoch"] for report in reports]
    verdict.must(found == list(range(epochs)), f"trial {number}: epochs {found}")
    if found:
        last = reports[-1]
        verdict.must(row["value"] == last["value"], f"trial {number}: value {row['value']}, reported {last['value']}")
        verdict.must(row["metrics"] == last["metrics"], f"trial {number}: its metrics are not its last epoch's")
    # one holder at a time: what a later attempt wrote lies behind what an earlier one did
    attempts = [report["attempt"] for report in reports]
    verdict.must(attempts == sorted(attempts), f"trial {number}: attempts overlap: {attempts}")
    verdict.must(max(attempts, default=1) <= row["attempt"], f"trial {number}: a report of a future attempt")
    handed = left.given_back(number)
    verdict.must(
        row["attempt"] == 1 + len(handed), f"trial {number}: {row['attempt']} attempts, given back {len(handed)} times"
    )


def _check_leases(verdict: Verdict, left: Left, number: int) -> None:
    """They never overlap: an attempt writes between the end of the one before and its own, by the store's clock."""
    ends = [0.0, *(event["time"] for event in left.given_back(number)), math.inf]
    written = [(row["reported"], row["attempt"]) for row in left.epochs_of(number)]
    verdict.must(written == sorted(written), f"trial {number}: epochs out of order in time: {written}")
    written += [(row["created"], row["attempt"]) for row in left.checkpoints_of(number)]
    for time, attempt in written:
        holds = attempt < len(ends) and ends[attempt - 1] <= time <= ends[attempt]
        verdict.must(holds, f"trial {number}: leases overlap: attempt {attempt} wrote at {time}, leases ended {ends}")


def _check_folders(verdict: Verdict, left: Left, numbers: Sequence[int]) -> None:
    found = sorted(path.name for path in left.folder.glob(TRIAL_FOLDERS))
    verdict.must(found == [f"{number:04d}" for number in numbers], f"folders {found}")
    if left.database is not None:
        leftovers = [path.name for path in left.database.parent.glob(f".{left.database.name}.*")]
        verdict.must(not leftovers, f"half-made stores are left: {leftovers}")


def _check_checkpoints(verdict: Verdict, left: Left, number: int, epochs: int) -> None:
    rows = left.checkpoints_of(number)
    if not verdict.must(bool(rows), f"trial {number}: no checkpoint"):
        return
    verdict.must(rows[-1]["epoch"] == epochs - 1, f"trial {number}: the newest checkpoint is of {rows[-1]['epoch']}")
    for row in rows:
        path = left.path(row)
        if verdict.must(path.is_file(), f"trial {number}: {row['path']} is pointed to and missing"):
            content = path.read_bytes()
            whole = (len(content), hashlib.sha256(content).hexdigest()) == (row["size_bytes"], row["sha256"])
            verdict.must(whole, f"trial {number}: {row['path']} is not the file that was saved")
    known = {left.path(row).name for row in rows}
    there = {path.name for path in left.path(rows[0]).parent.iterdir()}
    verdict.must(there <= known, f"trial {number}: orphans {sorted(there - known)}")


def torn(folder: Path) -> list[str]:
    """Checkpoints under their final name that are not whole: none may exist at any instant."""
    return [str(path.name) for path in sorted(folder.rglob(CHECKPOINT_FILES)) if not _loads(path)]


def _loads(path: Path) -> bool:
    try:
        torch.load(path, weights_only=True)
    except Exception:
        return False
    return True


def compare(verdict: Verdict, found: Left, expected: Left, *, weights: bool = True) -> Verdict:
    """Add what differs from an undisturbed run: parameters, seeds, every epoch's metrics, the final state."""
    by_number = {row["number"]: row for row in found.trials}
    for row in expected.trials:
        number = row["number"]
        other = by_number.get(number)
        if other is None:
            continue
        names = ("params", "seed", "value", "metrics", "target_epochs")
        differing = [name for name in names if _plain(row[name]) != _plain(other[name])]
        if _curve(expected, number) != _curve(found, number):
            differing.append("an epoch's metrics")
        if weights:
            differing += different(expected.weights(number), found.weights(number), "checkpoint")
        if not verdict.must(not differing, f"trial {number} differs in {', '.join(differing[:3])}"):
            verdict.differing.append(number)
    return verdict


def _plain(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _curve(left: Left, number: int) -> list[Any]:
    return [(row["epoch"], row["value"], _plain(row["metrics"])) for row in left.epochs_of(number)]


def different(one: Any, other: Any, where: str) -> list[str]:
    """The places at which two states are not bit for bit the same."""
    return [place for place, same in _compared(one, other, where) if not same]


def _compared(one: Any, other: Any, where: str) -> Iterator[tuple[str, bool]]:
    if type(one) is not type(other):
        yield where, False
    elif isinstance(one, torch.Tensor):
        yield where, one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    elif isinstance(one, Mapping):
        yield where, list(one) == list(other)
        for key in one.keys() & other.keys():
            yield from _compared(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        yield where, len(one) == len(other)
        for index, (left, right) in enumerate(zip(one, other, strict=False)):
            yield from _compared(left, right, f"{where}[{index}]")
    else:
        both_nan = isinstance(one, float) and math.isnan(one) and math.isnan(other)
        yield where, one == other or both_nan
