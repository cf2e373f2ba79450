"""Checkpoints: save so that no kill leaves a torn file, verify, load the newest good one, throw away the rest.

A file holds everything an exact resume needs: the entries of `state` and every random generator. Its sha256 lies in
the study store, because one flipped bit loads silently wrong; and it is read with `weights_only=True`, because a
pickle runs code. `weights_only` refuses NumPy's types, so `encode` turns them into tagged tensors and `decode` back.

torch is imported inside the functions: whoever only reads paths and epochs does not pay for it.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import hashlib
import logging
import math
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sweeper.trial.state import decode, encode, get_state, random_states, set_random_states, set_state
from sweeper.words.errors import CheckpointError
from sweeper.words.laws import check_keep

FORMAT = 1
"""Version of a file's content; a file of a newer one is refused."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the store keeps of one file: the pointer to it and the proof that it is whole."""

    epoch: int
    """The epoch just finished, counted from 0."""
    path: Path
    """Absolute."""
    sha256: str
    size_bytes: int
    value: float | None
    """The study's metric at that epoch."""

    @classmethod
    def of_row(cls, row: Mapping[str, Any], folder: Path) -> Checkpoint:
        """As the store has it, of the trial in `folder`."""
        return cls(row["epoch"], folder / row["path"], row["sha256"], row["size_bytes"], row["value"])


# ---------------------------------------------------------------------------------------------------------- saving


