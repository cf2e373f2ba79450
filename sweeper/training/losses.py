"""The loss that is trained, by name. What validates is the goal's own loss always, so that trials compare.

`outputs` (N, K) and `targets` as in goals.py; each loss is a mean per example and target value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sweeper.training.choices import make
from sweeper.training.goals import CLASSIFICATION, REGRESSION, Goal
from sweeper.words.errors import ConfigError

Loss = Callable[[Tensor, Tensor], Tensor]

BALANCED = "balanced"


def cross_entropy(
    targets: Tensor, *, label_smoothing: float = 0.0, class_weights: str | Sequence[float] | None = None
) -> Loss:
    """In nats; `targets` (N,) are those of the training set.

    `label_smoothing` s: a target is 1 - s + s / K for the right class and s / K for each other (Szegedy et al. 2016).
    `class_weights`: one number per class, or "balanced" for N / (K * the class's examples); the mean is a weighted one.
    """
    if not 0 <= label_smoothing < 1:
        raise ConfigError(f"`0 <= loss.label_smoothing < 1` must hold, but got {label_smoothing}.")
    weights = _class_weights(targets, class_weights)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, weight=weights, label_smoothing=label_smoothing)

    return loss


def mse(targets: Tensor) -> Loss:
    """Mean squared error, in target units squared."""
    return functional.mse_loss


def mae(targets: Tensor) -> Loss:
    """Mean absolute error, in target units: an outlier pulls no more than any other."""
    return functional.l1_loss


def huber(targets: Tensor, *, delta: float) -> Loss:
    """error^2 / 2 up to `delta` target units, then delta * (|error| - delta / 2) (Huber 1964)."""
    if not delta > 0:
        raise ConfigError(f"`loss.delta > 0` must hold for loss=huber, but got {delta}.")
    return lambda outputs, targets: functional.huber_loss(outputs, targets, delta=delta)


LOSSES: dict[str, tuple[Callable[..., Loss], Goal]] = {
    "cross_entropy": (cross_entropy, CLASSIFICATION),
    "mse": (mse, REGRESSION),
    "mae": (mae, REGRESSION),
    "huber": (huber, REGRESSION),
}


def build(settings: Mapping[str, Any], goal: Goal, targets: Tensor) -> Loss:
    """The loss of a `loss` config: its `name` ("auto": the goal's own) and keys; `targets` are the training set's."""
    name = settings.get("name")
    if name in LOSSES and LOSSES[name][1] is not goal:
        fitting = " or ".join(f"loss={known}" for known, (_, kind) in LOSSES.items() if kind is goal)
        raise ConfigError(
            f"A loss must fit the data's goal, but loss={name} is for a {LOSSES[name][1].name} and the data's is a "
            f"{goal.name}: choose {fitting}, or loss=auto."
        )
    makers = {known: maker for known, (maker, _) in LOSSES.items()}
    return make("loss", {"auto": lambda targets: goal.loss, **makers}, settings, targets)


def _class_weights(targets: Tensor, wanted: str | Sequence[float] | None) -> Tensor | None:
    if wanted is None:
        return None
    counts = torch.bincount(targets)
    if wanted == BALANCED:
        return len(targets) / (len(counts) * counts.clamp(min=1))
    if isinstance(wanted, str) or len(wanted) != len(counts) or min(wanted) < 0:
        raise ConfigError(
            f"`loss.class_weights` must be null, {BALANCED}, or {len(counts)} numbers from 0 on, one per class, but "
            f"got {wanted}."
        )
    return torch.tensor(list(wanted), dtype=torch.float32, device=targets.device)
