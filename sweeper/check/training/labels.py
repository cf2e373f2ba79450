"""Labels: in range, no class missing, in balance, and mixed alike in training and validation."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sweeper.check.finding import Finding, fails, passes, unknown
from sweeper.check.training.sightings import CLASSES, Call, Seen
from sweeper.words.numbers import listed, short

RATIO = 10.0
"""How many times the rarest class the largest may have."""
MIX = 0.1
"""Share of the validation labels that would have to change for the mix of the training set."""


def labels(first: Call | None, train: Seen, val: Seen, bad: tuple[int, ...], whole: bool) -> Finding:
    """`bad`: labels out of range; `whole`: all of the training set was seen."""
    name = "labels"
    if first is None:
        return unknown(name, "Cannot tell: no loss of torch.nn.functional was seen.", "See chance.")
    if bad:
        return fails(
            name,
            f"Labels must lie in 0 … {first.classes - 1} for {first.classes} outputs, but there are {_some(bad)}.",
            "Count classes from 0, and give the model as many outputs as there are classes.",
            bad=list(bad),
        )
    if first.labels is None:
        return passes(name, f"Targets are numbers, not classes ({first.name}).")
    numbers = {"classes": first.classes, "seen": len(train.labels)}
    missing = [each for each in range(first.classes) if each not in train.labels]
    many = sum(train.labels.values()) >= 10 * first.classes
    if whole and missing and many and first.classes <= CLASSES:
        return fails(
            name,
            f"{len(missing)} of {first.classes} classes never occur in training: {_some(missing)}.",
            "Give the model as many outputs as there are classes, or look at how the set was split.",
            **numbers,
        )
    strange = sorted(set(val.labels) - set(train.labels))
    if whole and strange and first.classes <= CLASSES:
        told = f"Classes of the validation set that training never shows: {_some(strange)}."
        return fails(name, told, "Split within each class (stratify).", **numbers)
    if whole and train.labels and val.labels and first.classes <= CLASSES and (off := _mix(train.labels, val.labels)):
        return fails(
            name,
            f"{off:.0%} of the validation labels would have to change for the training set's mix of classes.",
            "Shuffle before splitting, or split within each class (stratify); look at a label column that was shifted.",
            mix=off,
            **numbers,
        )
    return passes(name, f"{len(train.labels)} classes occur, all in 0 … {first.classes - 1}.", **numbers)


def balance(first: Call | None, train: Seen) -> Finding:
    """Weights are proposed that let every class count the same: N / (C · n)."""
    name = "balance"
    if first is None:
        return unknown(name, "Cannot tell: no loss of torch.nn.functional was seen.", "See chance.")
    counts = train.labels
    if not counts or first.classes > CLASSES:
        return passes(name, "There are no classes to balance." if not counts else "Too many classes to balance.")
    least, most = min(counts.values()), max(counts.values())
    total = sum(counts.values())
    weights = {label: total / (len(counts) * count) for label, count in sorted(counts.items())}
    numbers = {
        "counts": [counts[label] for label in sorted(counts)],
        "weights": [float(short(w)) for w in weights.values()],
    }
    share = f"the largest class has {short(most / least)} times the examples of the smallest"
    if most <= RATIO * least or first.weighted:
        by = ", and the loss weighs them" if first.weighted else ""
        return passes(name, f"In balance: {share}{by}." if not by else f"{share.capitalize()}{by}.", **numbers)
    cure = (
        f"Weigh them: cross_entropy(…, weight=torch.tensor([{', '.join(map(short, weights.values()))}])), "
        "or draw them evenly; and watch a metric of each class."
        if len(weights) <= 20
        else "Weigh each class by N / (C · n) (--format json has the weights), or draw them evenly."
    )
    return fails(name, f"Out of balance: {share}.", cure, **numbers)


def _mix(train: Mapping[int, int], val: Mapping[int, int]) -> float | None:
    """The distance of the two mixes, where it is large and no chance: by chi-square, 6 deviations off."""
    trained, validated = sum(train.values()), sum(val.values())
    shares = {label: train.get(label, 0) / trained for label in {*train, *val}}
    distance = 0.5 * sum(abs(share - val.get(label, 0) / validated) for label, share in shares.items())
    expected = {label: share * validated for label, share in shares.items() if share > 0}
    square = sum((val.get(label, 0) - count) ** 2 / count for label, count in expected.items())
    freedom = max(1, len(expected) - 1)
    by_chance = square < (1 + validated / trained) * (freedom + 6 * math.sqrt(2 * freedom))
    return None if by_chance or distance < MIX else distance


def _some(values: list[int] | tuple[int, ...]) -> str:
    return listed([str(each) for each in values], 6)
