"""Which GPUs there are, their free memory, and the slots that workers run in.

Asks `nvidia-smi`, never torch: a CUDA question asked through torch would leave a context of some hundred MiB in the
driver process. A worker gets its GPU by its UUID, because CUDA's own numbering (fastest first) is not nvidia-smi's.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.words.errors import ConfigError

MIB = 1024 * 1024
DEFAULT_CPU_WORKERS = 4
"""At most that many workers without a GPU, where the person names no number."""
_QUERY = ("--query-gpu=index,uuid,name,memory.total,memory.free", "--format=csv,noheader,nounits")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as nvidia-smi sees it. A memory of 0 means: not told."""

    index: int
    uuid: str
    name: str
    memory_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one worker runs."""

    index: int
    """0..n-1."""
    device: str
    """As the worker process sees it: "cpu", or "cuda:0", since it sees only its own GPU."""
    name: str
    """As people know it: "cpu" or "gpu 3"."""
    threads: int
    """torch's threads in that worker."""
    environment: Mapping[str, str]
    """To be set in the worker before torch loads."""


def gpus(timeout_seconds: float = 10.0) -> list[Gpu]:
    """The GPUs this process may use, in the order of `CUDA_VISIBLE_DEVICES` where that is set.

    Empty without nvidia-smi, and, with a warning, if it fails or says nothing for `timeout_seconds`.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and not _entries(visible):
        return []
    return _visible(_ask_nvidia_smi(timeout_seconds), visible)


def slots(workers: int | None = None, *, gpus: Sequence[Gpu] | None = None, cores: int | None = None) -> list[Slot]:
    """One slot per worker; GPUs are shared in turn, cores evenly (`threads = cores // workers`, at least 1).

    `workers=None`: one per GPU; without a GPU one per two cores, at least 1 and at most `DEFAULT_CPU_WORKERS`.
    `gpus=None` asks this machine, `gpus=[]` means the CPU; `cores=None` takes `usable_cores()`.
    Raises `ConfigError` for `workers` or `cores` below 1.
    """
    found = _found() if gpus is None else gpus
    cores = usable_cores() if cores is None else cores
    if workers is None:
        workers = len(found) or max(1, min(DEFAULT_CPU_WORKERS, cores // 2))
    for name, number in (("workers", workers), ("cores", cores)):
        if number < 1:
            raise ConfigError(f"`{name} >= 1` must hold, but got {name}={number}. Leave it out for the default.")
    threads = max(1, cores // workers)
    return [_slot(index, found[index % len(found)] if found else None, threads) for index in range(workers)]


def usable_cores(cgroup_root: Path = Path("/sys/fs/cgroup"), own_cgroup: Path = Path("/proc/self/cgroup")) -> int:
    """The cores this process may use: its CPU affinity (Slurm, taskset), and its cgroup's quota (containers)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(affinity, _cgroup_quota(cgroup_root, own_cgroup))))


def _found() -> Sequence[Gpu]:
    return gpus()  # `slots` has a parameter of that name


def _slot(index: int, gpu: Gpu | None, threads: int) -> Slot:
    environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if gpu is None:
        return Slot(index, "cpu", "cpu", threads, environment)
    return Slot(index, "cuda:0", f"gpu {gpu.index}", threads, {"CUDA_VISIBLE_DEVICES": gpu.uuid, **environment})


def _ask_nvidia_smi(timeout_seconds: float) -> list[Gpu]:
    try:
        answer = subprocess.run(
            ["nvidia-smi", *_QUERY], capture_output=True, text=True, timeout=timeout_seconds, check=True
        )
        return [_parse(line) for line in answer.stdout.splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip()
        log.warning("nvidia-smi ended with code %d, so no GPU is used. It says: %s", error.returncode, said)
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        log.warning("nvidia-smi gave no usable answer, so no GPU is used: %s", error)
    return []


def _parse(line: str) -> Gpu:
    index, uuid, rest = (part.strip() for part in line.split(",", 2))
    name, total, free = (part.strip() for part in rest.rsplit(",", 2))  # a name may hold commas
    return Gpu(int(index), uuid, name, memory_bytes=_bytes(total), free_bytes=_bytes(free))


def _bytes(mebibytes: str) -> int:
    """0 for "[N/A]" and "[Not Supported]", as MIG and integrated GPUs answer."""
    return 0 if mebibytes.startswith("[") else int(float(mebibytes)) * MIB


def _entries(visible: str) -> list[str]:
    """CUDA reads the list up to the first entry that is no device: an empty one, or -1."""
    entries: list[str] = []
    for entry in visible.split(","):
        if entry.strip() in ("", "-1", "NoDevFiles"):
            break
        entries.append(entry.strip())
    return entries


def _visible(found: Sequence[Gpu], visible: str | None) -> list[Gpu]:
    if visible is None:
        return list(found)
    chosen: list[Gpu] = []
    for entry in _entries(visible):
        gpu = _named(entry, found)
        if gpu is None:
            log.warning(
                "CUDA_VISIBLE_DEVICES names %r, which nvidia-smi does not list: it and the rest go unused.", entry
            )
            break
        if gpu not in chosen:
            chosen.append(gpu)
    return chosen


def _named(entry: str, found: Sequence[Gpu]) -> Gpu | None:
    """An index, a UUID, the beginning of one, or a MIG slice, which this query never lists."""
    if entry.startswith("MIG-") and found:
        return Gpu(found[0].index, entry, "MIG slice", 0, 0)
    matches = (gpu for gpu in found if entry == str(gpu.index) or (entry[:4] == "GPU-" and gpu.uuid.startswith(entry)))
    return next(matches, None)


def _cgroup_quota(root: Path, own_cgroup: Path) -> float:
    """CPUs granted by the cgroup and those above it; infinite without a quota. Version 2, then version 1's file."""
    quotas = [_quota(folder / "cpu.max") for folder in cgroup_folders(root, own_cgroup)]
    return min([*quotas, _quota(root / "cpu" / "cpu.cfs_quota_us", root / "cpu" / "cpu.cfs_period_us")])


def cgroup_folders(root: Path, own_cgroup: Path) -> list[Path]:
    """This process's cgroup (version 2) and those above it, whose limits hold for it too."""
    try:
        relative = next(line[3:].strip() for line in own_cgroup.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        relative = "/"
    folder = root / relative.lstrip("/")
    return [above for above in (folder, *folder.parents) if above.is_relative_to(root)]


def _quota(*files: Path) -> float:
    try:
        quota, period = " ".join(file.read_text() for file in files).split()
        return float(quota) / float(period) if quota not in ("max", "-1") else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
