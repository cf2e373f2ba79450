"""What a training shows of itself: the examples that its model gets, the calls of its loss, its parameters.

Examples are told apart by a digest of their bits, as the model got them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

FIRST = 10
"""Steps of which everything is written down."""
KEPT = 512
"""Examples that are kept to be trained on again."""
KEPT_BYTES = 64 * 2**20
CLASSES = 1000
"""With more classes than that, a class that does not occur is nothing special."""


class Kind(StrEnum):
    CLASSES = "classes"
    BINARY = "binary"
    NUMBERS = "numbers"
    OTHER = "other"


LOSSES: dict[Any, tuple[str, Kind]] = {
    functional.cross_entropy: ("cross_entropy", Kind.CLASSES),
    functional.nll_loss: ("nll_loss", Kind.CLASSES),
    functional.binary_cross_entropy_with_logits: ("binary_cross_entropy_with_logits", Kind.BINARY),
    functional.binary_cross_entropy: ("binary_cross_entropy", Kind.BINARY),
    functional.mse_loss: ("mse_loss", Kind.NUMBERS),
    functional.l1_loss: ("l1_loss", Kind.NUMBERS),
    functional.smooth_l1_loss: ("smooth_l1_loss", Kind.NUMBERS),
    functional.huber_loss: ("huber_loss", Kind.NUMBERS),
}


@dataclass(frozen=True)
class Call:
    """One call of a loss. `outputs` and `targets` as it got them; `options`: its other arguments."""

    name: str
    kind: Kind
    function: Any = field(repr=False)
    outputs: Tensor = field(repr=False)
    targets: Tensor = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    squashed: str | None = None
    """The function of probabilities that the outputs come from: softmax or sigmoid."""

    @property
    def classes(self) -> int:
        return self.outputs.shape[1 if self.outputs.ndim > 1 else 0]

    @property
    def labels(self) -> Tensor | None:
        """Class numbers (N, …), or None where the targets are something else."""
        whole = not self.targets.is_floating_point() and not self.targets.is_complex()
        return self.targets if self.kind is Kind.CLASSES and whole else None

    @property
    def ignored(self) -> int:
        return int(self.options.get("ignore_index", -100))

    @property
    def weighted(self) -> bool:
        return self.options.get("weight") is not None or self.options.get("pos_weight") is not None


@dataclass
class Spread:
    """Running mean and spread of each feature (`by_feature`)."""

    count: int = 0
    total: Tensor | None = None
    squares: Tensor | None = None
    low: float = float("inf")
    high: float = float("-inf")
    finite: bool = True

    def add(self, values: Tensor) -> None:
        flat = by_feature(values.detach().cpu().double())
        if not bool(torch.isfinite(flat).all()):
            self.finite = False
            flat = flat.nan_to_num(0.0, 0.0, 0.0)
        if self.total is not None and self.total.shape != flat.shape[1:]:
            return  # another kind of input
        total, squares = flat.sum(dim=0), flat.square().sum(dim=0)
        self.total = total if self.total is None else self.total + total
        self.squares = squares if self.squares is None else self.squares + squares
        self.count += len(flat)
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))

    @property
    def means(self) -> Tensor:
        assert self.total is not None
        return self.total / self.count

    @property
    def spreads(self) -> Tensor:
        assert self.squares is not None
        return (self.squares / self.count - self.means.square()).clamp(min=0).sqrt()

    @property
    def mean(self) -> float:
        return float(self.means.mean())

    @property
    def spread(self) -> float:
        """Of all values together."""
        return float((self.spreads.square() + (self.means - self.mean).square()).mean().sqrt())


def by_feature(values: Tensor) -> Tensor:
    """(N, D) → (N, D), (N, T, D) → (N·T, D), (N, C, H, W) → (N·H·W, C), (N,) → (N, 1)."""
    if values.ndim == 1:
        return values.unsqueeze(1)
    last = values if values.ndim <= 3 else values.movedim(1, -1)
    return last.reshape(-1, last.shape[-1])


@dataclass
class Seen:
    """The examples of one set, as far as they were seen."""

    count: int = 0
    digests: dict[bytes, int] = field(default_factory=dict)
    """How often each example came."""
    spread: Spread = field(default_factory=Spread)
    whole_numbers: bool = False
    labels: dict[int, int] = field(default_factory=dict)
    inputs: list[tuple[Tensor, ...]] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    kept: int = 0
    kept_bytes: int = 0

    def add(self, inputs: tuple[Tensor, ...], marks: list[bytes]) -> None:
        self.count += len(marks)
        for mark in marks:
            self.digests[mark] = self.digests.get(mark, 0) + 1
        if inputs and inputs[0].is_floating_point():
            self.spread.add(inputs[0])
        elif inputs:
            self.whole_numbers = True

    def keep(self, inputs: tuple[Tensor, ...], targets: Tensor) -> None:
        """To train on again."""
        size = sum(each.numel() * each.element_size() for each in inputs)
        if self.kept < KEPT and self.kept_bytes + size <= KEPT_BYTES:
            self.inputs.append(tuple(each.detach().clone() for each in inputs))
            self.targets.append(targets.detach().clone())
            self.kept, self.kept_bytes = self.kept + len(targets), self.kept_bytes + size

    def label(self, call: Call) -> None:
        if (labels := call.labels) is None:
            return
        kept = labels[labels != call.ignored]
        for name, count in zip(*(each.tolist() for each in kept.unique(return_counts=True)), strict=True):
            self.labels[name] = self.labels.get(name, 0) + count


def digests(inputs: tuple[Tensor, ...]) -> list[bytes]:
    """Of each example."""
    columns = [each.detach().cpu().contiguous() for each in inputs]
    rows = [each.flatten(1) if each.ndim > 1 else each.unsqueeze(1) for each in columns]
    bits = [each.view(torch.uint8).numpy() if each.dtype is not torch.bool else each.numpy() for each in rows]
    return [
        hashlib.blake2b(b"".join(each[row].tobytes() for each in bits), digest_size=8).digest()
        for row in range(len(rows[0]) if rows else 0)
    ]


@dataclass(frozen=True)
class ParameterSeen:
    """One parameter after the epoch.

    Attributes:
        trainable: requires_grad.
        owned: an optimizer has it.
        used: it got a gradient, and one that was not all zero.
        moved: it is another than at the start.
        alike: a matrix of two units or more, all of which have the same weights.
        idle: a bias in a network that normalises, which may take it away again: it need not move.
    """

    name: str
    count: int
    trainable: bool
    owned: bool
    used: bool
    moved: bool
    alike: bool
    idle: bool = False


def units_alike(weights: Tensor) -> bool:
    """Whether all units (rows) of a layer have the same weights, and so will have forever."""
    if weights.ndim < 2 or len(weights) < 2:
        return False
    flat = weights.detach().flatten(1)
    return bool((flat == flat[0]).all())


NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.instancenorm._InstanceNorm,
)
