"""Who trained what, when: a lane a worker."""

from __future__ import annotations

from typing import Any

from sweeper.analysis.digest import Digest
from sweeper.report.html.plots import CROWD, Figure, short, stage_colour, time_unit, vertical
from sweeper.words.numbers import duration
from sweeper.words.records import TrialState

LANE_PIXELS, TIMELINE_PIXELS = 26, 70


def timeline(digest: Digest) -> Figure:
    """A lane for each device slot: light while a worker lived, filled while it held a trial."""
    found = digest.timeline
    unit, seconds = time_unit(found.seconds)
    lanes = [short(lane) for lane in found.lanes]
    places = dict(zip(digest.columns["number"], range(len(digest.columns["number"])), strict=True))
    groups: dict[tuple[int, str, str], list[Any]] = {}
    for stretch in found.stretches:
        row = places.get(stretch.number)
        groups.setdefault(_kind(digest, row), []).append(stretch)
    edge = 0.5 if len(found.stretches) < CROWD else 0
    bars: list[dict[str, Any]] = [
        {
            "name": name, "marker": {"color": colour, "line": {"color": "@background", "width": edge}},
            "base": [stretch.begin / seconds for stretch in stretches],
            "x": [(stretch.end - stretch.begin) / seconds for stretch in stretches],
            "y": [stretch.lane for stretch in stretches],
            "customdata": [[stretch.number] for stretch in stretches],
            "text": [
                f"trial {stretch.number}" + (f" and {stretch.trials - 1} more" if stretch.trials > 1 else "")
                + f", {duration(stretch.end - stretch.begin)}"
                for stretch in stretches
            ],
            "textposition": "none",
            "hovertemplate": "%{text}<extra></extra>",
        }
        for (_, name, colour), stretches in sorted(groups.items())
    ]  # fmt: skip
    lives: dict[str, Any] = {
        "name": "idle", "marker": {"color": "@idle"}, "hoverinfo": "skip",
        "base": [begin / seconds for _, begin, _ in found.lives],
        "x": [(end - begin) / seconds for _, begin, end in found.lives],
        "y": [lane for lane, _, _ in found.lives],
    }  # fmt: skip
    return {
        "data": [{"type": "bar", "orientation": "h", "width": 0.72, **each} for each in (lives, *bars)],
        "layout": {
            "barmode": "overlay",
            "xaxis": {"title": {"text": f"time of the sweep, {unit}"}, "range": [0, found.seconds / seconds]},
            "yaxis": {
                "tickvals": list(range(len(lanes))), "ticktext": lanes, "automargin": True,
                "range": [len(lanes) - 0.4, -0.6], "showgrid": False,
            },
            "shapes": [vertical(cut / seconds, "@faint", "dot") for cut in found.cuts],
            "height": TIMELINE_PIXELS + LANE_PIXELS * len(lanes),
            "showlegend": False,
        },
    }  # fmt: skip


def _kind(digest: Digest, row: int | None) -> tuple[int, str, str]:
    """Its place in the legend, its name and its colour: the stage that a trial came to, or that it failed."""
    stages = len(digest.stages)
    if row is not None and digest.columns["state"][row] == TrialState.FAIL:
        return stages + 1, "failed", "@fail"
    if row is None or digest.columns["repeats"][row] is not None:
        return stages, "repeats", "@series-3"
    stage = min(digest.columns["stage"][row], stages - 1)
    return stage, short(digest.stages[stage]) if stages > 1 else "trials", stage_colour(stage, stages)
