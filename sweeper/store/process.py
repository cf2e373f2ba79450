"""Processes of this host: who I am, and whether a process that a store names is still the same one."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

START_TIME_FIELD = 19
"""Field 22 of /proc/<pid>/stat, counted after the command's closing bracket: clock ticks from boot to start."""


def host() -> str:
    return socket.gethostname()


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def start_time(pid: int) -> float | None:
    """When a process started, in ticks since boot: with the pid it names a process for good. None: not known."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else float(fields[START_TIME_FIELD])


def is_alive(pid: int, started: float | None) -> bool:
    """Whether that process still runs; a process number used again by another one counts as dead."""
    if Path("/proc/self/stat").exists():
        now_started = start_time(pid)
        return now_started is not None and (started is None or now_started == started)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def run_aside(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command to its end; its output is for eyes (stderr), for stdout is the answer's. Returns its exit code."""
    child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=2)
    try:
        return child.wait()
    finally:
        child.kill()  # Ctrl-C: here, and in the child too, which may be deaf
        child.wait()
