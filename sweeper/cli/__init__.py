"""`sweeper …`: questions to a study store, changes of a study, a script looked over, a trial trained again.

Rich, SQLAlchemy and the report are imported inside the commands, and never torch, Optuna or pandas, so that
`sweeper best` answers at once.
"""

from __future__ import annotations

import sys

from sweeper.cli import questions, comparisons, diagnose, sql, report, dashboard, intake  # isort: skip  # the order of --help
from sweeper.cli import changes, check, rerun, winners, doctor  # isort: skip
from sweeper.cli.app import app

__all__ = [
    "app",
    "changes",
    "check",
    "comparisons",
    "dashboard",
    "diagnose",
    "doctor",
    "intake",
    "main",
    "questions",
    "report",
    "rerun",
    "sql",
    "winners",
]


def main() -> None:
    """The console command `sweeper`."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without Unicode shows `?` and not a traceback
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    app(prog_name="sweeper")
