"""Ranges that move on their own scale: wider at one edge, or closer around some places; steps and limits are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from sweeper.search.space import Float, Int, exact

LEAST_LEFT = 0.1


def ranged(parameter: Float | Int, low: float, high: float) -> Float | Int:
    if isinstance(parameter, Int):
        return replace(parameter, low=int(low), high=int(high))
    return replace(parameter, low=low, high=high)


def wider(parameter: Float | Int, edge: Literal["lower", "upper"]) -> tuple[float, float]:
    """Half as wide again on its own scale, real numbers on a log scale by a decade at least; within the limits.

    Without limits a range that begins at zero or above does not go below, and one that ends below 1 stays below: it may
    be a share. This is advice alone, for a person to judge.
    """
    least, most = parameter.limits or (-math.inf, math.inf)
    low, high = parameter.low, parameter.high
    if parameter.log:
        factor = max(10.0 if isinstance(parameter, Float) else 2.0, math.sqrt(high / low))
        down, up = low / factor, high * factor
    else:
        down, up = low - (high - low) / 2, high + (high - low) / 2
        if parameter.limits is None and low >= 0:
            down, up = max(down, 0.0), min(up, (1 + high) / 2) if high < 1 else up
    if isinstance(parameter, Int) and parameter.log:
        least = max(least, 1)
    if edge == "lower":
        return _moved(parameter, low, down, least), high
    return low, _moved(parameter, high, up, most)


def _moved(parameter: Float | Int, end: float, target: float, limit: float) -> float:
    """The end of a range moved to the target, on the grid of its steps or with two digits, and not past the limit."""
    if parameter.step and not parameter.log:
        steps = math.ceil(abs(target - end) / parameter.step - 1e-9)
        if math.isfinite(limit):
            steps = min(steps, math.floor(abs(limit - end) / parameter.step + 1e-9))
        return _stepped(parameter, end, steps if target > end else -steps)
    if target == end:
        return end
    digits = 1 - math.floor(math.log10(target if parameter.log else abs(target - end)))
    moved = round(target) if isinstance(parameter, Int) else round(target, digits)
    return min(moved, limit) if target > end else max(moved, limit)


def _stepped(parameter: Float | Int, value: float, steps: int) -> float:
    moved = exact(value) + steps * exact(parameter.step or 1)
    return int(moved) if isinstance(parameter, Int) else float(moved)


def around(parameter: Float | Int, units: Sequence[float]) -> Float | Int:
    """The range closed around these places in [0, 1], half of their mean gap to spare on each side; a tenth is left."""
    low_unit, high_unit = min(units), max(units)
    span = high_unit - low_unit
    margin = max(span / (len(units) - 1), LEAST_LEFT - span) / 2
    low, high = (parameter.from_unit(min(max(u, 0.0), 1.0)) for u in (low_unit - margin, high_unit + margin))
    if isinstance(parameter, Int) or parameter.step:
        low, high = _two_cells(parameter, low, high)
    return ranged(parameter, low, high) if low < high else parameter


def _two_cells(parameter: Float | Int, low: float, high: float) -> tuple[float, float]:
    """A range holds two values at least: the next one above, or else below."""
    if low < high:
        return low, high
    above = _stepped(parameter, low, 1)
    return (low, above) if above <= parameter.high else (_stepped(parameter, low, -1), low)
