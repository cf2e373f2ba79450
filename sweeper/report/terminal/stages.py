"""`sweeper stages`: how the study went from coarse to fine: its stages, its ranges, and every move of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.analysis.stages import change, interval
from sweeper.report.terminal import tables
from sweeper.words.numbers import plain
from sweeper.words.records import StudyRecord, TrialState


def draw(study: StudyRecord, found: Mapping[str, Any], width: int) -> RenderableType:
    stages = [_stage_cells(row) for row in found["stages"]]
    told = [name for name in stages[0] if any(row[name] for row in stages)]  # states that no trial is in tell nothing
    parts: list[RenderableType] = [tables.fitted([{name: row[name] for name in told} for row in stages], width), Text()]
    moved = [row for row in found["ranges"] if row["scale"] != "choices"]
    if moved:
        parts += [tables.fitted([_range_cells(row) for row in moved], width), Text()]
    if not found["moves"]:
        return Group(*parts, Text(f"No range of {study.name} has moved."))
    return Group(*parts, *(line for move in found["moves"] for line in _move_lines(move)))


def _stage_cells(row: Mapping[str, Any]) -> dict[str, str]:
    states = {state: str(row[state]) if row[state] else "" for state in (each.lower() for each in TrialState)}
    shown = {"stage": plain(row["name"]), "epochs": str(row["epochs"] or ""), "trials": str(row["trials"])}
    return {**shown, **states, "who comes": row["comes"]}


def _range_cells(row: Mapping[str, Any]) -> dict[str, str]:
    same = row["began"] == row["now"]
    limits = interval(row["limits"]) if row["limits"] else ""
    now = "" if same else interval(row["now"])
    return {
        "parameter": plain(row["parameter"]),
        "scale": row["scale"],
        "began": interval(row["began"]),
        "now": now,
        "limits": limits,
    }


def _move_lines(move: Mapping[str, Any]) -> list[Text]:
    head = f"{move['kind']} after {move['trials']} trials, at stage {move['stage']}"
    changes = [f"  {change(each)}" for each in move["changes"]]
    return [Text(head, style="bold"), *map(Text, changes or ["  no range changed"]), Text(f"  {plain(move['reason'])}")]
