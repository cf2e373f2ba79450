"""Numbers as Plotly figures: plain JSON, so that Plotly's Python objects, slow to import, are not needed.

A colour is a name as `@accent`: the page puts in what its theme has, and again when the theme changes.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from sweeper.analysis import importance as landscape
from sweeper.analysis.axes import Axis, Mark, Span
from sweeper.analysis.curves import Line, Panel
from sweeper.analysis.digest import COUNTED, Digest, Scale, is_counted, sample
from sweeper.analysis.importance import Contour, Importance
from sweeper.search.space import Categorical, Parameter, as_text
from sweeper.words.numbers import line, plain

Figure = dict[str, Any]
LOG = {"type": "log", "nticks": 5}
"""So few that between 1 and 10 only 2 and 5 are marked: all nine would overlap."""

STAGES = 4
"""Colours of stages, from coarse to fine."""
BEST = ("@series-0", "@series-1", "@series-2", "@series-3")
STAR = {"symbol": "star", "size": 13, "color": "@best", "line": {"color": "@background", "width": 1}}
CROSS = {"symbol": "x-thin", "size": 8, "line": {"color": "@fail", "width": 1.8}}
CROWD = 500
"""Points, from which on they are drawn small."""
MOST_POINTS, MOST_PLACES = 3_000, 200
SHORT_NAME = 34


def label(text: Any) -> str:
    """A person's text in a figure: neither markup nor a template."""
    return html.escape(plain(str(text)), quote=False).replace("%{", "% {")


def short(text: Any, width: int = SHORT_NAME) -> str:
    return label(line(str(text), width))


def stage_colour(stage: int, stages: int) -> str:
    return f"@stage-{max(0, STAGES - stages + min(stage, stages - 1))}"


def colour_scale(digest: Digest) -> list[list[Any]]:
    """From low to high values of the metric; good ones stand out in either direction."""
    sign = digest.study.direction.sign
    return [[index / 4, f"@scale-{index if sign > 0 else 4 - index}"] for index in range(5)]


# ---- the metric over time --------------------------------------------------------------------------------------------


