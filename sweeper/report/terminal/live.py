"""A running sweep as it is watched: a live table on a terminal; in a pipe, a log or CI plain lines (`plain`)."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from typing import IO, Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from sweeper.analysis.progress import Progress, RunningTrial
from sweeper.report.terminal import footer, tables
from sweeper.report.terminal.plain import PlainView
from sweeper.words.numbers import line, number, sparkline
from sweeper.words.records import TrialRecord, TrialState

AROUND_LINES = 5
"""What the header, the table's headings and empty lines take of a terminal's height."""
LEAST_FINISHED = 3
"""Finished trials that are shown however many run."""
CURVE = "curve"
CURVE_WIDTHS = {120: 16, 100: 12, 0: 8}
"""How wide a curve is drawn, from so many columns of the terminal on."""
PARAMETERS_WIDTH = 24
"""With less room than that parameters are left out."""

Row = dict[str, str]


class View(Protocol):
    """Where a running sweep is shown; `show` is called once or twice a second, and once at the end."""

    def __enter__(self) -> View: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, progress: Progress) -> None: ...


def view_for(stream: IO[str] | None = None, *, plain: bool = False) -> View:
    """A live table where `stream` (stdout) is a terminal, else plain lines. `plain`: lines in any case."""
    stream = stream or sys.stdout
    dumb = os.environ.get("TERM", "dumb") == "dumb" or "CI" in os.environ
    return PlainView(stream) if plain or dumb or not stream.isatty() else LiveView(stream)


class LiveView:
    def __init__(self, stream: IO[str]) -> None:
        self._console = tables.page(stream)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        width, height = self._console.size
        self._live.update(screen(progress, width, height), refresh=True)


def screen(progress: Progress, width: int, height: int = 24, *, devices: bool = True) -> RenderableType:
    """The study at a glance, within `width` columns and `height` lines. `devices`: with their load and memory."""
    above, below = footer.essential(progress, width), footer.warnings(progress, width)
    room = height - AROUND_LINES - len(above) - len(below)
    rows = min(len(progress.running), height // 3) + min(LEAST_FINISHED, len(progress.latest))
    above += footer.optional(progress, width, room - max(LEAST_FINISHED, rows), devices=devices)
    room = max(3, height - AROUND_LINES - len(above) - len(below))
    return Group(_heading(progress), Text(), _trials(progress, width, room), Text(), *above, *below)


def _heading(progress: Progress) -> Text:
    verb = "minimise" if progress.direction.sign > 0 else "maximise"
    standing = f"{progress.standing}, {progress.crew}" if progress.workers else progress.standing
    what = f"  {progress.search} search, {verb} {progress.metric}  "
    return Text.assemble((progress.study, "bold"), what, (standing, "dim"), no_wrap=True, overflow="ellipsis")


# ---- the trials ------------------------------------------------------------------------------------------------------


def _trials(progress: Progress, width: int, lines: int) -> RenderableType:
    """The running trials, then the latest finished ones; parameters fill what room is left."""
    room = lines - min(LEAST_FINISHED, len(progress.latest))
    shown: list[RunningTrial | TrialRecord] = [*progress.running[:room], *progress.latest]
    del shown[lines:]
    if not shown:
        return Text("no trial yet", style="dim")
    reported = dict.fromkeys(name for each in shown for name in each.metrics)
    others = tables.other_metrics(reported, progress.metric)
    columns = next(wide for least, wide in CURVE_WIDTHS.items() if width >= least)
    cells = _fitted([_cells(each, progress.metric, others, columns) for each in shown], [CURVE, *others], width)
    room = width - tables.width_of(cells) - tables.GAP
    if room >= PARAMETERS_WIDTH:
        for row, each in zip(cells, shown, strict=True):
            row["parameters"] = line(footer.parameters(each), room)
    return tables.table(cells, {name: name for name in cells[0]})


def _fitted(cells: list[Row], dispensable: list[str], width: int) -> list[Row]:
    """Without the curves where there are none, and without the last of what is `dispensable` as far as it must be."""
    gone = [] if any(row[CURVE] for row in cells) else [CURVE]
    left = [name for name in dispensable if name not in gone]
    kept = [{name: value for name, value in row.items() if name not in gone} for row in cells]
    while left and tables.width_of(kept) > width:
        last = left.pop()
        kept = [{name: value for name, value in row.items() if name != last} for row in kept]
    return kept


def _cells(each: RunningTrial | TrialRecord, metric: str, others: list[str], columns: int) -> Row:
    running = isinstance(each, RunningTrial)
    state = TrialState.RUNNING if isinstance(each, RunningTrial) else each.state
    failure = "" if isinstance(each, RunningTrial) or each.failure is None else f" {each.failure}"
    target = f"/{each.target_epochs}" if each.target_epochs else ""
    return {
        "trial": str(each.number),
        "state": f"{state}{failure}",
        "epoch": f"{each.epochs_done}{target}",
        metric: number(each.value, pad=True),
        CURVE: curve(each.curve, columns, running=running),
        **{name: number(each.metrics.get(name), pad=True) for name in others},
        "seconds": number(float(round(each.seconds, 0 if running else 3)), pad=not running),
    }


def curve(by_epoch: Mapping[int, float | None], columns: int, *, running: bool) -> str:
    """The study's metric as bars; two epochs at least make a curve.

    What was not finite has no number in the store. The last epoch of a trial that runs may not have it yet.
    """
    values = [math.nan if value is None else value for value in by_epoch.values()]
    if running and values and math.isnan(values[-1]):
        del values[-1]
    return sparkline(values, columns) if len(values) > 1 else ""
