"""One trial as its curves tell it: which of its metrics is what, and the numbers that rules ask for.

Metrics are recognised by their names. `train_loss`, `training.loss`, `loss/train` and plain `loss` are the training's
loss, `val_loss`, `valid/nll`, `dev_loss`, `eval_loss` and `test_loss` the validation's; a name with `acc` in it is an
accuracy, in [0, 1] or in percent. The study's metric counts as the validation's where its name says nothing else.
Everything that monitors report has a `/` in its name: `update_ratio/LAYER` and so on.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sweeper.words.metrics import is_monitor
from sweeper.words.records import Direction, Failure

TRAIN = re.compile(r"(^|[^a-z])(train|training|trn)([^a-z]|$)")
VAL = re.compile(r"(^|[^a-z])(val|valid|validation|dev|eval|test|holdout)([^a-z]|$)")
LOSS = re.compile(r"loss|nll|cross_?entropy|(^|[^a-z])(ce|bce|mse|mae|rmse)([^a-z]|$)")
ACCURACY = re.compile(r"(^|[^a-z])(acc|accuracy|top_?1)([^a-z]|$)")
RATE = re.compile(r"(^|[._/])(lr|learning_?rate|eta)$")
DROPOUT = re.compile(r"dropout|drop_?rate")
DECAY = re.compile(r"weight_?decay|(^|[._/])(wd|l2)$")
BATCH = re.compile(r"batch_?size|(^|[._/])bs$")

Line = tuple[float, ...]
"""A metric by epoch; where it was not reported, or not finite, it is NaN."""


@dataclass(frozen=True)
class Run:
    """A trial's parameters, what each epoch reported, and how it ended.

    `classes`: of a classification, where known. `epochs`: of a full training, where known; a trial that was stopped
    before is not told to train longer.
    """

    number: int
    params: Mapping[str, Any]
    reports: Sequence[Mapping[str, float | None]]
    metric: str
    direction: Direction
    failure: Failure | None = None
    message: str | None = None
    classes: int | None = None
    epochs: int | None = None

    def line(self, name: str | None) -> Line:
        if name is None:
            return ()
        found = [each.get(name) for each in self.reports]
        return tuple(math.nan if value is None else float(value) for value in found)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the metrics that are no monitors, in the order of the reports."""
        told = dict.fromkeys(name for each in self.reports for name in each)
        return tuple(name for name in told if not is_monitor(name))

    @cached_property
    def train_loss_name(self) -> str | None:
        losses = [name for name in self.names if LOSS.search(name.lower())]
        named = [name for name in losses if TRAIN.search(name.lower())]
        plain = [name for name in losses if name.lower() in ("loss", "nll", "mse") and name != self.metric]
        return next(iter(named or plain), None)

    @cached_property
    def val_loss_name(self) -> str | None:
        losses = [name for name in self.names if LOSS.search(name.lower()) and name != self.train_loss_name]
        named = [name for name in losses if VAL.search(name.lower())]
        return self.metric if self.metric in losses else next(iter(named), None)

    @cached_property
    def accuracy_name(self) -> str | None:
        """Of the validation."""
        scores = [name for name in self.names if ACCURACY.search(name.lower()) and not TRAIN.search(name.lower())]
        return self.metric if self.metric in scores else next(iter(scores), None)

    @cached_property
    def train_loss(self) -> Line:
        return self.line(self.train_loss_name)

    @cached_property
    def val_loss(self) -> Line:
        return self.line(self.val_loss_name)

    @cached_property
    def accuracy(self) -> Line:
        """As a fraction, also where percents were reported."""
        found = self.line(self.accuracy_name)
        percent = max((value for value in found if not math.isnan(value)), default=0.0) > 1.5
        return tuple(value / 100 for value in found) if percent else found

    @cached_property
    def badness(self) -> Line:
        """The study's metric, the smaller the better."""
        return tuple(self.direction.sign * value for value in self.line(self.metric))

    @cached_property
    def chance(self) -> float | None:
        """The loss of a classification that knows nothing but the number of classes."""
        return math.log(self.classes) if self.classes and self.classes > 1 and self.accuracy_name else None

    @cached_property
    def start(self) -> float | None:
        """The loss where learning begins: chance, where it is known, else the first epoch's."""
        first = next((value for value in (*self.train_loss, *self.val_loss) if not math.isnan(value)), None)
        return self.chance if self.chance is not None else first

    def layers(self, family: str) -> dict[str, Line]:
        """Of a family of monitors, in the order of the layers."""
        prefix = f"{family}/"
        names = dict.fromkeys(name for each in self.reports for name in each if name.startswith(prefix))
        return {name.removeprefix(prefix): self.line(name) for name in names}

    def setting(self, pattern: re.Pattern[str]) -> tuple[str, float] | None:
        """The first parameter of such a name that is a number."""
        for name, value in self.params.items():
            if pattern.search(name.lower()) and isinstance(value, int | float) and not isinstance(value, bool):
                return name, float(value)
        return None

    @cached_property
    def rate(self) -> tuple[str, float] | None:
        """The learning rate: the parameter of that name, else what monitors saw at first."""
        seen = known(self.line("monitor/lr"))
        return self.setting(RATE) or (("lr", max(seen)) if seen else None)


def known(line: Sequence[float]) -> list[float]:
    return [value for value in line if not math.isnan(value)]


def tail(line: Sequence[float]) -> list[float]:
    """The last fifth of a curve, one epoch of it at least."""
    found = known(line)
    return found[-max(1, len(found) // 5) :]


def last(line: Sequence[float]) -> float:
    """Where a curve ends up: the median of its last fifth."""
    return statistics.median(tail(line)) if known(line) else math.nan


def jitter(line: Sequence[float]) -> float:
    """How far a curve jumps from epoch to epoch around its trend: the median of the second differences, as a spread.

    >>> round(jitter([5, 4, 3, 2, 1]), 3), round(jitter([1, 2, 1, 2, 1, 2]), 3)
    (0.0, 1.211)
    """
    found = known(line)
    bends = [abs(a - 2 * b + c) for a, b, c in zip(found, found[1:], found[2:], strict=False)]
    return statistics.median(bends) / (0.6745 * math.sqrt(6)) if bends else 0.0
