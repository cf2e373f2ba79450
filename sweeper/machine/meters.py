"""How busy a worker's device is, for its beat: a GPU's load and memory, or the share of the CPU that its process uses.

A GPU is asked by NVML (`pip install 'sweeper-hpo[gpu]'`), never by torch; what cannot be known is None, and nothing
that goes wrong in here disturbs a beat.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeper.machine.devices import cgroup_folders, usable_cores
from sweeper.words.records import Load


class CpuMeter:
    """The CPU time of this process since it was asked last, over `cores`; its resident memory."""

    def __init__(self, cores: int | None = None, clock: Callable[[], tuple[float, float]] | None = None) -> None:
        """`clock`: the process's CPU time and the time, both in seconds."""
        self._cores = cores or usable_cores()
        self._clock = clock or (lambda: (time.process_time(), time.monotonic()))
        self._total = memory_limit()
        self._before = self._clock()

    def read(self) -> Load:
        (used_before, before), (used_now, now) = self._before, self._clock()
        self._before = (used_now, now)
        used, passed = used_now - used_before, now - before
        share = min(1.0, max(0.0, used / passed / self._cores)) if passed > 0 else None
        return Load(share, _resident(), self._total)


class GpuMeter:
    """One GPU, by its UUID or index as CUDA_VISIBLE_DEVICES has it; `nvml`: the module pynvml."""

    def __init__(self, nvml: Any, name: str) -> None:
        nvml.nvmlInit()
        self._nvml = nvml
        by_index = name.isdecimal()
        self._gpu = nvml.nvmlDeviceGetHandleByIndex(int(name)) if by_index else nvml.nvmlDeviceGetHandleByUUID(name)

    def read(self) -> Load:
        share, used, total = None, None, None
        with contextlib.suppress(self._nvml.NVMLError):  # a MIG slice has memory, but tells no load
            share = self._nvml.nvmlDeviceGetUtilizationRates(self._gpu).gpu / 100
        with contextlib.suppress(self._nvml.NVMLError):
            memory = self._nvml.nvmlDeviceGetMemoryInfo(self._gpu)
            used, total = int(memory.used), int(memory.total)
        return Load(share, used, total)


class Meter:
    """The load of a worker's device since it was made or asked last; whatever goes wrong is no load."""

    def __init__(self, device: str, threads: int | None = None) -> None:
        self._meter: CpuMeter | GpuMeter | None = None
        with contextlib.suppress(Exception):  # no pynvml, no driver, a GPU that it does not know
            self._meter = _gpu(device) if device.startswith("cuda") else CpuMeter(threads)

    def read(self) -> Load:
        try:
            return Load() if self._meter is None else self._meter.read()
        except Exception:  # a driver that is gone will not come back
            self._meter = None
            return Load()


def _gpu(device: str) -> GpuMeter:
    import pynvml

    return GpuMeter(pynvml, _gpu_name(device))


def _gpu_name(device: str) -> str:
    """What `cuda:1` is called by CUDA_VISIBLE_DEVICES, or, where that is not set, its index."""
    index = int(device.partition(":")[2] or 0)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return str(index) if visible is None else visible.split(",")[index].strip()


def memory_limit(
    cgroup_root: Path = Path("/sys/fs/cgroup"), own_cgroup: Path = Path("/proc/self/cgroup")
) -> int | None:
    """What this process may use: the machine's memory, or its cgroup's, where that is less (containers)."""
    folders = cgroup_folders(cgroup_root, own_cgroup)
    files = [*(folder / "memory.max" for folder in folders), cgroup_root / "memory" / "memory.limit_in_bytes"]
    least = min([_machine_memory(), *map(_limit, files)])
    return int(least) if least < math.inf else None


def _limit(file: Path) -> float:
    try:
        return float(file.read_text())
    except (OSError, ValueError):  # "max": no limit
        return math.inf


def _machine_memory() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return math.inf


def _resident() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
