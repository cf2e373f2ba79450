"""Why a training does not learn: the one cause that explains most, and the learning rate before all.

What is learned is the share of the loss that is gone: 0 where it is as it was at first (of a classification: that of
guessing, the logarithm of the number of classes), 1 where nothing is left.
"""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

from sweeper.analysis.diagnosis import signals
from sweeper.analysis.diagnosis.diagnosis import CS231N, PLAYBOOK, RECIPE, Diagnosis, Kind, Severity, share
from sweeper.analysis.diagnosis.observed import BATCH, DECAY, DROPOUT, Run, jitter, known, last, tail
from sweeper.words.numbers import counted, short

HARDLY, HALF = 0.1, 0.5
"""Shares of the loss that a training has learned when it has learned hardly anything, or far from all."""
SLOW, FAST = 1e-4, 0.1
"""Of updates to weights: a tenth and a hundred times of what is wanted."""
LOUD = 3.0
"""Times the loss of guessing that a loss in training must not reach."""
STRONG_DROPOUT, STRONG_DECAY, SHRUNK = 0.7, 0.05, 0.2


def learned(run: Run) -> float | None:
    """The share of the loss that is gone at the end; by the training's loss where it is known."""
    line = run.train_loss if known(run.train_loss) else run.val_loss
    start = beginning(run)
    if not known(line) or start is None or start <= 0:
        return None
    return (start - last(line)) / start


def beginning(run: Run) -> float | None:
    """The loss where learning begins; a first epoch that exploded is not it."""
    if run.chance is not None:
        return run.chance
    firsts = [known(line)[0] for line in (run.train_loss, run.val_loss) if known(line)]
    return min(firsts, default=None)


def cause(run: Run) -> Diagnosis | None:
    """The first of the causes, from those that are sure to those that are left."""
    always = (signals.gradients_carried, signals.no_gradient, signals.all_dead, diverged, softmax_twice)
    deep = (signals.all_died, signals.vanishing)
    stuck = (too_strong, signals.exploding, too_high, rising, *deep, too_low, at_chance)
    share_learned = learned(run)
    rules = always + (stuck if share_learned is not None and share_learned < HALF else (at_chance,))
    return next((found for rule in rules if (found := rule(run)) is not None), None)


def diverged(run: Run) -> Diagnosis | None:
    if run.failure != "diverged":
        return None
    why = (too_high(run) or signals.all_died(run)) if known(run.badness) else None
    if why is not None:
        return why
    rate = f" at {run.rate[0]} = {short(run.rate[1])}" if run.rate else ""
    said = (run.message or "").removeprefix("Diverged: ").rstrip(".")
    paces = known(signals.pace(run))
    fast = f"; updates were {short(max(paces))} of the weights" if paces and max(paces) > 1e-2 else ""
    return Diagnosis(
        Kind.DIVERGED,
        Severity.BROKEN,
        f"It diverged after {counted(len(run.reports), 'epoch')}{rate}{fast}{f': {said}' if said else ''}.",
        "a learning rate 3 to 10 times lower, a warm-up, or clipped gradients",
        PLAYBOOK,
        {"lr": run.rate[1] if run.rate else None, "message": run.message},
    )


def softmax_twice(run: Run) -> Diagnosis | None:
    """The loss of a softmax over a softmax cannot fall below log(e + C - 1) - 1, however right the answers are."""
    line = run.train_loss if known(run.train_loss) else run.val_loss
    if not known(line) or not known(run.accuracy):
        return None
    loss, accuracy = last(line), last(run.accuracy)
    floor = math.log(math.e + run.classes - 1) - 1 if run.classes else math.log(2)
    sure = abs(loss - floor) < 0.1 * floor if run.classes else loss > floor
    if accuracy < (0.8 if floor > 0.5 else 0.95) or not sure or not is_settled(line):
        return None
    least = f", the least that a softmax over a softmax can reach with {run.classes} classes" if run.classes else ""
    return Diagnosis(
        Kind.SOFTMAX_TWICE,
        Severity.BROKEN,
        f"{share(accuracy)} of the answers are right, and yet the loss stays at {short(loss)}{least}: the network "
        "cannot say that it is sure.",
        "give cross_entropy the raw outputs: it takes the softmax itself",
        RECIPE,
        {"loss": loss, "accuracy": accuracy, "floor": floor},
    )


