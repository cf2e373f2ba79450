"""What is known of the loss: its first call, its labels, its values, and what the training goes backward from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sweeper.check.training.replay import Path
from sweeper.check.training.sightings import FIRST, LOSSES, Call

SQUASHING: dict[Any, str] = {
    **dict.fromkeys((torch.softmax, Tensor.softmax, functional.softmax), "softmax"),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, functional.sigmoid), "sigmoid"),
}


class Calls:
    """The calls of a training's losses.

    Attributes:
        first: of the training; or the one whose labels are out of range (`bad_labels`).
        way: from what the model returned to what the first call got; None: not known.
        pairs: the data's loss and the whole that was gone backward from, of the first steps.
        losses: one for each step.
    """

    def __init__(self) -> None:
        self.first: Call | None = None
        self.way: Path | None = None
        self.bad_labels: tuple[int, ...] = ()
        self.pairs: list[tuple[float, float]] = []
        self.losses: list[float] = []
        self._values: list[float] = []
        self._parts: list[float] = []
        self._squashed: tuple[str, Tensor] | None = None

    @property
    def first_loss(self) -> float | None:
        """Of the data, at the first weights."""
        if self.pairs:
            return self.pairs[0][0]
        return self.losses[0] if self.losses else None

    @property
    def heard(self) -> bool:
        """Since the last backward pass."""
        return bool(self._values)

    def squash(self, function: Any, result: Any) -> None:
        """What a softmax or a sigmoid has made may be what the next loss gets."""
        if isinstance(result, Tensor):
            self._squashed = (SQUASHING[function], result)

    def of(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """A call of a loss, before it runs: with labels out of range it may not come back."""
        given = dict(inspect.signature(function).bind(*args, **kwargs).arguments)
        outputs, targets = given.pop("input"), given.pop("target")
        name, kind = LOSSES[function]
        squashed, made = self._squashed or (None, None)
        call = Call(name, kind, function, outputs, targets, given, squashed if made is outputs else None)
        self._look_at_labels(call)
        return call

    def _look_at_labels(self, call: Call) -> None:
        labels = call.labels
        if labels is None or self.bad_labels:
            return
        wrong = labels[((labels < 0) | (labels >= call.classes)) & (labels != call.ignored)]
        if len(wrong):
            self.bad_labels = tuple(wrong.unique().tolist())
            self.first = self.first or call

    def gave(self, value: Tensor) -> None:
        """The loss of data that are trained on."""
        self._values.append(float(value.detach().mean()))

    def went_backward(self, value: float) -> None:
        self._parts.append(value)
        if len(self._values) == 1 and len(self.pairs) < FIRST:
            self.pairs.append((self._values[0], value))
        self._values = []

    def stepped(self) -> None:
        if self._parts:
            self.losses.append(sum(self._parts) / len(self._parts))
        self._parts, self._values = [], []
