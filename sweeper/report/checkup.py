"""`sweeper doctor` for eyes: a line for each check, and under it what is wrong and its cure. Rows, not findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.report.numbers import plain

MARKS = {"fine": ("✓", "green"), "wrong": ("✗", "bold red"), "cannot tell": ("?", "yellow")}
SHOWN = 8
"""Problems of a check that are shown; --format json has them all."""

Row = Mapping[str, Any]


def draw(rows: Sequence[Row], offer: str) -> RenderableType:
    """Print it with `crop=False`, so that paths stay whole. `offer`: the command that repairs."""
    return Group(*(line for row in rows for line in _lines(row)), Text(), Text(ending(rows, offer)))


def ending(rows: Sequence[Row], offer: str) -> str:
    """
    >>> ending([{"verdict": "fine", "repairs": []}], "sweeper doctor --fix")
    'Nothing is wrong.'
    """
    wrong = sum(row["verdict"] == "wrong" for row in rows)
    repairs = sum(len(row["repairs"]) for row in rows)
    found = f"{wrong} of {len(rows)} checks found something wrong." if wrong else "Nothing is wrong."
    return found + (f" {repairs} repairs can be offered: {offer}" if repairs else "")


def _lines(row: Row) -> list[Text]:
    mark, style = MARKS[row["verdict"]]
    margin = " " * 14
    more = len(row["problems"]) - SHOWN
    problems = [*row["problems"][:SHOWN], *([f"… and {more} more"] if more > 0 else [])]
    cure = [f"cure: {row['cure']}"] if row["cure"] else []
    head = Text.assemble((mark, style), f" {row['check']:<12}{plain(row['message'])}")
    return [_whole(head), *(_whole(Text(f"{margin}{plain(text)}")) for text in problems + cure)]


def _whole(text: Text) -> Text:
    """On one line however long it is: it holds paths and commands to copy."""
    text.no_wrap, text.overflow = True, "ignore"
    return text