def too_strong(run: Run) -> Diagnosis | None:
    dropout, decay = run.setting(DROPOUT), run.setting(DECAY)
    shrunk = [known(line)[-1] / known(line)[0] for line in run.layers("weight_norm").values() if any(known(line)[:1])]
    strong = [each for each, most in ((dropout, STRONG_DROPOUT), (decay, STRONG_DECAY)) if each and each[1] >= most]
    collapsed = bool(shrunk) and statistics.median(shrunk) < SHRUNK
    if not strong and not collapsed:
        return None
    told = " and ".join(f"{name} = {short(value)}" for name, value in strong) or "weight decay"
    shrinking = (
        f"; the weights have shrunk to {share(statistics.median(shrunk))} of what they were" if collapsed else ""
    )
    return Diagnosis(
        Kind.REGULARISED,
        Severity.BAD,
        f"Regularisation is too strong: with {told} the loss in training stays at {_loss(run)}, "
        f"{_learned(run)}{shrinking}.",
        "learn the training set first, with dropout and weight decay at 0, and then raise them step by step",
        RECIPE,
        {"learned": learned(run), **dict(strong)},
    )


def too_high(run: Run) -> Diagnosis | None:
    start, losses, paces = beginning(run), known(run.train_loss), known(signals.pace(run))
    if start is None:
        return None
    peak = max(losses[:-1] or losses, default=0.0)
    deep = len(run.layers("update_ratio")) > 1  # a single layer may begin at zero
    loud, fast = peak > LOUD * start, deep and max(paces, default=0.0) > FAST
    wild = not paces and bool(losses) and jitter(losses) > HARDLY * start
    if not loud and not fast and not wild:
        return None
    if not fast and _is_rising(run):
        return None
    told = [f"the loss in training went up to {short(peak)}, {short(peak / start)} times where it began"] * loud
    told += [f"the loss jumps by {short(jitter(losses))} from epoch to epoch"] * (wild and not loud)
    if fast:
        told.append(f"updates were {short(max(paces))} of the weights (about {short(signals.WANTED)} is wanted)")
    rate = f", {run.rate[0]} = {short(run.rate[1])}," if run.rate else ""
    dead = [layer for layer, line in run.layers("dead").items() if known(line) and known(line)[-1] == 1]
    ended = f" All units of {dead[0]} died of it." if dead else ""
    return Diagnosis(
        Kind.LR_TOO_HIGH,
        Severity.BROKEN,
        f"The learning rate{rate} is too high: {' and '.join(told)}.{ended}",
        f"a rate {'30 to 100' if fast or loud else '3 to 10'} times lower; `sweeper check --lr` finds the range",
        CS231N,
        {"lr": run.rate[1] if run.rate else None, "peak": peak, "start": start, "pace": max(paces, default=None)},
    )


