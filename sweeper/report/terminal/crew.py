"""The workers at their devices, with load and memory: a line each, or all on one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sweeper.analysis.progress import WorkerStand
from sweeper.words.numbers import BARS, plain

FULL, EMPTY = BARS[6], BARS[0]
BAR = 8
GIB = 2**30


def is_known(workers: Sequence[WorkerStand]) -> bool:
    """Whether any of them has told its load or its memory."""
    return any(each.load is not None or each.memory_bytes is not None for each in workers)


def lines(workers: Sequence[WorkerStand]) -> list[str]:
    """A line each: `gpu 1  ▇▇▇▇▇▇▁▁  78 %  31/80 GiB  trial 12`."""
    rows = [(name, bar(each.load), load(each), memory(each), _trial(each)) for name, each in _named(workers)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:>{width}}" if index in (2, 3) else f"{cell:<{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ).rstrip()
        for row in rows
    ]


def line(workers: Sequence[WorkerStand], width: int) -> str:
    """All on one line: `gpu 0 78 % 31 GiB · gpu 1 80 % 30 GiB · and 6 more`."""
    told = [
        " ".join(part for part in (name, load(each), memory(each, total=False)) if part)
        for name, each in _named(workers)
    ]
    for count in range(len(told), 0, -1):
        rest = [] if count == len(told) else [f"and {len(told) - count} more"]
        if len(text := " · ".join([*told[:count], *rest])) <= width:
            return text
    return f"{len(told)} workers"


def bar(load: float | None) -> str:
    """
    >>> bar(0.78), bar(None)
    ('▇▇▇▇▇▇▁▁', '')
    """
    if load is None:
        return ""
    full = round(min(1.0, max(0.0, load)) * BAR)
    return FULL * full + EMPTY * (BAR - full)


def memory(worker: WorkerStand, *, total: bool = True) -> str:
    """`31/80 GiB` in use of all, or `0.4 GiB`."""
    if worker.memory_bytes is None:
        return ""
    used = worker.memory_bytes / GIB
    text = f"{used:.0f}" if used >= 9.95 else f"{used:.1f}"
    of = f"/{worker.memory_total_bytes / GIB:.0f}" if total and worker.memory_total_bytes else ""
    return f"{text}{of} GiB"


def load(worker: WorkerStand) -> str:
    return "" if worker.load is None else f"{round(100 * worker.load)} %"


def _trial(worker: WorkerStand) -> str:
    return "idle" if worker.trial is None else f"trial {worker.trial}"


def _named(workers: Sequence[WorkerStand]) -> Iterator[tuple[str, WorkerStand]]:
    """By their devices; where all are on one host, that is not said again."""
    alone = len({each.host for each in workers}) == 1
    for each in workers:
        yield plain((each.slot or each.device) if alone else each.place), each
