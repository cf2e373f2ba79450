"""What a command prints: rows in the format that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweeper.report.formats import Format, as_csv, as_json
from sweeper.trial import StudyRecord


def answer(study: StudyRecord, columns: Mapping[str, list[Any]], format: Format, *, states: bool, nothing: str) -> None:
    """Flat columns of trials in the format that was asked for."""
    from sweeper.store.columns import rows

    found: Sequence[Mapping[str, Any]] = rows(dict(columns))
    if format is Format.JSON:
        say(as_json(found))
    elif format is Format.CSV:
        say(as_csv(found, list(columns)))
    elif not found:
        print(f"The study {study.name} {nothing}.")
    else:
        _print_trials(study, found, states)


def _print_trials(study: StudyRecord, rows: Sequence[Mapping[str, Any]], states: bool) -> None:
    from sweeper.report import tables

    page = tables.page()
    constant = tables.constant_parameters(study.space)
    cells = tables.trial_cells(rows, study.metric, constant, states=states)
    page.print(tables.fitted(cells, page.width))


def listing(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    format: Format,
    cells: Callable[[Mapping[str, Any]], dict[str, str]],
    nothing: str,
) -> None:
    """Rows in the format that was asked for; `cells` says what a table shows of one."""
    if format is Format.JSON:
        say(as_json(rows))
    elif format is Format.CSV:
        say(as_csv(rows, columns))
    elif not rows:
        print(nothing)
    else:
        from sweeper.report import tables

        page = tables.page()
        page.print(tables.fitted([cells(row) for row in rows], page.width))


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
