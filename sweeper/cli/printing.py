"""What a command prints: rows in the format that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.report.formats import Format, as_csv, as_json, as_parquet, parquet_of

if TYPE_CHECKING:
    from rich.console import Console

    from sweeper.analysis.columns import Columns
    from sweeper.store.connection import Store
    from sweeper.words.records import StudyRecord

Row = Mapping[str, Any]


def tell(
    format: Format,
    rows: Sequence[Row],
    columns: Sequence[str],
    draw: Callable[[Console], None],
    *,
    whole: Any = None,
) -> None:
    """`draw` prints the table for eyes; `whole` is what JSON says, where that is more than the rows."""
    if format is Format.JSON:
        say(as_json(rows if whole is None else whole))
    elif format is Format.CSV:
        say(as_csv(rows, columns))
    elif format is Format.PARQUET:
        say_bytes(as_parquet(rows, columns))
    else:
        from sweeper.report.terminal import tables

        draw(tables.page())


def tell_trials(
    store: Store,
    study: StudyRecord,
    found: Columns,
    format: Format,
    *,
    states: bool,
    nothing: str,
    also: Sequence[str] = (),
) -> None:
    """Flat columns of trials; `also` are shown in a table too that otherwise would not be."""
    if format is Format.PARQUET:
        from sweeper.report.export import frame

        return say_bytes(parquet_of(frame(store, study, found["number"])))
    from sweeper.analysis.columns import rows

    flat = rows(dict(found))

    def draw(page: Console) -> None:
        from sweeper.report.terminal import tables

        if not flat:
            return print(f"The study {study.name} {nothing}.")
        constant = tables.constant_parameters(study.space)
        cells = tables.trial_cells(flat, study.metric, constant, states=states, also=also)
        page.print(tables.fitted(cells, page.width))

    tell(format, flat, list(found), draw)


def listing(
    rows: Sequence[Row],
    columns: Sequence[str],
    format: Format,
    cells: Callable[[Row], dict[str, str]],
    nothing: str,
) -> None:
    """Rows of which `cells` says what a table shows of one."""

    def draw(page: Console) -> None:
        from sweeper.report.terminal import tables

        if not rows:
            return print(nothing)
        page.print(tables.fitted([cells(row) for row in rows], page.width))

    tell(format, rows, columns, draw)


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def say_bytes(answer: bytes) -> None:
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
