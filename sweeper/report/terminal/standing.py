"""`sweeper status`: how a study stands, on one screen, or as data."""

from __future__ import annotations

import shutil

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.analysis.accounts import Ledger
from sweeper.analysis.lookout import Lookout
from sweeper.analysis.progress import Progress
from sweeper.report.accounts import line
from sweeper.report.terminal import crew, live
from sweeper.store import reads
from sweeper.store.address import address
from sweeper.store.connection import Store
from sweeper.words.numbers import duration, plain
from sweeper.words.records import TrialState

WORKERS = 8
JUDGED = 1_000
"""The borders of a larger study take longer than all else: `sweeper borders` says them."""
LEAST_HEIGHT = 24


def draw(store: Store, progress: Progress, spent: Ledger, width: int) -> RenderableType:
    """The live view's screen, with the counts, where the time went, the workers and the store below."""
    counts = "  ".join(f"{progress.counts[state]} {state}" for state in TrialState if progress.counts.get(state))
    lines = [
        Text.assemble((f"{label:<8}", "dim"), text)
        for label, text in (("trials", counts or "none"), *_time(spent), *_workers(progress), ("store", address(store)))
    ]
    study = reads.study(store, progress.study)
    seen = Lookout(store, judges=progress.ended <= JUDGED).look(study, progress)
    height = shutil.get_terminal_size().lines - len(lines) - 1
    return Group(live.screen(seen, width, max(LEAST_HEIGHT, height), devices=False), *lines)


def _time(spent: Ledger) -> list[tuple[str, str]]:
    return [("time", text)] if (text := line(spent)) else []


def _workers(progress: Progress) -> list[tuple[str, str]]:
    paused = {each.device for each in progress.paused}
    told = [
        f"{plain(worker.place)}, process {worker.pid}, for {duration(worker.seconds)}, "
        + (f"trial {worker.trial}" if worker.trial is not None else "paused" if worker.place in paused else "idle")
        + "".join(f", {part}" for part in (crew.load(worker), crew.memory(worker)) if part)
        for worker in progress.workers[:WORKERS]
    ]
    if len(progress.workers) > WORKERS:
        told.append(f"and {len(progress.workers) - WORKERS} more")
    return [("" if index else "workers", text) for index, text in enumerate(told or ["none is alive"])]
