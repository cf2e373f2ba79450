"""`sweeper status`: how a study stands, on one screen, or as data."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.analysis.lookout import Lookout
from sweeper.analysis.progress import Progress
from sweeper.report import ledger
from sweeper.report.ledger import Ledger
from sweeper.report.terminal import crew, live
from sweeper.report.terminal.summary import address
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.numbers import duration, plain
from sweeper.words.records import TrialState

WORKERS = 8
JUDGED = 1_000
"""The borders of a larger study take longer than all else: `sweeper borders` says them."""
LEAST_HEIGHT = 24
SEEN = ("stages", "ranges", "borders", "moves")
"""What a `Lookout` adds; `sweeper stages` and `sweeper borders` have it as data."""


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
    return [("time", text)] if (text := ledger.line(spent)) else []


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


def nested(progress: Progress, spent: Ledger) -> dict[str, Any]:
    told = {name: value for name, value in asdict(progress).items() if name not in SEEN}
    return {"standing": progress.standing, **told, "time": ledger.nested(spent)}


def flat(progress: Progress, spent: Ledger) -> dict[str, Any]:
    """One row: counts, failures and what the time was spent on in columns of their own."""
    best = progress.best
    counts: Mapping[str, int] = {f"trials.{state}": progress.counts.get(state, 0) for state in TrialState}
    return {
        **{name: getattr(progress, name) for name in ("study", "search", "metric", "direction", "standing", "done")},
        "budget": progress.budget,
        **counts,
        **{f"failures.{reason}": count for reason, count in progress.failures.items()},
        "best.number": best.number if best else None,
        "best.value": best.value if best else None,
        "workers": len(progress.workers),
        "workers_asked": progress.workers_asked,
        "paused_devices": len(progress.paused),
        "seconds_left": progress.seconds_left,
        **dict(
            zip(("seconds_left.low", "seconds_left.high"), progress.seconds_left_range or (None, None), strict=True)
        ),
        **{f"time.{name}": amount for name, amount in ledger.flat(spent).items()},
    }
