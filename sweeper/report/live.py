"""A running sweep as it is watched: a live table on a terminal, plain lines in a pipe, a log or CI."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import IO, Any, Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from sweeper.report import tables
from sweeper.report.numbers import about, duration, line, number, reason
from sweeper.report.progress import TRIALS, PausedDevice, Progress, RunningTrial
from sweeper.report.summary import failure_lines
from sweeper.trial import TrialRecord, TrialState

AROUND_LINES = 5
"""What the header, the table's headings and empty lines take of a terminal's height."""
FOOTER_LINES = 5
"""What the footer takes, at least."""
BORDERS_SHOWN = 3
LEAST_FINISHED = 3
"""Finished trials that are shown however many run."""
BURST = 8
"""Lines that a plain view may print at once; on average it is one a second."""
SILENCE_SECONDS = 60.0
"""After so long without a line a plain view says what runs."""


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


# ---- on a terminal ---------------------------------------------------------------------------------------------------


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


def screen(progress: Progress, width: int, height: int = 24) -> RenderableType:
    """The study at a glance, within `width` columns and `height` lines."""
    footer = _footer(progress, width)
    room = height - AROUND_LINES - max(FOOTER_LINES, len(footer))
    return Group(_heading(progress), Text(), _trials(progress, width, max(3, room)), Text(), *footer)


def _heading(progress: Progress) -> Text:
    verb = "minimise" if progress.direction.sign > 0 else "maximise"
    standing = f"{progress.standing}, {progress.crew}" if progress.workers else progress.standing
    return Text.assemble(
        (progress.study, "bold"), f"  {progress.search} search, {verb} {progress.metric}  ", (standing, "dim")
    )


def _trials(progress: Progress, width: int, lines: int) -> RenderableType:
    """The running trials, then the latest finished ones; parameters fill what room is left."""
    room = lines - min(LEAST_FINISHED, len(progress.latest))
    shown: list[RunningTrial | TrialRecord] = [*progress.running[:room], *progress.latest]
    del shown[lines:]
    if not shown:
        return Text("no trial yet", style="dim")
    reported = dict.fromkeys(name for each in shown for name in each.metrics)
    others = tables.other_metrics(reported, progress.metric)
    cells = [_cells(each, progress.metric, others) for each in shown]
    while others and tables.width_of(cells) > width:
        gone = others.pop()
        cells = [{name: value for name, value in row.items() if name != gone} for row in cells]
    room = width - tables.width_of(cells) - tables.GAP
    if room >= 24:
        for row, each in zip(cells, shown, strict=True):
            row["parameters"] = line(_parameters(each), room)
    return tables.table(cells, {name: name for name in cells[0]})


def _cells(each: RunningTrial | TrialRecord, metric: str, others: list[str]) -> dict[str, str]:
    running = isinstance(each, RunningTrial)
    state = TrialState.RUNNING if isinstance(each, RunningTrial) else each.state
    failure = "" if isinstance(each, RunningTrial) or each.failure is None else f" {each.failure}"
    target = f"/{each.target_epochs}" if each.target_epochs else ""
    return {
        "trial": str(each.number),
        "state": f"{state}{failure}",
        "epoch": f"{each.epochs_done}{target}",
        metric: number(each.value, pad=True),
        **{name: number(each.metrics.get(name), pad=True) for name in others},
        "seconds": number(float(round(each.seconds, 0 if running else 3)), pad=not running),
    }


def _parameters(each: RunningTrial | TrialRecord) -> str:
    params = each.params or {}
    names = tables.short_names(list(params))
    return "  ".join(f"{name}={number(value)}" for name, value in zip(names, params.values(), strict=True))


def _footer(progress: Progress, width: int) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if (best := progress.best) is not None:
        others = tables.other_metrics(best.metrics, progress.metric)[:2]
        more = "".join(f"  {name} {number(best.metrics[name], pad=True)}" for name in others)
        text = f"{progress.metric} {number(best.value, pad=True)}{more}  trial {best.number}"
        lines.append(_labelled("best", text, "bold green"))
        lines.append(_labelled("", line(_parameters(best), width - 10), ""))
    lines.append(_labelled("done", _bar(progress, width), ""))
    lines += [_labelled(label, line(text, width - 10), "yellow") for label, text in _borders(progress)]
    lines += [_labelled("failed", line(text, width - 10), "red") for text in failure_lines(progress)]
    paused = () if progress.complete else progress.paused
    lines += [_labelled("paused", line(paused_line(each), width - 10), "bold red") for each in paused]
    if progress.message:
        lines.append(_labelled("", line(progress.message, width - 10), "bold red"))
    return lines


def _borders(progress: Progress) -> list[tuple[str, str]]:
    """The edges that the best trials crowd, and the last move of the ranges; a sweep's last lines say it all."""
    if progress.complete:
        return []
    names = [verdict.parameter for verdict in progress.borders]
    short = dict(zip(names, tables.short_names(names), strict=True))
    told = [replace(each, parameter=short[each.parameter]).headline for each in progress.borders if each.crowds]
    if len(told) > BORDERS_SHOWN:
        told[BORDERS_SHOWN - 1 :] = [f"{len(told) - BORDERS_SHOWN + 1} more edges are crowded: sweeper borders"]
    return [*(("border", text) for text in told), *(("ranges", text) for text in progress.moves[-1:])]


