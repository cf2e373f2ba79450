"""What trials train on: torch, the GPUs and their free memory."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.machine import devices
from sweeper.words.numbers import counted, size

ASK_TORCH = "import torch; print(torch.cuda.device_count())"
ASK_SECONDS = 60.0
FULL = 0.1
"""A GPU with a smaller share of its memory free is somebody's."""


def torch() -> Finding:
    """Whether torch is there and sees the GPUs that there are. It is asked in another process, and only then."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return fails("torch", "it is not installed", "pip install torch")
    found = devices.gpus()
    if not found:
        return passes("torch", f"{version}, without a GPU: trials train on {devices.usable_cores()} cores")
    try:
        asked = subprocess.run(
            [sys.executable, "-c", ASK_TORCH], capture_output=True, text=True, timeout=ASK_SECONDS, check=True
        )
        seen = int(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return unknown("torch", f"{version} does not say whether it sees a GPU: {error}")
    if seen < len(found):
        sentence = f"{version} sees {seen} of {len(found)} GPUs"
        cure = "install a torch that is built for CUDA, and a driver that is new enough for it (nvidia-smi tells)"
        return fails("torch", sentence, cure)
    return passes("torch", f"{version} sees {counted(seen, 'GPU')}")


def gpus() -> Finding:
    found = devices.gpus()
    if not found:
        return passes("gpus", "none")
    told = [f"gpu {gpu.index} ({gpu.name}): {size(gpu.free_bytes)} of {size(gpu.memory_bytes)} free" for gpu in found]
    full = [line for line, gpu in zip(told, found, strict=True) if gpu.free_bytes < FULL * gpu.memory_bytes]
    if full:
        return unknown("gpus", "memory is in use", "nvidia-smi tells by which process", *full)
    return passes("gpus", "; ".join(told))
