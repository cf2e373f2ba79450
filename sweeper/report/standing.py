"""`sweeper status`: how a study stands, on one screen, or as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from sweeper.report import live
from sweeper.report.numbers import duration, plain
from sweeper.report.progress import Progress
from sweeper.report.summary import address
from sweeper.store.connection import Store
from sweeper.trial import TrialState

WORKERS = 8


def draw(store: Store, progress: Progress, width: int) -> RenderableType:
    """The live view's screen, with the counts, the workers and the store below."""
    counts = "  ".join(f"{progress.counts[state]} {state}" for state in TrialState if progress.counts.get(state))
    lines = [
        Text.assemble((f"{label:<8}", "dim"), text)
        for label, text in (("trials", counts or "none"), *_workers(progress), ("store", address(store)))
    ]
    return Group(live.screen(progress, width), *lines)


def _workers(progress: Progress) -> list[tuple[str, str]]:
    paused = {each.device for each in progress.paused}
    told = [
        f"{plain(worker.place)}, process {worker.pid}, for {duration(worker.seconds)}, "
        + (f"trial {worker.trial}" if worker.trial is not None else "paused" if worker.place in paused else "idle")
        for worker in progress.workers[:WORKERS]
    ]
    if len(progress.workers) > WORKERS:
        told.append(f"and {len(progress.workers) - WORKERS} more")
    return [("" if index else "workers", text) for index, text in enumerate(told or ["none is alive"])]


def nested(progress: Progress) -> dict[str, Any]:
    told = asdict(progress)
    return {"standing": progress.standing, **{name: told[name] for name in told if name not in ("borders", "moves")}}


def flat(progress: Progress) -> dict[str, Any]:
    """One row: counts and failures in columns of their own."""
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
    }