def _labelled(label: str, text: str, style: str) -> Text:
    return Text.assemble((f"{label:<8}", "dim"), (text, style), no_wrap=True, overflow="ellipsis")


def _bar(progress: Progress, width: int) -> str:
    numbers = f" {progress.amount} {progress.unit}{_left(progress)}"
    length = max(8, min(40, width - len(numbers) - 10))
    full = int(length * min(1.0, progress.done / max(1, progress.budget)))
    return "━" * full + "╌" * (length - full) + numbers


def _left(progress: Progress) -> str:
    running = f", {len(progress.running)} running" if progress.running and progress.workers else ""
    if progress.seconds_left is None or not progress.seconds_left:
        return running
    return f"{running}, about {about(progress.seconds_left)} left"


# ---- in a pipe -------------------------------------------------------------------------------------------------------


class PlainView:
    """One line for each finished trial, about one a second at most: a log of a thousand short trials stays readable."""

    def __init__(self, stream: IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._seen: set[int] | None = None
        self._ended = 0
        self._passed_over = 0
        self._tokens = float(BURST)
        self._looked = self._printed = clock()
        self._message: str | None = None
        self._paused: set[str] = set()
        self._moves = 0
        self._borders: set[tuple[Any, ...]] = set()

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        if self._passed_over:
            self._print(f"({self._passed_over} more finished)")

    def show(self, progress: Progress) -> None:
        if self._seen is None:
            self._begin(progress)
        now = self._clock()
        self._tokens = min(float(BURST), self._tokens + now - self._looked)
        self._looked = now
        self._show_finished(progress)
        self._show_borders(progress)
        if progress.message and progress.message != self._message:
            self._print(f"{progress.state.lower()}: {line(progress.message)}")
        self._message = progress.message
        for each in progress.paused:
            if each.device not in self._paused:
                self._print(f"paused: {paused_line(each)}")
        self._paused = {each.device for each in progress.paused}
        if now - self._printed >= SILENCE_SECONDS and progress.running:
            self._print(running_line(progress))

    def _begin(self, progress: Progress) -> None:
        """Trials of an earlier run are not told again; those that this run finished before its first look are."""
        before = f", {progress.amount.partition('/')[0]} done before" if progress.done else ""
        verb = "minimise" if progress.direction.sign > 0 else "maximise"
        heading = (
            f"{progress.study}: {progress.search} search, {verb} {progress.metric}, "
            f"{progress.budget:g} {progress.unit}{before}"
        )
        self._print(heading)
        self._seen = {record.number for record in progress.latest}
        self._ended = progress.ended
        self._moves = len(progress.moves)

    def _show_borders(self, progress: Progress) -> None:
        """Each move, and each crowded edge once, as long as its range stays; a sweep's last lines say it all."""
        for move in progress.moves[self._moves :]:
            self._print(f"ranges: {line(move, 400)}")
        self._moves = len(progress.moves)
        for verdict in () if progress.complete else progress.borders:
            seen = (verdict.parameter, verdict.kind, verdict.edge, verdict.low, verdict.high)
            if verdict.crowds and seen not in self._borders:
                self._borders.add(seen)
                self._print(f"border: {line(verdict.sentence, 400)}")

    def _show_finished(self, progress: Progress) -> None:
        assert self._seen is not None
        new = [record for record in progress.latest if record.number not in self._seen][::-1]
        told = new[-int(self._tokens) :] if self._tokens >= 1 else []
        self._passed_over += max(0, progress.ended - self._ended - len(told))
        self._tokens -= len(told)
        self._seen.update(record.number for record in new)
        self._seen.difference_update(each.number for each in progress.running)  # retried: it will finish once more
        self._ended = max(self._ended, progress.ended)
        for index, record in enumerate(told):
            note = f"   ({self._passed_over} others finished)" if self._passed_over else ""
            self._passed_over = 0
            self._print(finished_line(progress, record, len(told) - 1 - index) + note)

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
        self._printed = self._clock()


def finished_line(progress: Progress, record: TrialRecord, later: int = 0) -> str:
    """`[ 7/40] trial 6  val_loss 0.123  val_accuracy 0.981  1.2 s   best 0.101 (trial 3)   about 40 s left`

    `later`: how many trials that ended after this one are told of at the same time.
    """
    done, _, budget = progress.amount.partition("/")
    if progress.unit == TRIALS:
        done = f"{progress.done - later:g}"
    wide = len(budget) + 2 * (progress.unit != TRIALS)
    head = f"[{done:>{wide}}/{budget}] trial {record.number}"
    if record.state is TrialState.PAUSED:
        head += f" paused at epoch {record.epochs_done}"
    if record.failure is not None:
        return f"{head}  FAIL {reason(record.failure, record.message)}  {duration(record.seconds)}"
    best = progress.best
    parts = [
        _metrics(head, progress.metric, record) + f"  {duration(record.seconds)}",
        f"best {number(best.value, pad=True)} (trial {best.number})" if best else "",
        f"about {about(progress.seconds_left)} left" if progress.seconds_left else "",
    ]
    return "   ".join(part for part in parts if part)


def paused_line(paused: PausedDevice) -> str:
    """`gpu 1 of node3, for about 5 min: 3 trials in a row failed there, the last with: …`"""
    return (
        f"{paused.device}, for about {about(paused.seconds_left)}: {paused.failures} trials in a row failed there, the "
        f"last with: {line(paused.message)}"
    )


def running_line(progress: Progress) -> str:
    """What runs, where a trial is long: `[ 7/40] 2 running: trial 7 epoch 5/20 val_loss 0.2, …`"""
    told = ", ".join(
        f"trial {each.number} epoch {each.epochs_done}{f'/{each.target_epochs}' if each.target_epochs else ''} "
        f"{progress.metric} {number(each.value, pad=True)}"
        for each in progress.running[:4]
    )
    return f"[{progress.amount}] {len(progress.running)} running: {told}"


def _metrics(head: str, metric: str, record: TrialRecord) -> str:
    others = tables.other_metrics(record.metrics, metric)
    pairs = [(metric, record.value), *((name, record.metrics.get(name)) for name in others)]
    return "  ".join([head, *(f"{name} {number(value, pad=True)}" for name, value in pairs)])
