"""Learning curves as numbers: the best trials' with training and validation together, and some others behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sweeper.analysis.digest import Digest, sample
from sweeper.store import reads
from sweeper.store.connection import Store
from sweeper.words.metrics import is_monitor

BEST, OTHERS = 4, 60
MOST_POINTS, MOST_POINTS_BEHIND = 300, 60
MOST_PANELS = 3
PAIRED = re.compile(r"(?P<split>train|training|val|valid|validation)[_/.-](?P<what>.+)")

Line = tuple[tuple[int, float | None], ...]
"""Epochs done, from 1, and the metric there."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One trial's. `train`, `val`: its metric on both splits; a metric of no split is `val`."""

    number: int
    train: Line
    val: Line


@dataclass(frozen=True, slots=True)
class Panel:
    """One thing that is measured. `what`: `loss` of `train_loss` and `val_loss`; `names`: of these, where they are."""

    what: str
    train_name: str | None
    val_name: str | None
    best: tuple[Curve, ...]
    others: tuple[Curve, ...]

    @property
    def is_curved(self) -> bool:
        """Whether there is more to see than one epoch."""
        return any(len(curve.val) > 1 or len(curve.train) > 1 for curve in self.best)


def collect(store: Store, digest: Digest) -> list[Panel]:
    """The study's metric first; the best trial first."""
    rows = digest.complete or digest.ranked
    best = rows[:BEST]
    rest = [i for i in digest.ranked if i not in set(best)]
    others = sample(rest[:: max(1, len(rest) // (4 * OTHERS))], OTHERS)
    numbers = digest.columns["number"]
    reports = {
        numbers[i]: [(each.epoch + 1, each.metrics) for each in reads.epoch_reports(store, digest.study.id, numbers[i])]
        for i in (*best, *others)
    }
    names = dict.fromkeys(name for told in reports.values() for _, metrics in told[:1] for name in metrics)
    shown = [name for name in names if not is_monitor(name)]

    def line(row: int, name: str | None, most: int) -> Line:
        told = [] if name is None else [(epoch, each.get(name)) for epoch, each in reports[numbers[row]]]
        return tuple(thinned(told, most))

    return [
        Panel(
            what,
            train,
            val,
            tuple(Curve(numbers[i], line(i, train, MOST_POINTS), line(i, val, MOST_POINTS)) for i in best),
            tuple(Curve(numbers[i], (), line(i, val or train, MOST_POINTS_BEHIND)) for i in others),
        )
        for what, train, val in paired(shown, digest.study.metric)[:MOST_PANELS]
    ]


def paired(names: Iterable[str], metric: str) -> list[tuple[str, str | None, str | None]]:
    """What is measured, with its names in training and validation; what the study searches for comes first.

    >>> paired(["train_loss", "val_loss", "val_accuracy", "lr"], "val_accuracy")
    [('accuracy', None, 'val_accuracy'), ('loss', 'train_loss', 'val_loss'), ('lr', None, 'lr')]
    """
    found: dict[str, dict[str, str]] = {}
    for name in names:
        match = PAIRED.fullmatch(name)
        what = match["what"] if match else name
        split = "train" if match and match["split"].startswith("train") else "val"
        found.setdefault(what, {}).setdefault(split, name)
    pairs = [(what, splits.get("train"), splits.get("val")) for what, splits in found.items()]
    return sorted(pairs, key=lambda pair: (metric not in pair[1:], None in pair[1:]))


def thinned(line: Sequence[tuple[int, float | None]], most: int) -> list[tuple[int, float | None]]:
    """At most so many points, evenly, the first and the last among them.

    >>> thinned([(epoch, 0.0) for epoch in range(1, 101)], 3)
    [(1, 0.0), (50, 0.0), (100, 0.0)]
    """
    if len(line) <= most:
        return list(line)
    return [line[index * (len(line) - 1) // (most - 1)] for index in range(most)]