def save(
    folder: Path,
    epoch: int,
    state: Mapping[str, Any],
    *,
    metric: str | None = None,
    value: float | None = None,
    attempt: int = 1,
    extra: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Write `state`, every random generator and `extra` (plain values) to `folder/epoch=0005-val_loss=0.1234.pt`.

    A reader, or a kill at any instant, meets either no file of that name or the whole one, on the disk. A later
    attempt's names end in `-attempt=2.pt`: a worker that wakes up after its lease ran out replaces no file of its heir.
    Raises `CheckpointError` for an entry that cannot be saved, naming it, and for a full disk; nothing is left behind.
    """
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    value = None if value is None else float(value)
    path = folder / _file_name(epoch, metric, value, attempt)
    temporary = folder / f"{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}"
    content = _content(epoch, state, extra or {})
    try:
        sha256, size_bytes = _write_and_replace(content, temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(folder, content) from error
        raise
    return Checkpoint(epoch, path, sha256, size_bytes, value)


FILE_NAME = re.compile(r"epoch=(?P<epoch>\d+)(-[^=]+=(?P<value>[^=]+?))??(-attempt=(?P<attempt>\d+))?\.pt")


def _file_name(epoch: int, metric: str | None, value: float | None, attempt: int) -> str:
    name = f"epoch={epoch:04d}"
    if metric is not None and value is not None:
        # 100 characters leave room for the suffix of the temporary name within the file system's 255 bytes.
        name += f"-{re.sub(r'[^A-Za-z0-9._-]', '_', metric)[:100]}={value:.4g}"
    return f"{name}.pt" if attempt == 1 else f"{name}-attempt={attempt}.pt"


def _content(epoch: int, state: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    import numpy
    import torch

    versions = {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": numpy.__version__}
    return {
        "format": FORMAT,
        "epoch": epoch,
        "state": {name: encode(get_state(name, entry), f"state[{name!r}]") for name, entry in state.items()},
        "types": {name: type(entry).__qualname__ for name, entry in state.items()},
        "random": encode(random_states(), "random"),
        "extra": encode(dict(extra), "extra"),
        "versions": versions,
        "threads": torch.get_num_threads(),
    }


def _write_and_replace(content: Mapping[str, Any], temporary: Path, path: Path) -> tuple[str, int]:
    try:
        sha256, size_bytes = _write(content, temporary)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return sha256, size_bytes


class _HashingWriter:
    """Hashes exactly the bytes that go into the file, so that it is not read back. torch.save only writes forward."""

    def __init__(self, file: BinaryIO | None) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.size_bytes = 0
        self.error: BaseException | None = None

    def write(self, data: Any) -> int:
        # torch turns whatever is raised here, a KeyboardInterrupt too, into a RuntimeError about positions: keep
        # the true cause, and let torch finish into nothing.
        size = memoryview(data).nbytes
        if self.error is None:
            try:
                if self.file is not None:
                    self.file.write(data)
                self.digest.update(data)
            except BaseException as error:
                self.error = error
        self.size_bytes += size
        return size

    def flush(self) -> None:
        """torch.save calls it at the end; `_write` flushes for real, where an error is not swallowed."""


def _write(content: Mapping[str, Any], temporary: Path) -> tuple[str, int]:
    import torch

    with open(temporary, "xb") as file:
        writer: Any = _HashingWriter(file)  # torch asks for an IO[bytes], and calls only write and flush
        torch.save(content, writer)
        if writer.error is not None:
            raise writer.error
        file.flush()
        os.fsync(file.fileno())
    return writer.digest.hexdigest(), writer.size_bytes


def _sync_folder(folder: Path) -> None:
    """Make the new name durable: without it a power cut may undo the rename."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_full(folder: Path, content: Mapping[str, Any]) -> CheckpointError:
    import torch

    counter: Any = _HashingWriter(None)
    torch.save(content, counter)
    return CheckpointError(
        f"A checkpoint must fit on the disk, but it needs {counter.size_bytes:,} bytes and "
        f"{shutil.disk_usage(folder).free:,} are free at {folder} (or a quota is used up). "
        "Free some space, then run the same command again: the study goes on from the checkpoint before."
    )


# --------------------------------------------------------------------------------------------------------- loading


def load(checkpoint: Checkpoint, state: Mapping[str, Any]) -> dict[str, Any]:
    """Verify the file, fill every entry of `state` in place, restore all random generators; returns `extra` as saved.

    Raises `CheckpointError`, with `state` as it was before, if the file is missing or changed or does not fit `state`.
    """
    return _restore(_open(checkpoint), state, checkpoint.path)


def load_newest(
    checkpoints: Iterable[Checkpoint], state: Mapping[str, Any]
) -> tuple[Checkpoint, dict[str, Any]] | None:
    """Load the newest checkpoint whose file is whole, with a warning for each one passed over; None without any.

    A good file that does not fit `state` is no damage: it raises `CheckpointError`, as an older one fits no better.
    """
    for checkpoint in sorted(checkpoints, key=lambda c: c.epoch, reverse=True):
        try:
            content = _open(checkpoint)
        except CheckpointError as error:
            log.warning("%s Trying the checkpoint before it.", error)
            continue
        return checkpoint, _restore(content, state, checkpoint.path)
    return None


def found(path: Path) -> Checkpoint:
    """A file as a checkpoint, where no store has kept its sha256: a script that runs alone trusts its own folder."""
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        raise CheckpointError(f"A checkpoint is called epoch=0005.pt or epoch=0005-METRIC=VALUE.pt, but got {path}.")
    value = None if match["value"] is None else float(match["value"])
    return Checkpoint(int(match["epoch"]), path.absolute(), sha256, path.stat().st_size, value)


def verify(checkpoint: Checkpoint) -> None:
    """Raise `CheckpointError` if the file is missing, truncated or changed since it was saved."""
    with _verified(checkpoint):
        pass


def read(path: Path) -> dict[str, Any]:
    """What a file holds, for evaluation scripts: `{"epoch": 5, "state": {"model": state_dict, …}, "extra": …, …}`.

    Unlike `load` it has no sha256 to compare with. Raises `CheckpointError` for a file that cannot be read safely.
    """
    try:
        with open(path, "rb") as file:
            content = _parse(file, Path(path))
    except OSError as error:
        raise CheckpointError(f"A checkpoint must be readable, but {path} is not: {error.strerror}.") from error
    return _decoded(content, Path(path))


def _open(checkpoint: Checkpoint) -> dict[str, Any]:
    # One file handle for the check and the reading: a file replaced in between cannot slip in unverified.
    with _verified(checkpoint) as file:
        return _parse(file, checkpoint.path)


@contextlib.contextmanager
def _verified(checkpoint: Checkpoint) -> Iterator[BinaryIO]:
    path = checkpoint.path
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
            size_bytes = os.fstat(file.fileno()).st_size
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CheckpointError(f"Checkpoint {path} cannot be read: {error.strerror}.") from error
        if size_bytes != checkpoint.size_bytes:
            raise CheckpointError(
                f"Checkpoint {path} must have the {checkpoint.size_bytes:,} bytes it was saved with, "
                f"but has {size_bytes:,}."
            )
        if sha256 != checkpoint.sha256:
            raise CheckpointError(
                f"Checkpoint {path} has changed on the disk: its sha256 must be {checkpoint.sha256}, but is {sha256}."
            )
        file.seek(0)
        yield file


def _parse(file: BinaryIO, path: Path) -> dict[str, Any]:
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise  # nothing is wrong with the file
    except Exception as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint without running code: {type(error).__name__}: {first_line}"
        ) from error
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path} is not a checkpoint of sweeper: it has no entry `format`.")
    return content


