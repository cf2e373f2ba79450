"""The command `sweeper`: options in, rows out.

Rich, SQLAlchemy and the report are imported inside the commands, and never torch, Optuna or pandas, so that
`sweeper best` answers at once.

app          the command itself: how errors are said, the options that every command has
questions    status, best, trials, show, borders, stages, failures, workers, events, studies, export
comparisons  curves, compare
diagnose     what the curves say
sql          a person's own question
report       the page and pictures; dashboard: live in a browser
changes      pause, resume, stop, retry, set, hide: by settings, answered by effects
check        a script looked over
rerun        a trial trained again
winners      ensemble, train-best
doctor       what is wrong with a store
intake       import
printing     rows in the format that was asked for
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
