"""The losses of the first epoch: still numbers, not far above the first, and falling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.training.lr_range import Stability
from sweeper.words.numbers import short

NAME = "first epoch"
FEW = 8


def steps(losses: Sequence[float], whole: bool) -> Finding:
    """`losses`: one for each step; `whole`: of the whole first epoch."""
    if not losses:
        return unknown(NAME, "Cannot tell: no loss was seen that a step follows.")
    stability = Stability()
    lost = next((index for index, loss in enumerate(losses) if stability.lost(loss)), None)
    if lost is not None:
        return fails(
            NAME,
            f"The training is lost at step {lost + 1}: the loss goes from {short(losses[0])} to {short(losses[lost])}.",
            "Make the learning rate smaller (sweeper check --lr), clip gradients, and scale the inputs.",
            steps=len(losses),
            first=losses[0],
            last=losses[lost],
        )
    part = max(1, len(losses) // 4)
    first, last = fmean(losses[:part]), fmean(losses[-part:])
    numbers = {"steps": len(losses), "first": first, "last": last}
    span = "the first epoch" if whole else f"{len(losses)} steps"
    told = f"{short(losses[0])} → {short(last)} in {span}"
    noise = stdev(losses) / math.sqrt(part) if len(losses) > 1 else 0.0
    if len(losses) >= FEW and last > first + 3 * noise and last > 1.1 * abs(first):
        return fails(
            NAME,
            f"The loss climbs: {told}.",
            "Make the learning rate smaller (sweeper check --lr); look at the sign of the loss.",
            **numbers,
        )
    return passes(NAME, f"The loss stays sound: {told}.", **numbers)
