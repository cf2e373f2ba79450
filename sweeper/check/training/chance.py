"""The first loss against that of guessing: −log 1/C for C classes, the targets' variance for a regression."""

from __future__ import annotations

import math

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.check.training.sightings import Call, Kind
from sweeper.words.numbers import short

NAME = "chance"
HIGH, LOW = 2.0, 0.5
"""Shares of chance beyond which the first loss is not that of guessing."""


def chance(first: Call | None, value: float | None, loaded: bool) -> Finding:
    """`value`: the first loss of the data; `loaded`: weights were read from a file, so it may well be better."""
    if value is None:
        return unknown(NAME, "Cannot tell: no loss was gone backward from.")
    if first is None:
        return unknown(NAME, f"Cannot tell: the first loss is {short(value)}, but its kind was not seen.", HOW_SEEN)
    guess = guessing(first)
    if guess is None:
        return unknown(NAME, f"Cannot tell: the first loss is {short(value)}; what guessing costs by {first.name}?")
    numbers = {"loss": value, "chance": guess}
    of = f"{first.classes} classes" if first.kind is Kind.CLASSES else "the targets' variance"
    of = "two classes" if first.kind is Kind.BINARY else of
    if not math.isfinite(value):
        return fails(
            NAME,
            f"The first loss is {value}.",
            "Look for a log(0), a division by zero, or missing values among the inputs.",
            **numbers,
        )
    if value > HIGH * guess:
        centre = first.kind is Kind.NUMBERS
        cure = (
            "Scale the targets to mean 0 and spread 1; else the network spends its first epochs on their mean."
            if centre
            else "Begin with smaller weights in the last layer (multiply them by 0.1), a zero bias, and scaled inputs."
        )
        return fails(NAME, f"The first loss {short(value)} is above chance, {short(guess)} ({of}).", cure, **numbers)
    if value < LOW * guess and not loaded:
        return fails(
            NAME,
            f"The first loss {short(value)} is below chance, {short(guess)} ({of}): untrained, it cannot know.",
            "Look whether the target is among the inputs, whether classes are far out of balance, and which mean the "
            "loss takes.",
            **numbers,
        )
    return passes(NAME, f"The first loss {short(value)} is near chance, {short(guess)} ({of}).", **numbers)


HOW_SEEN = (
    "Use a loss of torch.nn.functional or an nn.Module called with (outputs, targets); or name a function that returns "
    "a sweeper.training.task.Task: sweeper check FILE:FUNCTION."
)


def guessing(call: Call) -> float | None:
    """What the best constant answer costs, where that is known."""
    if call.kind is Kind.CLASSES:
        return math.log(call.classes) if call.classes > 1 else None
    if call.kind is Kind.BINARY:
        return math.log(2)
    if call.kind is Kind.NUMBERS and call.name == "mse_loss":
        variance = float(call.targets.double().var(dim=0, correction=0).mean())
        return variance if variance > 0 else None
    return None
