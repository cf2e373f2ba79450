"""The main plots as PNG and SVG files, by matplotlib, from the numbers that the page is made of."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sweeper.analysis import axes, curves, digest, importance
from sweeper.analysis.axes import Axis, Mark
from sweeper.analysis.digest import Digest
from sweeper.analysis.importance import Contour, Importance
from sweeper.report.html import plots
from sweeper.search.space import Categorical, as_text
from sweeper.store.connection import Store
from sweeper.words.errors import ConfigError
from sweeper.words.numbers import line
from sweeper.words.records import StudyRecord

ENDINGS = (".png", ".svg")
INK, PALE, BEST, FAILED, BAND = "#1f5f8f", "#b9bfc6", "#d9820f", "#c93a34", "#eef3f7"
STAGES = ("#c3d7e6", "#92b8d3", "#5b93bb", INK)
SERIES = (INK, "#b5651d", "#3f7d4e", "#7a5195")
COLUMNS = 3


def write(store: Store, study: StudyRecord, folder: Path) -> list[Path]:
    """Write `history`, `axes`, `isolation`, `importance`, `contour`, `curves` and `workers`, as far as there is one.

    Raises ConfigError where matplotlib is missing, or the folder cannot be written.
    """
    make = figures()
    found = digest.collect(store, study)
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in _drawn(make, store, found):
            for ending in ENDINGS:
                written.append(folder / f"{name}{ending}")
                figure.savefig(written[-1], dpi=150, bbox_inches="tight")
    except OSError as error:
        raise ConfigError(f"Plots cannot be written to {folder}: {error}.") from error
    return written


def figures() -> Any:
    """matplotlib's `Figure`."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        cure = "pip install 'sweeper-hpo[plots]'"
        raise ConfigError(f"--plots needs matplotlib, which is not installed: {cure}.") from None
    return Figure


def _drawn(make: Any, store: Store, found: Digest) -> Iterable[tuple[str, Any]]:
    matters = importance.importance(store, found)
    parameters = [axes.collect(found, parameter) for parameter in found.parameters]
    surface = importance.contour(found, [name for name, _ in matters.shares])
    if found.ranked or found.failed:
        yield "history", _history(make, found)
        yield "axes", _grid(make, found, parameters, isolated=False)
    if len(found.ranked) > 1:
        yield "isolation", _grid(make, found, parameters, isolated=True)
    if matters.shares:
        yield "importance", _importance(make, matters)
    if surface:
        yield "contour", _contour(make, found, surface)
    panels = [panel for panel in curves.collect(store, found) if panel.is_curved]
    if panels:
        yield "curves", _curves(make, panels)
    if found.timeline.lives:
        yield "workers", _workers(make, found)


def _history(make: Any, found: Digest) -> Any:
    figure = make(figsize=(9, 4))
    panel = figure.add_subplot()
    unit, seconds = plots.time_unit(found.clock.seconds)
    ends, numbers = found.timeline.ends, found.columns["number"]

    def at(rows: Iterable[int]) -> list[Mark]:
        columns = found.columns
        return [
            Mark(numbers[i], ends.get(numbers[i], 0.0) / seconds, columns["value"][i], columns["stage"][i], True)
            for i in rows
        ]

    _scatter(panel, found, at(found.ranked), at(found.failed))
    steps = at(found.records)
    xs = [mark.x for mark in steps] + ([found.clock.seconds / seconds] if steps else [])
    ys = [mark.y for mark in steps] + [mark.y for mark in steps[-1:]]
    panel.step(xs, ys, where="post", color=BEST, label="best so far")
    _metric(panel, found)
    panel.set_xlabel(f"time of the sweep, {unit}")
    panel.legend(fontsize="small", frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=6)
    return figure


