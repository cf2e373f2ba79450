"""Parallel coordinates of a study as a Plotly figure: a line for each trial, to be brushed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.analysis.digest import Digest, is_counted, sample
from sweeper.report.html.plots import Figure, colour_scale, short
from sweeper.report.terminal.tables import short_names
from sweeper.search.space import Categorical, Parameter, as_text
from sweeper.words.numbers import number

MOST_LINES = 1_000
MOST_DIMENSIONS = 12
BELOW = 0.12
"""Where a parameter was not active its line runs so far below the axis's foot, at `–`."""
LEAST_GAP = 0.15
"""In decades, between a tick at a power of ten and one at an end."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """An axis: `values` are what is drawn, `ticks` their words. `log`: they are logarithms; `missing`: what is none."""

    name: str
    label: str
    values: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...] = ()
    choices: tuple[str, ...] = ()
    log: bool = False
    missing: float | None = None
    ends: tuple[float, float] | None = None
    """What lies beyond is drawn there."""


def collect(digest: Digest, order: Sequence[str]) -> list[Dimension]:
    """Of the better trials, the best last; `order`: the parameters that matter most. The metric comes last."""
    rows = sample(digest.ranked, MOST_LINES)[::-1]
    ranks = {name: index for index, name in enumerate(order)}
    parameters = sorted(digest.parameters, key=lambda each: ranks.get(each.name, len(ranks)))[:MOST_DIMENSIONS]
    if len(rows) < 2 or not parameters:
        return []
    labels = short_names([each.name for each in parameters])
    found = [
        _of_choices(each, label, [digest.params(each.name)[i] for i in rows])
        if isinstance(each, Categorical)
        else _of_numbers(each, label, [digest.params(each.name)[i] for i in rows])
        for each, label in zip(parameters, labels, strict=True)
    ]
    return [*found, _of_metric(digest, rows)]


def figure(digest: Digest, found: Sequence[Dimension]) -> Figure:
    metric = found[-1].values
    return {
        "data": [
            {
                "type": "parcoords",
                "dimensions": [_drawn(each) for each in found],
                "line": {"color": metric, "colorscale": colour_scale(digest), "showscale": False},
                "labelfont": {"color": "@text", "size": 12},
                "tickfont": {"color": "@muted", "size": 11},
                "rangefont": {"color": "@background", "size": 1},
                "unselected": {"line": {"color": "@faint", "opacity": 0.25}},
            }
        ],
        "layout": {"margin": {"l": 56, "r": 40, "t": 56, "b": 24}, "height": 420, "paper_bgcolor": "@background"},
        "places": [
            {"name": each.name, "choices": each.choices or None, "log": each.log, "missing": each.missing,
             "ends": each.ends}
            for each in found
        ],
    }  # fmt: skip


def _drawn(each: Dimension) -> dict[str, Any]:
    ticks = {"tickvals": [at for at, _ in each.ticks], "ticktext": [short(text, 16) for _, text in each.ticks]}
    return {"label": short(each.label, 24), "values": each.values, **(ticks if each.ticks else {})}


def _of_choices(parameter: Categorical, label: str, values: Sequence[Any]) -> Dimension:
    """A choice that is null cannot be told from none here; both stand at its place."""
    texts = tuple(as_text(choice) for choice in parameter.choices)
    places = {text: float(index) for index, text in enumerate(texts)}
    missing = -1.0 if None in values and "null" not in places else None
    ticks = [*([(missing, "–")] if missing is not None else []), *((at, text) for text, at in places.items())]
    drawn = tuple(places.get(as_text(value), -1.0) for value in values)
    return Dimension(parameter.name, label, drawn, tuple(ticks), texts, missing=missing)


def _of_numbers(parameter: Parameter, label: str, values: Sequence[Any]) -> Dimension:
    log = not isinstance(parameter, Categorical) and parameter.log
    known = [_place(value, log) for value in values if value is not None] or [0.0, 1.0]
    low, high = min(known), max(known)
    missing = low - BELOW * ((high - low) or 1.0) if None in values else None
    ticks = decades(low, high) if log else []
    if is_counted(parameter, low, high):
        ticks = [(float(at), str(at)) for at in range(int(low), int(high) + 1)]
    if missing is not None:
        ends = ticks or [(at, number(float(at))) for at in (low, (low + high) / 2, high)]
        ticks = [(missing, "–"), *ends]
    drawn = tuple(missing if value is None and missing is not None else _place(value, log) for value in values)
    return Dimension(parameter.name, label, drawn, tuple(ticks), log=log, missing=missing)


def _of_metric(digest: Digest, rows: Sequence[int]) -> Dimension:
    """The best at the top would turn the axis of a loss around; it stays as a plot has it."""
    scale, metric = digest.scale, digest.study.metric
    values = tuple(_place(scale.shown(digest.columns["value"][i]), scale.log) for i in rows)
    low, high = sorted((_place(scale.best, scale.log), _place(scale.worst, scale.log)))
    ticks = tuple(decades(low, high)) if scale.log else ()
    return Dimension(metric, metric, values, ticks, log=scale.log, ends=(low, high))


def _place(value: float, log: bool) -> float:
    return math.log10(value) if log else float(value)


def decades(low: float, high: float) -> list[tuple[float, str]]:
    """The ticks of an axis of logarithms: its ends and the powers of ten between them.

    >>> decades(-2.5, 0.0)
    [(-2.5, '0.00316'), (-2.0, '0.01'), (-1.0, '0.1'), (0.0, '1')]
    """
    powers = range(math.ceil(low + LEAST_GAP), math.floor(high - LEAST_GAP) + 1)
    ticks = [low, *map(float, powers), *([high] if high > low else [])]
    return [(tick, number(float(10**tick))) for tick in ticks]
