"""Validation: on examples that were not trained on, with dropout off."""

from __future__ import annotations

from dataclasses import dataclass

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.check.training.sightings import Seen

LEAKS = 0.01
"""Share of the validation set that may be in the training set: data sets hold a few examples twice."""


@dataclass(frozen=True)
class Batch:
    """One forward pass of an evaluation: so many examples, so many of which were trained on."""

    count: int
    trained: int


def overlap(train: Seen, val: Seen, batches: list[Batch], whole: bool) -> Finding:
    """Examples are compared bit for bit, as the model gets them: an augmented one is another."""
    name = "split"
    if not train.digests or not val.digests:
        cure = "Evaluate with model.eval() and torch.no_grad(); or give more --seconds, if the epoch is long."
        return unknown(name, "Cannot tell: no validation was seen in the first epoch.", cure)
    shared = sum(mark in train.digests for mark in val.digests)
    share = shared / len(val.digests)
    numbers = {"train": len(train.digests), "val": len(val.digests), "shared": shared}
    if share <= LEAKS:
        seen = "" if whole else ", as far as they were seen"
        also = f" but for {shared}" if shared else ""
        told = f"None of {len(val.digests):,} validation examples was trained on{also}{seen}."
        return passes(name, told, **numbers)
    pure = all(each.trained == each.count or each.trained <= LEAKS * each.count for each in batches)
    if pure and shared < len(val.digests):
        told = f"{shared:,} examples are evaluated that were trained on, in batches of their own: the training set too?"
        return unknown(name, f"Cannot tell: {told}", None, **numbers)
    return fails(
        name,
        f"{shared:,} of {len(val.digests):,} validation examples are in the training set.",
        "Split first, then shuffle, augment and repeat; drop duplicates before splitting.",
        **numbers,
    )


def modes(seen: bool, training_off: bool, validation_on: bool, changes: bool) -> Finding:
    """`changes`: the model has layers that differ in evaluation; in training they are off, in validation on."""
    name = "modes"
    if not changes:
        return passes(name, "No layer differs in training and evaluation.")
    if training_off:
        return fails(
            name,
            "The model trains in evaluation mode: dropout is off and batch normalisation does not learn.",
            "Call model.train() before each epoch.",
        )
    if validation_on:
        return fails(
            name,
            "The model is validated in training mode: dropout and batch normalisation disturb the metric.",
            "Call model.eval() before validating, and model.train() before the next epoch.",
        )
    if not seen:
        return unknown(name, "Cannot tell: no validation was seen in the first epoch.")
    return passes(name, "Dropout and normalisation are on in training and off in validation.")