def history(digest: Digest) -> Figure:
    """Every trial where it ended, and the best complete one so far."""
    unit, seconds = time_unit(digest.clock.seconds)
    ends, columns = digest.timeline.ends, digest.columns

    def when(row: int) -> float:
        return ends.get(columns["number"][row], digest.clock.at(columns["created"][row] or 0.0)) / seconds

    marks = [
        Mark(columns["number"][i], when(i), columns["value"][i], columns["stage"][i], True)
        for i in sample(digest.ranked, MOST_POINTS)
    ]
    failed = [
        Mark(columns["number"][i], when(i), None, columns["stage"][i], False)
        for i in sample(digest.failed, MOST_POINTS // 4)
    ]
    steps = digest.records
    xs = [when(i) for i in steps] + ([digest.clock.seconds / seconds] if steps else [])
    ys = [columns["value"][i] for i in steps] + ([columns["value"][steps[-1]]] if steps else [])
    best = {
        "type": "scatter", "mode": "lines", "x": xs, "y": [digest.scale.shown(y) for y in ys], "name": "best so far",
        "line": {"color": "@best", "width": 2, "shape": "hv"}, "hoverinfo": "skip",
    }  # fmt: skip
    cuts = [vertical(cut / seconds, "@faint", "dot") for cut in digest.timeline.cuts]
    return {
        "data": [*_scatters(digest, marks, failed), best],
        "layout": {
            "xaxis": {"title": {"text": f"time of the sweep, {unit}"}, "rangemode": "tozero"},
            "yaxis": _metric_axis(digest),
            "shapes": cuts,
            "showlegend": False,
        },
    }


def time_unit(seconds: float) -> tuple[str, float]:
    """
    >>> time_unit(50), time_unit(600), time_unit(9_000)
    (('s', 1.0), ('min', 60.0), ('h', 3600.0))
    """
    return ("s", 1.0) if seconds < 180 else ("min", 60.0) if seconds < 7200 else ("h", 3600.0)


# ---- one parameter at a time -----------------------------------------------------------------------------------------


def axis(digest: Digest, found: Axis) -> Figure:
    """The range as it is now is a band, as it began is dotted; an arrow leads from an edge to where it was moved."""
    marks, failed = (spread_out(found, each) for each in (found.marks, found.failed))
    shapes = [_band(found.ranges[-1])] if found.ranges else []
    for low, high in found.ranges[:-1]:
        shapes += [vertical(low, "@faint", "dot"), vertical(high, "@faint", "dot")]
    for edge in found.ranges[-1] if found.ranges else ():
        shapes.append(vertical(edge, "@edge", "solid"))
    return {
        "data": _scatters(digest, marks, failed),
        "layout": {
            "xaxis": _parameter_axis(found),
            "yaxis": _metric_axis(digest),
            "shapes": shapes,
            "annotations": list(_moves(found)),
            "showlegend": False,
        },
    }


def isolation(digest: Digest, found: Axis) -> Figure:
    """The best of each stretch of the range, over which a line is drawn; the others are as they were at their best."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for each in found.bins:
        xs += [each.low, each.high, None]
        ys += [*[digest.scale.shown(each.best.y or 0.0)] * 2, None]
    lines = {
        "type": "scatter", "mode": "lines", "x": xs, "y": ys, "line": {"color": "@faint", "width": 3},
        "hoverinfo": "skip",
    }  # fmt: skip
    return {
        "data": [lines, *_scatters(digest, [each.best for each in found.bins], [], size=8)],
        "layout": {"xaxis": _parameter_axis(found), "yaxis": _metric_axis(digest), "showlegend": False},
    }


def ticks_each(found: Axis) -> bool:
    """Whether it is of a few whole numbers, which are its ticks."""
    few = not found.choices and not found.log and found.span[1] - found.span[0] < COUNTED
    return few and bool(found.marks) and all(mark.x == int(mark.x) for mark in found.marks)


def spread_out(found: Axis, marks: Sequence[Mark]) -> list[Mark]:
    """The trials of one choice side by side, each always at the same place."""
    if not found.choices:
        return list(marks)
    return [
        Mark(mark.number, mark.x + 0.6 * ((mark.number * 0.618034) % 1 - 0.5), mark.y, mark.stage, mark.complete)
        for mark in marks
    ]


def _parameter_axis(found: Axis) -> dict[str, Any]:
    low, high = found.span
    title = {"title": {"text": short(found.name, 48)}}
    if found.choices:
        width = max(6, 60 // len(found.choices))
        texts = [short(choice, width) for choice in found.choices]
        return {**title, "range": [low, high], "tickvals": list(range(len(texts))), "ticktext": texts}
    kind = LOG if found.log else {"dtick": 1} if ticks_each(found) else {}
    return {**title, "range": _padded(low, high, found.log), **kind}


def _padded(low: float, high: float, log: bool) -> list[float]:
    if log and low > 0:
        low, high = math.log10(low), math.log10(high)
    room = 0.05 * (high - low) or 0.5 * (abs(low) or 1.0)
    return [low - room, high + room]


def _moves(found: Axis) -> Iterable[dict[str, Any]]:
    """Arrows above the plot; on a logarithmic axis their places are logarithms."""
    for before, after in zip(found.ranges, found.ranges[1:], strict=False):
        for old, new in zip(before, after, strict=True):
            if old != new:
                start, stop = (math.log10(each) if found.log else each for each in (old, new))
                yield {
                    "x": stop, "ax": start, "xref": "x", "axref": "x", "y": 1.03, "yref": "paper", "ay": 0, "text": "",
                    "showarrow": True, "arrowhead": 2, "arrowsize": 1, "arrowwidth": 1.5, "arrowcolor": "@edge",
                }  # fmt: skip


# ---- all parameters together -----------------------------------------------------------------------------------------


def importance(found: Importance) -> Figure:
    names = [short(name) for name, _ in found.shares][::-1]
    return {
        "data": [
            {
                "type": "bar", "orientation": "h", "x": [share for _, share in found.shares][::-1], "y": names,
                "marker": {"color": "@accent"}, "hovertemplate": "%{y}: %{x:.0%}<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": {"tickformat": ".0%", "rangemode": "tozero"},
            "yaxis": {"automargin": True, "type": "category"},
            "height": 80 + 24 * len(names),
            "bargap": 0.45,
        },
    }  # fmt: skip


def contour(digest: Digest, found: Contour) -> Figure:
    """With the trials that it rests on, or some of these."""
    one, other = (digest.space[name] for name in found.names)
    shown = [found.points[i] for i in sample(range(len(found.points)), MOST_PLACES)]
    smooth = landscape.GRID == len(found.x) == len(found.y)
    surface = {
        "type": "contour" if smooth else "heatmap",
        "x": found.x, "y": found.y, "z": found.heights, "connectgaps": False, "hoverinfo": "skip",
        "colorscale": colour_scale(digest),
        "colorbar": {"thickness": 10, "outlinewidth": 0, "title": {"text": short(digest.study.metric, 24)}},
        **({"contours": {"coloring": "heatmap"}, "line": {"width": 0.5, "color": "@background"}} if smooth else {}),
    }  # fmt: skip
    points = {
        "type": "scatter", "mode": "markers",
        "x": [x for x, *_ in shown], "y": [y for _, y, *_ in shown],
        "customdata": [[number, value] for *_, value, number in shown],
        "marker": {"color": "@background", "size": 5, "line": {"color": "@text", "width": 1}},
        "hovertemplate": _told(digest),
    }  # fmt: skip
    x, y, value, best = found.points[0]
    winner = {**points, "x": [x], "y": [y], "customdata": [[best, value]], "marker": STAR}
    return {
        "data": [surface, points, winner],
        "layout": {
            "xaxis": _plane_axis(one), "yaxis": {**_plane_axis(other), "automargin": True}, "showlegend": False,
            "height": 420,
        },
    }  # fmt: skip


def _plane_axis(parameter: Parameter) -> dict[str, Any]:
    title = {"title": {"text": short(parameter.name)}, "showgrid": False, "zeroline": False}
    if isinstance(parameter, Categorical):
        texts = [short(as_text(choice), 16) for choice in parameter.choices]
        return {**title, "tickvals": list(range(len(texts))), "ticktext": texts}
    counted = is_counted(parameter, parameter.low, parameter.high)
    return {**title, **(LOG if parameter.log else {"dtick": 1} if counted else {})}


# ---- learning curves, workers ----------------------------------------------------------------------------------------


def curves(panel: Panel) -> Figure:
    """Validation solid, training dashed, a colour for each of the best; the others thin."""
    behind = {
        "type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False,
        "line": {"color": "@faint", "width": 1}, "opacity": 0.7,
        **_joined([curve.val for curve in panel.others]),
    }  # fmt: skip
    data = [behind]
    for curve, colour in zip(panel.best, BEST, strict=False):
        for told, dash, name in ((curve.val, "solid", panel.val_name), (curve.train, "dash", panel.train_name)):
            if told and name:
                data.append(
                    {
                        "type": "scatter", "mode": "lines" if len(told) > 1 else "markers",
                        "x": [epoch for epoch, _ in told], "y": [value for _, value in told],
                        "name": f"{curve.number}", "legendgroup": str(curve.number), "showlegend": dash == "solid",
                        "line": {"color": colour, "width": 2, "dash": dash}, "marker": {"color": colour},
                        "hovertemplate": f"trial {curve.number}, {short(name)} %{{y:.4g}}, epoch %{{x}}<extra></extra>",
                    }
                )  # fmt: skip
    values = [y for curve in (*panel.best, *panel.others) for _, y in (*curve.val, *curve.train) if y is not None]
    wide = len(values) > 1 and min(values) > 0 and max(values) / min(values) > 30
    return {
        "data": data,
        "layout": {
            "xaxis": {"title": {"text": "epochs"}},
            "yaxis": {"title": {"text": short(panel.what)}, **(LOG if wide else {})},
            "showlegend": True,
        },
    }


def _joined(lines: Iterable[Line]) -> dict[str, list[Any]]:
    """Many lines as one trace, with gaps between them."""
    xs: list[Any] = []
    ys: list[Any] = []
    for told in lines:
        xs += [*(epoch for epoch, _ in told), None]
        ys += [*(value for _, value in told), None]
    return {"x": xs, "y": ys}


def together(digests: Sequence[Digest]) -> Figure:
    """Several studies: the best so far of each over what it had spent."""
    unit = "full trainings spent" if all(digest.study.full_epochs for digest in digests) else "trials"
    data = [
        {
            "type": "scatter", "mode": "lines+markers", "name": short(digest.study.name),
            "x": [x for x, _ in digest.spent], "y": [y for _, y in digest.spent],
            "line": {"color": BEST[index % len(BEST)], "width": 2, "shape": "hv"}, "marker": {"size": 4},
        }
        for index, digest in enumerate(digests)
    ]  # fmt: skip
    title = {"text": short(digests[0].study.metric)}
    return {
        "data": data,
        "layout": {"xaxis": {"title": {"text": unit}}, "yaxis": {"title": title}, "showlegend": True},
    }


# ---- parts -----------------------------------------------------------------------------------------------------------


def _scatters(digest: Digest, marks: Sequence[Mark], failed: Sequence[Mark], size: int = 6) -> list[dict[str, Any]]:
    """A trace for each stage; the best trial stands out; the failed are crosses at the bad end of the metric's axis."""
    told = _told(digest)
    best = digest.complete[:1] or digest.ranked[:1]
    winner = digest.columns["number"][best[0]] if best else None
    stages = len(digest.stages)
    size = size if len(marks) < CROWD else 4
    traces = []
    for stage in sorted({mark.stage for mark in marks}):
        here = [mark for mark in marks if mark.stage == stage and mark.number != winner]
        name = digest.stages[min(stage, stages - 1)] if stages > 1 else "trials"
        marker = {"color": stage_colour(stage, stages), "size": size, "opacity": 0.85}
        traces.append({**_points(digest.scale, here), "name": short(name), "marker": marker, "hovertemplate": told})
    chosen = [mark for mark in marks if mark.number == winner]
    if chosen:
        traces.append({**_points(digest.scale, chosen), "name": "the best", "marker": STAR, "hovertemplate": told})
    if failed:
        told = "trial %{customdata[0]} failed<extra></extra>"
        traces.append({**_points(digest.scale, failed), "name": "failed", "marker": CROSS, "hovertemplate": told})
    return traces


def _told(digest: Digest) -> str:
    """What a point says under the mouse."""
    return f"trial %{{customdata[0]}}<br>{short(digest.study.metric)} %{{customdata[1]:.4g}}<extra></extra>"


def _points(scale: Scale, marks: Sequence[Mark]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [mark.x for mark in marks],
        "y": [scale.worst if mark.y is None else scale.shown(mark.y) for mark in marks],
        "customdata": [[mark.number, mark.y] for mark in marks],
        "cliponaxis": False,
    }


def _metric_axis(digest: Digest) -> dict[str, Any]:
    low, high = sorted((digest.scale.best, digest.scale.worst))
    kind = LOG if digest.scale.log else {}
    return {"title": {"text": short(digest.study.metric)}, "range": _padded(low, high, digest.scale.log), **kind}


def vertical(x: float, colour: str, dash: str) -> dict[str, Any]:
    line = {"color": colour, "width": 1, "dash": dash}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line, "layer": "below"}


def _band(span: Span) -> dict[str, Any]:
    low, high = span
    line = {"width": 0}
    place = {"x0": low, "x1": high, "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "rect", **place, "fillcolor": "@band", "line": line, "layer": "below"}
