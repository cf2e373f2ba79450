"""Where a study's time went, in words."""

from __future__ import annotations

from sweeper.analysis.accounts import KINDS, Ledger

MEANINGS = {
    "useful": "epochs of trials that are complete",
    "paused": "epochs of trials that wait for a promotion",
    "pruned": "epochs of trials that were given up",
    "failed": "in trials that failed",
    "repeated": "trained once more, or lost in a kill",
    "running": "in hand now",
    "waiting": "in trials that were handed back",
    "overhead": "start-up, checkpoints and what else is no epoch",
    "idle": "without a trial",
}
LEAST_SHARE = 0.005


def line(found: Ledger) -> str:
    """`92% busy: 71% useful, 15% paused, 6% overhead`; empty where no worker lived."""
    shares = found.seconds.shares
    if found.utilisation is None:
        return ""
    told = [f"{shares[kind]:.0%} {kind}" for kind in KINDS if kind != "idle" and shares[kind] >= LEAST_SHARE]
    return f"{found.utilisation:.0%} busy" + (f": {', '.join(told)}" if told else "")
