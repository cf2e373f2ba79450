"""The trials' folders: checkpoints that the store points to and that are not whole, files that no row points to, room.

Whatever is deleted lies in `STUDY/NUMBER/checkpoints`, has a name that `checkpoint.save` gives, belongs to a trial that
is finished and is not newer than its end: a file that is newer may be another store's, as where a copy is asked.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.check.doctor.repair import Repair
from sweeper.check.finding import Finding, Verdict, fails, passes, unknown
from sweeper.store import health, reads
from sweeper.store.attempts import lives
from sweeper.store.connection import Store
from sweeper.trial.checkpoint import FILE_NAME
from sweeper.words.numbers import counted, place, plain, size
from sweeper.words.records import FINISHED, StudyRecord, StudyState, TrialState, folder_name

Row = Mapping[str, Any]
TEMPORARY = re.compile(r"\.tmp-\d+-[0-9a-f]+$")
TRIAL_FOLDER = re.compile(r"\d{4,}")
KEEP = 2
"""The newest checkpoints that stay, as far as a store knows; the best stays besides."""
LEAST_FREE_BYTES = 64 * 1024 * 1024
"""For the store, logs and what else is small."""

# ---- what is pointed to ----------------------------------------------------------------------------------------------


def pointed(store: Store, studies: Sequence[StudyRecord], *, deep: bool = False) -> Finding:
    """Whether the files are there and have their sizes; `deep` reads every one of them and compares its sha256."""
    problems: list[str] = []
    repairs: list[Repair] = []
    count = length = 0
    for study in studies:
        rows = health.pointers(store, study)
        count, length = count + len(rows), length + sum(row["size_bytes"] for row in rows)
        bad = _damaged(store, study, rows, deep)
        problems += [f"{study.name}: trial {row['number']}: {row['path']} {why}" for row, why in bad]
        if bad and not any(Path(_folder(study, row["number"])).is_dir() for row in rows):
            problems.append(f"{study.name}: none of its trials' folders is in {study.folder}: moved, or not mounted?")
        else:
            repairs += _forgetting(store, study, [row for row, _ in bad])
    how = "sha256 compared" if deep else "sizes compared; --deep compares every sha256"
    sentence = f"{counted(count, 'checkpoint')}, {size(length)}: {how}"
    if not problems:
        return passes("checkpoints", sentence)
    cure = "put copies back; or sweeper doctor --fix forgets them, and a resume takes the one before"
    return fails("checkpoints", sentence, cure, *problems).offering(repairs)


def _damaged(store: Store, study: StudyRecord, rows: Sequence[Row], deep: bool) -> list[tuple[Row, str]]:
    """Those that are not whole, and why; asked twice, for a living worker may have thrown one away meanwhile."""
    bad = [row for row in rows if _damage(study, row, deep)]
    known = {(row["number"], row["epoch"], row["sha256"]) for row in (health.pointers(store, study) if bad else ())}
    still = [row for row in bad if (row["number"], row["epoch"], row["sha256"]) in known]
    return [(row, why) for row in still if (why := _damage(study, row, deep))]


def _damage(study: StudyRecord, row: Row, deep: bool) -> str | None:
    path = os.path.join(_folder(study, row["number"]), row["path"])
    try:
        there = os.stat(path)
        if not stat.S_ISREG(there.st_mode):  # a store that somebody sent may name /dev/zero
            return "is no file"
        if there.st_size != row["size_bytes"]:
            return f"has {there.st_size:,} bytes, and not {row['size_bytes']:,}"
        if deep:
            with open(path, "rb") as file:
                return None if hashlib.file_digest(file, "sha256").hexdigest() == row["sha256"] else "has changed"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _forgetting(store: Store, study: StudyRecord, bad: Sequence[Row]) -> list[Repair]:
    """Not where a worker holds the trial: it passes over what is damaged by itself."""
    states = health.trial_states(store, study) if bad else {}
    mine = [row for row in bad if states[row["number"]]["state"] != TrialState.RUNNING]
    if not mine:
        return []

    def do() -> str:
        gone = health.forget(store, study, [row for row in mine if _damage(study, row, True)])
        return f"forgot {counted(gone, 'checkpoint')} of {study.name}"

    these = f"{counted(len(mine), 'checkpoint')} of {study.name}"
    text = f"forget {these}; the files stay, and sweeper events keeps their sha256"
    return [Repair(text, do, tuple(f"trial {row['number']}: {plain(row['path'])}" for row in mine))]


# ---- what is not -----------------------------------------------------------------------------------------------------


def orphans(store: Store, studies: Sequence[StudyRecord]) -> Finding:
    """Files that no row points to, and folders without a trial. The next worker of an open trial sweeps that one's."""
    wrong: list[str] = []
    doubtful: list[str] = []
    repairs: list[Repair] = []
    swept = 0
    for study in studies:
        there = _numbers(study)  # looked for first: a trial has its row before it has its folder
        states = health.trial_states(store, study)
        strays = [number for number in there if number not in states]
        wrong += [f"{place(_folder(study, number))}: the store has no trial {number}" for number in strays]
        for number, files in _unpointed(store, study).items():
            state = states.get(number)
            if state is None or state["state"] not in FINISHED:
                swept += len(files)
                continue
            old = [path for path in files if _is_older(path, state["finished"])]
            wrong += [f"{place(path)}: {size(_size(path))}" for path in old]
            doubtful += [f"{place(path)}: newer than its trial's end" for path in files if path not in old]
            repairs += [_sweeping(store, study, number, old)] if old else []
    if not wrong and not doubtful:
        return passes("orphans", "none" + (f"; {swept} more will be swept by the next worker" if swept else ""))
    cure = "sweeper doctor --fix deletes those of finished trials; move the others away if no other store needs them"
    unknown_to_it = counted(len(wrong) + len(doubtful), "file or folder", "files and folders")
    judged = fails if wrong else unknown
    return judged("orphans", f"{unknown_to_it} that the store does not know", cure, *wrong, *doubtful).offering(repairs)