def _grid(make: Any, found: Digest, parameters: list[Axis], *, isolated: bool) -> Any:
    rows = max(1, -(-len(parameters) // COLUMNS))
    figure = make(figsize=(4 * COLUMNS, 3 * rows), layout="constrained")
    for index, each in enumerate(parameters):
        panel = figure.add_subplot(rows, COLUMNS, index + 1)
        if isolated:
            for part in each.bins:
                panel.plot([part.low, part.high], [found.scale.shown(part.best.y or 0.0)] * 2, color=PALE, linewidth=3)
            _scatter(panel, found, [part.best for part in each.bins], [])
        else:
            _scatter(panel, found, plots.spread_out(each, each.marks), plots.spread_out(each, each.failed))
            for low, high in each.ranges[:-1]:
                panel.axvline(low, color=PALE, linestyle=":")
                panel.axvline(high, color=PALE, linestyle=":")
            if each.ranges:
                panel.axvspan(*each.ranges[-1], color=BAND, zorder=-1)
        if each.choices:
            panel.set_xticks(range(len(each.choices)), [_word(choice, 12) for choice in each.choices])
        if each.log:
            panel.set_xscale("log")
        elif plots.ticks_each(each):
            panel.set_xticks(range(int(each.span[0]), int(each.span[1]) + 1))
        panel.set_xlabel(_word(each.name))
        _metric(panel, found)
    return figure


def _scatter(panel: Any, found: Digest, marks: Iterable[Mark], failed: Iterable[Mark]) -> None:
    marks, failed, stages = list(marks), list(failed), len(found.stages)
    for stage in sorted({mark.stage for mark in marks}):
        here = [mark for mark in marks if mark.stage == stage]
        heights = [found.scale.shown(mark.y) for mark in here if mark.y is not None]
        colour = STAGES[int(plots.stage_colour(stage, stages)[-1])]
        name = _word(found.stages[min(stage, stages - 1)]) if stages > 1 else "trials"
        panel.scatter([mark.x for mark in here], heights, s=14, color=colour, label=name)
    if failed:
        worst = [found.scale.worst] * len(failed)
        panel.scatter([mark.x for mark in failed], worst, marker="x", s=24, color=FAILED, label="failed")


def _metric(panel: Any, found: Digest) -> None:
    panel.set_ylabel(_word(found.study.metric))
    if found.scale.log:
        panel.set_yscale("log")
    panel.spines[["top", "right"]].set_visible(False)


def _importance(make: Any, matters: Importance) -> Any:
    figure = make(figsize=(6, 1 + 0.3 * len(matters.shares)))
    panel = figure.add_subplot()
    shares = matters.shares[::-1]
    panel.barh([_word(name) for name, _ in shares], [share for _, share in shares], color=INK)
    panel.set_xlabel(f"importance (PED-ANOVA, {matters.trials} complete trials)")
    panel.spines[["top", "right"]].set_visible(False)
    return figure


def _contour(make: Any, found: Digest, surface: Contour) -> Any:
    figure = make(figsize=(6, 4.5))
    panel = figure.add_subplot()
    heights = [[math.nan if each is None else each for each in row] for row in surface.heights]
    mesh = panel.pcolormesh(surface.x, surface.y, heights, shading="nearest", cmap="viridis")
    figure.colorbar(mesh, label=_word(found.study.metric))
    panel.scatter([x for x, *_ in surface.points], [y for _, y, *_ in surface.points], s=8, color="0.2")
    panel.scatter(*surface.points[0][:2], marker="*", s=140, color=BEST, edgecolor="white")
    for name, side in zip(surface.names, ("x", "y"), strict=True):
        parameter = found.space[name]
        panel.set(**{f"{side}label": _word(name)})
        if isinstance(parameter, Categorical):
            words = [_word(as_text(choice), 12) for choice in parameter.choices]
            getattr(panel, f"set_{side}ticks")(range(len(words)), words)
        elif parameter.log:
            panel.set(**{f"{side}scale": "log"})
    return figure


def _curves(make: Any, panels: list[curves.Panel]) -> Any:
    figure = make(figsize=(6 * len(panels), 4), layout="constrained")
    for index, each in enumerate(panels):
        panel = figure.add_subplot(1, len(panels), index + 1)
        for curve in each.others:
            panel.plot(*_points(curve.val), color=PALE, linewidth=0.7)
        for curve, colour in zip(each.best, SERIES, strict=False):
            panel.plot(*_points(curve.val), color=colour, label=str(curve.number))
            panel.plot(*_points(curve.train), color=colour, linestyle="--")
        panel.set(xlabel="epochs", ylabel=_word(each.what))
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(title="trial (training dashed)", fontsize="small", frameon=False)
    return figure


def _points(told: curves.Line) -> tuple[list[int], list[float]]:
    return [epoch for epoch, _ in told], [float("nan") if value is None else value for _, value in told]


def _workers(make: Any, found: Digest) -> Any:
    lanes = found.timeline
    unit, seconds = plots.time_unit(lanes.seconds)
    figure = make(figsize=(9, 0.9 + 0.35 * len(lanes.lanes)))
    panel = figure.add_subplot()
    for lane, begin, end in lanes.lives:
        panel.barh(lane, (end - begin) / seconds, left=begin / seconds, color="#e6e9ec", height=0.7)
    for each in lanes.stretches:
        width = (each.end - each.begin) / seconds
        panel.barh(each.lane, width, left=each.begin / seconds, color=INK, edgecolor="white", linewidth=0.3, height=0.7)
    panel.set_yticks(range(len(lanes.lanes)), [_word(lane) for lane in lanes.lanes])
    panel.invert_yaxis()
    panel.set_xlabel(f"time of the sweep, {unit}; pale: idle")
    panel.spines[["top", "right"]].set_visible(False)
    return figure


def _word(text: str, width: int = plots.SHORT_NAME) -> str:
    """A person's text in a picture: `$` begins no formula."""
    return re.sub(r"([$\\])", r"\\\1", line(text, width)) if "$" in text else line(text, width)
