"""A running sweep in a pipe, a log or CI: plain lines, about one a second at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import IO, Any

from sweeper.analysis.progress import TRIALS, PausedDevice, Progress
from sweeper.report.terminal import tables
from sweeper.words.numbers import about, duration, line, number, reason
from sweeper.words.records import TrialRecord, TrialState

BURST = 8
"""Lines that a plain view may print at once; on average it is one a second."""
SILENCE_SECONDS = 60.0
"""After so long without a line a plain view says what runs."""


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
        progress.left,
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
