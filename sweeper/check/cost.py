"""What the whole plan will take: its epochs times the seconds of one, at the corners and the middle, by the workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from sweeper.check.finding import Finding, passes, unknown
from sweeper.search.plan import Plan
from sweeper.words.errors import ConfigError
from sweeper.words.numbers import about, duration

NAME = "cost"


def cost(results: Sequence[Mapping[str, Any]], plan: Plan, budget: float, workers: int) -> Finding:
    """Between all trials at the cheapest corner and all at the dearest; likely the middle, by Simpson's rule."""
    measured = [(each["corner"]["place"], seconds) for each in results if (seconds := epoch_seconds(each)) is not None]
    if not measured or len(measured) < len(results):
        return unknown(
            NAME,
            "Cannot tell: an epoch takes longer than was waited for, or was not seen to end.",
            "Let it train longer: --seconds 300; and train by trial.epochs().",
        )
    if plan.full_epochs is None:
        return unknown(NAME, "Cannot tell: how long is a full training?", "Set epochs (hydra.sweeper.epochs).")
    try:
        epochs = plan.budget_epochs(budget)
    except ConfigError as error:
        return unknown(NAME, f"Cannot tell: {error}")
    all_seconds = [seconds for _, seconds in measured]
    low, high = min(all_seconds), max(all_seconds)
    middles = [seconds for place, seconds in measured if place == "middle"] or [(low * high) ** 0.5]
    likely = (low + 4 * fmean(middles) + high) / 6
    wall = [epochs * seconds / workers for seconds in (low, likely, high)]
    hours = epochs * likely / 3600
    guessed = any(each["epoch_seconds"] is None for each in results)
    by = f"{workers} workers" if workers > 1 else "1 worker"
    told = (
        f"{about(wall[1])} ({about(wall[0])} to {about(wall[2])}) for {epochs:,} epochs by {by}, "
        f"{hours:.2g} worker-hours; an epoch takes {duration(likely)} ({duration(low)} to {duration(high)})"
    )
    why = ", without its validation" if guessed else ""
    numbers = {
        "seconds": wall[1],
        "least_seconds": wall[0],
        "most_seconds": wall[2],
        "worker_hours": hours,
        "epochs": epochs,
        "epoch_seconds": likely,
        "workers": workers,
    }
    return passes(NAME, f"About {told}{why}.", **numbers)


def epoch_seconds(result: Mapping[str, Any]) -> float | None:
    """Measured; else the steps of an epoch times the seconds of one."""
    if result["error"] or result["epoch_seconds"] is not None:
        measured: float | None = result["epoch_seconds"]
        return measured
    steps, seconds = result["epoch_steps"], result["step_seconds"]
    return None if steps is None or seconds is None else steps * seconds
