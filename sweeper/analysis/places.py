"""Where a trial's parameters lie in the ranges that the study searches now: as numbers, and as a mark on a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.search.space import Categorical, Parameter, SearchSpace
from sweeper.words.numbers import number, plain

LENGTH = 11
Row = Mapping[str, Any]


def collect(space: SearchSpace, params: Row) -> list[dict[str, Any]]:
    """One row for each parameter. `position`: 0 at the lower edge, 1 at the upper one, on its own scale."""
    return [_place(parameter, params[parameter.name]) for parameter in space if parameter.name in params]


def _place(parameter: Parameter, value: Any) -> dict[str, Any]:
    row = {"parameter": parameter.name, "value": value}
    if isinstance(parameter, Categorical):
        choices = list(parameter.choices)
        return {**row, "scale": "choices", "position": None, "low": None, "high": None, "choices": choices}
    scale = "log" if parameter.log else "linear"
    position = parameter.to_unit(value) if value is not None else None
    return {**row, "scale": scale, "position": position, "low": parameter.low, "high": parameter.high, "choices": None}


# ---- drawn -----------------------------------------------------------------------------------------------------------


def mark(row: Row) -> str:
    """
    >>> mark({"position": 0.5}), mark({"position": 1.2}), mark({"position": None})
    ('├─────●─────┤', '├───────────┤●', '')
    """
    position = row["position"]
    if position is None:
        return ""
    if not 0 <= position <= 1:
        line = f"├{'─' * LENGTH}┤"
        return f"●{line}" if position < 0 else f"{line}●"
    index = min(int(position * LENGTH), LENGTH - 1)
    return f"├{'─' * index}●{'─' * (LENGTH - 1 - index)}┤"


def words(row: Row) -> str:
    """The range: `1e-5 … 0.1  log`, the choices, or that there is no other value."""
    if row["choices"] is None:
        outside = "" if row["position"] is None or 0 <= row["position"] <= 1 else ", outside it now"
        return f"{number(row['low'])} … {number(row['high'])}{' log' if row['scale'] == 'log' else ''}{outside}"
    return " | ".join(plain(number(choice)) for choice in row["choices"]) if len(row["choices"]) > 1 else "fixed"
