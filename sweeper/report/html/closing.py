"""The last thing a sweep does: it leaves its report beside its trials."""

from __future__ import annotations

import logging
from typing import IO

from sweeper.report.terminal import tables
from sweeper.store.address import options
from sweeper.store.connection import Store
from sweeper.words.numbers import line, place
from sweeper.words.program import typed
from sweeper.words.records import StudyRecord

log = logging.getLogger("sweeper")


def leave_report(store: Store, study: StudyRecord, stream: IO[str] | None = None) -> None:
    """Write it, and say where it is or how to get it. Nothing that goes wrong with it harms the sweep."""
    tables.page(stream).print(f"Report: {typed(_written(store, study))}", soft_wrap=True)


def _written(store: Store, study: StudyRecord) -> str:
    command = f"sweeper report {options(store, study.name)}"
    try:
        from sweeper.report.html import page

        if not page.has_plotly():
            return f"pip install 'sweeper-hpo[report]', then {command}"
        file = page.default_file([study])
        page.write(store, [study], file)
        return place(file)
    except Exception as error:  # whatever it is: the study is safe, and the report can be written at any time
        log.debug("the report was not written", exc_info=True)
        return f"not written, for {line(f'{type(error).__name__}: {error}')}; again: {command}"
