"""Regularisation raises the loss, and does not drown what the data say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.check.training.chance import HOW_SEEN
from sweeper.words.numbers import short

NAME = "regularisation"
DROWNS = 1.0
"""A penalty above the data's loss is what training would minimise first."""
SAME = 0.005
"""By so little the shares of the data's loss may differ from step to step: the parts of a batch are not quite equal."""
SHRINKS = 0.1
"""Share of every weight that decoupled decay may take in one step."""


@dataclass(frozen=True)
class Decay:
    """A parameter group's weight decay at the first weights; `decoupled`: AdamW's, no part of the loss."""

    decay: float
    squares: float
    rate: float
    decoupled: bool


def regularisation(pairs: Sequence[tuple[float, float]], decays: Sequence[Decay]) -> Finding:
    """`pairs`: of the first steps the loss of the data alone, and what the training goes backward from."""
    if not pairs:
        return unknown(NAME, "Cannot tell the data's part of the loss from a penalty.", HOW_SEEN)
    data, total = pairs[0]
    added = 0.0 if _scaled(pairs) else total - data
    penalty = sum(0.5 * each.decay * each.squares for each in decays if not each.decoupled)
    shrinks = max((each.rate * each.decay for each in decays if each.decoupled), default=0.0)
    numbers = {"data": data, "added": added, "weight_decay": penalty, "shrinks_by": shrinks}
    tolerance = 1e-4 * max(abs(data), 1e-6)
    if added < -tolerance:
        return fails(
            NAME,
            f"What is added to the data's loss {short(data)} lowers it by {short(-added)}.",
            "A penalty is positive: look at its sign, and at what it is the mean or the sum of.",
            **numbers,
        )
    if added > DROWNS * abs(data) or penalty > DROWNS * abs(data):
        what, much = ("the penalty", added) if added > penalty else ("the weight decay's penalty", penalty)
        return fails(
            NAME,
            f"{what.capitalize()} {short(much)} drowns the data's loss {short(data)}.",
            f"Make it smaller by {short(10 * much / max(abs(data), 1e-12))} times, and begin its range there.",
            **numbers,
        )
    if shrinks > SHRINKS:
        return fails(
            NAME,
            f"Weight decay takes {shrinks:.0%} of every weight in each step.",
            "Decoupled decay is multiplied by the learning rate: make one of the two smaller.",
            **numbers,
        )
    if added <= tolerance and penalty == 0 and shrinks == 0:
        return passes(NAME, "There is none in the loss, and no weight decay.", **numbers)
    parts = [f"a penalty of {short(added)}"] * (added > tolerance) + [f"weight decay of {short(penalty)}"] * (
        penalty > 0
    )
    parts += [f"decay by {short(shrinks)} a step"] * (shrinks > 0)
    return passes(NAME, f"{' and '.join(parts).capitalize()} beside the data's loss {short(data)}.", **numbers)


def _scaled(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether the whole is a share of the data's loss, always the same one, as where gradients are accumulated."""
    if any(data <= 0 or total > data for data, total in pairs):
        return False
    shares = [total / data for data, total in pairs]
    return max(shares) - min(shares) < SAME * max(shares)
