"""Where a study's time went, in words, and as rows and JSON for those who ask."""

from __future__ import annotations

from typing import Any

from sweeper.analysis.accounts import KINDS, Account, Ledger, WorkerAccount, collect, of_workers

__all__ = ["KINDS", "Account", "Ledger", "WorkerAccount", "collect", "of_workers"]

EPOCH_KINDS = KINDS[:-2]
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


def flat(found: Ledger) -> dict[str, float | None]:
    """`utilisation`, `seconds.useful`, …, `seconds.failed.diverged` for each reason that there was; of epochs too."""
    told: dict[str, float | None] = {"utilisation": found.utilisation}
    for prefix, account in (("seconds", found.seconds), ("epochs", found.epochs)):
        kinds = KINDS if prefix == "seconds" else EPOCH_KINDS
        told |= {f"{prefix}.{name}": account.parts[name] for name in kinds}
        told |= {f"{prefix}.failed.{why}": amount for why, amount in sorted(account.failed.items())}
    return told


def nested(found: Ledger) -> dict[str, Any]:
    """For JSON: utilisation, and by kind seconds and epochs; the failed ones by reason."""
    seconds = {**found.seconds.parts, "failed": dict(found.seconds.failed)}
    epochs = {name: found.epochs.parts[name] for name in EPOCH_KINDS} | {"failed": dict(found.epochs.failed)}
    return {"utilisation": found.utilisation, "seconds": seconds, "epochs": epochs}
