"""How this program is called from the shell it was started in: what is printed there can be pasted there.

Texts name commands plainly, `sweeper best`, because they are read in many places: a page, JSON, the store, a log. A
terminal gets them by `typed`. Errors are typed by themselves.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

COMMANDS = (
    "best", "borders", "check", "compare", "curves", "dashboard", "diagnose", "doctor", "ensemble", "events", "export",
    "failures", "hide", "import", "pause", "report", "rerun", "resume", "retry", "set", "show", "sql", "stages",
    "status", "stop", "studies", "train-best", "trials", "unhide", "workers",
)  # fmt: skip
"""By them a command is told from a sentence about the program."""

TYPED = re.compile(rf"(?<![\w./-])(?<!-m )(?:sweeper(?= (?:{'|'.join(COMMANDS)})\b)|pip(?= install\b))")


def typed(text: str) -> str:
    """The text with the commands in it as they can be typed here: `.venv/bin/sweeper best` for `sweeper best`."""
    return TYPED.sub(lambda found: sweeper() if found[0] == "sweeper" else pip(), text)


def sweeper() -> str:
    """The console command of this very environment: by its name where a shell finds it, else by its path."""
    if not sys.executable:
        return "sweeper"
    own = Path(sys.executable).with_name("sweeper")
    if not os.access(own, os.X_OK):
        return f"{python()} -m sweeper.cli"
    return "sweeper" if _is_same(shutil.which("sweeper"), own) else _by_path(own)


def python() -> str:
    """The interpreter that runs now. Not by its file alone: an environment's is a link to one that others have too."""
    if not sys.executable:
        return "python"
    own = Path(sys.executable)
    return next((name for name in ("python", own.name) if _leads_to(own, name)), _by_path(own))


def pip() -> str:
    return "pip" if _is_beside(shutil.which("pip"), Path(sys.executable)) else f"{python()} -m pip"


def _leads_to(own: Path, name: str) -> bool:
    found = shutil.which(name)
    return _is_same(found, own) and _is_beside(found, own)


def _is_same(found: str | None, own: Path) -> bool:
    try:
        return found is not None and os.path.samefile(found, own)
    except OSError:
        return False


def _is_beside(found: str | None, own: Path) -> bool:
    return found is not None and _is_same(os.path.dirname(found), own.parent)


def _by_path(program: Path) -> str:
    """Relative to the current folder where it lies inside, quoted for a shell."""
    try:
        inside = str(program.absolute().relative_to(os.getcwd()))
    except (ValueError, OSError):  # elsewhere; or the current folder is gone
        return shlex.quote(str(program))
    return shlex.quote(inside if os.sep in inside else f".{os.sep}{inside}")
