"""Rows as tables for eyes: what matters first, three significant digits, as many columns as the terminal has room for.

In a pipe or a log a table is as wide as it needs to be; on a narrow terminal headers fold, then a short table is turned
on its side, then the last columns are left out and named below.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any, TypeVar

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from sweeper.words.metrics import is_monitor
from sweeper.words.numbers import MISSING, number
from sweeper.words.numbers import line as one_line

T = TypeVar("T")
UNBOUNDED = 10_000
"""Columns of a page that is no terminal."""
GAP = 2
MAX_METRICS = 3
CURVE_LINES = 20
"""Of a curve's epochs, so many at most."""
STATE_COLUMNS = ("state", "failure", "hidden", "repeats", "epochs_done", "seconds")
"""Of a trial, what the columns state, epochs and seconds tell."""
NUMBER = re.compile(r"[+-]?\d[\d.]*(e[+-]?\d+)?(/\d+)?|[+-]?inf|nan")
STYLES = {"COMPLETE": "green", "RUNNING": "cyan", "FAIL": "red", "WAITING": "yellow", "PAUSED": "yellow"}

Row = Mapping[str, Any]


def page(stream: IO[str] | None = None) -> Console:
    """Where tables are printed: as wide as the terminal, or without bounds in a pipe, where nothing is cut."""
    stream = stream or sys.stdout
    bounded = stream.isatty() or "COLUMNS" in os.environ
    return Console(file=stream, width=None if bounded else UNBOUNDED, highlight=False, markup=False, emoji=False)


# ---- trials as rows of cells -----------------------------------------------------------------------------------------