def too_low(run: Run) -> Diagnosis | None:
    """By the updates; without monitors by a curve that falls smoothly, as fast at the end as at first, and not far."""
    gone, line, paces = learned(run), known(run.train_loss) or known(run.val_loss), known(signals.pace(run))
    if gone is None or len(line) < 3:
        return None
    falls = [a - b for a, b in pairwise(line)]
    half = len(falls) // 2
    smooth = sum(falls) > 0 and sum(map(abs, falls)) < 1.5 * sum(falls)
    steady = smooth and sum(falls[half:]) > 0.3 * sum(falls) and gone < 0.3 and not _by_heart(run)
    if not (statistics.median(paces) < SLOW if paces else steady):
        return None
    rate = f", {run.rate[0]} = {short(run.rate[1])}," if run.rate else ""
    return Diagnosis(
        Kind.LR_TOO_LOW,
        Severity.BROKEN,
        f"The learning rate{rate} is too low: the loss went from {short(line[0])} to {short(line[-1])} in "
        f"{len(line)} epochs{signals.told_pace(run)}.",
        "a rate 10 to 100 times higher; `sweeper check --lr` finds the range",
        CS231N,
        {"lr": run.rate[1] if run.rate else None, "learned": gone, "pace": statistics.median(paces) if paces else None},
    )


def rising(run: Run) -> Diagnosis | None:
    losses = known(run.train_loss)
    if not _is_rising(run):
        return None
    return Diagnosis(
        Kind.RISING,
        Severity.BROKEN,
        f"The loss rises in training, from {short(losses[0])} to {short(losses[-1])}, epoch for epoch"
        f"{signals.told_pace(run)}.",
        "look at the sign of the loss, at what is maximised, and at the order of zero_grad, backward and step",
        RECIPE,
        {"first": losses[0], "last": losses[-1]},
    )


def at_chance(run: Run) -> Diagnosis | None:
    """On examples that it has not seen it is no better than guessing, whatever it learns by heart."""
    right, losses = known(run.accuracy), known(run.val_loss)
    if not right or not losses or len(right) < 3:
        return None
    best = last(right)
    if run.classes:
        guessing = best < 1.5 / run.classes + 0.03 and last(losses) > 0.9 * math.log(run.classes)
    else:
        guessing = best < min(0.6, right[0] + 0.1) and last(losses) > 0.95 * min(losses[0], -math.log(max(best, 1e-9)))
    if not guessing:
        return None
    by_heart = (learned(run) or 0) > HARDLY
    chance = f", {share(1 / run.classes)} is chance" if run.classes else ""
    heart = f", while the loss in training falls to {_loss(run)}: it learns by heart" if by_heart else ""
    return Diagnosis(
        Kind.CHANCE,
        Severity.BROKEN,
        f"It is no better than guessing: {share(best)} of the validation set are right{chance}, and the loss there is "
        f"{short(last(losses))}{heart}{signals.told_pace(run)}.",
        "look whether labels belong to their inputs (after shuffling, sorting, augmenting), and whether a handful of "
        "examples can be learned by heart",
        RECIPE,
        {"accuracy": best, "classes": run.classes, "val_loss": last(losses)},
    )


def _is_rising(run: Run) -> bool:
    losses = known(run.train_loss)
    if len(losses) < 4:
        return False
    up = sum(b > a for a, b in pairwise(losses))
    return losses[-1] > 1.1 * losses[0] and up > 0.75 * (len(losses) - 1)


def is_settled(line: list[float] | tuple[float, ...]) -> bool:
    """Whether the last fifth of a curve lies within a twentieth of the one before."""
    found = known(line)
    fifth = max(1, len(found) // 5)
    if len(found) < 2 * fifth + 1:
        return False
    return abs(statistics.mean(found[-2 * fifth : -fifth]) - statistics.mean(tail(found))) < 0.05 * abs(last(found))


def _by_heart(run: Run) -> bool:
    """Whether the validation's loss rises while the training's falls."""
    losses = known(run.val_loss)
    return bool(losses) and last(losses) > losses[0]


def _loss(run: Run) -> str:
    return short(last(run.train_loss) if known(run.train_loss) else last(run.val_loss))


def _learned(run: Run) -> str:
    start = beginning(run)
    of = "chance" if run.chance is not None else "where it began"
    return f"where {short(start)} is {of}" if start is not None else ""


def batch(run: Run) -> str:
    found = run.setting(BATCH)
    return f" ({found[0]} = {found[1]:g})" if found else ""