def _decoded(content: dict[str, Any], path: Path) -> dict[str, Any]:
    if content["format"] != FORMAT:
        raise CheckpointError(
            f"A checkpoint must be of format {FORMAT}, but {path} is of format {content['format']}. "
            "Another version of sweeper wrote it: install that one."
        )
    decoded: dict[str, Any] = decode(content)
    return decoded


def _restore(content: dict[str, Any], state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Fill `state` and the random generators from `content`, or leave all of them as they were."""
    import torch

    content = _decoded(content, path)
    _check_entries(content["types"], state, path)
    before = {name: copy.deepcopy(get_state(name, entry)) for name, entry in state.items()}
    random_before = random_states()
    name = ""
    try:
        for name, entry in state.items():
            set_state(entry, content["state"][name])
        name = "the random generators"
        set_random_states(content["random"])
    except BaseException as error:
        _roll_back(state, before, random_before)
        if not isinstance(error, Exception) or isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            raise
        raise _mismatch(path, f"{name!r} cannot take what was saved: {error}") from error
    extra: dict[str, Any] = content["extra"]
    return extra


def _check_entries(types: Mapping[str, str], state: Mapping[str, Any], path: Path) -> None:
    now = {name: type(entry).__qualname__ for name, entry in state.items()}
    for name in sorted({*types, *now}):
        if name not in now:
            raise _mismatch(path, f"the checkpoint has {name!r} ({types[name]}), `state` has only {sorted(now)}")
        if name not in types:
            raise _mismatch(path, f"`state` has {name!r} ({now[name]}), the checkpoint has only {sorted(types)}")
        # Schedules take any dict without a word, so a StepLR would go on with an ExponentialLR's numbers.
        if types[name] != now[name]:
            raise _mismatch(path, f"{name!r} was a {types[name]} and is a {now[name]} now")


def _mismatch(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"A checkpoint must hold the same entries, of the same classes and shapes, as `state`, but {what} ({path}). "
        "Undo the change in the script, or start a new study."
    )


def _roll_back(state: Mapping[str, Any], before: Mapping[str, Any], random_before: Mapping[str, Any]) -> None:
    for name, entry in state.items():
        with contextlib.suppress(Exception):  # the first error is the one to tell
            set_state(entry, before[name])
    set_random_states(random_before)


# --------------------------------------------------------------------------------------------- what stays on the disk


def kept(checkpoints: Sequence[Checkpoint], direction_sign: int, keep: int = 2) -> set[int]:
    """The epochs to keep: the `keep` newest, and the best, with the smallest `direction_sign * value`.

    Of equals the first is the best; a value that is None, NaN or infinite never is. `ConfigError` for `keep` < 1.
    """
    check_keep(keep)
    epochs = sorted({checkpoint.epoch for checkpoint in checkpoints})[-keep:]
    values = [
        (direction_sign * c.value, c.epoch) for c in checkpoints if c.value is not None and math.isfinite(c.value)
    ]
    return {*epochs, *(epoch for _, epoch in sorted(values)[:1])}


def delete(folder: Path, checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """Delete files; one outside `folder`, or one that cannot be deleted, stays, with a warning. Returns the deleted."""
    return [c for c in checkpoints if _deleted(c.path, folder)]


def sweep_orphans(folder: Path, known: Iterable[Path], attempt: int) -> list[Path]:
    """Delete what a killed worker left in `folder`: temporary files, and checkpoints that no pointer knows.

    Only names that `save` gives are touched, and none of a later attempt than `attempt`: the caller's pointers may be
    old by now, and its lease gone. Returns what was deleted.
    """
    names = {Path(path).name for path in known}
    ours = [path for path in sorted(Path(folder).glob("epoch=*.pt*")) if 0 < _attempt(path) <= attempt]
    return [path for path in ours if path.name not in names and _deleted(path, folder)]


def _attempt(path: Path) -> int:
    """Whose file it is, temporary or not; 0 where the name is none that `save` gives."""
    match = FILE_NAME.fullmatch(re.sub(r"\.tmp-\d+-[0-9a-f]+$", "", path.name))
    return 0 if match is None else int(match["attempt"] or 1)


def _deleted(path: Path, folder: Path) -> bool:
    try:
        if path.parent.resolve() != Path(folder).resolve():
            raise OSError(errno.EPERM, f"it is not in {folder}")
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("Checkpoint %s is not needed any more, but cannot be deleted: %s.", path, error.strerror)
        return False
    return True
