"""`sweeper …`: questions to a study store and changes of a study.

Rich, SQLAlchemy and the report are imported inside the commands, and never torch, Optuna or pandas, so that
`sweeper best` answers at once.
"""

from __future__ import annotations

import sys

from sweeper.cli import questions, changes  # isort: skip  # the order of `sweeper --help`
from sweeper.cli.app import app

__all__ = ["app", "changes", "main", "questions"]


def main() -> None:
    """The console command `sweeper`."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without Unicode shows `?` and not a traceback
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="sweeper")