def _numbers(study: StudyRecord) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(study.folder) if TRIAL_FOLDER.fullmatch(name))
    except OSError:
        return []


def _unpointed(store: Store, study: StudyRecord) -> dict[int, list[Path]]:
    """By trial, the files with a name that `checkpoint.save` gives; looked for first, so that a new one has its row."""
    found = {number: names for number in _numbers(study) if (names := _saved(study, number))}
    known = {(row["number"], row["path"]) for row in health.pointers(store, study)}
    left = {number: [name for name in names if (number, name) not in known] for number, names in found.items()}
    return {number: [Path(_folder(study, number), name) for name in names] for number, names in left.items() if names}


def _saved(study: StudyRecord, number: int) -> list[str]:
    """As the store would point to them, from the trial's folder; nothing of a folder that is a link elsewhere."""
    trial = _folder(study, number)
    folder = os.path.join(trial, "checkpoints")
    if os.path.islink(trial) or os.path.islink(folder):
        return []
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [f"checkpoints/{name}" for name in names if FILE_NAME.fullmatch(TEMPORARY.sub("", name))]


def _sweeping(store: Store, study: StudyRecord, number: int, files: Sequence[Path]) -> Repair:
    def do() -> str:
        with health.held_still(store, study, number) as (state, paths):
            known = {Path(_folder(study, number), path) for path in paths}
            mine = [path for path in files if path not in known and state["state"] in FINISHED]
            gone = [path for path in mine if _is_older(path, state["finished"])]
            for path in gone:
                path.unlink(missing_ok=True)
        return f"deleted {counted(len(gone), 'file')} of trial {number} of {study.name}"

    text = f"delete {counted(len(files), 'file')} of trial {number} of {study.name}, {size(sum(map(_size, files)))}"
    return Repair(text, do, tuple(map(place, files)))


def _is_older(path: Path, moment: float | None) -> bool:
    try:
        return moment is not None and path.stat().st_mtime <= moment
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _folder(study: StudyRecord, number: int) -> str:
    """A trial's; no Path: there may be many."""
    return os.path.join(study.folder, folder_name(number))


# ---- room ------------------------------------------------------------------------------------------------------------


@dataclass
class _Disk:
    """A file system: the first folder found on it, and the bytes needed by what runs now and by the whole budget."""

    folder: Path
    now: int = LEAST_FREE_BYTES
    later: int = 0


def room(store: Store, studies: Sequence[StudyRecord]) -> Finding:
    """What running workers need at the same time must be free; what the rest of the budget will leave should be."""
    disks: dict[int, _Disk] = {}

    def disk(path: Path) -> _Disk:
        folder = _nearest(path)
        return disks.setdefault(folder.stat().st_dev, _Disk(folder))

    if store.path is not None:
        disk(store.path.parent)
    for study in studies:
        biggest = health.biggest(store, study)
        alive = sum(map(lives, reads.worker_rows(store, study.id, alive=True)))
        disk(Path(study.folder)).now += biggest * (KEEP + 2) * alive
        disk(Path(study.folder)).later += biggest * (KEEP + 1) * _trials_to_come(study)
    told = [_told(each) for each in disks.values()]
    if all(verdict is Verdict.PASSES for verdict, _ in told):
        return passes("disk", "; ".join(text for _, text in told))
    judged = fails if any(verdict is Verdict.FAILS for verdict, _ in told) else unknown
    cure = "make room, or keep fewer checkpoints (keep=1 at the next start)"
    return judged("disk", "little room", cure, *(text for _, text in told))


def _told(disk: _Disk) -> tuple[Verdict, str]:
    free = shutil.disk_usage(disk.folder).free
    text = f"{size(free)} free at {place(disk.folder)}"
    if free < disk.now:
        return Verdict.FAILS, f"{text}, {size(disk.now)} needed by what runs now"
    rest = f"{text}, about {size(disk.later)} needed until the budget is spent" if disk.later else text
    return Verdict.UNKNOWN if free < disk.later else Verdict.PASSES, rest


def _trials_to_come(study: StudyRecord) -> int:
    left = 0 if study.state == StudyState.STOPPED else study.budget_epochs - study.granted_epochs
    return max(0, left // (study.full_epochs or 1))


def _nearest(path: Path) -> Path:
    """The folder, or the nearest above it that there is."""
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.is_dir())
