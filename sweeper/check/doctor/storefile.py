"""The store itself: what it is, whether it may be written to, whether it is whole, what lies beside it, its clock."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from sweeper.check.doctor.repair import Repair
from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.store import health, reads
from sweeper.store.address import address
from sweeper.store.connection import Store, file_system, unfinished
from sweeper.store.salvage import salvage
from sweeper.store.schema import SCHEMA_VERSION
from sweeper.words.errors import StoreError
from sweeper.words.numbers import counted, duration, place, size

BIG_JOURNAL_BYTES = 256 * 1024 * 1024
CLOCK_SECONDS = 5.0
"""Two clocks that differ by less are the same."""


def unopened(error: StoreError, path: Path | None) -> Finding:
    """A store that cannot be opened: the reason is the error's own."""
    torn = path is not None and "damaged" in str(error)
    cure = _cure(path) if torn and path is not None else None
    repairs = (_save(path),) if torn and path is not None else ()
    return fails("store", str(error), cure).offering(repairs)


def store(store: Store) -> Finding:
    """What and where it is. That nothing can be written is wrong for a sweep, not for questions."""
    studies = counted(len(reads.study_names(store)), "study", "studies")
    if store.path is None:
        return passes("store", f"{address(store)}: version {SCHEMA_VERSION}, {studies}")
    kind = file_system(store.path)
    known = f"{address(store)}: version {SCHEMA_VERSION}, {size(store.path.stat().st_size)}, {studies}, on {kind}"
    if store.read_only:
        cure = "chmod u+w the file and its folder, or copy the store elsewhere"
        return fails("store", f"{known}; questions alone, for {store.read_only}", cure)
    if kind == "unknown":
        return unknown("store", f"{known} file system: SQLite needs a local one")
    return passes("store", known)


def journal(store: Store) -> Finding:
    """SQLite's journal beside the file."""
    if store.path is None or store.read_only:
        return passes("journal", "none is needed")
    mode = health.journal_mode(store)
    if mode != "wal":
        cure = "end the programs that have the store open; the next one to open it changes the mode"
        return fails("journal", f"its mode must be wal, but is {mode}", cure)
    file = _beside(store.path, "-wal")
    length = file.stat().st_size if file.exists() else 0
    if length > BIG_JOURNAL_BYTES:
        cure = "end whatever has the store open without using it: an old notebook, a forgotten sqlite3"
        return unknown("journal", f"{size(length)}: a reader may keep it from being taken in", cure)
    return passes("journal", f"wal, {size(length)}")


def integrity(store: Store, *, deep: bool) -> Finding:
    """Whether SQLite finds its own pages whole."""
    if store.path is None:
        return passes("integrity", "the server looks after it")
    check = "integrity_check" if deep else "quick_check"
    try:
        problems = health.damage(store, deep=deep)
    except StoreError as error:
        problems = [str(error)]
    if not problems:
        return passes("integrity", f"{check} says ok")
    sentence = f"the store is damaged, says {check}"
    return fails("integrity", sentence, _cure(store.path), *problems).offering((_save(store.path),))


def leftovers(path: Path) -> Finding:
    """Half-made stores of processes that were killed, and a journal whose store is gone."""
    problems = [f"{place(left)}: a half-made store of a process that is dead" for left in unfinished(path)]
    orphaned = [] if path.exists() else [file for end in ("-wal", "-journal") if (file := _beside(path, end)).exists()]
    lost = [
        f"{place(file)}: the journal of a store that is gone; a new one of this name would take it in"
        for file in orphaned
    ]
    if not problems and not lost:
        return passes("leftovers", "none")
    repairs = [Repair(f"delete {place(left)}", _deletion(path, left), (place(left),)) for left in unfinished(path)]
    cure = "put the store back, or move its journal away" if lost else "sweeper doctor --fix deletes them"
    return fails("leftovers", counted(len(problems + lost), "file"), cure, *problems, *lost).offering(repairs)


def clock(store: Store) -> Finding:
    """Leases are told by the database's clock: one that was set back makes them last too long."""
    database, newest = health.clock(store)
    apart = database - time.time()
    if newest - database > CLOCK_SECONDS:
        ahead = f"something in the store was written {duration(newest - database)} ahead of the database's clock"
        cure = "set the clock right; living workers renew their leases by themselves"
        return fails("clock", f"{ahead}: it was set back since", cure)
    if abs(apart) > CLOCK_SECONDS:
        where = "ahead of" if apart > 0 else "behind"
        sentence = f"the database's clock is {duration(abs(apart))} {where} this host's"
        return fails("clock", sentence, "set both by the same time server")
    return passes("clock", f"{abs(apart):.1f} s apart from this host's")


# ---- what can be done ------------------------------------------------------------------------------------------------


def _cure(path: Path) -> str:
    return (
        f"put a copy of {place(path)} back; or sweeper doctor --fix saves what can be read into a new store, to be put "
        "in its place when nobody has it open"
    )


def _save(path: Path) -> Repair:
    """Into new files alone. Another process copies: reading the file in this one would take away SQLite's locks."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    copy, target = _beside(path, f".damaged-{stamp}"), _beside(path, f".saved-{stamp}")

    def do() -> str:
        for end in ("", "-wal"):
            if (source := _beside(path, end)).exists():
                words = ["cp", "-p", str(source), f"{copy}{end}"]
                copied = subprocess.run(words, capture_output=True, text=True, check=False)
                if copied.returncode:
                    raise StoreError(f"The store could not be copied: {copied.stderr.strip()}")
        saved = salvage(copy, target)
        told = ", ".join(f"{each.table} {each.rows}{'' if each.whole else ' (not all)'}" for each in saved)
        return f"saved {told}; look at it with sweeper doctor --store sqlite:///{place(target)}"

    text = f"copy the damaged store to {place(copy)}, and save what can be read into {place(target)}"
    return Repair(f"{text}; the store itself stays as it is", do)


def _deletion(path: Path, left: Path) -> Callable[[], str]:
    def do() -> str:
        if left not in unfinished(path):
            return f"{place(left)} is gone or in use"
        left.unlink()
        return f"deleted {place(left)}"

    return do


def _beside(path: Path, ending: str) -> Path:
    real = path.resolve()
    return real.with_name(f"{real.name}{ending}")
