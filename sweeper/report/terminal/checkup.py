"""`sweeper doctor` and `sweeper check` for eyes: a line for each check, under it what is wrong and its cure.

Rows, not findings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.words.numbers import duration, plain
from sweeper.words.program import typed

MARKS = {"fine": ("✓", "green"), "wrong": ("✗", "bold red"), "cannot tell": ("?", "yellow")}
MARKS |= {"passes": MARKS["fine"], "fails": MARKS["wrong"]}
NAMES = 12
"""Columns that a check's name takes."""
SHOWN = 8
"""Problems of a check that are shown; --format json has them all."""

Row = Mapping[str, Any]


def draw(rows: Sequence[Row], offer: str) -> RenderableType:
    """Print it with `crop=False`, so that paths stay whole. `offer`: the command that repairs."""
    return Group(*(line for row in rows for line in _lines(row)), Text(), Text(ending(rows, typed(offer))))


def drawn(rows: Sequence[Row]) -> RenderableType:
    """The checks of a training script (`sweeper check`), the failures with what to do."""
    wide = max((len(row["check"]) for row in rows), default=NAMES) + 2
    return Group(*(line for row in rows for line in _lines(row, wide)), Text(), Text(verdict(rows)))


def verdict(rows: Sequence[Row]) -> str:
    """
    >>> verdict([{"verdict": "passes"}, {"verdict": "cannot tell"}])
    '1 of 2 checks passes, 1 cannot tell.'
    """
    counts = {name: sum(row["verdict"] == name for row in rows) for name in ("fails", "passes", "cannot tell")}
    passed = f"{counts['passes']} of {len(rows)} checks {'passes' if counts['passes'] == 1 else 'pass'}"
    failed = [f"{counts['fails']} {'fails' if counts['fails'] == 1 else 'fail'}"] * bool(counts["fails"])
    return ", ".join([passed, *failed, *([f"{counts['cannot tell']} cannot tell"] * bool(counts["cannot tell"]))]) + "."


def brief(rows: Sequence[Row], seconds: float) -> RenderableType:
    """Before a sweep: one line where nothing fails, else what does; and what the sweep will take."""
    wide = max((len(row["check"]) for row in rows), default=NAMES) + 2
    failed = [line for row in rows if row["verdict"] == "fails" for line in _lines(row, wide)]
    untold = ", ".join(row["check"] for row in rows if row["verdict"] == "cannot tell")
    more = typed(f" (not {untold}: sweeper check looks longer)") if untold else ""
    told = [plain(row["message"]) for row in rows if row["check"] == "cost" and row["verdict"] == "passes"]
    lines = [f"Checked in {duration(seconds)}: {verdict(rows)}{more}", *told]
    return Group(*failed, *(_whole(Text(line)) for line in lines))


def ending(rows: Sequence[Row], offer: str) -> str:
    """
    >>> ending([{"verdict": "fine", "repairs": []}], "sweeper doctor --fix")
    'Nothing is wrong.'
    """
    wrong = sum(row["verdict"] == "wrong" for row in rows)
    repairs = sum(len(row["repairs"]) for row in rows)
    found = f"{wrong} of {len(rows)} checks found something wrong." if wrong else "Nothing is wrong."
    return found + (f" {repairs} repairs can be offered: {offer}" if repairs else "")


def _lines(row: Row, names: int = NAMES) -> list[Text]:
    mark, style = MARKS[row["verdict"]]
    margin = " " * (names + 2)
    more = len(row["problems"]) - SHOWN
    problems = [*row["problems"][:SHOWN], *([f"… and {more} more"] if more > 0 else [])]
    cure = [typed(f"cure: {row['cure']}")] if row["cure"] else []
    head = Text.assemble((mark, style), f" {row['check']:<{names}}{plain(row['message'])}")
    return [_whole(head), *(_whole(Text(f"{margin}{plain(text)}")) for text in problems + cure)]


def _whole(text: Text) -> Text:
    """On one line however long it is: it holds paths and commands to copy."""
    text.no_wrap, text.overflow = True, "ignore"
    return text
