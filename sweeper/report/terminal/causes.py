"""`sweeper failures`: what went wrong, grouped by its cause, drawn for eyes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.store.address import options
from sweeper.store.connection import Store
from sweeper.words.numbers import place, plain, reason
from sweeper.words.program import typed
from sweeper.words.records import StudyRecord

TAIL_LINES = 8
SHOWN_NUMBERS = 8


def draw(store: Store, study: StudyRecord, causes: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A block for each cause; print it with `crop=False`, so that paths stay whole."""
    parts = [line for cause in causes for line in (*_block(cause), Text())]
    asked = options(store, study.name)
    return Group(*parts, Text(typed(f"one of them: sweeper show N {asked}"), style="dim"), _again(causes, asked))


def _block(cause: Mapping[str, Any]) -> list[Text]:
    lines = plain(cause["traceback"] or "").rstrip().splitlines()
    cut = f" ({len(lines) - TAIL_LINES} lines above left out)" if len(lines) > TAIL_LINES else ""
    trace = [Text(f"  {line}") for line in lines[-TAIL_LINES:]]
    return [
        Text(f"{cause['count']} × {reason(cause['failure'], cause['message'])}", style="bold red"),
        Text(f"trial{'' if cause['count'] == 1 else 's'} {_listed(cause['numbers'])}"),
        *([Text(f"the traceback of trial {cause['told_by']}{cut}:"), *trace] if trace else []),
        *([Text(f"log: {place(cause['log'])}", no_wrap=True, overflow="ignore")] if cause["log"] else []),
    ]


def _listed(found: Sequence[int]) -> str:
    more = f", … and {len(found) - SHOWN_NUMBERS} more" if len(found) > SHOWN_NUMBERS else ""
    return ", ".join(map(str, found[:SHOWN_NUMBERS])) + more


def _again(causes: Sequence[Mapping[str, Any]], asked: str) -> Text:
    command = typed(f"sweeper retry --reason {causes[0]['failure']} {asked}")
    return Text(f"after mending: {command}", style="dim", no_wrap=True, overflow="ignore")  # to be copied whole