def trial_cells(
    rows: Sequence[Row], metric: str, constant: Iterable[str] = (), *, states: bool, also: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Flat rows of trials (`columns.rows`) as cells under short headers; `constant` parameters cannot vary.

    `also`: columns that are shown in any case.
    """
    names = [name for name in (rows[0] if rows else ()) if name.startswith("params.")]
    params = [
        name
        for name in names
        if name in also or (name.removeprefix("params.") not in constant and any(row[name] is not None for row in rows))
    ]
    others = other_metrics([name for row in rows[:1] for name in row if name.startswith("metrics.")], metric)
    own = ["trial", "state", "epochs", "seconds", metric, *(name.removeprefix("metrics.") for name in others)]
    headers = short_names([name.removeprefix("params.") for name in params], own)
    shown = {*params, *others, f"metrics.{metric}", "number", "value", *(STATE_COLUMNS if states else ())}
    more = {name.removeprefix("metrics."): name for name in also if name not in shown}
    return [
        {
            "trial": str(row["number"]),
            **({"state": _state(row)} if states else {}),
            metric: number(row["value"], pad=True),
            **{name.removeprefix("metrics."): number(row[name], pad=True) for name in others},
            **{header: number(row[name]) for header, name in zip(headers, params, strict=True)},
            **{header: one_line(number(row[name]), 60) for header, name in more.items()},
            **({"epochs": str(row["epochs_done"]), "seconds": _seconds(row)} if states else {}),
        }
        for row in rows
    ]


def other_metrics(names: Iterable[str], metric: str) -> list[str]:
    """At most three metrics beside the study's: those of the validation first, of the training and details never."""
    bare = {name: name.removeprefix("metrics.") for name in names if not is_detail(name)}
    others = [name for name, short in bare.items() if short != metric and not short.startswith("train")]
    return sorted(others, key=lambda name: not bare[name].startswith("val"))[:MAX_METRICS]


def is_detail(name: str) -> bool:
    """Whether a metric watches the training, as `monitor/lr` or `grad_norm/LAYER`: narrow tables leave it out."""
    return is_monitor(name.removeprefix("metrics."))


def constant_parameters(space: Iterable[Row]) -> set[str]:
    """The names in a study's stored space that have one choice: a column of them tells nothing."""
    return {parameter["name"] for parameter in space if len(parameter.get("choices", ())) == 1}


def short_names(names: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """The last part of each dotted name, or as many parts as make it the only one.

    >>> short_names(["optimizer.lr", "model.depth", "encoder.depth"])
    ['lr', 'model.depth', 'encoder.depth']
    """
    taken = set(taken)

    def ending(name: str, parts: int) -> str:
        return ".".join(name.split(".")[-parts:])

    def short(name: str) -> str:
        for parts in range(1, name.count(".") + 1):
            text = ending(name, parts)
            if text not in taken and sum(ending(other, parts) == text for other in names) == 1:
                return text
        return name

    return [short(name) for name in names]


def _seconds(row: Row) -> str:
    """Of a trial that runs only those before it was taken up are known here."""
    return number(row["seconds"] or (None if row["state"] == "RUNNING" else 0.0), pad=True)


def _state(row: Row) -> str:
    again = row.get("repeats")
    marks = (
        row["failure"],
        "hidden" if row.get("hidden") is not None else None,
        f"repeats {again}" if again is not None else None,
    )
    return " ".join([str(row["state"]), *(mark for mark in marks if mark)])


# ---- cells as a table ------------------------------------------------------------------------------------------------


def fitted(cells: Sequence[Mapping[str, str]], width: int) -> RenderableType:
    """A table of the cells that is no wider than `width`: see the module's first words. Raises nothing."""
    headers = list(cells[0]) if cells else []
    if width_of(cells) <= width:
        return table(cells, {header: header for header in headers})
    folded = {header: _folded(header, max(cell_len(row[header]) for row in cells)) for header in headers}
    if width_of(cells, folded) <= width:
        return table(cells, folded)
    turned = [{"": header, **{str(i): row[header] for i, row in enumerate(cells)}} for header in headers]
    if len(cells) <= 6 and width_of(turned, dict.fromkeys(turned[0], "")) <= width:
        return _turned(turned)
    kept = headers[:]
    while len(kept) > 1 and width_of([{name: row[name] for name in kept} for row in cells], folded) > width:
        kept.pop()
    left_out = ", ".join(headers[len(kept) :])
    note = Text(f"left out for want of room: {left_out} (a wider terminal, or --format csv)", style="dim")
    return Group(table([{name: row[name] for name in kept} for row in cells], folded), note)


def table(cells: Iterable[Mapping[str, str]], headers: Mapping[str, str]) -> Table:
    """Numbers to the right, words to the left, states in colour."""
    cells = list(cells)
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    for name in cells[0] if cells else ():
        right = all(_is_number(row[name]) for row in cells)
        made.add_column(
            Text(headers[name]), justify="right" if right else "left", vertical="bottom", no_wrap=right, overflow="fold"
        )
    for row in cells:
        made.add_row(*(Text(value, style=STYLES.get(value.split(" ")[0], "")) for value in row.values()))
    return made


def _turned(cells: Sequence[Mapping[str, str]]) -> Table:
    """A column for each trial, a line for each of its values."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    head, *lines = [list(row.values()) for row in cells]
    made.add_column(Text(head[0]))
    for text in head[1:]:
        made.add_column(Text(text), justify="right", no_wrap=True)
    for line in lines:
        made.add_row(*(Text(value, style=STYLES.get(value.split(" ")[0], "")) for value in line))
    return made


def width_of(cells: Sequence[Mapping[str, str]], headers: Mapping[str, str] | None = None) -> int:
    """Of a table of the cells in columns, the gaps included; under `headers`, or the cells' own names."""
    headers = headers or {name: name for row in cells[:1] for name in row}
    columns = [[*headers[name].split("\n"), *(row[name] for row in cells)] for name in (cells[0] if cells else ())]
    return sum(max(map(cell_len, column)) + GAP for column in columns) - GAP


def _folded(header: str, width: int) -> str:
    """`weight_decay` on two lines where its cells are narrower than it; broken near its middle."""
    breaks = [index + 1 for index, letter in enumerate(header[:-1]) if letter in "_. "]
    if cell_len(header) <= width or not breaks:
        return header
    middle = min(breaks, key=lambda index: abs(index - len(header) / 2))
    return f"{header[:middle].rstrip()}\n{header[middle:]}"


def _is_number(text: str) -> bool:
    """A number, `5/20`, or nothing."""
    return text in (MISSING, "") or NUMBER.fullmatch(text) is not None


def thinned(epochs: Sequence[T]) -> list[T]:
    """At most `CURVE_LINES` of them, with the first and the last."""
    count = min(CURVE_LINES, len(epochs))
    return [epochs[index * (len(epochs) - 1) // max(1, count - 1)] for index in range(count)]
