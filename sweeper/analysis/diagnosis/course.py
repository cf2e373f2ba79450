"""How well a training goes that does learn: over- and underfitting, noise, too short or too long."""

from __future__ import annotations

import statistics

from sweeper.analysis.diagnosis.diagnosis import CS231N, PLAYBOOK, Diagnosis, Kind, Severity, share
from sweeper.analysis.diagnosis.learning import batch, beginning, is_settled, learned
from sweeper.analysis.diagnosis.observed import BATCH, DROPOUT, Run, jitter, known, last
from sweeper.analysis.diagnosis.signals import told_pace
from sweeper.words.numbers import short

GAP = 0.2
"""Between validation and training, as a share of the loss where learning begins."""
BY_HEART = 0.8
"""Share of the loss that is gone in training, from which on a gap is no fault of the data."""
CLIMB = 0.25
"""That a loss on the validation set may climb again above its lowest, as a share of that."""
LITTLE = 0.75
"""Share of the loss of guessing that a network which is large enough has learned, and more."""
RIGHT = 0.9
NOISY = 0.28
"""Of a curve's level, that it jumps from epoch to epoch."""
IMPROVING = 0.1
"""Of all that was gained, in the last quarter of the epochs."""


def overfits(run: Run) -> Diagnosis | None:
    train, val, start = known(run.train_loss), known(run.val_loss), beginning(run)
    if len(val) < 4 or start is None or start <= 0:
        return None
    lowest = min(val)
    gap = (last(val) - last(train)) / start if train else 0.0
    climb = last(val) - lowest
    climbs = climb > max(CLIMB * abs(lowest), 0.05 * start, 3 * jitter(val)) and val.index(lowest) < 0.6 * len(val)
    if not (gap > GAP and (learned(run) or 0) > BY_HEART) and not climbs:
        return None
    best = f", and was at its lowest, {short(lowest)}, after epoch {val.index(lowest) + 1} of {len(val)}"
    return Diagnosis(
        Kind.OVERFITTING,
        Severity.BAD,
        f"It overfits: the loss is {short(last(train))} in training and {short(last(val))} in validation"
        f"{best if climbs else ''}."
        if train
        else f"It overfits: the loss in validation is {short(last(val))}{best}.",
        "more examples or augmentation, more dropout or weight decay, a smaller network"
        + (f", or {val.index(lowest) + 1} epochs" if climbs else ""),
        CS231N,
        {"train_loss": last(train) if train else None, "val_loss": last(val), "lowest": lowest, "gap": gap},
    )


def underfits(run: Run) -> Diagnosis | None:
    """Of a classification, where the loss of guessing is known: how low another loss could fall nobody knows."""
    line, gone = known(run.train_loss), learned(run)
    if run.chance is None or gone is None or gone > LITTLE or len(line) < 5 or not is_settled(line):
        return None
    if last(run.accuracy) > RIGHT:  # a loss with smoothed classes stays far from 0
        return None
    dropped = run.setting(DROPOUT)
    is_held = dropped is not None and dropped[1] > 0 and last(run.val_loss) < last(line)
    less = f"less dropout ({dropped[0]} = {short(dropped[1])})" if is_held and dropped else "less regularisation"
    return Diagnosis(
        Kind.UNDERFITTING,
        Severity.BAD,
        f"It underfits: the loss in training has settled at {short(last(line))}, where {short(run.chance)} is "
        f"chance; in validation it is {short(last(run.val_loss))}{told_pace(run)}.",
        f"{less}, a wider or deeper network, another learning rate, or more epochs",
        CS231N,
        {"train_loss": last(line), "learned": gone},
    )


def noisy(run: Run) -> Diagnosis | None:
    """By the last two thirds of the curve, where there is little trend left."""
    name = run.val_loss_name or run.train_loss_name
    line = known(run.line(name))
    line = line[max(1, len(line) // 3) :]
    if len(line) < 4 or statistics.median(line) <= 0:
        return None
    jumps, level = jitter(line), statistics.median(line)
    if jumps < NOISY * level or jumps < 0.02 * abs(beginning(run) or 0):
        return None
    size = run.setting(BATCH)
    small = size is not None and size[1] <= 8
    return Diagnosis(
        Kind.NOISY,
        Severity.BAD,
        f"The curve is noisy: {name} jumps by {short(jumps)} from epoch to epoch at a level of {short(level)}"
        f"{batch(run)}.",
        "a larger batch, or a lower learning rate" if small else "a lower learning rate at the end, or a larger batch",
        CS231N,
        {"jumps": jumps, "level": level, "batch_size": size[1] if size else None},
    )


def improving(run: Run) -> Diagnosis | None:
    """In the last quarter of its epochs, by more than its noise; told of a training that had all its epochs."""
    line = known(run.badness)
    if len(line) < 3 or (run.epochs is not None and len(run.reports) < run.epochs):
        return None
    quarter = max(1, len(line) // 4)
    now = statistics.mean(line[-max(1, quarter // 2) :])
    before = statistics.mean(line[-quarter - max(1, quarter // 2) : -quarter])
    gained, all_gained = before - now, line[0] - now
    if all_gained <= 0 or gained < IMPROVING * all_gained or (len(line) > 4 and gained < 2 * jitter(line)):
        return None
    sign = run.direction.sign
    return Diagnosis(
        Kind.IMPROVING,
        Severity.HINT,
        f"It was still improving when it ended: {run.metric} went from {short(sign * line[0])} to "
        f"{short(sign * line[-1])} in {len(line)} epochs, and {share(gained / all_gained)} of that came in the last "
        f"{quarter if quarter > 1 else 'one'}.",
        f"train longer: {2 * len(line)} epochs, say",
        PLAYBOOK,
        {"gained": gained, "all_gained": all_gained, "epochs": len(line)},
    )


def settled(run: Run) -> Diagnosis | None:
    """Nothing was gained in the last two thirds."""
    line = known(run.badness)
    third = len(line) // 3
    if third < 5:
        return None
    early, late = min(line[:third]), min(line[third:])
    all_gained = line[0] - min(early, late)
    if all_gained <= 0 or late < early:
        return None
    at = line.index(early) + 1
    return Diagnosis(
        Kind.SETTLED,
        Severity.HINT,
        f"It had settled long before it ended: {run.metric} was {short(run.direction.sign * early)} after {at} epochs "
        f"and {short(run.direction.sign * line[-1])} after {len(line)}.",
        f"train less: {max(2 * at, len(line) // 2)} epochs are enough, and more trials fit in the budget",
        PLAYBOOK,
        {"best_epoch": at, "epochs": len(line)},
    )
