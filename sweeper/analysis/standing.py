"""How a study stands, as JSON and as one flat row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sweeper.analysis import accounts
from sweeper.analysis.accounts import Ledger
from sweeper.analysis.progress import Progress
from sweeper.words.records import TrialState

SEEN = ("stages", "ranges", "borders", "moves")
"""What a `Lookout` adds; `sweeper stages` and `sweeper borders` have it as data."""


def nested(progress: Progress, spent: Ledger) -> dict[str, Any]:
    told = {name: value for name, value in asdict(progress).items() if name not in SEEN}
    return {"standing": progress.standing, **told, "time": accounts.nested(spent)}


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
        **{f"time.{name}": amount for name, amount in accounts.flat(spent).items()},
    }
