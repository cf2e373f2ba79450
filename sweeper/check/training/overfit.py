"""A few examples learned by heart: a network, loss and labels that cannot even do that will learn nothing else.

CS231n: "make sure you can achieve zero cost" on a tiny subset, with the regularisation off. The optimizer is one of
our own, at the best of three rates, so that the script's own rate is not what is judged here.
"""

from __future__ import annotations

import math
import time

import torch

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.training.task import Task, without_dropout
from sweeper.words.errors import ConfigError
from sweeper.words.numbers import short

NAME = "overfit"
EXAMPLES, STEPS, SECONDS = 20, 400, 10.0
RATES = (3e-3, 1e-2, 3e-4)
NONE = 0.02
"""Share of the first loss that counts as nothing."""
TARGETS_PER_WEIGHT = 0.5
"""More targets than half the weights cannot be learned by heart by a small model: it gets fewer examples."""


def overfit(task: Task, seconds: float = SECONDS) -> Finding:
    """Fails where the loss of some 20 examples does not come near zero."""
    try:
        weights = sum(each.numel() for each in task.copied().parameters() if each.requires_grad)
    except ConfigError as error:
        return unknown(NAME, f"Cannot tell: {error}.")
    numbers_each = task.targets[0].numel() if len(task) else 1
    count = min(EXAMPLES, max(2, int(TARGETS_PER_WEIGHT * weights / numbers_each)))
    inputs, targets = task.some(count)
    count = len(targets)
    first, best, steps, deadline = math.nan, math.inf, 0, time.monotonic() + seconds
    for rate in RATES:
        model = without_dropout(task.copied())
        parameters = [each for each in model.parameters() if each.requires_grad]
        if not parameters:
            return unknown(NAME, "Cannot tell: the model has no parameter that trains.")
        optimizer = torch.optim.Adam(parameters, lr=rate)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = task.loss(model(*inputs), targets)
            value = float(loss.detach())
            first, best, steps = (value if math.isnan(first) else first), min(best, value), steps + 1
            if value <= NONE * abs(first) or not math.isfinite(value) or time.monotonic() > deadline:
                break
            if not loss.requires_grad:
                return unknown(NAME, "Cannot tell: the loss depends on no parameter (see movement).")
            loss.backward()
            optimizer.step()
        if best <= NONE * abs(first):
            told = f"{count} examples are learned by heart in {steps} steps: loss {short(first)} → {short(best)}."
            return passes(NAME, told, examples=count, first=first, best=best, steps=steps)
        if time.monotonic() > deadline:
            break
    numbers = {"examples": count, "first": first, "best": best, "steps": steps}
    if time.monotonic() > deadline and best < 0.5 * abs(first):
        told = f"In {seconds:g} s the loss of {count} examples fell from {short(first)} to {short(best)}, not to zero."
        return unknown(NAME, told, "Look again with more time: --seconds 60.", **numbers)
    return fails(
        NAME,
        f"{count} examples cannot be learned by heart: loss {short(first)} → {short(best)} in {steps} steps.",
        "Do not sweep yet. Look at the path from inputs to loss: labels that belong to other examples, an activation "
        "or detach() that cuts the gradient, dead units, a model far too small.",
        **numbers,
    )
