"""What a training runs on, as far as that can move its last digits: versions, threads, device, processor."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from sweeper.machine import devices
from sweeper.words.version import __version__

PACKAGES = ("torch", "numpy")


def now(device: str) -> dict[str, str | int | None]:
    """This process's environment, as plain values; None: not known. torch is asked only where it is loaded already."""
    torch = sys.modules.get("torch")
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "sweeper": __version__,
        "threads": torch.get_num_threads() if torch else _threads_asked(),
        "device": device,
        "gpu": _gpu() if device.startswith("cuda") else None,
        "cpu": _cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability() if torch else None,
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is known of both and differs: `{"name": "threads", "then": 2, "now": 1}`."""
    return [
        {"name": name, "then": then[name], "now": now[name]}
        for name in then
        if then[name] is not None and now.get(name) is not None and then[name] != now[name]
    ]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _threads_asked() -> int | None:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else None


def _gpu() -> str | None:
    """The only one that a worker sees."""
    return next((gpu.name for gpu in devices.gpus()), None)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
